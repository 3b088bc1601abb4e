/**
 * Chance without a stream: every number is a pure function of a seed and of what it is for.
 *
 * A sequential generator would give the n-th arrival the n-th numbers, so that
 * two clients who send the same prompts in another order would meet another
 * provider. Here the numbers of a call depend on the seed, the prompt, the number of tries of that prompt and the
 * purpose: two clients, or the same client in process and over HTTP, meet the same answers, lengths, latencies and
 * faults. That is the "common random numbers" method of comparing systems.
 *
 * **Details**: the words are folded through the finalizer of MurmurHash3
 * (32 bits); a uniform number takes 53 bits of two such words.
 *
 * **Source**: Appleby, MurmurHash3 (`fmix32`); Law, Simulation Modeling and
 * Analysis, chapter 11 (common random numbers).
 */
import type { Distribution } from "./SimulationConfig.ts"

const mix = (word: number): number => {
  let h = word
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

const fold = (h: number, word: number): number => mix((Math.imul(h, 0x9e3779b1) + word + 0x7f4a7c15) | 0)

/** Identifies a source of numbers: fold in as many words as tell two sources apart. */
export type Source = number

/** Makes the source of a seed; any finite number will do. */
export const source = (seed: number): Source => fold(fold(0x243f6a88, Math.trunc(seed) | 0), high(seed))

const high = (value: number): number => Math.floor(value / 0x1_0000_0000) | 0

/** Derives the source of one thing among many. */
export const derive = (from: Source, word: number): Source => fold(fold(from, word | 0), high(word))

/** Draws the 32-bit word number `index` of a source. */
export const word = (from: Source, index: number): number => fold(from ^ 0x5bd1e995, index | 0)

/** Draws number `index` of a source, uniform in [0, 1). */
export const uniform = (from: Source, index: number): number =>
  ((word(from, 2 * index) >>> 5) * 67_108_864 + (word(from, 2 * index + 1) >>> 6)) / 9_007_199_254_740_992

/** Draws number `index` of a source from the standard normal distribution (Box-Muller). */
export const normal = (from: Source, index: number): number =>
  Math.sqrt(-2 * Math.log(1 - uniform(from, 2 * index))) * Math.cos(2 * Math.PI * uniform(from, 2 * index + 1))

/**
 * Draws number `index` of a source from a distribution.
 *
 * **Details**: a log-normal given by its mean has `mu = ln(mean) - sigma² / 2`,
 * by its median `mu = ln(median)`. `max` cuts what is above it down to itself.
 */
export const draw = (distribution: Distribution, from: Source, index: number): number => {
  const own = derive(from, 0x100 + index)
  switch (distribution.kind) {
    case "constant":
      return distribution.value
    case "uniform":
      return distribution.min + (distribution.max - distribution.min) * uniform(own, 0)
    case "exponential":
      return Math.min(-distribution.mean * Math.log(1 - uniform(own, 0)), distribution.max ?? Infinity)
    case "lognormal":
      return Math.min(
        Math.exp(logMedian(distribution) + distribution.sigma * normal(own, 0)),
        distribution.max ?? widest
      )
    case "mixture": {
      const total = distribution.parts.reduce((sum, part) => sum + part.weight, 0)
      let left = uniform(own, 0) * total
      for (const part of distribution.parts) {
        left -= part.weight
        if (left < 0) return draw(part.of, own, 1)
      }
      return 0
    }
  }
}

/** Bounds a log-normal without a `max`: with an absurd `sigma` its exponential would overflow. */
const widest = 1e12

const logMedian = (distribution: Extract<Distribution, { readonly kind: "lognormal" }>): number =>
  distribution.median === undefined
    ? Math.log(distribution.mean ?? 1) - distribution.sigma ** 2 / 2
    : Math.log(distribution.median)

/**
 * Hashes a text to a safe integer of 53 bits, the same on every machine.
 *
 * **Source**: cyrb53 (bryc), public domain.
 */
export const hash = (text: string): number => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    a = Math.imul(a ^ code, 2_654_435_761)
    b = Math.imul(b ^ code, 1_597_334_677)
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909)
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909)
  return 4_294_967_296 * (2_097_151 & b) + (a >>> 0)
}

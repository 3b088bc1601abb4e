/**
 * Chooses a part of the input: a range of lines, a random sample, or a sample of a range.
 *
 * The same seed chooses the same lines of a file with the same number of lines, so a sampled job can be resumed.
 *
 * **Source**: selection sampling, Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S.
 */
import * as OptionCheck from "../policy/OptionCheck.ts"

/** Says which lines are wanted. */
export interface Options {
  /** First and last line, from 1, both included. Default: all. */
  readonly range?: { readonly from: number; readonly to: number } | undefined
  /** How many lines to choose at random. Default: all. */
  readonly sample?: number | undefined
  /** Decides the sample. Default: 1. */
  readonly seed?: number | undefined
}

/** Makes numbers in [0, 1) from a seed (the generator is mulberry32). */
const random = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Says which lines are taken, and how many they are. */
export interface Selection {
  readonly size: number
  readonly has: (line: number) => boolean
}

/** Chooses among `lines` lines. */
export const make = (lines: number, options: Options): Selection => {
  const { range, sample } = options
  if (sample !== undefined) OptionCheck.integer("Selection.make", "sample", sample, 1)
  const from = range?.from ?? 1
  const to = Math.min(lines, range?.to ?? lines)
  const within = Math.max(0, to - from + 1)
  if (sample === undefined || sample >= within) {
    return { size: within, has: (line) => line >= from && line <= to }
  }
  const next = random(options.seed ?? 1)
  const chosen = new Set<number>()
  for (let line = from; line <= to && chosen.size < sample; line++) {
    if (next() * (to - line + 1) < sample - chosen.size) chosen.add(line)
  }
  return { size: chosen.size, has: (line) => chosen.has(line) }
}

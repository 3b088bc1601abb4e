/**
 * Draws guesses of a bucket anew, where evidence says that few of them are right.
 *
 * ```
 *   every refusal, and where few guesses carry the weight: as many successors as the weight says, near their guess
 *   one in 32, at a refusal               the rate that was measured, for the depth of its guess, or for one drawn anew
 *   even the best was far off             the limit moved: three in four leap
 *       by admissions                         up
 *       by a refusal                          to the rate that was measured, or down
 *       by a refusal, nothing admitted before it   one in four into debt: somebody else used the bucket
 * ```
 *
 * A refusal measures the rate of a bucket of given depth, for at that moment the bucket is empty. It was empty at the
 * refusal before, so what was admitted between is the rate times that time; and it was full at the most at any other
 * moment, so what was admitted since is no more than its depth and the rate times the time. The highest of these holds.
 * A limit that moved is measured since it moved, so successors look back to the last refusal, the second last, and so on.
 *
 * A rate and a depth that are both wrong can explain each refusal, and small steps do not leave them: so every second of
 * the one in 32 has its depth drawn anew. Where windows are guessed, one of them is a window and one a bucket, whatever
 * their guess was, so that neither kind dies out. A refusal measures the rate of a window too: it is more than what counts,
 * by less than what was refused.
 *
 * **Source**: jitter by the spread, Liu and West (2001). Measured proposals and debts are ours.
 */
import { type Draft, even, type Guess, type Guesses, logarithms, room, usualSeconds } from "./BucketGuesses.ts"
import * as Even from "./EvenPoints.ts"
import * as SlidingCount from "./SlidingCount.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** One successor in so many looks far off, and the deviation of how far, in logarithms. */
  far: 136,
  farBy: 0.35,
  /** Jitter of the others: share of the spread, at least, at most, and of the seconds. */
  jitter: 0.5,
  jitterLeast: 0.004,
  jitterMost: 0.15,
  jitterSeconds: 0.03,
  /** One successor in so many is measured at each refusal, and one in so many has its depth drawn anew then. */
  measured: 32,
  measuredDepth: 64,
  /** The places of two of the measured: one is a bucket, the other a window, whatever their guess was. */
  measuredBucket: 98,
  measuredWindow: 130,
  /** Jitter of what was measured, and refusals to look back. */
  measuredJitter: 0.01,
  horizons: [1, 2, 3, 5],
  /** Surprise of the best guesses, in nats, from which they leap; by how much per nat, and at most. */
  surprise: 4,
  leapPerNat: 0.03,
  leapMost: 0.3,
  /** Seconds of its rate that a bucket may be in debt. */
  debtLeast: 0.5,
  debtMost: 5
} as const

/** Holds what was admitted in a stretch of time that ends with a refusal. */
export interface Stretch {
  readonly seconds: number
  readonly units: number
  /** The bucket was empty when it began. */
  readonly empty: boolean
}

/** A refusal as a measurement: the stretches that end with it, the longest first. */
export interface Refusal {
  readonly cost: number
  readonly stretches: ReadonlyArray<Stretch>
}

/**
 * Ends a draft: weights sum to 1 again, and guesses are drawn anew where few carry the weight, or after a refusal.
 *
 * @param refusal what was measured, where the evidence was a refusal; else it was admissions, which can only show a guess
 * too low
 */
export const done = (to: Draft, refusal?: Refusal): Guesses => {
  const { of, weights } = to
  const { at, counted, levels, surplus } = to
  const flowed: Guesses = { ...of, at, counted, levels, surplus, weights }
  if (!to.touched && refusal === undefined) return flowed
  const way = refusal === undefined ? 1 : -1
  let total = 0
  for (let i = 0; i < weights.length; i++) total += weights[i]!
  const next = { ...flowed, evidence: of.evidence + Math.log(Math.max(1e-200, total)) }
  // so far off that no weight is left: all are as good, and leap
  if (!(total > 1e-200)) return drawn({ ...next, weights: even }, way * defaults.leapMost, refusal)
  let squares = 0
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]! / total
    weights[i] = weight
    squares += weight * weight
  }
  const known = { ...next, ...logarithms(of.rates, weights) }
  if (squares * weights.length < 2 && refusal === undefined) return known
  const surprise = -Math.log(total)
  const leap = surprise > defaults.surprise ? way * Math.min(defaults.leapMost, defaults.leapPerNat * surprise) : 0
  return drawn(known, leap, refusal)
}

/** Says how a successor differs from its guess. */
type Kind = "near" | "measured" | "leap" | "debt"

const kindOf = (i: number, leap: number, refusal: Refusal | undefined): Kind => {
  if (leap === 0) return refusal !== undefined && i % defaults.measured === 2 ? "measured" : "near"
  if (i % 4 === 0) return "near"
  if (refusal === undefined) return "leap"
  return i % 4 === 3 && isStuck(refusal.stretches) ? "debt" : "measured"
}

/** Says whether nothing was admitted since the refusal before. */
export const isStuck = (stretches: Refusal["stretches"]): boolean => {
  const since = stretches.findLast((one) => one.empty)
  return since !== undefined && since.units <= 0
}

const isWindow = (guesses: Guesses, from: number, i: number, refusal: Refusal | undefined): boolean => {
  const { measuredBucket, measuredWindow } = defaults
  const given = refusal !== undefined && guesses.windowed && (i === measuredBucket || i === measuredWindow)
  return given ? i === measuredWindow : guesses.windows[from]!
}

/** Draws successors, each guess as often as its weight says. */
const drawn = (guesses: Guesses, leap: number, refusal: Refusal | undefined): Guesses => {
  const { weights } = guesses
  const count = weights.length
  const by = Math.max(defaults.jitterLeast, Math.min(defaults.jitterMost, defaults.jitter * guesses.spread))
  const rates: Array<number> = []
  const seconds: Array<number> = []
  const levels: Array<number> = []
  const surplus: Array<number> = []
  const windows: Array<boolean> = []
  let from = 0
  let passed = weights[0]!
  for (let i = 0; i < count; i++) {
    let again = true
    while (passed < (i + 0.5) / count && from < count - 1) {
      passed += weights[++from]!
      again = false
    }
    const far = i % defaults.far === 0
    const one = successor(guesses, from, guesses.draws + i + 1, {
      kind: kindOf(i, leap, refusal),
      window: isWindow(guesses, from, i, refusal),
      newDepth: i % defaults.measuredDepth === defaults.measured + 2,
      // the first of a guess's successors stays nearer than the others
      jitter: far ? defaults.farBy : again ? by : by / 2,
      jitterSeconds: far ? defaults.farBy : defaults.jitterSeconds,
      leap,
      refusal
    })
    rates.push(one.rate)
    seconds.push(one.seconds)
    levels.push(one.window ? room(one.rate, guesses.counted) : one.level)
    windows.push(one.window)
    surplus.push(guesses.surplus[from]!)
  }
  const { rate } = logarithms(rates, even)
  const counted = windows.includes(true) ? guesses.counted : SlidingCount.empty
  const draws = guesses.draws + count
  return { ...guesses, rates, seconds, levels, windows, counted, surplus, weights: even, rate, draws }
}

const successor = (guesses: Guesses, from: number, draw: number, how: {
  readonly kind: Kind
  readonly window: boolean
  readonly newDepth: boolean
  readonly jitter: number
  readonly jitterSeconds: number
  readonly leap: number
  readonly refusal: Refusal | undefined
}): Guess => {
  const { kind, leap, refusal, window } = how
  const u = Even.first(draw)
  const normal = Even.normal(u)
  const anew = kind === "measured" && how.newDepth
  const held = window ? 1 : anew ? usualSeconds(draw * 5) : guesses.seconds[from]!
  const seconds = window ? 1 : held * Math.exp(how.jitterSeconds * Even.normal(Even.second(draw)))
  const measured = kind === "measured" && refusal !== undefined
    ? window ? measureWindow(guesses, refusal, u) : measure(refusal, held, draw)
    : 0
  if (measured > 0 && refusal !== undefined) {
    const rate = Math.max(guesses.lowest, measured * Math.exp(defaults.measuredJitter * normal))
    return { rate, seconds, level: u * Math.min(refusal.cost, rate * seconds), window }
  }
  const leaps = leap !== 0 && (kind === "leap" || kind === "measured")
  const exponent = leaps ? leap * Math.abs(normal) : how.jitter * normal
  const rate = Math.max(guesses.lowest, guesses.rates[from]! * Math.exp(exponent))
  const level = Math.min(guesses.levels[from]!, rate * seconds)
  return { rate, seconds, level: kind === "debt" ? level - rate * debtSeconds(draw) : level, window }
}

/** Computes the rate of a window that has admitted what it counts, and had no room for what was refused; 0 where unknown. */
const measureWindow = (guesses: Guesses, refusal: Refusal, u: number): number => {
  const counted = SlidingCount.total(guesses.counted)
  return counted > 0 ? counted + u * refusal.cost : 0
}

const debtSeconds = (draw: number): number =>
  defaults.debtLeast * (defaults.debtMost / defaults.debtLeast) ** Even.first(draw * 3)

/** Computes the rate that a bucket of so many seconds must have, to be empty after what it admitted; 0 where unknown. */
const measure = (refusal: Refusal, seconds: number, draw: number): number => {
  const { cost, stretches } = refusal
  const horizon = defaults.horizons[Math.floor(Even.first(draw * 7) * defaults.horizons.length)]!
  let rate = 0
  let empties = 0
  for (let i = stretches.length - 1; i >= 0 && empties < horizon; i--) {
    const { empty, seconds: length, units } = stretches[i]!
    if (empty) empties++
    // where next to nothing was admitted since, the bucket may just as well be in debt
    if (empty && units < cost) continue
    const found = empty ? (units + (Even.second(draw) - 0.5) * cost) / length : units / (length + seconds)
    rate = Math.max(rate, found)
  }
  return rate
}

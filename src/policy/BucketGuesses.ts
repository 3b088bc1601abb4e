/**
 * Keeps many guesses of a provider's bucket side by side: of its rate, its depth, and what it holds.
 *
 * What the provider does is evidence. An admission says that the bucket held the cost, a refusal that it did not. A
 * guess that had it otherwise loses weight by how far it was off, is set right, and goes on. Where few guesses carry
 * the weight, they are drawn anew near those that did well.
 *
 * ```
 *   level = min(depth, level + rate · time) − cost of what was admitted
 *   admitted, level < cost     weight · exp(−(cost − level) / noise),  level = cost
 *   refused,  level ≥ cost     weight · exp(−(level − cost) / noise),  level = just under cost
 * ```
 *
 * - A call larger than the bucket is admitted where the bucket is full: its cost counts as the depth.
 * - What a full bucket turned away since the last admission counts as surplus: a bucket that is refused although it has
 *   been full for long is off by that much.
 * - Where even the best guess was far off the limit has moved, and most guesses leap the way that the evidence points.
 *
 * Nothing is drawn by chance: jitter comes from two sequences that fill their interval evenly, so the same events give
 * the same guesses. `BucketMirror` feeds it.
 *
 * **Source**: a particle filter (Gordon, Salmond and Smith 1993), jittered by its own spread (Liu and West 2001).
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Guesses: twice as many cost twice as much and find little more. */
  count: 128,
  /** Share of the mean cost by which a guess may be off before its weight falls to a third. */
  noise: 0.15,
  /** Deviation, in logarithms, of the seconds that a bucket holds, around one second. */
  seconds: 0.8,
  /** One guess in so many looks far off when drawn anew, and the deviation of how far, in logarithms. */
  far: 64,
  farBy: 0.35,
  /** Jitter of the others: share of the spread, at least, and of the seconds. */
  jitter: 0.5,
  jitterLeast: 0.004,
  jitterMost: 0.15,
  jitterSeconds: 0.03,
  /** Surprise of the best guesses, in nats, from which they leap; by how much per nat, and at most. */
  surprise: 3,
  leapPerNat: 0.03,
  leapMost: 0.3
} as const

/** Holds the guesses as columns: plain data. */
export interface Guesses {
  /** When the levels were so. */
  readonly at: number
  /** Units per second. */
  readonly rates: ReadonlyArray<number>
  /** Seconds of its rate that the bucket holds. */
  readonly seconds: ReadonlyArray<number>
  readonly levels: ReadonlyArray<number>
  /** Units turned away by a full bucket since the last admission. */
  readonly surplus: ReadonlyArray<number>
  /** They sum to 1. */
  readonly weights: ReadonlyArray<number>
  /** Deviation of the rate, in logarithms. */
  readonly spread: number
  /** Lowest rate that is guessed. */
  readonly lowest: number
  /** Jitter drawn so far. */
  readonly draws: number
}

const fraction = (x: number): number => Math.min(0.999, Math.max(0.001, x - Math.floor(x)))
/** Draws the n-th point of two sequences that together fill a square evenly. */
const first = (n: number): number => fraction(0.5 + n * 0.6180339887498949)
const second = (n: number): number => fraction(0.5 + n * 0.7548776662466927)
/** Turns a uniform draw into one that is nearly normal. */
const normal = (u: number): number => Math.log(u / (1 - u)) / 1.702

const filled = (count: number, value: number): Array<number> => Array.from({ length: count }, () => value)

/** Says what is known at the first refusal. */
export interface Known {
  /** Units admitted since a moment at which the bucket is taken for full, and the seconds since. */
  readonly admitted: number
  readonly seconds: number
  /** What was refused. */
  readonly cost: number
  /** Units sent after it, whose end is not known yet. */
  readonly later: number
  readonly lowest: number
  /** The rate as told or learned before, if it was. */
  readonly rate?: number | undefined
}

/**
 * Makes guesses that explain the first refusal.
 *
 * **Details**: what was admitted was the bucket, and what it gained meanwhile. That leaves a line of pairs of rate and
 * depth; along it a depth of one second is the likeliest. A quarter guesses much less, for calls larger than the bucket.
 */
export const make = (known: Known, now: number): Guesses => {
  const { admitted, cost, later, lowest } = known
  const count = defaults.count
  const guesses = { rates: [] as Array<number>, seconds: [] as Array<number>, levels: [] as Array<number> }
  for (let i = 0; i < count; i++) {
    const u = first(i)
    const seconds = Math.exp(defaults.seconds * normal(second(i)))
    const large = i % 4 === 3
    const elapsed = Math.max(1e-3, known.seconds) + seconds
    const rate = Math.max(
      lowest,
      large
        ? (admitted + cost) / elapsed * Math.exp(-4 * u)
        : known.rate === undefined
        ? (admitted + u * cost) / elapsed
        : known.rate * Math.exp(0.1 * normal(u))
    )
    const need = Math.min(cost, rate * seconds)
    guesses.rates.push(rate)
    guesses.seconds.push(seconds)
    guesses.levels.push((large ? Math.min(rate * elapsed - admitted, need * 0.999) : u * need) - later)
  }
  return {
    at: now,
    ...guesses,
    surplus: filled(count, 0),
    weights: filled(count, 1 / count),
    spread: 1,
    lowest,
    draws: count
  }
}

/** Is guesses that evidence is being put into. */
export interface Draft {
  readonly of: Guesses
  at: number
  readonly levels: Array<number>
  readonly surplus: Array<number>
  readonly weights: Array<number>
  touched: boolean
}

/** Begins to put evidence in. */
export const draft = (of: Guesses): Draft => ({
  of,
  at: of.at,
  levels: of.levels.slice(),
  surplus: of.surplus.slice(),
  weights: of.weights.slice(),
  touched: false
})

/** Lets time fill the buckets. */
export const flow = (to: Draft, now: number): void => {
  const elapsed = now - to.at
  if (elapsed <= 0) return
  to.at = now
  const { rates, seconds } = to.of
  for (let i = 0; i < rates.length; i++) {
    const depth = rates[i]! * seconds[i]!
    const level = to.levels[i]! + rates[i]! * elapsed
    if (level > depth) {
      to.surplus[i] = to.surplus[i]! + level - depth
      to.levels[i] = depth
    } else to.levels[i] = level
  }
}

/** Takes in that `cost` was admitted, at the time of the draft. */
export const admitted = (to: Draft, cost: number, noise: number): void => {
  const { rates, seconds } = to.of
  for (let i = 0; i < rates.length; i++) {
    const need = Math.min(cost, rates[i]! * seconds[i]!)
    const level = to.levels[i]!
    if (level < need) {
      to.weights[i] = to.weights[i]! * Math.exp((level - need) / noise)
      to.touched = true
    }
    to.levels[i] = Math.max(level, need) - cost
    to.surplus[i] = 0
  }
}

/** Takes in that `cost` was refused, at the time of the draft. */
export const refused = (to: Draft, cost: number, noise: number): void => {
  const { rates, seconds } = to.of
  for (let i = 0; i < rates.length; i++) {
    const need = Math.min(cost, rates[i]! * seconds[i]!)
    const off = to.levels[i]! + to.surplus[i]! - need
    if (off >= 0) {
      to.weights[i] = to.weights[i]! * Math.exp(-off / noise)
      to.touched = true
      to.levels[i] = need * 0.999
    }
    to.surplus[i] = 0
  }
}

/** Gives units back, or takes more where they are below 0. */
export const credited = (to: Draft, units: number): void => {
  const { rates, seconds } = to.of
  for (let i = 0; i < rates.length; i++) {
    to.levels[i] = Math.min(rates[i]! * seconds[i]!, to.levels[i]! + units)
  }
}

/**
 * Ends a draft: weights sum to 1 again, and guesses are drawn anew where few carry the weight.
 *
 * @param way 1 where the evidence was admissions, which can only show a guess too low; −1 where it was a refusal
 */
export const done = (to: Draft, way: 1 | -1): Guesses => {
  const { of, weights } = to
  const next = { ...of, at: to.at, levels: to.levels, surplus: to.surplus, weights }
  if (!to.touched) return next
  const count = weights.length
  let total = 0
  for (let i = 0; i < count; i++) total += weights[i]!
  // so far off that no weight is left: all are as good, and leap
  if (!(total > 1e-200)) {
    return redrawn({ ...next, weights: filled(count, 1 / count) }, way * defaults.leapMost)
  }
  let squares = 0
  let mean = 0
  let square = 0
  for (let i = 0; i < count; i++) {
    const weight = weights[i]! / total
    weights[i] = weight
    squares += weight * weight
    const log = Math.log(of.rates[i]!)
    mean += weight * log
    square += weight * log * log
  }
  const known = { ...next, spread: Math.sqrt(Math.max(0, square - mean * mean)) }
  if (squares * count < 2) return known
  const surprise = -Math.log(total)
  return redrawn(
    known,
    surprise > defaults.surprise ? way * Math.min(defaults.leapMost, defaults.leapPerNat * surprise) : 0
  )
}

/** Draws guesses anew, each as often as its weight says, with jitter; three in four leap where there is a leap. */
const redrawn = (guesses: Guesses, leap: number): Guesses => {
  const { levels, lowest, rates, surplus, weights } = guesses
  const count = weights.length
  const by = Math.max(defaults.jitterLeast, Math.min(defaults.jitterMost, defaults.jitter * guesses.spread))
  const next = {
    rates: [] as Array<number>,
    seconds: [] as Array<number>,
    levels: [] as Array<number>,
    surplus: [] as Array<number>
  }
  let { draws } = guesses
  let from = 0
  let passed = weights[0]!
  for (let i = 0; i < count; i++) {
    const aim = (i + 0.5) / count
    let again = true
    while (passed < aim && from < count - 1) {
      passed += weights[++from]!
      again = false
    }
    draws++
    const jitter = normal(first(draws))
    const far = i % defaults.far === 0
    // the first of a guess's successors stays nearer than the others
    const exponent = leap !== 0 && i % 4 !== 0
      ? leap * Math.abs(jitter)
      : (far ? defaults.farBy : again ? by : by / 2) * jitter
    const rate = Math.max(lowest, rates[from]! * Math.exp(exponent))
    const seconds = guesses.seconds[from]! *
      Math.exp((far ? defaults.farBy : defaults.jitterSeconds) * normal(second(draws)))
    next.rates.push(rate)
    next.seconds.push(seconds)
    next.levels.push(Math.min(levels[from]!, rate * seconds))
    next.surplus.push(surplus[from]!)
  }
  return { ...guesses, ...next, weights: filled(count, 1 / count), draws }
}

/** Reads the rate, as the mean of the guesses. */
export const rate = (guesses: Guesses): number => {
  let total = 0
  for (let i = 0; i < guesses.rates.length; i++) total += guesses.weights[i]! * guesses.rates[i]!
  return total
}

/** Moves every guess to a rate that the provider stated. */
export const told = (guesses: Guesses, limit: number): Guesses => ({
  ...guesses,
  rates: guesses.rates.map((_, i) => limit * Math.exp(0.01 * normal(first(i)))),
  seconds: guesses.seconds,
  levels: guesses.levels.map((level, i) => Math.min(level, limit * guesses.seconds[i]!)),
  spread: 0.01
})

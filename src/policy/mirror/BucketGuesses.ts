/**
 * Keeps many guesses of a provider's bucket, or of its window, side by side: of its rate, its depth, and what it holds.
 *
 * What the provider does is evidence. An admission says that the bucket held the cost, a refusal that it did not. A
 * guess that had it otherwise loses weight by how far it was off, is set right, and goes on.
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
 * - Calls that are under way lie ahead, in order: each empties the bucket at its own moment.
 * - Where calls differ in size, some guesses are no bucket but a window of a second (`SlidingCount`): what it has room for
 *   follows from its rate and from what was sent, so there is nothing to set right. It loses weight by the same two lines,
 *   with its room for the level.
 *
 * Evidence goes into a draft, `BucketSuccession` ends it, `BucketMirror` feeds both. Nothing is drawn by chance.
 *
 * **Source**: a particle filter (Gordon, Salmond and Smith 1993).
 */
import * as Even from "./EvenPoints.ts"
import * as SlidingCount from "./SlidingCount.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Guesses: twice as many cost twice as much and find little more. */
  count: 136,
  /** How many of them, the last, begin as windows of a second, where windows are guessed. */
  windows: 8,
  /** Share of the mean cost by which a guess may be off before its weight falls to a third. */
  noise: 0.15,
  /** Deviation, in logarithms, of the seconds that a bucket holds, around one second. */
  seconds: 0.8,
  /** One guess in so many takes the bucket for a deep one, of 3 to 90 seconds. */
  deep: 16,
  deepFrom: 3,
  deepTo: 90,
  /** Where the depth of another limit is known, one guess in so many has a usual one, and the others deviate by so much. */
  unlike: 4,
  alike: 0.1,
  /** Deviation, in logarithms, of a rate that was known before the first refusal, and of one that the provider states. */
  known: 0.05,
  told: 0.01,
  /** Evidence, in nats, against a rate that explains no refusal. */
  impossible: 8
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
  /** Which of them are windows of a second, and whether there may be any. */
  readonly windows: ReadonlyArray<boolean>
  readonly windowed: boolean
  /** What windows count; empty where no guess is one. */
  readonly counted: SlidingCount.SlidingCount
  /** Units turned away by a full bucket since the last admission. */
  readonly surplus: ReadonlyArray<number>
  /** They sum to 1. */
  readonly weights: ReadonlyArray<number>
  /** The rate as their geometric mean, and its deviation in logarithms. */
  readonly rate: number
  readonly spread: number
  /** Lowest rate that is guessed. */
  readonly lowest: number
  /** Jitter drawn so far. */
  readonly draws: number
  /** The logarithm of how likely they found what happened since the last refusal. */
  readonly evidence: number
}

/** One guess. */
export interface Guess {
  readonly rate: number
  readonly seconds: number
  readonly level: number
  readonly window: boolean
}

const filled = (value: number): ReadonlyArray<number> => Array.from({ length: defaults.count }, () => value)

/** Weights that are all the same, and no surplus. */
export const even: ReadonlyArray<number> = filled(1 / defaults.count)
const nothing: ReadonlyArray<number> = filled(0)

/** Computes mean and deviation of the logarithms of rates. */
export const logarithms = (
  rates: ReadonlyArray<number>,
  weights: ReadonlyArray<number>
): { readonly rate: number; readonly spread: number } => {
  let mean = 0
  let square = 0
  for (let i = 0; i < rates.length; i++) {
    const log = Math.log(rates[i]!)
    mean += weights[i]! * log
    square += weights[i]! * log * log
  }
  return { rate: Math.exp(mean), spread: Math.sqrt(Math.max(0, square - mean * mean)) }
}

const collect = (
  guess: (i: number) => Guess,
  rest: Pick<Guesses, "at" | "counted" | "lowest" | "spread" | "windowed">
): Guesses => {
  const all = Array.from({ length: defaults.count }, (_, i) => guess(i))
  const rates = all.map((one) => one.rate)
  return {
    ...rest,
    rates,
    seconds: all.map((one) => one.seconds),
    levels: all.map((one) => one.window ? room(one.rate, rest.counted) : one.level),
    windows: all.map((one) => one.window),
    surplus: nothing,
    weights: even,
    rate: logarithms(rates, even).rate,
    draws: defaults.count,
    evidence: 0
  }
}

/** Draws the depth of a bucket before anything is known of it, in seconds of its rate. */
export const usualSeconds = (draw: number): number => Math.exp(defaults.seconds * Even.normal(Even.second(draw)))

/** Says how deep buckets are, in seconds of their rate, and how far guesses of it differ, in logarithms. */
export interface Depth {
  readonly seconds: number
  readonly spread: number
}

/** Reads the depth as the geometric mean of the guesses, and its deviation. */
export const depth = ({ seconds, weights }: Guesses): Depth => {
  const { rate, spread } = logarithms(seconds, weights)
  return { seconds: rate, spread }
}

/** Draws a depth that is like the known one of another limit. */
const alikeSeconds = ({ seconds, spread }: Depth, draw: number): number =>
  seconds * Math.exp(Math.max(defaults.alike, spread) * Even.normal(Even.second(draw)))

/** Reads what a window has room for. */
export const room = (rate: number, counted: SlidingCount.SlidingCount): number => rate - SlidingCount.total(counted)

const isWindow = (i: number, windowed: boolean): boolean => windowed && i >= defaults.count - defaults.windows

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
  /** Windows are guessed too: where calls differ in size. */
  readonly windowed?: boolean | undefined
  /** The rate as told or learned before, if it was. */
  readonly rate?: number | undefined
  /** The depth of another limit of the provider, if it is known. */
  readonly depth?: Depth | undefined
}

/**
 * Makes guesses that explain the first refusal.
 *
 * **Details**: what was admitted was the bucket, and what it gained meanwhile. That leaves a line of pairs of rate and
 * depth; along it a depth of one second is the likeliest, and one guess in sixteen takes it for deeper. Where the
 * depth of another limit is known, three in four of the others are close to that. A quarter guesses much less, for calls
 * larger than the bucket. A window is guessed to have admitted all of it, and not what was refused.
 */
export const make = (known: Known, now: number): Guesses => {
  const { admitted, cost, later, lowest, windowed = false } = known
  const { seconds: counts } = SlidingCount.defaults
  const counted = [{ until: now + counts - known.seconds, cost: admitted }, { until: now + counts, cost: later }]
  return collect((i) => {
    const u = Even.first(i)
    if (isWindow(i, windowed)) {
      const rate = Math.max(lowest, (admitted + u * cost) / Math.max(1, known.seconds))
      return { rate, seconds: 1, level: 0, window: true }
    }
    const seconds = i % defaults.deep === 5
      ? defaults.deepFrom * (defaults.deepTo / defaults.deepFrom) ** Even.second(i)
      : known.depth === undefined || i % defaults.unlike === 1
      ? usualSeconds(i)
      : alikeSeconds(known.depth, i)
    const large = i % 4 === 3
    const elapsed = Math.max(1e-3, known.seconds) + seconds
    const rate = Math.max(
      lowest,
      large
        ? (admitted + cost) / elapsed * Math.exp(-4 * u)
        : known.rate === undefined
        ? (admitted + u * cost) / elapsed
        : known.rate * Math.exp(2 * defaults.known * Even.normal(u))
    )
    const need = Math.min(cost, rate * seconds)
    const level = large ? Math.min(rate * elapsed - admitted, need * 0.999) : u * need
    return { rate, seconds, level: level - later, window: false }
  }, {
    at: now,
    counted: windowed ? counted.filter((one) => one.until > now && one.cost > 0) : SlidingCount.empty,
    lowest,
    spread: 1,
    windowed
  })
}

/** What is known before the first refusal. */
export type Stated = Pick<Known, "lowest" | "windowed"> & { readonly rate: number }

const full = (
  { lowest, windowed = false }: Pick<Known, "lowest" | "windowed">,
  rateOf: (i: number) => number,
  spread: number,
  now: number,
  held = Infinity
): Guesses =>
  collect((i) => {
    const rate = Math.max(lowest, rateOf(i))
    const window = isWindow(i, windowed)
    const seconds = window ? 1 : usualSeconds(i)
    return { rate, seconds, level: Math.min(held, rate * seconds), window }
  }, { at: now, counted: SlidingCount.empty, lowest, spread, windowed })

/** Makes guesses around a rate that is known before anything was refused, of buckets that are full. */
export const around = (stated: Stated, now: number): Guesses =>
  full(stated, (i) => stated.rate * Math.exp(defaults.known * Even.normal(Even.first(i))), defaults.known, now)

/** Makes guesses between two rates, each factor as likely as any other, of buckets that hold so much. */
export const between = (
  known: Pick<Known, "lowest" | "windowed"> & { readonly least: number; readonly most: number; readonly held: number },
  now: number
): Guesses => {
  const wide = Math.log(known.most / known.least)
  return full(known, (i) => known.least * Math.exp(wide * Even.first(i)), wide / Math.sqrt(12), now, known.held)
}

/** Moves every guess to a rate that the provider stated. */
export const told = (guesses: Guesses, limit: number): Guesses => ({
  ...guesses,
  rates: guesses.rates.map((_, i) => limit * Math.exp(defaults.told * Even.normal(Even.first(i)))),
  levels: guesses.levels.map((level, i) =>
    guesses.windows[i]! ? room(limit, guesses.counted) : Math.min(level, limit * guesses.seconds[i]!)
  ),
  rate: limit,
  spread: defaults.told
})

/** What guesses have in their buckets and windows, on the way through time. */
interface Levels {
  readonly of: Guesses
  /** The places of the windows: few, where there are any. */
  readonly windows: ReadonlyArray<number>
  at: number
  readonly levels: Array<number>
  readonly surplus: Array<number>
  counted: SlidingCount.SlidingCount
}

/** Guesses that evidence is being put into. */
export interface Draft extends Levels {
  readonly weights: Array<number>
  /** A weight changed. */
  touched: boolean
}

/** Says what the buckets will hold once all that is under way has happened. */
export type Outlook = Pick<Guesses, "at" | "counted" | "levels" | "surplus">

const placesOf = (windows: ReadonlyArray<boolean>): ReadonlyArray<number> => {
  const places: Array<number> = []
  for (let i = 0; i < windows.length; i++) if (windows[i]!) places.push(i)
  return places
}

/** Begins a way through time; `ahead` is where it starts. */
const from = (of: Guesses, ahead: Outlook): Levels => ({
  of,
  windows: placesOf(of.windows),
  at: ahead.at,
  levels: ahead.levels.slice(),
  surplus: ahead.surplus.slice(),
  counted: ahead.counted
})

/** Begins to put evidence in. */
export const draft = (of: Guesses): Draft => ({ ...from(of, of), weights: of.weights.slice(), touched: false })

/** Sets windows to what they have room for. */
const recount = (to: Levels, counted: SlidingCount.SlidingCount): void => {
  if (counted === to.counted) return
  to.counted = counted
  const total = SlidingCount.total(counted)
  for (const i of to.windows) to.levels[i] = to.of.rates[i]! - total
}

const count = (to: Levels, cost: number): void => {
  if (to.windows.length > 0) recount(to, SlidingCount.add(to.counted, cost, to.of.rate, to.at))
}

/** Lets time fill the buckets, and pass in windows. */
export const flow = (to: Levels, now: number): void => {
  const elapsed = now - to.at
  if (elapsed <= 0) return
  to.at = now
  recount(to, SlidingCount.passed(to.counted, now))
  const { rates, seconds, windows } = to.of
  for (let i = 0; i < rates.length; i++) {
    if (windows[i]!) continue
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
  const { rates, seconds, windows } = to.of
  for (let i = 0; i < rates.length; i++) {
    const depth = rates[i]! * seconds[i]!
    const room = to.levels[i]! - Math.min(cost, depth)
    // a window has no good reason to admit what is larger than itself
    const off = windows[i]! && cost > depth ? Math.min(room, -noise) : room
    // one of no weight, as many come to be, has none to lose
    if (off < 0 && to.weights[i]! > 0) {
      to.weights[i] = to.weights[i]! * Math.exp(off / noise)
      to.touched = true
    }
  }
  taken(to, cost)
}

/** Takes `cost` out of the buckets: as much as they held was there at least. */
const taken = (to: Levels, cost: number): void => {
  const { rates, seconds, windows } = to.of
  for (let i = 0; i < rates.length; i++) {
    if (windows[i]!) continue
    to.levels[i] = Math.max(to.levels[i]!, Math.min(cost, rates[i]! * seconds[i]!)) - cost
    to.surplus[i] = 0
  }
  count(to, cost)
}

/** Takes in that `cost` was refused, at the time of the draft. */
export const refused = (to: Draft, cost: number, noise: number): void => {
  const { rates, seconds, windows } = to.of
  for (let i = 0; i < rates.length; i++) {
    const need = Math.min(cost, rates[i]! * seconds[i]!)
    const above = to.levels[i]! + to.surplus[i]! - need
    // a window that counts nothing has no good reason to refuse
    const off = windows[i]! && to.counted.length === 0 ? Math.max(above, 3 * noise) : above
    if (off >= 0) {
      to.weights[i] = to.weights[i]! * Math.exp(-off / noise)
      to.touched = true
      if (!windows[i]!) to.levels[i] = need * 0.999
    }
    to.surplus[i] = 0
  }
}

/** Takes in that no rate above `highest` explains what was refused. */
export const bounded = (to: Draft, highest: number): void => {
  const { rates } = to.of
  for (let i = 0; i < rates.length; i++) {
    if (rates[i]! <= highest) continue
    to.weights[i] = to.weights[i]! * Math.exp(-defaults.impossible)
    to.touched = true
  }
}

/** Takes in that the buckets are empty, though it is not known what emptied them. */
export const emptied = (to: Levels): void => {
  const { windows } = to.of
  for (let i = 0; i < windows.length; i++) {
    if (windows[i]!) continue
    to.levels[i] = Math.min(0, to.levels[i]!)
    to.surplus[i] = 0
  }
}

/** Gives units back, or takes more where they are below 0. To a window they come back too late to count. */
export const credited = (to: Levels, units: number): void => {
  const { rates, seconds, windows } = to.of
  for (let i = 0; i < rates.length; i++) {
    if (!windows[i]!) to.levels[i] = Math.min(rates[i]! * seconds[i]!, to.levels[i]! + units)
  }
  if (units < 0) count(to, -units)
}

/** Something that the provider will do, or did, with a bucket: admit a call, or give units back where `back` is not 0. */
export interface Event {
  readonly at: number
  readonly cost: number
  readonly back: number
}

/** Takes in an event as having happened. */
export const happened = (to: Draft, event: Event, noise: number): void => {
  flow(to, event.at)
  if (event.back === 0) admitted(to, event.cost, noise)
  else credited(to, event.back)
}

/** Looks past events, in order: they happen as the guesses have it, and are no evidence. */
export const outlook = (of: Guesses, ahead: Outlook, events: ReadonlyArray<Event>): Outlook => {
  const to = from(of, ahead)
  for (const event of events) {
    flow(to, event.at)
    if (event.back === 0) taken(to, event.cost)
    else credited(to, event.back)
  }
  return { at: to.at, levels: to.levels, surplus: to.surplus, counted: to.counted }
}

/** Reads what the buckets will hold at a later time. */
export const levelsAt = (of: Guesses, ahead: Outlook, at: number): ReadonlyArray<number> => {
  const to = from(of, ahead)
  flow(to, at)
  return to.levels
}

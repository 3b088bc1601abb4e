/**
 * Mirrors a provider's bucket from what it admits and refuses, and says when it will admit the next call.
 *
 * Where calls differ in size, or several limits hold a lane back, a refusal does not say that the bucket is empty, and
 * a bucket that is full turns units away unseen. Measuring between refusals is biased there. A mirror follows the
 * bucket itself: many guesses of it (`BucketGuesses`), each told what was sent, refused, given back, and when.
 *
 * ```
 *   send ──▶ pending ──silence──▶ admitted: guesses below the cost lose weight
 *               └─────429───────▶ refused:  guesses above the cost lose weight
 *   wait(cost) = time at which guesses of (1 − risk) of the weight hold the cost and a margin
 * ```
 *
 * While the rate is uncertain the risk is near a half, so that the next answer says the most; it falls to 3 % as the
 * guesses agree. Evidence against a rate too low comes only from sending faster than it. So after `interval` calls that
 * had to wait without a refusal the mirror probes: it takes every rate for a growing excess higher, until a refusal.
 * The interval doubles with each probe that finds nothing, and is short after the limit fell or rose.
 *
 * Everything is plain data, `now` is seconds.
 */
import * as Guesses from "./BucketGuesses.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Chance of a refusal that is taken while the rate is known, and on top of it while it is not. */
  risk: 0.03,
  riskUnknown: 0.35,
  riskMost: 0.5,
  /** Deviation of the rate, in logarithms, from which it is not known at all. */
  unknown: 0.3,
  /** Share of the cost that must be there on top of it; and of a call larger than the bucket. */
  margin: 0.1,
  marginLarge: 0.03,
  /** Calls that waited between probes: at first, after the limit moved, at most. */
  interval: 120,
  eager: 30,
  intervalMost: 1000,
  /** First excess of a probe; it doubles with the calls of half a second, two at least. */
  excess: 0.05,
  doublingSeconds: 0.5,
  doublingSends: 6,
  /** Shares of the rate before, from which it fell or rose; and calls in peace that make a rate the one before. */
  fell: 0.75,
  rose: 1.15,
  settled: 30
} as const

interface Pending {
  readonly seq: number
  readonly at: number
  readonly cost: number
}

/** Holds what is known: plain data. */
export interface State {
  readonly guesses: Guesses.Guesses
  /** Attempts that were sent, and neither refused nor silent for long enough, in order. */
  readonly pending: ReadonlyArray<Pending>
  /** Number of the first attempt that it saw being sent. */
  readonly first: number
  /** Smoothed cost of a call. */
  readonly mean: number
  /** Calls that had to wait since the last refusal; those between probes; those in the present probe, -1 for none. */
  readonly calm: number
  readonly interval: number
  readonly probing: number
  /** The rate as it last stood for a while, 0 before. */
  readonly before: number
}

/** Names what a refusal told. */
export type Reason = "limit-drifted" | "limit-fell" | "limit-rose" | "probe-confirmed"

/** Makes a mirror at the first refusal; `next` is the number of the next attempt, `mean` the cost of one. */
export const make = (
  known: Guesses.Known & { readonly next: number; readonly mean: number },
  now: number
): State => ({
  guesses: Guesses.make(known, now),
  pending: [],
  first: known.next,
  mean: known.mean,
  calm: 0,
  interval: defaults.interval,
  probing: -1,
  before: 0
})

/** Reads the rate, in units per second. */
export const rate = (state: State): number => Guesses.rate(state.guesses)

const noise = (state: State): number => Math.max(1e-9, Guesses.defaults.noise * state.mean)

const paced = (state: State): Partial<State> =>
  state.probing >= 0
    ? { probing: state.probing + 1 }
    : state.calm + 1 >= state.interval
    ? { probing: 0, calm: 0, before: rate(state) }
    : { calm: state.calm + 1 }

/** Notes that attempt `seq` is sent; `held` says that it had to wait for this limit. */
export const send = (state: State, seq: number, cost: number, held: boolean, now: number): State => ({
  ...state,
  ...(held ? paced(state) : {}),
  mean: state.mean * 0.98 + cost * 0.02,
  pending: [...state.pending, { seq, at: now, cost }]
})

/** Takes `silence` seconds without a refusal for an admission. */
export const advance = (state: State, now: number, silence: number): State => {
  const oldest = state.pending[0]
  if (oldest === undefined || oldest.at + silence > now) return state
  const to = Guesses.draft(state.guesses)
  let count = 0
  for (const one of state.pending) {
    if (one.at + silence > now) break
    Guesses.flow(to, one.at)
    Guesses.admitted(to, one.cost, noise(state))
    count++
  }
  return { ...state, guesses: Guesses.done(to, 1), pending: state.pending.slice(count) }
}

/** Gives units back at once: where attempts are pending, as of the first of them, for they come in order. */
const credited = (state: State, units: number, at: number): State => {
  const to = Guesses.draft(state.guesses)
  Guesses.flow(to, state.pending[0]?.at ?? at)
  Guesses.credited(to, units)
  return { ...state, guesses: Guesses.done(to, 1) }
}

/** Gives units back, or takes more: of an attempt that was not counted (`units` is its whole cost), or counted wrongly. */
export const credit = (state: State, seq: number, cost: number, units: number, now: number): State =>
  units === cost && state.pending.some((one) => one.seq === seq)
    ? { ...state, pending: state.pending.filter((one) => one.seq !== seq) }
    : credited(state, units, now)

/** Learns that attempt `seq` was refused; those sent before it are taken for admitted. */
export const refuse = (state: State, seq: number, cost: number): [Reason, State] => {
  const index = state.pending.findIndex((one) => one.seq === seq)
  const to = Guesses.draft(state.guesses)
  for (const one of state.pending.slice(0, index + 1)) {
    Guesses.flow(to, one.at)
    if (one.seq !== seq) Guesses.admitted(to, one.cost, noise(state))
  }
  // it was silent for so long that it was taken for admitted
  if (index < 0) Guesses.credited(to, cost)
  Guesses.refused(to, cost, noise(state))
  const next: State = {
    ...state,
    guesses: Guesses.done(to, -1),
    pending: state.pending.slice(index + 1),
    calm: 0,
    probing: -1
  }
  return moved(state, next)
}

const moved = (before: State, next: State): [Reason, State] => {
  const found = rate(next)
  if (before.probing >= 0) {
    const rose = found > defaults.rose * before.before
    const interval = rose ? defaults.eager : Math.min(defaults.intervalMost, before.interval * 2)
    return [rose ? "limit-rose" : "probe-confirmed", { ...next, before: found, interval }]
  }
  if (found < defaults.fell * before.before) {
    return ["limit-fell", { ...next, before: found, interval: defaults.eager }]
  }
  return ["limit-drifted", before.calm >= defaults.settled ? { ...next, before: found } : next]
}

/** Moves the mirror to a rate that the provider stated. */
export const told = (state: State, limit: number): State => ({
  ...state,
  guesses: Guesses.told(state.guesses, limit),
  before: limit,
  calm: 0,
  probing: -1
})

/** Reads how much higher every rate is taken: 1, more in a probe. */
const excess = (state: State): number => {
  if (state.probing < 0) return 1
  const doubling = Math.max(defaults.doublingSends, defaults.doublingSeconds * rate(state) / state.mean)
  return 1 + defaults.excess * 2 ** Math.min(10, state.probing / doubling)
}

/** Reads the seconds until a call of `cost` will be admitted, but for the risk; 0 for now. */
export const wait = (state: State, cost: number, now: number): number => {
  const { at, levels, rates, seconds, spread, surplus, weights } = state.guesses
  const faster = cost > state.mean ? 1 : excess(state)
  const elapsed = Math.max(0, now - at)
  let owed = 0
  for (const one of state.pending) owed += one.cost
  const times: Array<number> = []
  for (let i = 0; i < rates.length; i++) {
    const rate = rates[i]! * faster
    const depth = rates[i]! * seconds[i]!
    const free = levels[i]! + rate * elapsed
    const need = cost > depth ? depth + defaults.marginLarge * cost : cost + defaults.margin * cost
    // a full bucket holds no margin on top: there the margin is the time that it has been full
    const level = need > depth ? free + surplus[i]! : Math.min(depth, free)
    times.push((need + owed - level) / rate)
  }
  const uncertain = defaults.riskUnknown * Math.min(1, spread / defaults.unknown)
  const bound = 1 - Math.min(defaults.riskMost, defaults.risk + uncertain)
  const held = (by: number): boolean => {
    let weight = 0
    for (let i = 0; i < times.length; i++) if (times[i]! <= by) weight += weights[i]!
    return weight >= bound
  }
  if (held(0)) return 0
  let high = 0.001
  for (let i = 0; i < 60 && !held(high); i++) high *= 2
  let low = high / 2
  for (let i = 0; i < 7; i++) {
    const middle = (low + high) / 2
    if (held(middle)) high = middle
    else low = middle
  }
  return high
}

/** Reads the weight of the guesses that expected attempt `seq` to be refused, 0 where it is not pending. */
export const expected = (state: State, seq: number): number => {
  const { at, levels, rates, seconds, weights } = state.guesses
  let owed = 0
  for (const one of state.pending) {
    if (one.seq !== seq) {
      owed += one.cost
      continue
    }
    let weight = 0
    for (let i = 0; i < rates.length; i++) {
      const depth = rates[i]! * seconds[i]!
      const level = Math.min(depth, levels[i]! + rates[i]! * Math.max(0, one.at - at)) - owed
      if (level < Math.min(one.cost, depth)) weight += weights[i]!
    }
    return weight
  }
  return 0
}

/**
 * Mirrors a provider's bucket, or its window of a second, from what it admits and refuses, and says when it will admit the
 * next call.
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
 * Guesses of a rate above the highest that explains the last refusals lose nearly all their weight, where the caller knows
 * that bound (`BucketBounds` does, where all calls are alike).
 *
 * While the rate is uncertain the risk is 38 %, so that the next answer says much; it falls to 3 % as the
 * guesses agree. Evidence against a rate too low comes only from sending faster than it. So after `interval` calls that
 * had to wait without a refusal the mirror probes: it takes every rate for a growing excess higher, until a refusal.
 * The interval doubles with each probe that finds nothing. Probes are eager, more often and faster, after the limit fell
 * or rose.
 *
 * Everything is plain data, `now` is seconds.
 */
import * as Guesses from "./BucketGuesses.ts"
import * as Succession from "./BucketSuccession.ts"
import * as SlidingCount from "./SlidingCount.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Chance of a refusal that is taken while the rate is known, and on top of it while it is not. */
  risk: 0.03,
  riskUnknown: 0.35,
  /** Deviation of the rate, in logarithms, from which it is not known at all. */
  unknown: 0.3,
  /** Share of the cost that must be there on top of it; and of a call larger than the bucket. */
  margin: 0.1,
  marginLarge: 0.03,
  /** Calls that waited before the first probe, before the second, and between two at most. */
  firstProbe: 30,
  secondProbe: 120,
  probeMost: 480,
  /** The same while probes are eager; eager probes after a fall, after a rise, and from a rate that was known. */
  eagerProbe: 20,
  eagerAfterFall: 10,
  eagerAfterRise: 2,
  eagerAtStart: 1,
  /** Calls and seconds after which an eager probe comes, where calls are slow. */
  eagerLeast: 4,
  eagerSeconds: 15,
  /** First excess of a probe, and of an eager one; it doubles with the calls of half a second, six at least. */
  excess: 0.1,
  eagerExcess: 0.2,
  doublingSeconds: 0.5,
  doublingSends: 6,
  /** Shares of the rate before, from which it fell or rose; and calls in peace that make a rate the one before. */
  fell: 0.75,
  rose: 1.15,
  settled: 30,
  /** Refusals in a row, nothing admitted in between, after which a bucket was not slow but empty; share of the rate tried. */
  emptied: 4,
  emptiedTo: 0.5,
  /**
   * A limit is hardly in use below this `use` and this share of the rate. Where the rate never stood for a while, that
   * shows only after so many seconds since the last refusal. `useMost`: calls in use that are remembered.
   */
  idleUse: -5,
  idleShare: 0.5,
  idleSeconds: 30,
  useMost: 3
} as const

/** An attempt under way, or units given back meanwhile (`seq` -1). */
interface Pending extends Guesses.Event {
  readonly seq: number
}

/** Holds what is known: plain data. */
export interface State {
  readonly guesses: Guesses.Guesses
  /** What the buckets will hold once the pending are admitted. */
  readonly ahead: Guesses.Outlook
  /** Attempts that were sent, and neither refused nor silent for long enough, and what was given back since, in order. */
  readonly pending: ReadonlyArray<Pending>
  /** Smoothed cost of a call, 0 before the first. */
  readonly mean: number
  /** Calls that had to wait since the last refusal, and when that was; those between probes; those in the present probe, -1 for none. */
  readonly calm: number
  readonly calmAt: number
  readonly interval: number
  readonly probing: number
  /** Probes left that are eager, for the limit moved lately. */
  readonly eager: number
  /** The rate as it last stood for a while, 0 before. */
  readonly before: number
  /** Calls since the last refusal that had to wait for this limit, `useMost` at most, less those after them that had not. */
  readonly use: number
  /** Refusals in a row with nothing admitted in between, and the rate before the first of them. */
  readonly inVain: number
  readonly fellFrom: number
}

/** Names what a refusal told. */
export type Reason = "limit-drifted" | "limit-fell" | "limit-rose" | "probe-confirmed"

const begun = (guesses: Guesses.Guesses, mean: number, interval: number, before: number): State => ({
  calmAt: guesses.at,
  guesses,
  ahead: guesses,
  pending: [],
  mean,
  calm: 0,
  interval,
  probing: -1,
  eager: 0,
  before,
  use: 0,
  inVain: 0,
  fellFrom: 0
})

/** Makes a mirror at the first refusal; `mean` is the cost of a call. */
export const make = (known: Guesses.Known & { readonly mean: number }, now: number): State =>
  begun(Guesses.make(known, now), known.mean, defaults.firstProbe, 0)

/** Makes a mirror of a limit that is known before anything was sent. */
export const around = (known: Guesses.Stated, now: number): State => ({
  ...begun(Guesses.around(known, now), 0, defaults.firstProbe, known.rate),
  eager: defaults.eagerAtStart
})

/** Reads the rate, in units per second. */
export const rate = (state: State): number => state.guesses.rate

const noise = (state: State): number => Math.max(1e-9, Guesses.defaults.noise * state.mean)

const paced = (state: State, now: number): Partial<State> => {
  if (state.probing >= 0) return { probing: state.probing + 1 }
  const calm = state.calm + 1
  const slow = state.eager > 0 && calm >= defaults.eagerLeast && now - state.calmAt >= defaults.eagerSeconds
  return calm >= state.interval || slow ? { probing: 0, calm: 0, before: rate(state) } : { calm }
}

/** Notes that attempt `seq` is sent; `held` says that it had to wait for this limit. */
export const send = (state: State, seq: number, cost: number, held: boolean, now: number): State => ({
  ...joined(state, { seq, at: now, cost, back: 0 }),
  ...(held ? paced(state, now) : {}),
  use: held ? Math.min(defaults.useMost, state.use + 1) : state.use - 1,
  mean: state.mean === 0 ? cost : state.mean * 0.98 + cost * 0.02
})

const joined = (state: State, one: Pending): State => ({
  ...state,
  ahead: Guesses.outlook(state.guesses, state.ahead, [one]),
  pending: [...state.pending, one]
})

/** Takes `silence` seconds without a refusal for an admission. */
export const advance = (state: State, now: number, silence: number): State => {
  const oldest = state.pending[0]
  if (oldest === undefined || oldest.at + silence > now) return state
  const to = Guesses.draft(state.guesses)
  let count = 0
  for (const one of state.pending) {
    if (one.at + silence > now) break
    Guesses.happened(to, one, noise(state))
    count++
  }
  const pending = state.pending.slice(count)
  if (state.inVain >= defaults.emptied && state.pending.slice(0, count).some((one) => one.seq >= 0)) {
    return refilled(state, pending, now)
  }
  const guesses = Succession.done(to)
  // all happened as foreseen: what lies ahead is the same, unless the guesses are others
  return guesses.rates === state.guesses.rates ? { ...state, guesses, pending } : foreseen(state, guesses, pending)
}

/** Reads the rate that is worth a try once calls are admitted again that were refused in vain; 0 where none were. */
export const afterVain = (state: State): number => state.inVain > 0 ? defaults.emptiedTo * state.fellFrom : 0

/** Begins again at a share of the rate before the refusals in vain: a limit that was used up admits again. */
const refilled = (state: State, pending: State["pending"], now: number): State => {
  const tried = Math.max(rate(state), afterVain(state))
  const { lowest, windowed } = state.guesses
  const guesses = Guesses.around({ rate: tried, lowest, windowed }, now)
  return {
    ...foreseen(state, guesses, pending),
    before: tried,
    calm: 0,
    calmAt: now,
    inVain: 0,
    interval: defaults.eagerProbe,
    eager: defaults.eagerAfterFall
  }
}

/** Puts guesses in place, or another list of what is pending, that were not foreseen. */
const foreseen = (state: State, guesses: Guesses.Guesses, pending: State["pending"]): State => ({
  ...state,
  guesses,
  pending,
  ahead: Guesses.outlook(guesses, guesses, pending)
})

/** Gives units back, or takes more: of an attempt that was not counted (`units` is its whole cost), or counted wrongly. */
export const credit = (state: State, seq: number, cost: number, units: number, now: number): State =>
  units === cost && state.pending.some((one) => one.seq === seq)
    ? foreseen(state, state.guesses, state.pending.filter((one) => one.seq !== seq))
    : joined(state, { seq: -1, at: now, cost: 0, back: units })

/**
 * Learns that attempt `seq` was refused; those sent before it are taken for admitted.
 *
 * @param stretches what was admitted in the stretches of time that end with it, the longest first
 * @param lowest the lowest rate that is guessed from now on
 * @param highest the highest rate that explains the last refusals, as far as that is known
 */
export const refuse = (
  state: State,
  seq: number,
  cost: number,
  stretches: Succession.Refusal["stretches"],
  lowest = state.guesses.lowest,
  highest = Infinity
): [Reason, State] => {
  const index = state.pending.findIndex((one) => one.seq === seq)
  const to = Guesses.draft({ ...state.guesses, lowest })
  for (const one of state.pending.slice(0, Math.max(0, index))) Guesses.happened(to, one, noise(state))
  // where it was silent for so long that it was taken for admitted, its cost comes back first
  if (index < 0) Guesses.credited(to, cost)
  else Guesses.flow(to, state.pending[index]!.at)
  const refusal = isIdle(state, stretches) ? undefined : { cost, stretches }
  if (refusal === undefined) Guesses.emptied(to)
  else Guesses.refused(to, cost, noise(state))
  Guesses.bounded(to, highest)
  const vain = Succession.isStuck(stretches)
  const next: State = {
    ...foreseen(state, Succession.done(to, refusal), state.pending.slice(index + 1)),
    calm: 0,
    calmAt: state.pending[index]?.at ?? state.guesses.at,
    use: 0,
    probing: -1,
    inVain: vain ? state.inVain + 1 : 0,
    fellFrom: vain && state.inVain > 0 ? state.fellFrom : rate(state)
  }
  return moved(state, next)
}

/**
 * Says whether the limit was hardly in use: the bucket must have been full, and somebody else emptied it.
 *
 * What was admitted since the last refusal measures nothing then; a limit that fell so far refuses again before long.
 */
const isIdle = (state: State, stretches: Succession.Refusal["stretches"]): boolean => {
  const since = stretches.findLast((one) => one.empty)
  const known = state.before > 0 || (since?.seconds ?? 0) > defaults.idleSeconds
  return since !== undefined && known && state.use <= defaults.idleUse &&
    since.units < defaults.idleShare * rate(state) * since.seconds
}

/** Puts the next probe off: not while probes are eager. */
const rarer = (state: State): Pick<State, "eager" | "interval"> =>
  state.eager > 1
    ? { eager: state.eager - 1, interval: state.interval }
    : { eager: 0, interval: Math.min(defaults.probeMost, Math.max(defaults.secondProbe, state.interval * 2)) }

const moved = (before: State, next: State): [Reason, State] => {
  const found = rate(next)
  const eager = { ...next, before: found, interval: defaults.eagerProbe }
  if (before.probing >= 0) {
    return found > defaults.rose * before.before
      ? ["limit-rose", { ...eager, eager: defaults.eagerAfterRise }]
      : ["probe-confirmed", { ...next, before: found, ...rarer(before) }]
  }
  if (found < defaults.fell * before.before) return ["limit-fell", { ...eager, eager: defaults.eagerAfterFall }]
  return ["limit-drifted", before.calm >= defaults.settled ? { ...next, before: found } : next]
}

/** Goes on with what an earlier mirror knew, of a bucket that is empty by now. */
export const resume = (state: State, now: number): State => {
  const to = Guesses.draft(state.guesses)
  Guesses.flow(to, now)
  Guesses.emptied(to)
  return { ...foreseen(state, Succession.done(to), []), calm: 0, calmAt: now, probing: -1, inVain: 0 }
}

/** Moves the mirror to a rate that the provider stated. */
export const told = (state: State, limit: number): State => ({
  ...foreseen(state, Guesses.told(state.guesses, limit), state.pending),
  before: limit,
  calm: 0,
  probing: -1
})

/** Reads how much higher every rate is taken: 1, more in a probe. */
const excess = (state: State): number => {
  if (state.probing < 0) return 1
  const doubling = Math.max(defaults.doublingSends, defaults.doublingSeconds * rate(state) / state.mean)
  return 1 + (state.eager > 0 ? defaults.eagerExcess : defaults.excess) * 2 ** Math.min(10, state.probing / doubling)
}

/** Reads the seconds until a call of `cost` will be admitted, but for the risk; 0 for now. */
export const wait = (state: State, cost: number, now: number): number => {
  const { rates, seconds, spread, weights, windows } = state.guesses
  const { at, counted, levels, surplus } = state.ahead
  const faster = cost > state.mean ? 1 : excess(state)
  const elapsed = Math.max(0, now - at)
  const times = new Float64Array(rates.length)
  for (let i = 0; i < rates.length; i++) {
    const rate = rates[i]! * faster
    if (windows[i]!) {
      const room = Math.max(0, rate - (1 + defaults.margin) * cost)
      times[i] = SlidingCount.wait(counted, room, now)
      continue
    }
    const depth = rates[i]! * seconds[i]!
    const free = levels[i]! + rate * elapsed
    const need = cost > depth ? depth + defaults.marginLarge * cost : cost + defaults.margin * cost
    // a full bucket holds no margin on top: there the margin is the time that it has been full
    const level = need > depth ? free + surplus[i]! : Math.min(depth, free)
    times[i] = (need - level) / rate
  }
  const bound = 1 - defaults.risk - defaults.riskUnknown * Math.min(1, spread / defaults.unknown)
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
  const { guesses, pending } = state
  const index = pending.findIndex((one) => one.seq === seq)
  if (index < 0) return 0
  const { at, cost } = pending[index]!
  const levels = Guesses.levelsAt(guesses, Guesses.outlook(guesses, guesses, pending.slice(0, index)), at)
  return guesses.rates.reduce((weight, rate, i) => {
    const depth = rate * guesses.seconds[i]!
    return levels[i]! < Math.min(cost, depth) ? weight + guesses.weights[i]! : weight
  }, 0)
}

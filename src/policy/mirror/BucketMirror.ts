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
 * From the first failure on a mirror carries another, which takes what fails the other way: one takes it back, the other
 * counts it. Each sums up how likely it found what happened, and the one that explains the refusals better is believed.
 *
 * Everything is plain data, `now` is seconds.
 */
import * as Guesses from "./BucketGuesses.ts"
import { defaults, type Pending, type Reason, type State } from "./BucketMirrorState.ts"
import * as Return from "./BucketReturn.ts"
import * as Succession from "./BucketSuccession.ts"
import * as Pause from "../rate/Pause.ts"
import * as SlidingCount from "./SlidingCount.ts"
import * as Use from "../rate/Use.ts"

export { around, defaults, make, type Reason, type State } from "./BucketMirrorState.ts"

/** Reads the rate, in units per second. */
export const rate = (state: State): number => state.guesses.rate

/**
 * Reads how deep the bucket is, where that is known: its guesses differ less than the usual ones do, and it holds several
 * calls. A bucket that holds less is full when it admits one, whatever its depth.
 */
export const depth = (state: State): Guesses.Depth | undefined => {
  const guessed = Guesses.depth(state.guesses)
  const several = guessed.seconds * rate(state) >= defaults.several * state.mean
  return several && guessed.spread < Guesses.defaults.seconds ? guessed : undefined
}

const noise = (state: State): number => Math.max(1e-9, Guesses.defaults.noise * state.mean, state.blur)

/** Moves a mirror, and the other that it carries. */
const both = (state: State, move: (one: State) => State): State => {
  const own = move(state)
  const other = state.other && move(state.other)
  return other === own.other ? own : { ...own, other }
}

/** Takes what is under way to be counted wrongly by so many units: what the provider says of a guess weighs less. */
export const blurred = (state: State, units: number): State =>
  both(state, (one) => units === one.blur ? one : { ...one, blur: units })

/** Notes for how many seconds the provider asked to wait. */
export const asks = (state: State, asked: number): State => both(state, (one) => ({ ...one, asked }))

/** Reads the calls that a refusal costs: those that the limit would have admitted in a pause once its bucket is full. */
const price = ({ asked, guesses, mean }: State): number => {
  if (asked <= Use.defaults.restSeconds) return 0
  const filling = Math.max(Use.patience(mean, guesses.rate), Guesses.depth(guesses).seconds)
  return Math.max(0, asked - filling) * guesses.rate / mean
}

/** Says whether a refusal costs many calls. */
export const isDear = (state: State): boolean => price(state) >= defaults.dear

/** Reads the calls by which a probe earns its refusal: what it may find is how far the guesses lie apart. */
const earning = (state: State): number => Pause.earned(price(state), state.eager > 0 ? Infinity : state.guesses.spread)

const paced = (state: State, now: number): Partial<State> => {
  if (state.probing >= 0) return { probing: state.probing + 1 }
  const calm = state.calm + 1
  const slow = state.eager > 0 && calm >= defaults.eagerLeast && now - state.calmAt >= defaults.eagerSeconds
  const due = (calm >= state.interval || slow) && calm >= earning(state)
  return due ? { probing: 0, calm: 0, before: rate(state) } : { calm }
}

/** Notes that attempt `seq` is sent; `held` says that it had to wait for this limit. */
export const send = (before: State, seq: number, cost: number, held: boolean, now: number): State =>
  both(before, (state) => ({
    ...joined(state, { seq, at: now, cost, back: 0 }),
    ...(held ? paced(state, now) : {}),
    use: held ? Math.min(defaults.useMost, state.use + 1) : state.use - 1,
    back: Return.sent(state.back, seq),
    mean: state.mean === 0 ? cost : state.mean * 0.98 + cost * 0.02
  }))

const joined = (state: State, one: Pending): State => ({
  ...state,
  ahead: Guesses.outlook(state.guesses, state.ahead, [one]),
  pending: [...state.pending, one]
})

/** Takes `silence` seconds without a refusal for an admission. */
export const advance = (state: State, now: number, silence: number): State =>
  both(state, (one) => advanced(one, now, silence))

const advanced = (state: State, now: number, silence: number): State => {
  const next = heard(state, now, silence)
  const tried = next.use > 0 ? Return.due(next.back, rate(next), next.calm, now) : 0
  if (tried === 0) return next
  const { lowest, windowed } = next.guesses
  const guesses = Guesses.between({ least: tried / 2, most: 4 * tried, held: next.mean, lowest, windowed }, now)
  return { ...anew(next, next.pending, guesses, tried, now), back: Return.begin(next.back, next, now) }
}

const heard = (state: State, now: number, silence: number): State => {
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
  const last = state.pending.slice(0, count).findLast((one) => one.seq >= 0)
  const back = last === undefined ? state.back : Return.admitted(state.back, last.at, state.mean)
  if (last !== undefined && state.inVain > 0 && Return.isShut(state.back, state.fellFrom, state.mean)) {
    const tried = Math.max(rate(state), afterVain(state))
    const { lowest, windowed } = state.guesses
    const most = Math.max(2 * tried, 2 * Return.faded(back, now))
    const guesses = Guesses.between({ least: tried, most, held: state.mean, lowest, windowed }, now)
    return { ...anew(state, pending, guesses, tried, now), back }
  }
  const guesses = Succession.done(to)
  // all happened as foreseen: what lies ahead is the same, unless the guesses are others
  return guesses.rates === state.guesses.rates
    ? { ...state, guesses, pending, back }
    : { ...foreseen(state, guesses, pending), back }
}

/** Reads the rate that is worth a try once calls are admitted again that were refused in vain; 0 where none were. */
export const afterVain = (state: State): number => state.inVain > 0 ? defaults.emptiedTo * state.fellFrom : 0

/** Begins again at a rate: a limit that was used up, or shut, admits again. */
const anew = (
  state: State,
  pending: State["pending"],
  guesses: Guesses.Guesses,
  tried: number,
  now: number
): State => ({
  ...foreseen(state, guesses, pending),
  before: tried,
  calm: 0,
  calmAt: now,
  inVain: 0,
  interval: defaults.eagerProbe,
  eager: defaults.eagerAfterFall
})

/** Puts guesses in place, or another list of what is pending, that were not foreseen. */
const foreseen = (state: State, guesses: Guesses.Guesses, pending: State["pending"]): State => ({
  ...state,
  guesses,
  pending,
  ahead: Guesses.outlook(guesses, guesses, pending)
})

/** Gives units back, or takes more: of an attempt that was not counted (`units` is its whole cost), or counted wrongly. */
export const credit = (state: State, seq: number, cost: number, units: number, now: number): State =>
  both(state, (one) => credited(one, seq, cost, units, now))

/** Takes an attempt back that failed, unless it counts; the other mirror takes it the other way. */
export const fail = (state: State, seq: number, cost: number, counts: boolean, now: number): State => {
  const other = state.other ?? state
  return counts
    ? { ...state, other: credited(other, seq, cost, cost, now) }
    : { ...credited(state, seq, cost, cost, now), other }
}

const credited = (state: State, seq: number, cost: number, units: number, now: number): State =>
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
  const [reason, own] = refused(state, seq, cost, stretches, lowest, highest)
  if (state.other === undefined) return [reason, own]
  const other = refused(state.other, seq, cost, stretches, lowest, highest)[1]
  const ahead = other.guesses.evidence - own.guesses.evidence
  const { doubtOfOne } = defaults
  const doubt = Math.max(0, state.doubt + Math.max(-doubtOfOne, Math.min(doubtOfOne, ahead)))
  return [reason, { ...fresh(own), other: fresh(other), doubt }]
}

/** Begins to count evidence anew. */
const fresh = (state: State): State => ({ ...state, guesses: { ...state.guesses, evidence: 0 } })

/** Says whether the other mirror explains the refusals better. */
export const isDoubted = ({ doubt }: State): boolean => doubt >= defaults.doubt

/** Goes on with the other mirror, and carries this one. */
export const swapped = (state: State): State =>
  state.other === undefined ? state : { ...state.other, other: { ...state, other: undefined, doubt: 0 }, doubt: 0 }

const refused = (
  state: State,
  seq: number,
  cost: number,
  stretches: Succession.Refusal["stretches"],
  lowest: number,
  highest: number
): [Reason, State] => {
  const index = state.pending.findIndex((one) => one.seq === seq)
  const sentAt = state.pending[index]?.at ?? state.guesses.at
  const { under } = state.back
  if (under !== undefined && Return.isVain(under, seq)) {
    return ["probe-confirmed", left(state, under.left, index, sentAt)]
  }
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
  const before = index > 0 ? Return.admitted(state.back, state.pending[index - 1]!.at, state.mean) : state.back
  const next: State = {
    ...foreseen(state, Succession.done(to, refusal), state.pending.slice(index + 1)),
    calm: 0,
    calmAt: sentAt,
    use: 0,
    probing: -1,
    inVain: vain ? state.inVain + 1 : 0,
    fellFrom: vain && state.inVain > 0 ? state.fellFrom : rate(state),
    back: Return.refuse(before, heldUntil(state, stretches), sentAt)
  }
  return moved(state, next)
}

/** Reads the rate that held until a refusal: what was admitted since the last one proves it; 0 for none. */
const heldUntil = (state: State, stretches: Succession.Refusal["stretches"]): number => {
  const since = stretches.findLast((one) => one.empty)
  return since === undefined || since.units < Return.defaults.proof * state.mean
    ? 0
    : Math.min(rate(state), since.units / since.seconds)
}

/** Goes back to the guesses that a return in vain left. */
const left = (state: State, { before, eager, guesses, interval }: Return.Left, index: number, at: number): State => {
  const to = Guesses.draft(guesses)
  Guesses.flow(to, at)
  Guesses.emptied(to)
  return {
    ...foreseen(state, Succession.done(to), state.pending.slice(index + 1)),
    before,
    eager,
    interval,
    calm: 0,
    calmAt: at,
    use: 0,
    probing: -1,
    back: Return.failed(state.back, at)
  }
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

/** Puts the next probe off, where a window tells the limit: that the guesses moved says nothing. */
export const steadied = (state: State, { interval, probing }: State): State =>
  both(
    state,
    (one) => ({ ...one, eager: 0, interval: probing < 0 ? interval : rarer({ ...one, eager: 0, interval }).interval })
  )

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
export const resume = (before: State, now: number): State => both(before, (state) => resumed(state, now))

const resumed = (state: State, now: number): State => {
  const to = Guesses.draft(state.guesses)
  Guesses.flow(to, now)
  Guesses.emptied(to)
  return {
    ...foreseen(state, Succession.done(to), []),
    calm: 0,
    calmAt: now,
    probing: -1,
    inVain: 0,
    back: Return.resumed(state.back, now)
  }
}

/** Moves the mirror to a rate that the provider stated. */
export const told = (before: State, limit: number): State =>
  both(before, (state) => ({
    ...foreseen(state, Guesses.told(state.guesses, limit), state.pending),
    before: limit,
    calm: 0,
    probing: -1,
    back: Return.told(state.back, limit, state.guesses.at)
  }))

/** Reads how much higher every rate is taken: 1, more in a probe. */
export const excess = (state: State): number => {
  if (state.probing < 0) return 1
  const doubling = Math.max(defaults.doublingSends, defaults.doublingSeconds * rate(state) / state.mean)
  return 1 + (state.eager > 0 ? defaults.eagerExcess : defaults.excess) * 2 ** Math.min(10, state.probing / doubling)
}

/** Reads the seconds that may still be waited where so many units are owed, whatever the rate. */
export const longest = (state: State, owed: number, now: number): number =>
  Return.longest(state.back, owed) - Math.max(0, now - state.ahead.at)

/** Reads the seconds until a call of `cost` will be admitted, but for the risk; 0 if it is at once. */
export const wait = (state: State, cost: number, now: number): number => {
  const { rates, seconds, spread, weights, windows } = state.guesses
  const { at, counted, levels, surplus } = state.ahead
  const faster = cost > state.mean ? 1 : excess(state)
  const elapsed = Math.max(0, now - at)
  const latest = (owed: number): number => longest(state, owed, now)
  const times = rates.map((own, i) => {
    const rate = own * faster
    if (windows[i]!) {
      const room = Math.max(0, rate - (1 + defaults.margin) * cost)
      return Math.min(SlidingCount.wait(counted, room, now), latest(cost - levels[i]!))
    }
    const depth = own * seconds[i]!
    const free = levels[i]! + rate * elapsed
    const need = cost > depth ? depth + defaults.marginLarge * cost : cost + defaults.margin * cost
    // a full bucket holds no margin on top: there the margin is the time that it has been full
    const level = need > depth ? free + surplus[i]! : Math.min(depth, free)
    return level >= need ? 0 : Math.min((need - level) / rate, latest(need - levels[i]!))
  })
  const riskUnknown = defaults.riskUnknown / (1 + price(state) / defaults.dear)
  const bound = 1 - defaults.risk - riskUnknown * Math.min(1, spread / defaults.unknown)
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

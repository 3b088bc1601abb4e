/**
 * Learns how long after an answer a provider that caps calls in flight frees its place, and holds the place back so long.
 *
 * Many providers count a call as ended some milliseconds after its answer has left. What is sent as the answer comes is
 * then refused, each time. So for each delay that is told apart a weight says how likely it is, and each place that is
 * taken tells more: a refusal that its delay is longer, an answer that it was not. Places count in the order of their
 * answers, and the oldest is taken first.
 *
 * ```
 *   answer ──hold──▶ ready ──taken──▶ answered: the delay was shorter
 *                      ▲        └──▶ refused: it is longer ──hold, given that──┐
 *                      └───────────────────────────────────────────────────────┘
 *   hold = the h that costs least:  seconds of an answer · P(delay > h)  +  the mean of max(0, h − delay)
 * ```
 *
 * A refused attempt is as bad as a place that stands empty for the time of an answer. So where one place in ten is late
 * by a second, and an answer takes a second, no place is held back. Now and then a place is tried sooner, half as likely
 * to be free, and twice as seldom each time that this was in vain.
 *
 * What is refused more often than a delay explains is the cap's own: it fell, or was never so high. Then all is
 * forgotten, and no refusal is taken for a late place for a while.
 *
 * **Source**: expectation and maximization for observations that are censored on both sides (Turnbull 1976), one
 * observation at a time; the hold is the order of a newsvendor.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Shortest delay that is told from none in seconds, the factor from one to the next, and how many are told apart. */
  least: 0.004,
  factor: 1.2,
  delays: 32,
  /** Weight of one more observation at the least, and what it leaves to all delays. */
  weight: 0.1,
  open: 0.002,
  /** Share of places as old that must be later still, or another reason is taken to have refused the attempt. */
  plausible: 0.02,
  /** Places after which one is tried sooner, at the least and at the most. */
  trialLeast: 8,
  trialMost: 1024,
  /** Share of the hold after which a place is tried now and then. */
  sooner: 0.75,
  /** Refusals that delays may explain at most, and more for each call of the cap; what each answer takes off them. */
  misfits: 8,
  misfitsEach: 0.125,
  forgiven: 0.1,
  /** Times as many that are noted once they were too many. */
  refuted: 1.5
} as const

const delays: ReadonlyArray<number> = Array.from(
  { length: defaults.delays + 1 },
  (_, n) => n === 0 ? 0 : defaults.least * defaults.factor ** (n - 1)
)

const prior: ReadonlyArray<number> = delays.map((_, n) => n === 0 ? 0.5 : 0.5 / defaults.delays)

/** The longest delay that is told from another: a place that is older is free. */
export const longest = Math.max(...delays)

/** Reads how long to hold a place back for a delay. */
const until = (delay: number): number => delay * Math.sqrt(defaults.factor)

/** Is a place whose call was answered. */
export interface Place {
  /** When the answer came. */
  readonly at: number
  /** Seconds after it at which an attempt was last refused; -1 for none. */
  readonly tried: number
  /** Until when it is held back. */
  readonly readyAt: number
}

/** Holds what is known: plain data. */
export interface State {
  /** How likely each delay is; empty while no place was late. */
  readonly weights: ReadonlyArray<number>
  /** Observations so far, each as far as it told something. */
  readonly seen: number
  /** When the first place was late. */
  readonly since: number
  /** Refusals that were put down to a delay, less a share of the answers. */
  readonly misfit: number
  /** Seconds for which a place is held back. */
  readonly hold: number
  /** Places until one is tried sooner, and at least between two of them. */
  readonly trialIn: number
  readonly trialEvery: number
  /** Places that are empty, in the order of their answers. */
  readonly places: ReadonlyArray<Place>
}

/** Begins where no place was late. */
export const initial: State = {
  weights: [],
  seen: 0,
  since: 0,
  misfit: 0,
  hold: 0,
  trialIn: 0,
  trialEvery: 0,
  places: []
}

/** Says whether any place was late. */
export const isKnown = (state: State): boolean => state.weights.length > 0

const weightsOf = (state: State): ReadonlyArray<number> => isKnown(state) ? state.weights : prior

/** Sums up the weights of the delays above one and up to another. */
const between = (weights: ReadonlyArray<number>, above: number, to: number): number =>
  delays.reduce((sum, delay, n) => delay > above && delay <= to ? sum + (weights[n] as number) : sum, 0)

/** Computes for how long to hold a place back that was refused `tried` seconds after its answer. */
const holdOf = (weights: ReadonlyArray<number>, tried: number, price: number): number => {
  const all = between(weights, tried, Infinity)
  let [hold, free, cost, least] = [0, 0, 0, 0]
  let from = Math.max(0, tried)
  delays.forEach((delay, n) => {
    if (delay <= tried) return
    const share = (weights[n] as number) / all
    const to = until(delay)
    cost += free * (to - from) - price * share
    if (cost < least) {
      least = cost
      hold = to
    }
    free += share
    from = to
  })
  return hold
}

/** Learns that the delay of a place that was refused at `tried` is above `above`, and at most `to`. */
const learn = (state: State, tried: number, above: number, to: number, price: number): State => {
  const before = weightsOf(state)
  const all = between(before, tried, Infinity)
  const within = between(before, above, to)
  if (within === 0) return state
  const told = 1 - within / all
  const weight = Math.max(defaults.weight, 1 / (1 + state.seen))
  const weights = before.map((one, n) => {
    const delay = delays[n] as number
    const share = delay > above && delay <= to ? all / within : 0
    const learned = delay > tried ? one * (1 - weight + weight * share) : one
    return learned + ((prior[n] as number) - learned) * defaults.open * told
  })
  return { ...state, weights, seen: state.seen + told, hold: holdOf(weights, -1, price) }
}

/** Computes after how many places one is tried sooner: once what that may gain pays for its refusal. */
const trialAfter = ({ hold, trialEvery }: State, price: number): number =>
  Math.min(defaults.trialMost, Math.max(defaults.trialLeast, trialEvery, price / ((1 - defaults.sooner) * hold)))

/** Says whether an attempt took a place sooner than others are. */
const isSooner = ({ hold }: State, { tried }: Place, age: number): boolean => tried < 0 && age < hold * 0.95

const isReady = ({ readyAt }: Place, now: number): boolean => readyAt <= now + 1e-9

/** Counts the places that are held back. */
export const held = ({ places }: State, now: number): number => {
  let count = 0
  for (const place of places) if (!isReady(place, now)) count++
  return count
}

/** Reads the seconds until the first of those that are held back is ready. */
export const wait = ({ places }: State, now: number): number =>
  places.reduce((least, place) => isReady(place, now) ? least : Math.min(least, place.readyAt - now), Infinity)

/** Takes a place: the oldest, but for those that were refused and are not ready yet. */
export const take = (state: State, now: number): readonly [Place | undefined, State] => {
  if (state.places.length === 0) return [undefined, state]
  const places = state.places.filter(({ at }) => now - at <= longest)
  const ready = places.find((place) => isReady(place, now))
  if (ready === undefined) return [undefined, { ...state, places }]
  const taken = places.find((place) => place === ready || place.tried < 0) as Place
  // one that is tried sooner lets an older one go first, and waits in its stead
  const left = places.filter((place) => place !== taken)
  return [taken, {
    ...state,
    places: left.map((place) => place === ready ? { ...place, readyAt: taken.readyAt } : place)
  }]
}

/** Learns from an answer to a call that was sent at `at`, and holds its place back; `place` is the one that it took. */
export const answer = (
  before: State,
  place: Place | undefined,
  at: number,
  price: number,
  now: number
): State => {
  if (!isKnown(before) && before.misfit === 0) return before
  const known = { ...before, misfit: Math.max(0, before.misfit - defaults.forgiven) }
  if (!isKnown(before)) return known
  const age = place === undefined ? 0 : at - place.at
  const learned = place === undefined ? known : learn(known, place.tried, place.tried, age, price)
  const state = place !== undefined && isSooner(before, place, age)
    ? { ...learned, trialEvery: learned.trialEvery / 2 }
    : learned
  const isTrial = state.trialIn <= 0 && state.hold > 0
  const readyAt = now + state.hold * (isTrial ? defaults.sooner : 1)
  return {
    ...state,
    places: [...state.places, { at: now, tried: -1, readyAt }],
    trialIn: isTrial ? trialAfter(state, price) : state.trialIn - 1
  }
}

/**
 * Learns from a refusal of an attempt that took a place under a cap of `limit`, and says whether the place explains it.
 *
 * @param sure whether as many were admitted before, so that it is no other cap
 */
export const refuse = (
  before: State,
  place: Place,
  attempt: { readonly at: number; readonly limit: number; readonly sure: boolean },
  price: number,
  now: number
): readonly [boolean, State] => {
  const misfits = defaults.misfits + attempt.limit * defaults.misfitsEach
  const misfit = before.misfit + 1
  if (misfit > misfits) {
    return [false, isKnown(before) ? { ...initial, misfit: misfits * defaults.refuted } : before]
  }
  const age = Math.max(0, attempt.at - place.at)
  const weights = weightsOf(before)
  const later = between(weights, Math.max(age, place.tried), Infinity)
  if (later === 0 || !(attempt.sure || later > defaults.plausible * between(weights, place.tried, Infinity))) {
    return [false, before]
  }
  const learned = learn(before, place.tried, age, Infinity, price)
  const every = isSooner(before, place, age) ? 2 * trialAfter(learned, price) : 0
  const back = { at: place.at, tried: age, readyAt: place.at + Math.max(age, holdOf(learned.weights, age, price)) }
  const older = before.places.filter(({ at }) => at <= place.at)
  return [true, {
    ...learned,
    misfit,
    since: isKnown(before) ? before.since : now,
    trialEvery: every > 0 ? every : learned.trialEvery,
    trialIn: Math.max(learned.trialIn, every),
    places: [...older, back, ...before.places.slice(older.length)]
  }]
}

/**
 * Bounds the rate of a bucket whose depth is unknown, by what it admitted and what it refused.
 *
 * For any one rate, how full of debt the bucket was follows from when units were sent:
 *
 * ```
 * debt(t)  = max(0, debt(t') − rate · (t − t')) + cost
 * admitted : depth ≥ debt          refused : depth < debt that it would have been
 * a rate is possible  ⇔  highest debt admitted < lowest debt refused, over the last episodes
 * ```
 *
 * A low rate with a deep bucket and a high rate with a shallow one explain one refusal equally well, but not two: if
 * one refusal follows a burst, and another a slow climb, few pairs of rate and depth explain both. So the depth need
 * not be known, and a pause, in which a shallow bucket overflows and a deep one does not, measures as well as any other
 * time.
 *
 * The rates looked at are 3 % apart from 1/20 of the first rate refused to it. Between two of them the debt lies between
 * theirs: what is compared is the least it can be where it was admitted with the most where it was refused, so no rate
 * is ruled out that is possible. After a refusal the debt is the depth, never more. Where no rate explains the last
 * four episodes, the limit has moved: then the last three or two speak. More are remembered, to compare two accounts of
 * what was sent (`Failures`).
 *
 * Costs a small object per attempt, and a pass over the attempts since the last refusal per refusal. Times are seconds.
 *
 * **Source**: the generic cell rate algorithm (ITU-T I.371), run for many rates at once and read backwards.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Distance between two rates, as a ratio, and the ratio of the highest to the lowest. */
  step: 1.03,
  span: 20,
  /** Episodes that must agree on a rate, at most, and those that are remembered. */
  episodes: 4,
  remembered: 8,
  /** Attempts that are remembered, and how many of them are kept once they are more. */
  most: 800,
  kept: 400,
  /** Share by which a refused rate may lie above the highest one, and ratio to the lowest, within which they stay. */
  above: 1.1,
  below: 2
} as const

const rates = Math.ceil(Math.log(defaults.span) / Math.log(defaults.step)) + 1

/** Is an attempt, and its units. */
export interface Attempt {
  readonly at: number
  readonly cost: number
}

/** Remembers an attempt, or units that came back (a cost below 0, `of` is when they were sent), and those before it. */
interface Sent extends Attempt {
  readonly of: number | undefined
  readonly before: Sent | undefined
}

/** Holds, for each rate, what the attempts up to one refusal say of the depth: at least, and less than. */
interface Measure {
  readonly admitted: ReadonlyArray<number>
  readonly refused: ReadonlyArray<number>
  /** The debt once it was refused. */
  readonly debts: ReadonlyArray<number>
}

/** Holds one refusal, and what led to it. */
interface Episode {
  readonly since: number
  readonly before: ReadonlyArray<number>
  /** Those that were admitted, as far as is known: remembered once one failed. */
  readonly sent: ReadonlyArray<Sent>
  readonly at: number
  readonly cost: number
  readonly measure: Measure
  /** True where the limit is known to have moved before it: earlier episodes no longer speak for the rate. */
  readonly moved: boolean
}

/** Holds what is remembered: plain data. */
export interface State {
  readonly last: Sent | undefined
  readonly count: number
  /** When the last refused attempt was sent, and the debt at each rate by then. */
  readonly since: number
  readonly debts: ReadonlyArray<number>
  /** The lowest rate that is looked at; 0 before the first refusal. */
  readonly lowest: number
  readonly episodes: ReadonlyArray<Episode>
  /** True once one failed: then what led to each refusal is remembered, to be measured again. */
  readonly canFail: boolean
}

/** Remembers nothing yet. */
export const empty: State = { last: undefined, count: 0, since: 0, debts: [], lowest: 0, episodes: [], canFail: false }

const listed = (last: Sent | undefined): ReadonlyArray<Sent> => {
  const sent: Array<Sent> = []
  for (let one = last; one !== undefined; one = one.before) sent.push(one)
  return sent.reverse()
}

const linked = (sent: ReadonlyArray<Sent>): Sent | undefined =>
  sent.reduce<Sent | undefined>((before, { at, cost, of }) => ({ at, cost, of, before }), undefined)

/** Remembers an attempt that is sent; the oldest are forgotten, and with them what was owed before. */
export const send = (state: State, cost: number, at: number): State => added(state, cost, at, undefined)

/** Remembers that units of an attempt that was sent at `of` came back. */
export const credit = (state: State, units: number, of: number, at: number): State => added(state, -units, at, of)

const added = (state: State, cost: number, at: number, of: number | undefined): State => {
  const last = { at, cost, of, before: state.last }
  if (state.count < defaults.most) return { ...state, last, count: state.count + 1 }
  const sent = listed(last).slice(-defaults.kept)
  return { ...state, last: linked(sent), count: sent.length, debts: [] }
}

/** Reads those that were admitted since the last refusal, before a moment and after it, and what came back until then. */
export const sentSince = (
  { last }: State,
  until: number
): {
  readonly fresh: ReadonlyArray<Attempt>
  readonly later: ReadonlyArray<Attempt>
  readonly back: ReadonlyArray<Attempt>
} => {
  const sent = listed(last)
  const attempts = sent.filter((one) => one.of === undefined).map(({ at, cost }) => ({ at, cost }))
  return {
    fresh: attempts.filter((one) => one.at < until),
    later: attempts.filter((one) => one.at > until),
    back: sent.flatMap(({ at, cost, of }) => of === undefined || at >= until ? [] : [{ at: of, cost: -cost }])
  }
}

/** Says whether some of those are forgotten. */
export const hasForgotten = ({ debts, episodes }: State): boolean => episodes.length > 0 && debts.length === 0

/** Forgets an attempt that the provider did not count; one that is not remembered changes nothing. */
export const withdraw = (state: State, at: number): State => {
  const later: Array<Sent> = []
  let one = state.last
  while (one !== undefined && (one.at > at || (one.at === at && one.of !== undefined))) {
    later.push(one)
    one = one.before
  }
  if (one?.at !== at) return state
  const last = later.reduceRight<Sent | undefined>((before, { at, cost, of }) => ({ at, cost, of, before }), one.before)
  return { ...state, last, count: state.count - 1 }
}

/** Takes back an attempt that failed, also one that was sent before a refusal: that measured too much. */
export const fail = (before: State, at: number): State => {
  const state = before.canFail ? before : { ...before, canFail: true }
  const less = withdraw(state, at)
  if (less !== state) return less
  const k = state.episodes.findIndex((one) => one.since <= at && at <= one.at)
  const found = state.episodes[k]
  const i = found?.sent.findIndex((one) => one.at === at) ?? -1
  if (found === undefined || i < 0) return state
  const sent = found.sent.filter((_, j) => j !== i)
  return { ...state, episodes: state.episodes.with(k, { ...found, sent, measure: unmeasured }) }
}

/** Picks the last episodes that speak for one rate: since the limit last moved, four at most. */
const speaking = (episodes: ReadonlyArray<Episode>): ReadonlyArray<Episode> =>
  episodes.slice(Math.max(0, episodes.length - defaults.episodes, episodes.findLastIndex((one) => one.moved)))

const unmeasured: Measure = { admitted: [], refused: [], debts: [] }

const measured = (
  lowest: number,
  { at, before, cost, moved, sent, since }: Omit<Episode, "measure">,
  past: ReadonlyArray<Episode>
): Measure => {
  const same = moved ? [] : speaking(past)
  const admitted: Array<number> = []
  const refused: Array<number> = []
  const debts: Array<number> = []
  for (let k = 0; k < rates; k++) {
    const each = lowest * defaults.step ** k
    let debt = before[k] ?? 0
    let then = since
    let most = 0
    for (const one of sent) {
      debt = Math.max(0, debt - each * (one.at - then)) + one.cost
      then = one.at
      most = Math.max(most, debt)
    }
    debt = Math.max(0, debt - each * (at - then))
    admitted.push(most)
    refused.push(debt + cost)
    debts.push(same.reduce((least, episode) => Math.min(least, episode.measure.refused[k]!), debt))
  }
  return { admitted, refused, debts }
}

/** Measures again what has failed since. */
const corrected = (state: State): State => {
  const first = state.episodes.findIndex(({ measure }) => measure === unmeasured)
  if (first < 0) return state
  const episodes = state.episodes.slice(0, first)
  for (const one of state.episodes.slice(first)) {
    const before = episodes.at(-1)?.measure.debts ?? one.before
    episodes.push({ ...one, before, measure: measured(state.lowest, { ...one, before }, episodes) })
  }
  return { ...state, episodes, debts: state.debts.length > 0 ? episodes.at(-1)!.measure.debts : state.debts }
}

/**
 * Learns from the refusal that begins an episode.
 *
 * @param at when the refused attempt was sent
 * @param rate the rate at which it was sent
 * @param moved true where the limit is known to have moved: earlier episodes no longer speak for it
 * @param highest the highest rate that is looked at, where it begins anew
 */
export const refuse = (
  before: State,
  at: number,
  cost: number,
  rate: number,
  moved: boolean,
  highest = rate
): State => {
  const state = corrected(withdraw(before, at))
  const sent = listed(state.last)
  const later = sent.filter((one) => one.at > at)
  const earlier = sent.slice(0, sent.length - later.length)
  const fresh = rate > state.lowest * defaults.span * defaults.above || rate < state.lowest * defaults.below
  const lowest = fresh ? highest / defaults.span : state.lowest
  const past = fresh ? [] : state.episodes
  const episode = { since: state.since, before: fresh ? [] : state.debts, sent: earlier, at, cost, moved }
  const measure = measured(lowest, episode, past)
  const kept = { ...episode, sent: state.canFail ? earlier : [], measure }
  const episodes = [...past, kept].slice(-defaults.remembered)
  return { ...state, last: linked(later), count: later.length, since: at, debts: measure.debts, lowest, episodes }
}

/** Says which rates explain the last episodes. */
export interface Bounds {
  /** The lowest and the highest of them, units per second. */
  readonly lowest: number
  readonly highest: number
  /** The depth of the bucket at the lowest: less than this. */
  readonly depth: number
  /** What it holds at least, at any of them: that much went through at once, beyond the highest. */
  readonly holds: number
  /** Episodes that they explain. */
  readonly episodes: number
}

/** Reads the rates that explain as many of the last episodes as can be explained, two at least. */
export const bounds = (state: State): Bounds | undefined => explained(state, speaking(state.episodes))

const explained = (state: State, episodes: ReadonlyArray<Episode>): Bounds | undefined => {
  for (let first = 0; first < episodes.length - 1; first++) {
    const found = common(state, episodes.slice(first))
    if (found !== undefined) return found
  }
  return undefined
}

/** Counts the last episodes that some rate explains, one at least: also where the limit would have to have moved. */
export const explains = (state: State): number => explained(state, state.episodes)?.episodes ?? 1

const common = (state: State, episodes: ReadonlyArray<Episode>): Bounds | undefined => {
  const depth = (k: number) => Math.min(...episodes.map((one) => one.measure.refused[k]!))
  const held = (k: number) => Math.max(...episodes.map((one) => one.measure.admitted[k + 1]!))
  const possible = (k: number) => held(k) < depth(k)
  let first = 0
  while (first < rates - 1 && !possible(first)) first++
  if (first === rates - 1) return undefined
  let last = rates - 2
  while (!possible(last)) last--
  return {
    lowest: state.lowest * defaults.step ** first,
    highest: state.lowest * defaults.step ** (last + 1),
    depth: depth(first),
    holds: held(last),
    episodes: episodes.length
  }
}

/**
 * Finds the window in which a provider counts attempts, by when attempts were admitted and refused.
 *
 * A window admits so many attempts in its time, and nothing more until it ends. No bucket explains that, whatever its
 * depth: it would fill while a window is shut, and would have nothing left once a window was used up.
 *
 * ```
 * sliding   refused ⇔ n were admitted in the last so many seconds
 * fixed     refused ⇔ n were admitted since the last of many ends, so many seconds apart
 *
 *    │● ● ● ● ● ○      ○   │●●●●●○             │        ● admitted  ○ refused, five in a window
 *    └──── seconds ────────┴── another end ────┘
 * ```
 *
 * For each length the refusals leave few numbers that explain them all. In a sliding window it is what was admitted in that
 * time before each refusal. In a fixed one each number goes with another end of the window: after the attempt that is one
 * too many, before the first that counts, and between what was refused and what was admitted next. A number is left as
 * long as some end explains all refusals, and no window between them admitted more.
 *
 * A window is believed once it explains three refusals, and more than the rates of a bucket do (`BucketBounds`). Two are
 * enough where it was shut for so long that a bucket would have admitted several. A refusal between which and the last
 * less than half a window was admitted is no evidence of its own. Where a bucket explains all that it remembers, none is
 * believed: at a steady rate, the seconds before refusals are alike. A window that is kept to and admits little before each
 * of three refusals is none. Once one was disproved, the next needs more: a limit that closes now and then may look like a
 * window for a while.
 *
 * A fixed window admits whatever a sliding one does. So attempts are sent as a sliding window admits them, whichever it is.
 *
 * Costs nothing for an attempt before a window is known. A refusal that begins an episode costs passes over the attempts of
 * the last minute, and over those since the last one for each number that they exceed: some milliseconds where thousands
 * were sent. Times are seconds.
 */

import type { Attempt as Sent } from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Lengths that are looked for: what providers state is per second, per ten seconds or per minute. */
  lengths: [1, 10, 60],
  /** Those of them that a pause is cut short for. */
  long: [10, 60],
  /** Seconds by which attempts may arrive sooner or later than they were sent, and the same as a share of a window. */
  jitter: 0.02,
  jitterShare: 0.002,
  /** Attempts that are remembered. */
  most: 2400,
  /** Attempts of a window, at least: fewer are explained by chance. Share by which it may be unclear how many they are. */
  least: 4,
  unclear: 0.25,
  /** Refusals that a window must explain, and by how many more than the rates of a bucket do. */
  episodes: 3,
  ahead: 1,
  /** Attempts that a bucket would have admitted while the window was shut, from which one refusal less is enough. */
  shut: 10,
  /** Share of a window that must be admitted between two refusals, for both to be evidence. */
  fresh: 0.5,
  /** Refusals in a row before which it admitted less than that, though it was kept to, that disprove a window. */
  early: 3,
  /** Seconds that a window is taken to be longer than it is: a share, at most so many. */
  longer: 0.01,
  longerMost: 0.05,
  /** Parts of a window: what is sent within one is counted at once. */
  cells: 240,
  /** Seconds within which a window that is about to open is not waited for on its own. */
  soon: 0.05
} as const

/** Says that a window explains the refusals that admits so many units, at least and less than, and ends between two moments. */
interface End {
  readonly least: number
  readonly below: number
  readonly from: number
  readonly to: number
}

/** Holds what explains the last refusals, for one length of a window. */
interface Guess {
  readonly seconds: number
  /** Refusals that a fixed window explains, and the numbers that are left, the lowest first. */
  readonly fixed: { readonly episodes: number; readonly ends: ReadonlyArray<End> }
  /** Refusals that a sliding window explains, and what it admits: at least, and less than. */
  readonly sliding: { readonly episodes: number; readonly least: number; readonly below: number }
}

/** Is what was sent between two moments. */
interface Cell extends Sent {
  readonly from: number
}

/** Is a window that is believed. */
export interface Window {
  readonly seconds: number
  /** Units that it admits. */
  readonly n: number
  /** What was sent that it may still count, in cells: those sent at nearly the same time are one. */
  readonly sent: ReadonlyArray<Cell>
}

/** Holds what is remembered: plain data. */
export interface State {
  readonly known: Window | undefined
  /** Windows that were believed and then disproved: the next needs as many refusals more. */
  readonly wrong: number
  /** The attempts of the last minute that were admitted before the last refusal. */
  readonly sent: ReadonlyArray<Sent>
  /** The run of refusals with none admitted between: when the first and the last were sent, seconds they asked for. */
  readonly since: number
  readonly refusedAt: number
  readonly refusedCost: number
  readonly asked: number
  /** Refusals in a row before which a window that was kept to admitted little. */
  readonly early: number
  readonly guesses: ReadonlyArray<Guess>
}

/** Remembers nothing yet. */
export const empty: State = {
  known: undefined,
  wrong: 0,
  sent: [],
  since: -Infinity,
  refusedAt: -Infinity,
  refusedCost: 0,
  asked: 0,
  early: 0,
  guesses: defaults.lengths.map((seconds) => ({
    seconds,
    fixed: { episodes: 0, ends: [] },
    sliding: { episodes: 0, least: 0, below: Infinity }
  }))
}

/** Describes the refusal that begins an episode. */
export interface Refusal {
  /** When the refused attempt was sent, its units and those of a usual one, and the seconds that the provider asked for. */
  readonly at: number
  readonly cost: number
  readonly mean: number
  readonly asked: number
  /** Those that were admitted since the last refusal, before this attempt and after it. */
  readonly fresh: ReadonlyArray<Sent>
  readonly later: ReadonlyArray<Sent>
  /** Units that came back since the last refusal, and when those were sent that they belong to. */
  readonly back: ReadonlyArray<Sent>
  /** True where not all of those are remembered. */
  readonly forgot: boolean
  /** Refusals that the rates of a bucket explain. */
  readonly explained: number
  /** Seconds of the window in which another limit is known to be counted. */
  readonly other?: number | undefined
}

/** What was admitted up to a refusal. */
interface Admitted extends Refusal {
  readonly all: ReadonlyArray<Sent>
  /** Units of the attempt that was refused before. */
  readonly last: number
  /** True where attempts of the last minute are missing before the first. */
  readonly cut: boolean
}

const jitter = (seconds: number): number => Math.max(defaults.jitter, defaults.jitterShare * seconds)

const sum = (sent: ReadonlyArray<Sent>): number => sent.reduce((units, one) => units + one.cost, 0)

/** Lists the windows that explain one refusal: what they counted, and the moments between which they then end. */
const endsAfter = ({ all, at, cost, cut }: Admitted, seconds: number): ReadonlyArray<End> => {
  const ends: Array<End> = []
  const off = jitter(seconds)
  const most = cut ? all.length - 1 : all.length
  let least = 0
  for (let n = 1; n <= most; n++) {
    const first = all[all.length - n]!
    const to = first.at + seconds + off
    if (to <= at) break
    least += first.cost
    const before = all[all.length - n - 1]?.at ?? -Infinity
    ends.push({ least, below: least + cost, from: Math.max(at, before + seconds - off), to })
  }
  return ends
}

/** Raises what a window admits to what one of them admitted since; attempts that may belong to either of two are left out. */
const raised = (end: End, seconds: number, sent: ReadonlyArray<Sent>, units: number): End => {
  const { from, least, to } = end
  // of the many numbers of a long window, most are above all that was sent
  if (units <= least) return end
  let window = NaN
  let count = 0
  let most = least
  for (const { at, cost } of sent) {
    const index = Math.floor((at - from) / seconds)
    if (at - from - index * seconds < to - from) continue
    count = index === window ? count + cost : cost
    window = index
    most = Math.max(most, count)
  }
  return most === least ? end : { ...end, least: most }
}

/** Intersects the ends of two windows that are so many lengths apart. */
const joint = (before: End, { below, from, least, to }: End, opened: number, seconds: number): End => {
  const ended = Math.min(before.to, opened)
  const lengths = Math.ceil((from - ended) / seconds) * seconds
  return {
    least: Math.max(least, before.least),
    below: Math.min(below, before.below),
    from: Math.max(from, before.from + lengths),
    to: Math.min(to, ended + lengths)
  }
}

/** Finds the attempt with which so many units were sent. */
const firstOf = (sent: ReadonlyArray<Sent>, units: number): Sent | undefined => {
  let sum = 0
  return sent.find(({ cost }) => (sum += cost) >= units)
}

const fixedAfter = ({ fixed: { ends, episodes }, seconds }: Guess, admitted: Admitted): Guess["fixed"] => {
  const { at, fresh, last } = admitted
  const units = sum(fresh)
  const left = (of: ReadonlyArray<End>): ReadonlyArray<End> =>
    of.filter(({ from, to }) => from <= to).map((end) => raised(end, seconds, fresh, units))
      .filter(({ below, least }) => least < below)
  if (fresh.length === 0) {
    const still = ends.map((end) => ({ ...end, from: Math.max(end.from, at) })).filter(({ from, to }) => from <= to)
    return { episodes: still.length > 0 ? episodes : 0, ends: still }
  }
  // what is smaller than the last refused may have gone into the same window
  const opening = firstOf(fresh, last)
  if (opening === undefined) return { episodes, ends }
  const opened = opening.at + jitter(seconds)
  const now = endsAfter(admitted, seconds)
  const both: Array<End> = []
  // both lists are in order of what is admitted
  let first = 0
  for (const end of ends) {
    while (first < now.length && now[first]!.below <= end.least) first++
    if (end.from > opened) continue
    for (let k = first; k < now.length && now[k]!.least < end.below; k++) both.push(joint(end, now[k]!, opened, seconds))
  }
  const found = left(both)
  return found.length > 0
    ? { episodes: episodes + (isFresh(units, found[0]!.least) ? 1 : 0), ends: found }
    : { episodes: 1, ends: left(now) }
}

const slidingAfter = ({ seconds, sliding }: Guess, admitted: Admitted): Guess["sliding"] => {
  const { all, at, cost, cut, fresh } = admitted
  const off = jitter(seconds)
  if (cut && (all[0]?.at ?? Infinity) > at - seconds - off) return { episodes: 0, least: 0, below: Infinity }
  const met = mostWithin(all, fresh.length, seconds - off)
  const counted = cost + sum(all.filter((one) => one.at > at - seconds - off))
  const least = Math.max(sliding.least, met)
  const below = Math.min(sliding.below, counted)
  return least < below
    ? { episodes: sliding.episodes + (isFresh(sum(fresh), least) ? 1 : 0), least, below }
    : { episodes: fresh.length > 0 ? 1 : 0, least: met, below: counted }
}

/** Counts the most that was admitted within so many seconds, up to each of the last attempts. */
const mostWithin = (all: ReadonlyArray<Sent>, last: number, seconds: number): number => {
  let most = 0
  let units = 0
  let first = 0
  for (let i = 0; i < all.length; i++) {
    units += all[i]!.cost
    while (all[first]!.at <= all[i]!.at - seconds) units -= all[first++]!.cost
    if (i >= all.length - last) most = Math.max(most, units)
  }
  return most
}

const isFresh = (units: number, n: number): boolean => units > 0 && units >= defaults.fresh * n

/** Takes what came back out of what was sent. */
const lessened = (sent: ReadonlyArray<Sent>, back: ReadonlyArray<Sent>): ReadonlyArray<Sent> => {
  if (back.length === 0) return sent
  const units = new Map<number, number>()
  for (const { at, cost } of back) units.set(at, (units.get(at) ?? 0) + cost)
  return sent.map((one) => {
    const less = Math.min(one.cost, units.get(one.at) ?? 0)
    if (less === 0) return one
    units.set(one.at, units.get(one.at)! - less)
    return { at: one.at, cost: one.cost - less }
  })
}

/** Learns from the refusal that begins an episode. */
export const refuse = (before: State, refusal: Refusal): State => {
  const { asked, at, back, cost, forgot, later } = refusal
  const fresh = lessened(refusal.fresh, back)
  const past = forgot ? [] : lessened(before.sent, back)
  const recent = [...past, ...fresh].filter((one) => one.at > at - Math.max(...defaults.lengths) - 1)
  const all = recent.slice(-defaults.most)
  const admitted = { ...refusal, last: before.refusedCost, fresh, all, cut: forgot || all.length < recent.length }
  const guesses = before.guesses.map((guess) => ({
    seconds: guess.seconds,
    fixed: fixedAfter(guess, admitted),
    sliding: slidingAfter(guess, admitted)
  }))
  const inVain = fresh.length === 0
  // what a bucket would need to fill is in whole seconds
  const shut = before.refusedAt === -Infinity ? 0 : Math.max(before.refusedAt - before.since, before.asked - 1)
  const found = believed(guesses, before, refusal, inVain ? 0 : shut, [...all, ...later])
  // where a window is kept to, it admits again what it admitted before
  const early = before.known === undefined || isFresh(sum(fresh), before.known.n) ? 0 : before.early + (inVain ? 0 : 1)
  const isBroken = early >= defaults.early
  ;(globalThis as any).ZZ?.(at, refusal, guesses, found, before.known, shut, early, sum(fresh))
  const known = isBroken ? undefined : found
  return {
    known,
    wrong: before.known !== undefined && known === undefined ? before.wrong + 1 : before.wrong,
    sent: all,
    since: inVain ? before.since : at,
    refusedAt: at,
    refusedCost: cost,
    asked: inVain ? Math.max(before.asked, asked) : asked,
    early: isBroken ? 0 : early,
    guesses: isBroken ? empty.guesses : guesses
  }
}

const believed = (
  guesses: ReadonlyArray<Guess>,
  { known, wrong }: State,
  { at, cost, explained, mean, other }: Refusal,
  shut: number,
  sent: ReadonlyArray<Sent>
): Window | undefined => {
  let best = { seconds: 0, n: 0, episodes: 0 }
  for (const { fixed, seconds, sliding } of guesses) {
    const least = fixed.ends.reduce((found, end) => Math.min(found, end.least), Infinity)
    const below = fixed.ends.reduce((found, end) => Math.max(found, end.below), 0)
    for (const one of [sliding, { episodes: fixed.episodes, least, below }]) {
      const { episodes, least } = one
      const unclear = Math.max(mean, defaults.unclear * least)
      if (!(least >= defaults.least * mean) || one.below - cost - least > unclear) continue
      const isKnown = seconds === known?.seconds
      const isShut = wrong === 0 && shut <= seconds && shut * least >= defaults.shut * mean * seconds
      const isOther = seconds === other
      const fewer = isOther ? defaults.episodes - 1 : isKnown || isShut ? 1 : 0
      const isAhead = isKnown || isOther || episodes >= explained + defaults.ahead
      if (episodes >= defaults.episodes + (isKnown ? 0 : wrong) - fewer && isAhead && episodes > best.episodes) {
        best = { seconds, n: least, episodes }
      }
    }
  }
  const { episodes, n, seconds } = best
  if (episodes === 0) return undefined
  if (known?.seconds === seconds) return { ...known, n }
  const counted = sent.filter((one) => one.at > at - longer(seconds))
  return { seconds, n, sent: counted.reduce((cells, one) => counting(cells, one, seconds), none) }
}

const none: ReadonlyArray<Cell> = []

/** Counts an attempt: in the last cell, where that began not long before. */
const counting = (cells: ReadonlyArray<Cell>, { at, cost }: Sent, seconds: number): ReadonlyArray<Cell> => {
  const last = cells.at(-1)
  return last !== undefined && at - last.from < seconds / defaults.cells
    ? cells.with(-1, { from: last.from, at, cost: last.cost + cost })
    : [...cells, { from: at, at, cost }]
}

/** Counts an attempt that is sent. */
export const send = (state: State, cost: number, at: number): State => {
  const { known } = state
  if (known === undefined) return state
  const first = known.sent.findIndex((one) => one.at > at - longer(known.seconds))
  const sent = first < 0 ? none : first === 0 ? known.sent : known.sent.slice(first)
  return { ...state, known: { ...known, sent: counting(sent, { at, cost }, known.seconds) } }
}

/** Takes units of an attempt out that was refused, or that the provider did not count, or counted otherwise. */
export const withdraw = (state: State, units: number, at: number): State => {
  const { sent } = state
  const index = sent.findLastIndex((one) => one.at === at)
  return credit(index < 0 ? state : { ...state, sent: reduced(sent, index, units) }, units, at)
}

/** Corrects what a window counts of an attempt by units that came back. */
export const credit = (state: State, units: number, at: number): State => {
  const { known } = state
  const cell = known?.sent.findLastIndex((one) => one.from <= at && at <= one.at) ?? -1
  return known === undefined || cell < 0 ? state : { ...state, known: { ...known, sent: reduced(known.sent, cell, units) } }
}

const reduced = <One extends Sent>(sent: ReadonlyArray<One>, index: number, units: number): ReadonlyArray<One> => {
  const one = sent[index]!
  const cost = one.cost - units
  return cost > 1e-9 ? sent.with(index, { ...one, cost }) : sent.toSpliced(index, 1)
}

/** Takes an attempt out that was refused as one of an episode that was answered. */
export const refuseAgain = (state: State, units: number, at: number): State => ({
  ...withdraw(state, units, at),
  refusedAt: state.since === -Infinity ? state.refusedAt : Math.max(state.refusedAt, at)
})

const longer = (seconds: number): number => seconds + Math.min(defaults.longerMost, defaults.longer * seconds)

/** Reads the seconds until a window that admits so many units has room for a cost; one that is larger has it to itself. */
export const wait = ({ seconds, sent }: Window, most: number, cost: number, now: number): number => {
  const room = Math.max(0, most - cost)
  let units = 0
  for (let i = sent.length - 1; i >= 0; i--) {
    const one = sent[i]!
    units += one.cost
    if (units > room + 1e-6) return Math.max(0, one.at + longer(seconds) - now)
  }
  return 0
}

/**
 * Reads the seconds until all is admitted again, if it is a long window that was used up when the refusals began: the
 * shortest such time that is left.
 */
export const opens = ({ since }: State, now: number): number =>
  Math.min(...defaults.long.map((seconds) => since + longer(seconds) - now).filter((left) => left > defaults.soon))

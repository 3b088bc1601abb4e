/**
 * Finds the window in which a provider counts requests or tokens, by when attempts were admitted and refused.
 *
 * A window admits so many units in its time, and nothing more until it ends. No bucket explains that, whatever its
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
 * too many, before the first that counts, and between what was refused and what was admitted next; what is smaller than
 * the refused attempt may have gone into the same window. Where attempts differ in size, a window admits what it counted at
 * least, and less than that and what was refused. A number is left as
 * long as some end explains all refusals, and no window between them admitted more.
 *
 * A window is believed once it explains three refusals, and more than the rates of a bucket do (`BucketBounds`). Two are
 * enough where it was shut for so long that a bucket would have admitted several, and one where another limit of the
 * provider is known to be counted in a window of that length. A refusal between which and the last
 * less than half a window was admitted is no evidence of its own, unless it was shut for that long. Where a bucket explains all that it remembers, none is
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
import * as WindowCount from "./WindowCount.ts"

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

/** Is a window that is believed. */
export interface Window {
  readonly seconds: number
  /** Units that it admits. */
  readonly n: number
  /** What was sent that it may still count. */
  readonly sent: WindowCount.WindowCount
}

/** Holds what is remembered: plain data. */
export interface State {
  readonly known: Window | undefined
  /** Windows that were believed and then disproved: the next needs as many refusals more. */
  readonly wrong: number
  /** The attempts of the last minute that were admitted before the last refusal, and the moment from which on that is all. */
  readonly sent: ReadonlyArray<Sent>
  readonly first: number
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
  first: -Infinity,
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
  /** The moment from which on all are remembered. */
  readonly first: number
  /** Seconds for which nothing was admitted before the first of the fresh. */
  readonly shut: number
}

const jitter = (seconds: number): number => Math.max(defaults.jitter, defaults.jitterShare * seconds)

const sum = (sent: ReadonlyArray<Sent>): number => sent.reduce((units, one) => units + one.cost, 0)

/** Lists the windows that explain one refusal: what they counted, and the moments between which they then end. */
const endsAfter = ({ all, at, cost, first }: Admitted, seconds: number): ReadonlyArray<End> => {
  const ends: Array<End> = []
  const off = jitter(seconds)
  // at the moment of the first of them may be others
  const most = all[0]?.at === first ? all.length - 1 : all.length
  let least = 0
  for (let n = 1; n <= most; n++) {
    const counted = all[all.length - n]!
    const to = counted.at + seconds + off
    if (to <= at) break
    least += counted.cost
    const before = all[all.length - n - 1]?.at ?? first
    const from = Math.max(at, before + seconds - off)
    if (from <= to) ends.push({ least, below: least + cost, from, to })
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
const joint = (before: End, now: End, opened: number, seconds: number): End | undefined => {
  const ended = Math.min(before.to, opened)
  const lengths = Math.ceil((now.from - ended) / seconds) * seconds
  const from = Math.max(now.from, before.from + lengths)
  const to = Math.min(now.to, ended + lengths)
  if (from > to) return undefined
  return { least: Math.max(now.least, before.least), below: Math.min(now.below, before.below), from, to }
}

/** Finds the first that may admit more than so much: they are in order of what they admit. */
const above = (ends: ReadonlyArray<End>, least: number): number => {
  let low = 0
  let high = ends.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ends[middle]!.below > least) high = middle
    else low = middle + 1
  }
  return low
}

/** Lists the windows that explain both refusals; nothing where they would be too many to follow. */
const joined = (
  ends: ReadonlyArray<End>,
  now: ReadonlyArray<End>,
  opened: number,
  seconds: number
): ReadonlyArray<End> => {
  const both: Array<End> = []
  for (const end of ends) {
    if (end.from > opened) continue
    for (let k = above(now, end.least); k < now.length && now[k]!.least < end.below; k++) {
      const found = joint(end, now[k]!, opened, seconds)
      if (found !== undefined) both.push(found)
    }
    if (both.length > defaults.most) return []
  }
  return both
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
    of.map((end) => raised(end, seconds, fresh, units)).filter(({ below, least }) => least < below)
  if (fresh.length === 0) {
    const still = ends.map((end) => ({ ...end, from: Math.max(end.from, at) })).filter(({ from, to }) => from <= to)
    return { episodes: still.length > 0 ? episodes : 0, ends: still }
  }
  // what is smaller than the last refused may have gone into the same window
  const opening = firstOf(fresh, last)
  if (opening === undefined) return { episodes, ends }
  const opened = opening.at + jitter(seconds)
  const now = endsAfter(admitted, seconds)
  const found = left(joined(ends, now, opened, seconds))
  return found.length > 0
    ? { episodes: episodes + (isEvidence(admitted, found[0]!.least, seconds) ? 1 : 0), ends: found }
    : { episodes: 1, ends: left(now) }
}

const slidingAfter = ({ seconds, sliding }: Guess, admitted: Admitted): Guess["sliding"] => {
  const { all, at, cost, first, fresh } = admitted
  const off = jitter(seconds)
  if (first > at - seconds - off) return { episodes: 0, least: 0, below: Infinity }
  const met = mostWithin(all, fresh.length, seconds - off)
  const counted = cost + sum(all.filter((one) => one.at > at - seconds - off))
  const least = Math.max(sliding.least, met)
  const below = Math.min(sliding.below, counted)
  return least < below
    ? { episodes: sliding.episodes + (isEvidence(admitted, least, seconds) ? 1 : 0), least, below }
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

/** Says whether a bucket would have admitted several while a window that admits so many units was shut. */
const isShut = ({ mean, shut }: Admitted, n: number, seconds: number): boolean =>
  shut <= seconds && shut * n >= defaults.shut * mean * seconds

const isEvidence = (admitted: Admitted, n: number, seconds: number): boolean =>
  isFresh(sum(admitted.fresh), n) || isShut(admitted, n, seconds)

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
  const first = forgot || all.length < recent.length ? all[0]?.at ?? at : before.first
  const inVain = fresh.length === 0 && before.refusedAt !== -Infinity
  // what a bucket would need to fill is in whole seconds
  const shut = before.refusedAt === -Infinity || inVain
    ? 0
    : Math.max(before.refusedAt - before.since, before.asked - 1)
  const admitted = { ...refusal, last: before.refusedCost, fresh, all, first, shut }
  const guesses = before.guesses.map((guess) => ({
    seconds: guess.seconds,
    fixed: fixedAfter(guess, admitted),
    sliding: slidingAfter(guess, admitted)
  }))
  const found = believed(guesses, before, admitted, [...all, ...later])
  // where a window is kept to, it admits again what it admitted before
  const early = before.known === undefined || isFresh(sum(fresh), before.known.n) ? 0 : before.early + (inVain ? 0 : 1)
  const isBroken = early >= defaults.early
  const known = isBroken ? undefined : found
  return {
    known,
    wrong: before.known !== undefined && known === undefined ? before.wrong + 1 : before.wrong,
    sent: all,
    first,
    since: inVain ? before.since : at,
    refusedAt: at,
    refusedCost: cost,
    asked: inVain ? Math.max(before.asked, asked) : asked,
    early: isBroken ? 0 : early,
    guesses: isBroken ? empty.guesses : guesses
  }
}

/** Is a window that may be believed: so many refusals speak for it. */
interface Candidate {
  readonly seconds: number
  readonly n: number
  readonly episodes: number
}

/** Lists the windows that it is clear of how much they admit. */
const candidates = ({ fixed, seconds, sliding }: Guess, { cost, mean }: Refusal): ReadonlyArray<Candidate> => {
  const least = fixed.ends.reduce((found, end) => Math.min(found, end.least), Infinity)
  const below = fixed.ends.reduce((found, end) => Math.max(found, end.below), 0)
  return [sliding, { episodes: fixed.episodes, least, below }].filter((one) =>
    one.least >= defaults.least * mean && one.below - cost - one.least <= Math.max(mean, defaults.unclear * one.least)
  ).map(({ episodes, least: n }) => ({ seconds, n, episodes }))
}

const isBelieved = (
  { episodes, n, seconds }: Candidate,
  { known, wrong }: State,
  admitted: Admitted
): boolean => {
  const isKnown = seconds === known?.seconds
  // a provider counts requests as it counts tokens
  if (seconds === admitted.other) return episodes >= 1 + (isKnown ? 0 : wrong)
  if (isKnown) return episodes >= defaults.episodes - 1
  const fewer = wrong === 0 && isShut(admitted, n, seconds) ? 1 : 0
  return episodes >= defaults.episodes + wrong - fewer && episodes >= admitted.explained + defaults.ahead
}

const believed = (
  guesses: ReadonlyArray<Guess>,
  before: State,
  admitted: Admitted,
  sent: ReadonlyArray<Sent>
): Window | undefined => {
  const best = guesses.flatMap((guess) => candidates(guess, admitted)).filter((one) =>
    isBelieved(one, before, admitted)
  )
    .reduce<Candidate | undefined>(
      (most, one) => most !== undefined && most.episodes >= one.episodes ? most : one,
      undefined
    )
  if (best === undefined) return undefined
  const { n, seconds } = best
  const { known } = before
  if (known?.seconds === seconds) return { ...known, n }
  const counted = sent.reduce((count, one) => WindowCount.add(count, one, seconds), WindowCount.empty)
  return { seconds, n, sent: counted }
}

/** Counts an attempt that is sent. */
export const send = (state: State, cost: number, at: number): State => {
  const { known } = state
  if (known === undefined) return state
  return { ...state, known: { ...known, sent: WindowCount.add(known.sent, { at, cost }, known.seconds) } }
}

/** Takes units of an attempt out that was refused, or that the provider did not count, or counted otherwise. */
export const withdraw = (state: State, units: number, at: number): State => {
  const { sent } = state
  const index = sent.findLastIndex((one) => one.at === at)
  return credit(index < 0 ? state : { ...state, sent: WindowCount.reduced(sent, index, units) }, units, at)
}

/** Corrects what a window counts of an attempt by units that came back. */
export const credit = (state: State, units: number, at: number): State => {
  const { known } = state
  return known === undefined
    ? state
    : { ...state, known: { ...known, sent: WindowCount.less(known.sent, units, at) } }
}

/** Takes an attempt out that was refused as one of an episode that was answered. */
export const refuseAgain = (state: State, units: number, at: number): State => ({
  ...withdraw(state, units, at),
  refusedAt: state.since === -Infinity ? state.refusedAt : Math.max(state.refusedAt, at)
})

/** Reads the seconds until a window has room for a cost, if it admits so many units. */
export const wait = ({ seconds, sent }: Window, most: number, cost: number, now: number): number =>
  WindowCount.wait(sent, seconds, most, cost, now)

/**
 * Reads the seconds until all is admitted again, if it is a long window that was used up when the refusals began: the
 * shortest such time that is left.
 */
export const opens = ({ since }: State, now: number): number =>
  Math.min(
    ...defaults.long.map((seconds) => since + WindowCount.lasts(seconds) - now).filter((left) => left > defaults.soon)
  )

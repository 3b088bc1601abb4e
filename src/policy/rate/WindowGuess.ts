/**
 * Finds how much a window of one length may admit: the numbers that explain the last refusals.
 *
 * In a sliding window it is what was admitted in that time before each refusal. In a fixed one each number goes with
 * another end of the window: after the attempt that is one too many, before the first that counts, and between what was
 * refused and what was admitted next; what is smaller than the refused attempt may have gone into the same window. Where
 * attempts differ in size, a window admits what it counted at least, and less than that and what was refused. A number is
 * left as long as some end explains all refusals, and no window between them admitted more.
 *
 * A refusal between which and the last less than half a window was admitted is no evidence of its own, unless the window
 * was shut for so long that a bucket would have admitted several.
 *
 * One refusal costs a pass over the attempts of the last minute, and over those since the last one for each number that
 * they exceed. Times are seconds.
 */
import type { Attempt as Sent } from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Seconds by which attempts may arrive sooner or later than they were sent, and the same as a share of a window. */
  jitter: 0.02,
  jitterShare: 0.002,
  /** Numbers that are followed: where more explain the refusals, they begin anew. */
  most: 2400,
  /** Attempts that a bucket would have admitted while the window was shut, from which that is evidence. */
  shut: 10,
  /** Share of a window that must be admitted between two refusals, for both to be evidence. */
  fresh: 0.5
} as const

/** Says that a window explains the refusals that admits so many units, at least and less than, and ends between two moments. */
interface End {
  readonly least: number
  readonly below: number
  readonly from: number
  readonly to: number
}

/** Holds what explains the last refusals, for one length of a window. */
export interface Guess {
  readonly seconds: number
  /** Refusals that a fixed window explains, and the numbers that are left, the lowest first. */
  readonly fixed: { readonly episodes: number; readonly ends: ReadonlyArray<End> }
  /** Refusals that a sliding window explains, and what it admits: at least, and less than. */
  readonly sliding: { readonly episodes: number; readonly least: number; readonly below: number }
}

/** Makes a guess that no refusal speaks for yet. */
export const make = (seconds: number): Guess => ({
  seconds,
  fixed: { episodes: 0, ends: [] },
  sliding: { episodes: 0, least: 0, below: Infinity }
})

/** Describes a refusal that begins an episode, and what was admitted up to it. */
export interface Admitted {
  /** When the refused attempt was sent, its units and those of a usual one. */
  readonly at: number
  readonly cost: number
  readonly mean: number
  /** What was admitted since the refusal before, and all that is remembered. */
  readonly fresh: ReadonlyArray<Sent>
  readonly all: ReadonlyArray<Sent>
  /** The moment from which on all are remembered. */
  readonly first: number
  /** Units of the attempt that was refused before. */
  readonly last: number
  /** Seconds for which nothing was admitted before the first of the fresh. */
  readonly shut: number
}

const jitter = (seconds: number): number => Math.max(defaults.jitter, defaults.jitterShare * seconds)

/** Adds up units. */
export const sum = (sent: ReadonlyArray<Sent>): number => sent.reduce((units, one) => units + one.cost, 0)

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

/** Says whether so much was admitted since the refusal before that this one is evidence for a window that admits `n`. */
export const isFresh = (units: number, n: number): boolean => units > 0 && units >= defaults.fresh * n

/** Says whether a bucket would have admitted several while a window that admits so many units was shut. */
export const isShut = ({ mean, shut }: Admitted, n: number, seconds: number): boolean =>
  shut <= seconds && shut * n >= defaults.shut * mean * seconds

const isEvidence = (admitted: Admitted, n: number, seconds: number): boolean =>
  isFresh(sum(admitted.fresh), n) || isShut(admitted, n, seconds)

/** Learns from a refusal. */
export const after = (guess: Guess, admitted: Admitted): Guess => ({
  seconds: guess.seconds,
  fixed: fixedAfter(guess, admitted),
  sliding: slidingAfter(guess, admitted)
})

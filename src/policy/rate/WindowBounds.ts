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
 * For each length the refusals leave few numbers that explain them all (`WindowGuess`). A window is believed once it
 * explains three refusals, and more than the rates of a bucket do (`BucketBounds`). Two are enough where it was shut for so
 * long that a bucket would have admitted several, and one where another limit of the provider is known to be counted in a
 * window of that length. Where a bucket explains all that it remembers, none is believed: at a steady rate, the seconds
 * before refusals are alike. A window that is kept to and admits little before each of three refusals is none. Once one was
 * disproved, the next needs more: a limit that closes now and then may look like a window for a while.
 *
 * A fixed window admits whatever a sliding one does. So attempts are sent as a sliding window admits them, whichever it is.
 *
 * Costs nothing for an attempt before a window is known. A refusal that begins an episode costs some milliseconds where
 * thousands were sent in the last minute. Times are seconds.
 */
import type { Attempt as Sent } from "./BucketBounds.ts"
import * as WindowCount from "./WindowCount.ts"
import * as WindowGuess from "./WindowGuess.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Lengths that are looked for: what providers state is per second, per ten seconds or per minute. */
  lengths: [1, 10, 60],
  /** Those of them that a pause is cut short for. */
  long: [10, 60],
  /** Attempts that are remembered. */
  most: 2400,
  /** Attempts of a window, at least: fewer are explained by chance. Share by which it may be unclear how many they are. */
  least: 4,
  unclear: 0.25,
  /** Refusals that a window must explain, and by how many more than the rates of a bucket do. */
  episodes: 3,
  ahead: 1,
  /** Refusals in a row before which it admitted little (`WindowGuess.isFresh`), though it was kept to, that disprove it. */
  early: 3,
  /** Seconds within which a window that is about to open is not waited for on its own. */
  soon: 0.05
} as const

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
  readonly guesses: ReadonlyArray<WindowGuess.Guess>
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
  guesses: defaults.lengths.map(WindowGuess.make)
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
  /** Refusals that the rates of a bucket explain, and those that they were compared with. */
  readonly explained: number
  readonly compared: number
  /** Seconds of the window in which another limit is known to be counted. */
  readonly other?: number | undefined
}

/** Is a refusal, with all that was admitted up to it. */
type Admitted = Refusal & WindowGuess.Admitted

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
  const guesses = before.guesses.map((guess) => WindowGuess.after(guess, admitted))
  const found = believed(guesses, before, admitted, [...all, ...later])
  // where a window is kept to, it admits again what it admitted before
  const early = before.known === undefined || WindowGuess.isFresh(WindowGuess.sum(fresh), before.known.n)
    ? 0
    : before.early + (inVain ? 0 : 1)
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
const candidates = (
  { fixed, seconds, sliding }: WindowGuess.Guess,
  { cost, mean }: Refusal
): ReadonlyArray<Candidate> => {
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
  const wasShut = WindowGuess.isShut(admitted, n, seconds)
  const fewer = wrong === 0 && wasShut ? 1 : 0
  // of refusals that the rates were not compared with they may explain as many
  const more = wasShut ? episodes : Math.min(episodes, admitted.compared)
  return episodes >= defaults.episodes + wrong - fewer && more >= admitted.explained + defaults.ahead
}

const believed = (
  guesses: ReadonlyArray<WindowGuess.Guess>,
  before: State,
  admitted: Admitted,
  sent: ReadonlyArray<Sent>
): Window | undefined => {
  const all = guesses.flatMap((guess) => candidates(guess, admitted)).filter((one) => isBelieved(one, before, admitted))
  const best = all.reduce<Candidate | undefined>(
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

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
  unclear: 0.1,
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
  /** Seconds within which a window that is about to open is not waited for on its own. */
  soon: 0.05
} as const

/** Says that so many attempts are explained by a window that ends between two moments. */
interface End {
  readonly n: number
  readonly from: number
  readonly to: number
}

/** Holds what explains the last refusals, for one length of a window. */
interface Guess {
  readonly seconds: number
  /** Refusals that a fixed window explains, and the numbers that are left, the lowest first. */
  readonly fixed: { readonly episodes: number; readonly ends: ReadonlyArray<End> }
  /** Refusals that a sliding window explains, and what it admits: at least and at most. */
  readonly sliding: { readonly episodes: number; readonly least: number; readonly most: number }
}

/** Is a window that is believed. */
export interface Window {
  readonly seconds: number
  /** Attempts that it admits. */
  readonly n: number
  /** When the last attempts were sent that it may still count. */
  readonly sent: ReadonlyArray<number>
}

/** Holds what is remembered: plain data. */
export interface State {
  readonly known: Window | undefined
  /** Windows that were believed and then disproved: the next needs as many refusals more. */
  readonly wrong: number
  /** When the attempts of the last minute were sent that were admitted before the last refusal. */
  readonly sent: ReadonlyArray<number>
  /** The run of refusals with none admitted between: when the first and the last were sent, seconds they asked for. */
  readonly since: number
  readonly refusedAt: number
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
  asked: 0,
  early: 0,
  guesses: defaults.lengths.map((seconds) => ({
    seconds,
    fixed: { episodes: 0, ends: [] },
    sliding: { episodes: 0, least: 0, most: Infinity }
  }))
}

/** Describes the refusal that begins an episode. */
export interface Refusal {
  /** When the refused attempt was sent, and the seconds that the provider asked for. */
  readonly at: number
  readonly asked: number
  /** When those were sent that were admitted since the last refusal, before this attempt and after it. */
  readonly fresh: ReadonlyArray<number>
  readonly later: ReadonlyArray<number>
  /** True where not all of those are remembered. */
  readonly forgot: boolean
  /** Refusals that the rates of a bucket explain. */
  readonly explained: number
}

/** What was admitted up to a refusal. */
interface Admitted extends Refusal {
  readonly all: ReadonlyArray<number>
  /** True where attempts of the last minute are missing before the first. */
  readonly cut: boolean
}

const jitter = (seconds: number): number => Math.max(defaults.jitter, defaults.jitterShare * seconds)

/** Lists the numbers that explain one refusal, each with the moments between which the window then ends. */
const endsAfter = ({ all, at, cut }: Admitted, seconds: number): ReadonlyArray<End> => {
  const ends: Array<End> = []
  const off = jitter(seconds)
  const most = cut ? all.length - 1 : all.length
  for (let n = 1; n <= most; n++) {
    const to = all[all.length - n]! + seconds + off
    if (to <= at) break
    ends.push({ n, from: Math.max(at, (all[all.length - n - 1] ?? -Infinity) + seconds - off), to })
  }
  return ends
}

/** Says whether some window admitted more; attempts that may belong to either of two are left out. */
const isExceeded = ({ from, n, to }: End, seconds: number, sent: ReadonlyArray<number>): boolean => {
  // of the many numbers of a long window, most are above all that was sent
  if (sent.length <= n) return false
  let window = NaN
  let count = 0
  return sent.some((at) => {
    const index = Math.floor((at - from) / seconds)
    if (at - from - index * seconds < to - from) return false
    count = index === window ? count + 1 : 1
    window = index
    return count > n
  })
}

/** Intersects the ends of two windows that are so many lengths apart. */
const joint = (before: End, { from, n, to }: End, opened: number, seconds: number): End => {
  const ended = Math.min(before.to, opened)
  const lengths = Math.ceil((from - ended) / seconds) * seconds
  return { n, from: Math.max(from, before.from + lengths), to: Math.min(to, ended + lengths) }
}

const fixedAfter = ({ fixed: { ends, episodes }, seconds }: Guess, admitted: Admitted): Guess["fixed"] => {
  const { at, fresh } = admitted
  const isLeft = (end: End): boolean => end.from <= end.to && !isExceeded(end, seconds, fresh)
  if (fresh.length === 0) {
    const left = ends.map((end) => ({ ...end, from: Math.max(end.from, at) })).filter(({ from, to }) => from <= to)
    return { episodes: left.length > 0 ? episodes : 0, ends: left }
  }
  const opened = fresh[0]! + jitter(seconds)
  const now = endsAfter(admitted, seconds)
  // numbers are listed from one on
  const both = ends.filter(({ from, n }) => from <= opened && n <= now.length)
    .map((end) => joint(end, now[end.n - 1]!, opened, seconds)).filter(isLeft)
  return both.length > 0
    ? { episodes: episodes + (isFresh(admitted, both[0]!.n) ? 1 : 0), ends: both }
    : { episodes: 1, ends: now.filter(isLeft) }
}

const slidingAfter = ({ seconds, sliding }: Guess, admitted: Admitted): Guess["sliding"] => {
  const { all, at, cut, fresh } = admitted
  const off = jitter(seconds)
  if (cut && all[0]! > at - seconds - off) return { episodes: 0, least: 0, most: Infinity }
  const met = mostWithin(all, fresh.length, seconds - off)
  const counted = all.filter((one) => one > at - seconds - off).length
  const least = Math.max(sliding.least, met)
  const most = Math.min(sliding.most, counted)
  return least <= most
    ? { episodes: sliding.episodes + (isFresh(admitted, least) ? 1 : 0), least, most }
    : { episodes: fresh.length > 0 ? 1 : 0, least: met, most: counted }
}

/** Counts the most that were admitted within so many seconds, up to each of the last attempts. */
const mostWithin = (all: ReadonlyArray<number>, last: number, seconds: number): number => {
  let most = 0
  let first = 0
  for (let i = 0; i < all.length; i++) {
    while (all[first]! <= all[i]! - seconds) first++
    if (i >= all.length - last) most = Math.max(most, i - first + 1)
  }
  return most
}

const isFresh = ({ fresh }: Admitted, n: number): boolean => fresh.length > 0 && fresh.length >= defaults.fresh * n

/** Learns from the refusal that begins an episode. */
export const refuse = (before: State, refusal: Refusal): State => {
  const { asked, at, explained, forgot, fresh, later } = refusal
  const past = forgot ? [] : before.sent
  const recent = [...past, ...fresh].filter((one) => one > at - Math.max(...defaults.lengths) - 1)
  const all = recent.slice(-defaults.most)
  const admitted = { ...refusal, all, cut: forgot || all.length < recent.length }
  const guesses = before.guesses.map((guess) => ({
    seconds: guess.seconds,
    fixed: fixedAfter(guess, admitted),
    sliding: slidingAfter(guess, admitted)
  }))
  const inVain = fresh.length === 0
  // what a bucket would need to fill is in whole seconds
  const shut = before.refusedAt === -Infinity ? 0 : Math.max(before.refusedAt - before.since, before.asked - 1)
  const found = believed(guesses, before, explained, inVain ? 0 : shut, [...all, ...later])
  // where a window is kept to, it admits again what it admitted before
  const early = before.known === undefined || isFresh(admitted, before.known.n) ? 0 : before.early + (inVain ? 0 : 1)
  const isBroken = early >= defaults.early
  const known = isBroken ? undefined : found
  return {
    known,
    wrong: before.known !== undefined && known === undefined ? before.wrong + 1 : before.wrong,
    sent: all,
    since: inVain ? before.since : at,
    refusedAt: at,
    asked: inVain ? Math.max(before.asked, asked) : asked,
    early: isBroken ? 0 : early,
    guesses: isBroken ? empty.guesses : guesses
  }
}

const believed = (
  guesses: ReadonlyArray<Guess>,
  { known, wrong }: State,
  explained: number,
  shut: number,
  sent: ReadonlyArray<number>
): Window | undefined => {
  let best = { seconds: 0, n: 0, episodes: 0 }
  for (const { fixed, seconds, sliding } of guesses) {
    const n = fixed.ends[0]?.n ?? 0
    for (
      const { episodes, least, most } of [sliding, {
        episodes: fixed.episodes,
        least: n,
        most: fixed.ends.at(-1)?.n ?? 0
      }]
    ) {
      if (least < defaults.least || most - least > Math.max(1, defaults.unclear * least)) continue
      const isKnown = seconds === known?.seconds
      const isShut = wrong === 0 && shut <= seconds && shut * least >= defaults.shut * seconds
      const fewer = isKnown || isShut ? 1 : 0
      const isAhead = isKnown || episodes >= explained + defaults.ahead
      if (episodes >= defaults.episodes + (isKnown ? 0 : wrong) - fewer && isAhead && episodes > best.episodes) {
        best = { seconds, n: least, episodes }
      }
    }
  }
  if (best.episodes === 0) return undefined
  return { seconds: best.seconds, n: best.n, sent: known?.seconds === best.seconds ? known.sent : sent }
}

/** Counts an attempt that is sent. */
export const send = (state: State, at: number): State => {
  const { known } = state
  if (known === undefined) return state
  const first = known.sent.findIndex((one) => one > at - longer(known.seconds))
  return { ...state, known: { ...known, sent: [...(first < 0 ? [] : known.sent.slice(first)), at] } }
}

const without = (sent: ReadonlyArray<number>, at: number): ReadonlyArray<number> => {
  const index = sent.lastIndexOf(at)
  return index < 0 ? sent : sent.toSpliced(index, 1)
}

/** Takes an attempt out that was refused, or that the provider did not count. */
export const withdraw = (state: State, at: number): State => ({
  ...state,
  sent: without(state.sent, at),
  known: state.known && { ...state.known, sent: without(state.known.sent, at) }
})

/** Takes an attempt out that was refused as one of an episode that was answered. */
export const refuseAgain = (state: State, at: number): State => ({
  ...withdraw(state, at),
  refusedAt: state.since === -Infinity ? state.refusedAt : Math.max(state.refusedAt, at)
})

const longer = (seconds: number): number => seconds + Math.min(defaults.longerMost, defaults.longer * seconds)

/** Reads the seconds until a window admits one more at a rate. */
export const wait = ({ seconds, sent }: Window, rate: number, now: number): number => {
  const most = Math.max(1, Math.floor(rate * seconds + 1e-6))
  return sent.length < most ? 0 : Math.max(0, sent.at(-most)! + longer(seconds) - now)
}

/**
 * Reads the seconds until all is admitted again, if it is a long window that was used up when the refusals began: the
 * shortest such time that is left.
 */
export const opens = ({ since }: State, now: number): number =>
  Math.min(...defaults.long.map((seconds) => since + longer(seconds) - now).filter((left) => left > defaults.soon))

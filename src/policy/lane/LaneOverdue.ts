/**
 * Tells a provider that hangs from one that is slow: answers are overdue.
 *
 * A provider that hangs refuses nothing and fails nothing, so the measure is how long answers took before:
 *
 * ```
 *   sent   ✓ · ✓ ✓ · ✓ ● ● ● ● ● ● ● ● ● ● ● ●   in the order of sending; ✓ answered
 *                    ▲ └─────────────────┘
 *                the last   ten in a row that wait for longer than 1.25 times a usual answer
 * ```
 *
 * Three calls in ten may take as long by chance, ten in a row only once in 170,000 times. If calls time out for reasons
 * of their own, more in a row are needed. Slow calls among others that are answered are not a silence, and their
 * answers do not end one. Calls that have failed before, and may fail again, and streams, which take as long as they
 * like, are not counted.
 *
 * If all answers suddenly take longer than before, there is a false alarm. The answer that ends it tells how long to
 * wait.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Times that a usual answer takes, after which those that wait are overdue. */
  patience: 1.25,
  /** Share of that for which none newer was answered. */
  silence: 0.5,
  /** Share of both from which no rate grows. */
  growth: 0.5,
  /** Chance that one call takes longer than that, and chance of a false alarm. */
  slow: 0.3,
  falseAlarm: 1e-5,
  /** Share of timeouts that is reckoned with at most. */
  shareMost: 0.9,
  /** Share that is kept with each answer of what a false alarm taught. */
  memory: 0.999,
  /** Attempts from one of which the time is remembered to the next, and times that are remembered. */
  every: 4,
  marks: 32
} as const

/** Remembers when an attempt was sent. */
interface Mark {
  readonly seq: number
  readonly at: number
}

/** Holds what is known: plain data. */
export interface State {
  /** The last attempt sent, and the last of them that was answered. */
  readonly head: number
  readonly answered: number
  /** When that answer came, and the seconds that a call may take from what was known then; Infinity before the first. */
  readonly at: number
  readonly patience: number
  /** Attempts sent after that one which have ended without an answer. */
  readonly gone: number
  /** When attempts were sent after that one. */
  readonly marks: ReadonlyArray<Mark>
  /** When as many had been sent as tell something; Infinity where they are fewer. */
  readonly since: number
  /** Seconds for which answers were awaited that came after all, slowly forgotten. */
  readonly awaited: number
}

/** Begins where nothing was sent. */
export const initial: State = {
  head: -1,
  answered: -1,
  at: 0,
  patience: Infinity,
  gone: 0,
  marks: [],
  since: Infinity,
  awaited: 0
}

/** Describes how answers and timeouts have been so far. */
export interface Usual {
  /** Smoothed seconds that an answer takes; 0 before the first. */
  readonly answerSeconds: number
  /** Smoothed share of attempts that time out. */
  readonly share: number
}

/** Computes the attempts in a row that chance does not let wait for so long. */
const enough = (share: number): number =>
  Math.ceil(Math.log(defaults.falseAlarm) / Math.log(share + (1 - share) * defaults.slow))

const fewest = enough(0)

/** Counts the attempts in a row, of `count` in flight, of which none was answered yet. */
export const inRow = ({ answered, gone, head }: State, count: number): number => Math.min(count, head - answered - gone)

/** Finds since when enough attempts wait, of `count` in flight; the last of them, if it is the last of all, since now. */
const since = (state: State, count: number, { share }: Usual, now: number): number => {
  const row = inRow(state, count)
  if (row < fewest) return Infinity
  const least = enough(Math.min(defaults.shareMost, share))
  if (row < least) return Infinity
  const last = state.answered + state.gone + least
  return state.marks.find((mark) => mark.seq >= last)?.at ?? now
}

/** Notes that an attempt is sent, as the `count`-th in flight: its number is the new `head`. */
export const send = (before: State, count: number, usual: Usual, now: number): State => {
  const seq = before.head + 1
  const marks = seq % defaults.every === 0 ? thinned([...before.marks, { seq, at: now }]) : before.marks
  const state = { ...before, head: seq, marks }
  return state.since === Infinity ? { ...state, since: since(state, count, usual, now) } : state
}

/** Forgets every other time, but for the last, where there are too many. */
const thinned = (marks: ReadonlyArray<Mark>): ReadonlyArray<Mark> =>
  marks.length <= defaults.marks ? marks : marks.filter((_, i) => i % 2 === 0)

/** Says whether an answer of attempt `seq` comes before those of all that were sent later: a tail of slow calls ends no silence. */
export const isNews = (state: State, seq: number): boolean => seq > state.answered

/** Notes an answer of attempt `seq`, whatever it says; `count` are left in flight. */
export const answer = (before: State, seq: number, count: number, usual: Usual, now: number): State => {
  const awaited = before.awaited * defaults.memory
  if (!isNews(before, seq)) return { ...before, awaited }
  const marks = before.marks.length === 0 ? before.marks : before.marks.filter((mark) => mark.seq > seq)
  // as long as answers took until now: those that still come in a hang are the slow ones
  const patience = usual.answerSeconds === 0 ? Infinity : defaults.patience * Math.max(usual.answerSeconds, awaited)
  const state = { ...before, awaited, answered: seq, at: now, patience, gone: 0, marks }
  return { ...state, since: since(state, count, usual, now) }
}

/** Notes the end of attempt `seq` without an answer: it timed out, or was given up by its caller. */
export const ended = (before: State, seq: number, count: number, usual: Usual, now: number): State => {
  const state = seq > before.answered ? { ...before, gone: before.gone + 1 } : before
  return state.since === Infinity ? state : { ...state, since: since(state, count, usual, now) }
}

/** Learns from an answer, after so many seconds, that ended a silence: answers may take as long. */
export const proved = (state: State, seconds: number): State => ({
  ...state,
  awaited: Math.max(state.awaited, seconds)
})

/** Awaits nothing of what was sent until now. */
export const waive = (state: State): State => ({ ...state, answered: state.head, gone: 0, marks: [], since: Infinity })

/** Takes out the seconds in which the program itself read no answer. */
export const deaf = (state: State, seconds: number): State => ({
  ...state,
  at: state.at + seconds,
  since: state.since + seconds
})

const after = ({ at, patience, since }: State, share: number): number =>
  Math.max(since + share * patience, at + share * defaults.silence * patience)

/** Says whether answers are overdue. */
export const is = (state: State, now: number): boolean => now >= after(state, 1)

/** Reads the seconds for which it has been too silent for a rate to grow. */
export const quiet = (state: State, now: number): number => Math.max(0, now - after(state, defaults.growth))

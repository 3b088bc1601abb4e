/**
 * The most that an answer without `max_tokens` is taken to generate, learned from the answers of such calls alone.
 *
 *     bound = factor · largest of the last 129 to 256 open answers, once there were minSamples of them
 *           · 2^−(hours in which calls came and none was answered)
 *
 * An answer that its own `max_tokens` may have cut says nothing about answers without one. And a bound that fits no
 * budget keeps away every answer that could correct it. So a call that comes an hour or more after the first one that
 * was not answered halves the bound, and so on with each such hour. While no call comes, the bound stays, however long
 * that is.
 *
 * The module is used by the client's `OutputHistory`, and is not exported.
 */

/** Answers in one of the two generations that are remembered. */
const generationSize = 128

/** Holds the numbers of this module. */
export const defaults = { factor: 4, minSamples: 20, hourSeconds: 3600 } as const

/** Remembers the open answers of one kind. */
export interface State {
  readonly count: number
  /** Largest of the generation that is filled, and how many it holds. */
  readonly newest: number
  readonly held: number
  /** Largest of the generation before. */
  readonly older: number
  /** When a bound was first asked for since the last answer, or since that last halved it. */
  readonly askedAt: number | undefined
}

/** Knows of no answer. */
export const empty: State = { count: 0, newest: 0, held: 0, older: 0, askedAt: undefined }

/** Tells whether too few answers are known to take any bound from them. */
export const isCold = ({ count }: State): boolean => count < defaults.minSamples

/** Notes that a bound is asked for. */
export const ask = (state: State, now: number): State => {
  if (state.askedAt === undefined) return { ...state, askedAt: now }
  return now - state.askedAt < defaults.hourSeconds
    ? state
    : { ...state, newest: state.newest / 2, older: state.older / 2, askedAt: now }
}

/** Reads the bound in tokens. */
export const bound = (state: State): number => defaults.factor * Math.max(state.newest, state.older)

/** Books an answer; what hours in vain have halved stays so. */
export const record = (state: State, tokens: number): State => {
  const full = state.held === generationSize
  return {
    count: state.count + 1,
    newest: Math.max(full ? 0 : state.newest, tokens),
    held: full ? 1 : state.held + 1,
    older: full ? state.newest : state.older,
    askedAt: undefined
  }
}

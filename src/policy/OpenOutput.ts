/**
 * The most that an answer without `max_tokens` is taken to generate, learned from the answers of such calls alone.
 *
 *     bound = factor · largest of the last 129 to 256 open answers, once there were minSamples of them
 *           · 2^−(hours in which calls were asked for and none was answered)
 *
 * An answer that its own `max_tokens` may have cut says nothing of those that have none. And a bound that no budget fits
 * keeps every answer away that could correct it: so it halves with each hour in which nothing was learned though calls
 * came. Where none came, it stays.
 *
 * The module is used by the client's `OutputHistory`, and is not exported.
 */

/** Answers in one of the two generations that are remembered. */
const generationSize = 128

/** Holds the numbers of this module. */
export const defaults = { factor: 4, minSamples: 20, halfLifeSeconds: 3600 } as const

/** Remembers the open answers of one kind. */
export interface State {
  readonly count: number
  /** Largest of the generation that is filled, and how many it holds. */
  readonly newest: number
  readonly held: number
  /** Largest of the generation before. */
  readonly older: number
  /** When a bound was first asked for since the last answer. */
  readonly askedAt: number | undefined
}

/** Knows of no answer. */
export const empty: State = { count: 0, newest: 0, held: 0, older: 0, askedAt: undefined }

/** Tells whether too few answers are known to take any bound from them. */
export const isCold = ({ count }: State): boolean => count < defaults.minSamples

const keptShare = ({ askedAt }: State, now: number): number =>
  askedAt === undefined ? 1 : 2 ** -Math.floor(Math.max(0, now - askedAt) / defaults.halfLifeSeconds)

/** Notes that a bound is asked for. */
export const ask = (state: State, now: number): State =>
  state.askedAt === undefined ? { ...state, askedAt: now } : state

/** Reads the bound in tokens, at `now` in seconds. */
export const bound = (state: State, now: number): number =>
  defaults.factor * Math.max(state.newest, state.older) * keptShare(state, now)

/** Books an answer; what hours of waiting have halved stays so. */
export const record = (state: State, tokens: number, now: number): State => {
  const share = keptShare(state, now)
  const full = state.held === generationSize
  const older = (full ? state.newest : state.older) * share
  return {
    count: state.count + 1,
    newest: Math.max(full ? 0 : state.newest * share, tokens),
    held: full ? 1 : state.held + 1,
    older,
    askedAt: undefined
  }
}

/**
 * Tells whether attempts that fail use up a place of the limit.
 *
 * If they do not, another attempt can have the place. If the lane is wrong about that, the moments of its refusals show
 * it: if it gives back places that are used up, it is refused after more failures than usual; if it keeps places that
 * are free, after fewer. If it is right, refusals come after as many failures as usual, whatever the rate.
 *
 * ```
 *   late    failures heard of in the last 8 attempts or so, as each attempt is sent
 *   excess  = (late − 8 · share) / deviation                      share of all attempts that fail
 *   doubt   = max(0, doubt ± excess − 0.5) at each refusal; from 4 on the lane takes it the other way
 * ```
 *
 * A refusal that closely follows another weighs less, since both are judged by the same failures. If nothing fails,
 * there is no doubt. Everything is plain data.
 *
 * **Source**: a CUSUM (Page 1954).
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Weight that a failure keeps with each attempt that follows: of late, and for the share of all. */
  late: 7 / 8,
  usual: 0.99,
  /** Weight of all attempts from which their share is known, thirty of them, and the share at most. */
  least: 26,
  most: 0.9,
  /** Deviations by which more may have failed by chance before each refusal, and the doubt that is too much. */
  chance: 0.5,
  doubt: 4
} as const

/** Holds what is known: plain data. */
export interface State {
  /** Whether what fails is taken to use up a place. */
  readonly counted: boolean
  /** Attempts, and those of them that failed, the older the less. */
  readonly sent: number
  readonly failed: number
  /** Failures heard of late, and attempts since the last refusal. */
  readonly late: number
  readonly since: number
  /** Deviations that speak against what is taken for true. */
  readonly doubt: number
}

/** Takes what fails to be free. */
export const initial: State = { counted: false, sent: 0, failed: 0, late: 0, since: 0, doubt: 0 }

/** Notes that an attempt is sent. */
export const send = (state: State): State => ({
  counted: state.counted,
  sent: state.sent * defaults.usual + 1,
  failed: state.failed * defaults.usual,
  late: state.late * defaults.late,
  since: state.since + 1,
  doubt: state.doubt
})

/** Notes that an attempt failed. */
export const fail = (state: State): State => ({ ...state, failed: state.failed + 1, late: state.late + 1 })

/** Reads the share of attempts that fail; 0 while it is unknown. */
export const share = ({ failed, sent }: State): number =>
  sent < defaults.least ? 0 : Math.min(defaults.most, failed / sent)

/** Attempts that are of late, by their weights, and the sum of the squares of these. */
const attempts = 1 / (1 - defaults.late)
const squares = 1 / (1 - defaults.late ** 2)

/** Reads by how many deviations more than usual failed of late. */
export const excess = (state: State): number => {
  const usual = share(state)
  return usual === 0 ? 0 : (state.late - usual * attempts) / Math.sqrt(usual * (1 - usual) * squares)
}

/** Learns from the refusal of an attempt, when which was sent so many deviations more than usual had failed. */
export const refuse = (state: State, excess: number): State => {
  const weight = share(state) === 0 ? 0 : Math.min(1, state.since / attempts)
  const doubt = Math.max(0, state.doubt + weight * ((state.counted ? -excess : excess) - defaults.chance))
  return doubt < defaults.doubt
    ? { ...state, since: 0, doubt }
    : { ...state, since: 0, doubt: 0, counted: !state.counted }
}

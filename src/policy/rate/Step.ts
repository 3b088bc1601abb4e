/**
 * The step that a learner of a rate is in: what was sent since the rate last moved.
 *
 * Each move of the rate begins another step. Growth needs use: the attempts of a step that had to wait for this limit
 * tell whether it held the lane back.
 */

/** Holds the constants of this module. */
const defaults = {
  /**
   * Share of a step's attempts that had to wait for this limit, from which its rate is in use; and from which it alone
   * is.
   */
  used: 0.5,
  alone: 0.9
} as const

/** Holds the present step: plain data. */
export interface Step {
  /** When it began, and the units sent by then. */
  readonly at: number
  readonly sent: number
  /** Attempts sent in it, those of them that had to wait for this limit, and those given back meanwhile. */
  readonly sends: number
  readonly paced: number
  readonly back: number
  /** Those given back because they failed, not because they were refused. */
  readonly failed: number
  /** Seconds of it in which no refusal could be heard. */
  readonly deaf: number
}

/** Begins a step, once so many units were sent. */
export const begin = (at: number, sent: number): Step => ({ at, sent, sends: 0, paced: 0, back: 0, failed: 0, deaf: 0 })

/** Counts an attempt. The first one after a silence says nothing about how fast the step is. */
export const send = (step: Step, silent: boolean, paced: boolean): Step => ({
  at: step.at,
  sent: step.sent,
  sends: silent ? step.sends : step.sends + 1,
  paced: paced ? step.paced + 1 : step.paced,
  back: step.back,
  failed: step.failed,
  deaf: step.deaf
})

/** Counts an attempt as given back. */
export const withdraw = (step: Step): Step => ({ ...step, back: step.back + 1 })

/** Takes an attempt back that was sent at `at`: one of an earlier step was counted before this one. */
export const less = (step: Step, cost: number, at: number): Step =>
  at < step.at ? { ...step, sent: step.sent - cost } : step

/** Counts one given back as failed: it met no limit. */
export const fail = (step: Step): Step => ({ ...step, failed: step.failed + 1 })

/** Adds seconds in which no refusal could be heard. */
export const deaf = (step: Step, seconds: number): Step => ({ ...step, deaf: step.deaf + seconds })

/** Says whether the rate is in use. */
export const isUsed = (step: Step): boolean => step.paced >= defaults.used * step.sends

/** Says whether it was this limit alone that held the lane back. */
export const isMine = (step: Step): boolean => step.paced >= defaults.alone * step.sends

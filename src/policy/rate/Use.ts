/**
 * How much of a learned rate is used. An unused limit measures nothing, since its bucket is full and what would refill
 * it is lost.
 *
 * ```
 *   marks    ──●────────●────────▶ now      what was sent by two moments of late: at most 1.5 times that use is probed
 * ```
 */
/** Holds the constants of this module. */
export const defaults = {
  /** Seconds, and slots of the believed rate at least, after which an unused limit measures nothing. */
  restSeconds: 2,
  restSlots: 4,
  /** Seconds between two marks, and slots at least. */
  markSeconds: 2,
  markSlots: 4,
  /**
   * Attempts admitted, none of which had to wait, and the share of the rate that they prove at most, from which a first
   * refusal is one out of a trickle; share of the rate that is kept then.
   */
  idleUnits: 5,
  idleShare: 0.5,
  idleTo: 0.5
} as const

/** Remembers what was sent by a moment. */
export interface Mark {
  readonly at: number
  readonly sent: number
}

/** Holds how much is used: plain data. */
export interface Use {
  /** What was sent by two moments of late: a probe is no faster than the use since the first of them allows. */
  readonly mark: Mark
  readonly nextMark: Mark
}

/** Begins in use. */
export const begin = (at: number): Use => {
  const mark = { at, sent: 0 }
  return { mark, nextMark: mark }
}

/** Reads the seconds of silence after which a bucket is taken for full, so that what would refill it is lost. */
export const patience = (mean: number, rate: number): number =>
  Math.max(defaults.restSeconds, (defaults.restSlots * mean) / rate)

/** Says whether another moment is to be marked. */
export const isMarkDue = ({ nextMark }: Use, mean: number, rate: number, now: number): boolean =>
  now - nextMark.at >= Math.max(defaults.markSeconds, defaults.markSlots * mean / rate)

/** Moves the marks by time that measures nothing. */
export const rested = (use: Use, seconds: number): Use => ({
  ...use,
  mark: { ...use.mark, at: use.mark.at + seconds },
  nextMark: { ...use.nextMark, at: use.nextMark.at + seconds }
})

/** Takes an attempt back that was sent at `at`: the marks after that counted it. */
export const less = ({ mark, nextMark }: Use, cost: number, at: number): Use => ({
  mark: at < mark.at ? { ...mark, sent: mark.sent - cost } : mark,
  nextMark: at < nextMark.at ? { ...nextMark, sent: nextMark.sent - cost } : nextMark
})

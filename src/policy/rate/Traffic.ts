/**
 * Counts what went out under a learned rate, and what of it was refused.
 *
 * ```
 *   admitted = sent − refused          units; what failed, or cost other than was thought, is corrected in `sent`
 * ```
 */

/** Remembers what had been admitted by a moment. */
export interface Moment {
  readonly at: number
  readonly admitted: number
}

/** Holds the counts: plain data. */
export interface Traffic {
  /** When counting began, later by all the time that measures nothing. */
  readonly since: number
  /** Units sent and refused in all. */
  readonly sent: number
  readonly refused: number
  /** When the last attempt was sent. */
  readonly at: number
  /** Smoothed units of an attempt; 0 before the first. */
  readonly mean: number
  /** Largest units of an attempt, slowly forgotten. */
  readonly largest: number
}

/** Begins to count. */
export const begin = (now: number): Traffic => ({ since: now, sent: 0, refused: 0, at: now, mean: 0, largest: 0 })

/** Counts an attempt that is sent. */
export const send = (traffic: Traffic, cost: number, now: number): Traffic => ({
  since: traffic.since,
  sent: traffic.sent + cost,
  refused: traffic.refused,
  at: now,
  mean: traffic.mean === 0 ? cost : traffic.mean * 0.98 + cost * 0.02,
  largest: Math.max(cost, traffic.largest * 0.995)
})

/** Counts an attempt as refused. */
export const refuse = (traffic: Traffic, cost: number): Traffic => ({ ...traffic, refused: traffic.refused + cost })

/** Corrects the units sent. */
export const correct = (traffic: Traffic, difference: number): Traffic => ({
  ...traffic,
  sent: traffic.sent + difference
})

/** Reads the units that were admitted, as far as is known. */
export const admitted = (traffic: Traffic): number => traffic.sent - traffic.refused

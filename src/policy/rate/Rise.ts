/**
 * Rises of a limit, as probes meet them: a probe that is refused far above the limit, after more went through than a
 * bucket explains.
 *
 * Two rises in a row make a trend, which the rate follows between probes.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Excess at which a refusal in a probe means that the limit rose, as a share. */
  at: 0.5,
  /** Attempts above the limit that a bucket may explain: at least, at most, and the seconds of the limit that are added. */
  least: 0.9,
  units: 2,
  seconds: 0.2,
  /** Share of the refused rate that is kept when the limit rose, where less was proved. */
  to: 0.6,
  /** Highest growth per second that is followed between probes: a limit that doubles in twelve seconds. */
  trendMax: 0.06
} as const

/** Holds the rises in a row: plain data. */
export interface Rise {
  readonly count: number
  /** When the last one was, and to what. */
  readonly at: number
  readonly to: number
  /** Growth per second between the last two. */
  readonly trend: number
}

/** No rise yet. */
export const none: Rise = { count: 0, at: 0, to: 0, trend: 0 }

/** Counts a rise, and measures the trend since the one before. */
export const rose = (before: Rise, at: number, to: number): Rise => {
  const trend = before.count > 0 ? Math.log(to / before.to) / (at - before.at) : 0
  const followed = Math.min(defaults.trendMax, Math.max(0, trend))
  return { count: before.count + 1, at, to, trend: followed }
}

/** Ends what rose: the limit stays where it is. */
export const over = (rise: Rise): Rise => ({ ...rise, count: 0, trend: 0 })

/**
 * Reads how many attempts above a limit a bucket may explain, whatever is known of it; `mean` is the units of an
 * attempt.
 */
export const unsure = (limit: number, mean: number): number =>
  Math.min(defaults.units, defaults.least + defaults.seconds * limit / mean)

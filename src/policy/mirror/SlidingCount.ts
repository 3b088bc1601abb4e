/**
 * Counts what was admitted within the last second, where a provider counts over a sliding window instead of pouring a
 * bucket.
 *
 * ```
 *   counted(t) = Σ costs of what was admitted after t − 1.01 s        room(t) = rate · 1 s − counted(t)
 * ```
 *
 * A fixed window of a second admits whatever a sliding one does, so the same count serves both. A call larger than the
 * whole window counts for as many seconds as it takes, in parts that are larger than a window where they would be many.
 *
 * Plain data, in order of time; `now` is seconds.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Seconds for which a cost counts: a hundredth more than the window, since calls are not always as long on their way. */
  seconds: 1.01,
  /** Windows up to which a cost counts whole; a larger one counts in parts, a window each. */
  whole: 1.5,
  /** Parts of a cost, more or less: a call of a million tokens would be millions where a limit has fallen far. */
  parts: 60
} as const

/** A cost, and until when it counts. */
export interface Entry {
  readonly until: number
  readonly cost: number
}

/** What counts, the first to end first. */
export type SlidingCount = ReadonlyArray<Entry>

/** Nothing counts. */
export const empty: SlidingCount = []

/** Sums up what counts. */
export const total = (count: SlidingCount): number => count.reduce((sum, one) => sum + one.cost, 0)

/** Leaves out what counts no more. */
export const passed = (count: SlidingCount, now: number): SlidingCount =>
  count.length === 0 || count[0]!.until > now ? count : count.filter((one) => one.until > now)

/** Counts a cost from a time on; `most` is what one window admits. */
export const add = (count: SlidingCount, cost: number, most: number, at: number): SlidingCount => {
  const entries = count.slice()
  const windows = Math.max(1, cost / most / defaults.parts)
  const seconds = defaults.seconds * windows
  let rest = cost
  for (let until = at + seconds; rest > 0; until += seconds) {
    const part = rest > defaults.whole * windows * most ? windows * most : rest
    rest -= part
    let index = entries.length
    while (index > 0 && entries[index - 1]!.until > until) index--
    entries.splice(index, 0, { until, cost: part })
  }
  return entries
}

/** Reads the seconds until no more than `room` counts; 0 if so already. */
export const wait = (count: SlidingCount, room: number, now: number): number => {
  let counted = 0
  for (let i = count.length - 1; i >= 0; i--) {
    const { cost, until } = count[i]!
    if (until <= now) return 0
    counted += cost
    if (counted > room) return until - now
  }
  return 0
}

/**
 * What a provider states about its limit, and whether it is believed: refusals far below it disprove it.
 *
 * If a limit falls, refusals come before the new limit is stated, and disprove the old one. If the provider then states
 * a lower limit, and later the old one again, its statements follow a limit that moves: the old one is believed again,
 * once the lower one was stated alone for a while.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Share of a stated limit within which another is the same. */
  same: 0.02,
  /** Share of a stated limit under which what was learned disproves it, and from which another is as much as that one. */
  overstated: 0.75,
  asMuch: 0.9,
  /** Share within which a limit that was learned is the one that is stated, and seconds of it that a bucket may hold. */
  stands: 0.1,
  burstSeconds: 1,
  /** Seconds for which a lower limit is stated alone, from which what was disproved before it may be true again. */
  alone: 5
} as const

/** Holds what was stated: plain data. */
export interface Told {
  /** The limit that was stated last, 0 for none. */
  readonly limit: number
  /** When the attempt was sent that it was stated to first. */
  readonly sentAt: number
  /** The same, once refusals disproved it: as much is not believed again; 0 for none. */
  readonly overstated: number
}

/** Nothing was stated yet. */
export const nothing: Told = { limit: 0, sentAt: -Infinity, overstated: 0 }

/** Says whether a limit is stated that was not before, to no attempt that was sent earlier: answers overtake each other. */
export const isNews = ({ limit, sentAt }: Told, stated: number, to: number): boolean =>
  to >= sentAt && stated > 0 && Number.isFinite(stated) && Math.abs(stated - limit) > limit * defaults.same

/** Says whether a limit as high was disproved by the rate that is believed, and no lower one was stated alone since. */
export const isDisproved = (
  { limit, overstated, sentAt }: Told,
  stated: number,
  believed: number,
  to: number
): boolean =>
  overstated > 0 && stated >= defaults.asMuch * overstated && believed < defaults.overstated * stated &&
  (limit >= defaults.asMuch * overstated || to - sentAt < defaults.alone)

/** Says whether what was stated last is still what is learned: nothing disproved it. */
export const stands = ({ limit, overstated }: Told, learned: number): boolean =>
  overstated === 0 && Math.abs(learned - limit) < defaults.stands * learned

/** Weighs what was stated last by the rate that is believed after a refusal. */
export const weighed = (told: Told, believed: number): Told =>
  believed < defaults.overstated * told.limit ? { ...told, overstated: told.limit } : told

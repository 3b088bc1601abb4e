/**
 * What a provider states of its limit, and whether it is believed: refusals far below it disprove it.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Share of a stated limit within which another is the same. */
  same: 0.02,
  /** Share of a stated limit under which what was learned disproves it, and from which another is as much as that one. */
  overstated: 0.75,
  asMuch: 0.9
} as const

/** Holds what was stated: plain data. */
export interface Told {
  /** The limit that was stated last, 0 for none. */
  readonly limit: number
  /** The same, once refusals disproved it: as much is not believed again; 0 for none. */
  readonly overstated: number
}

/** Nothing was stated yet. */
export const nothing: Told = { limit: 0, overstated: 0 }

/** Says whether a limit is stated that was not before. */
export const isNews = ({ limit }: Told, stated: number): boolean =>
  stated > 0 && Number.isFinite(stated) && Math.abs(stated - limit) > limit * defaults.same

/** Says whether as much was disproved, by the rate that is believed. */
export const isDisproved = ({ overstated }: Told, stated: number, believed: number): boolean =>
  overstated > 0 && stated >= defaults.asMuch * overstated && believed < defaults.overstated * stated

/** Weighs what was stated last by the rate that is believed after a refusal. */
export const weighed = (told: Told, believed: number): Told =>
  believed < defaults.overstated * told.limit ? { ...told, overstated: told.limit } : told

/**
 * Episodes of congestion, as a learner of a rate meets them, and how they follow each other.
 *
 * ```
 *   sent        ● ● ● ● ○ ○ ○                 ● ● ●        ○ refused: one episode, one cut
 *   heard of             └──lag──▶  └──pause──┘
 * ```
 *
 * Episodes that follow each other with next to nothing admitted between are a streak: the rate is far above the limit,
 * or the bucket is empty and is not being filled.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Shares of the rate kept by the first, second, … refusal that comes with next to nothing admitted in between. */
  earlyCuts: [0.9, 0.8, 0.6, 0.5],
  /**
   * Refusals in a row, with nothing admitted between, that show that the bucket was empty, not slow; share of the rate
   * tried then.
   */
  emptied: 6,
  emptiedTo: 0.5
} as const

/** Holds the present episode, and what is usual: plain data. */
export interface Episode {
  /** Refusals of the present one, and of one as smoothed. */
  readonly refusals: number
  readonly usual: number
  /** Seconds that a refusal takes to arrive, smoothed; 0 before the first. */
  readonly lag: number
  /** Seconds for which the provider asked to wait, the longest; 0 where it named none. */
  readonly asked: number
}

/** What is known before the first. */
export const none: Episode = { refusals: 1, usual: 1, lag: 0, asked: 0 }

/** Begins another: its first refusal arrived so many seconds after the attempt was sent. */
export const begin = (before: Episode, heardAfter: number, asked: number): Episode => ({
  refusals: 1,
  usual: (before.usual + before.refusals) / 2,
  lag: before.lag === 0 ? heardAfter : before.lag * 0.8 + heardAfter * 0.2,
  asked
})

/** Counts another refusal of the present one. */
export const again = (episode: Episode, asked: number): Episode => ({
  ...episode,
  refusals: episode.refusals + 1,
  asked: Math.max(episode.asked, asked)
})

/** Holds the refusals in a row: plain data. */
export interface Streak {
  /** Those that came with next to nothing admitted in between. */
  readonly early: number
  /** Those with nothing admitted in between, and the rate at which the first of them was refused. */
  readonly inVain: number
  readonly from: number
  /** The limit from which the last ones drifted, one upon the other; 0 where the last was no drift. */
  readonly driftsFrom: number
}

/** No refusal yet. */
export const noStreak: Streak = { early: 0, inVain: 0, from: 0, driftsFrom: 0 }

/** Counts a refusal at a rate, before which so many attempts were admitted. */
export const follow = (streak: Streak, units: number, rate: number): Streak => ({
  early: streak.early,
  inVain: units < 1 ? streak.inVain + 1 : 0,
  from: streak.inVain === 0 ? rate : streak.from,
  driftsFrom: 0
})

/** Reads the share of the rate that an early refusal leaves. */
export const earlyCut = ({ early }: Streak): number =>
  defaults.earlyCuts[Math.min(early, defaults.earlyCuts.length - 1)]!

/** Reads the rate that is worth a try once attempts are admitted again that were refused in vain; 0 where none were. */
export const afterVain = ({ from, inVain }: Streak): number => inVain > 0 ? from * defaults.emptiedTo : 0

/**
 * What a learner of a rate remembers of the highest rate that held, and of its returns to it: constants, the state as data.
 *
 * `rate/Return` moves it, and tells what a return is.
 */

/** Holds the constants of `rate/Return`. */
export const defaults = {
  /** Seconds in which the highest rate is forgotten by half. */
  halfLife: 180,
  /** Share of it under which the rate has fallen, and share that is tried. */
  fallen: 0.25,
  tried: 0.5,
  /** Attempts that prove it; seconds without a refusal before a try. */
  proof: 5,
  least: 2,
  /** Seconds after a try in vain before the next, at most: they double from `least` with each. */
  most: 16,
  /** Seconds of use that prove a rate before the first refusal. */
  startSeconds: 5
} as const

/** Holds the highest rate that held, and when it was last proved; until one did, a guess, quartered by each return in vain. */
export interface High {
  readonly rate: number
  readonly at: number
  readonly proved: boolean
}

/** Takes the first rate for it, as a guess. */
export const guess = (rate: number, at: number): High => ({ rate: rate === Infinity ? 0 : rate, at, proved: false })

/** Reads what is left of it. */
export const faded = (high: High, now: number): number => high.rate * 2 ** ((high.at - now) / defaults.halfLife)

/** Remembers a rate that held as the highest, if it is; any proved rate replaces a guess. */
export const highest = (high: High, rate: number, proved: boolean, now: number): High =>
  rate > (proved && !high.proved ? 0 : faded(high, now)) ? { rate, at: now, proved: true } : high

/** Counts a return to it as in vain: a guess is quartered. */
export const doubted = (high: High): High => high.proved ? high : { ...high, rate: high.rate * defaults.fallen }

/** Holds when a return began, the units sent by then, and what it left: a return in vain goes back to that. */
export interface Returning {
  readonly at: number
  readonly sent: number
  /** The stated limit that it goes no further than; Infinity for none. */
  readonly to: number
  readonly left: { readonly phase: "settle" | "hold"; readonly rate: number; readonly limit: number }
}

/** Holds the returns: plain data. */
export interface Returns {
  /** When an attempt was last refused, and when the first was sent since; Infinity before it. */
  readonly refusedAt: number
  readonly triedAt: number
  /** Seconds since the refusal in which no other could be heard. */
  readonly deaf: number
  /** The one under way. */
  readonly underWay: Returning | undefined
  /** Those in vain since one held, and when the last of them was refused. */
  readonly inVain: number
  readonly vainAt: number
}

/** None yet. */
export const none: Returns = {
  refusedAt: -Infinity,
  triedAt: Infinity,
  deaf: 0,
  underWay: undefined,
  inVain: 0,
  vainAt: -Infinity
}

/** Notes a refusal. */
export const refused = (returns: Returns, now: number): Returns => ({
  ...returns,
  refusedAt: now,
  triedAt: Infinity,
  deaf: 0
})

/** Adds seconds in which no refusal could be heard. */
export const deaf = (returns: Returns, seconds: number): Returns => ({ ...returns, deaf: returns.deaf + seconds })

/** Notes that the one under way holds. */
export const held = (returns: Returns): Returns => ({ ...returns, underWay: undefined, inVain: 0, vainAt: -Infinity })

/** Notes that the one under way was in vain. */
export const failed = (returns: Returns, now: number): Returns => ({
  ...returns,
  underWay: undefined,
  inVain: returns.inVain + 1,
  vainAt: now
})

/** Reads the seconds to wait after so many returns in vain. */
export const wait = (inVain: number): number => Math.min(defaults.most, defaults.least * 2 ** inVain)

/**
 * The dynamic limit of a simulated lane: what succeeded lately decides what is let in.
 *
 * ```text
 * limit = growth · successes of the last window / windowSeconds      within the floor and the cap
 * ```
 *
 * The window moves in whole slots, so between two slots the limit is constant. It is kept for requests and, where
 * `floorTokensPerSecond` is set, for tokens.
 */
import type { Config } from "./SimulationConfig.ts"

type Options = NonNullable<Config["dynamic"]>

/** Counts successes in a moving window of slots. */
export interface Dynamic {
  /** Number of the slot that is being filled. */
  readonly slot: number
  readonly requests: ReadonlyArray<number>
  readonly tokens: ReadonlyArray<number>
  readonly currentRequests: number
  readonly currentTokens: number
  readonly requestsPerSecond: number
  readonly tokensPerSecond: number
}

const none = Infinity
/** Two times that differ by less are the same: the divisions are floating-point. */
const epsilon = 1e-9

const slotSeconds = (options: Options): number => options.windowSeconds / options.slots

/**
 * Finds the slot of a time. The nudge keeps a slot's beginning out of the slot before it; where slots are so many that
 * the division is off by more, the product decides: it is what `endsAt` waits for.
 */
const slotOf = (options: Options, at: number): number => {
  const slot = Math.floor(at / slotSeconds(options) + epsilon)
  return (slot + 1) * slotSeconds(options) <= at ? slot + 1 : slot
}

const within = (value: number, floor: number, cap: number | undefined): number =>
  Math.min(Math.max(value, floor), cap ?? none)

const sum = (values: ReadonlyArray<number>): number => values.reduce((a, b) => a + b, 0)

type Counts = Omit<Dynamic, "requestsPerSecond" | "tokensPerSecond">

const measured = (options: Options, counts: Counts): Dynamic => ({
  ...counts,
  requestsPerSecond: within(
    options.growth * sum(counts.requests) / options.windowSeconds,
    options.floorRequestsPerSecond,
    options.capRequestsPerSecond
  ),
  tokensPerSecond: options.floorTokensPerSecond === undefined
    ? none
    : within(
      options.growth * sum(counts.tokens) / options.windowSeconds,
      options.floorTokensPerSecond,
      options.capTokensPerSecond
    )
})

/** Opens the window with no history: the limit is the floor. */
export const open = (options: Options, at: number): Dynamic => {
  const empty = Array.from({ length: options.slots }, () => 0)
  return measured(options, {
    slot: slotOf(options, at),
    requests: empty,
    tokens: empty,
    currentRequests: 0,
    currentTokens: 0
  })
}

/**
 * Takes the window over into changed options: if its slots stay the same, the new options apply to what it has counted.
 */
export const reopen = (
  before: Options | undefined,
  options: Options,
  dynamic: Dynamic | undefined,
  at: number
): Dynamic =>
  dynamic !== undefined && before?.slots === options.slots && before.windowSeconds === options.windowSeconds
    ? measured(options, dynamic)
    : open(options, at)

/** Moves the window to a time. */
export const pass = (options: Options, dynamic: Dynamic, at: number): Dynamic => {
  const slot = slotOf(options, at)
  if (slot <= dynamic.slot) return dynamic
  const passed = Math.min(slot - dynamic.slot, options.slots + 1)
  const shift = (past: ReadonlyArray<number>, current: number): ReadonlyArray<number> =>
    [...past, current, ...Array.from({ length: passed - 1 }, () => 0)].slice(-options.slots)
  return measured(options, {
    slot,
    requests: shift(dynamic.requests, dynamic.currentRequests),
    tokens: shift(dynamic.tokens, dynamic.currentTokens),
    currentRequests: 0,
    currentTokens: 0
  })
}

const idle = (dynamic: Dynamic): boolean =>
  dynamic.currentRequests === 0 && dynamic.requests.every((count) => count === 0)

/**
 * Finds when the slot ends after which the limit may change; never, if slots are too short to tell their times apart.
 */
export const endsAt = (options: Options, dynamic: Dynamic, at: number): number => {
  if (idle(dynamic)) return none
  const ends = (dynamic.slot + 1) * slotSeconds(options)
  return ends > at ? ends : none
}

/** Counts successes, each of so many tokens. */
export const succeeded = (dynamic: Dynamic, calls: number, tokensPerCall: number): Dynamic => ({
  ...dynamic,
  currentRequests: dynamic.currentRequests + calls,
  currentTokens: dynamic.currentTokens + calls * tokensPerCall
})

/**
 * At most so many units in a window of time: fixed windows, a sliding log, or a sliding counter between the two.
 *
 * | kind | counts at `now` | memory | most in any span of a window |
 * | --- | --- | --- | --- |
 * | `fixed` | what was granted in the window of `now` | one number | `2·limit`, around a border |
 * | `log` | what was granted after `now − window` | one entry for each grant | `limit` |
 * | `counter` | `count + before·(1 − elapsed/window)` | two numbers | below `2·limit`; `limit` of an even flow |
 *
 * Windows of `fixed` and `counter` begin at the `now` of `make`, so without one they are those of the clock's calendar;
 * `before` is what the window before this one counted. A unit of the log is free again exactly one window after it was
 * granted.
 *
 * The three rules of `TokenBucket` (tolerance, shortest wait, oversize) hold here too: a cost above the limit is let in
 * when nothing counts, and counts as if it had been granted a `limit` for each window from then on, so that later
 * callers wait it off. A wait tells when the cost fits if nobody else comes first.
 *
 * A client does not know when the windows of its server begin: what `fixed` grants around its own border may be twice the
 * limit in one window of the server. What `log` grants every server admits that counts in fixed windows, in a log, or by a
 * bucket of that limit.
 *
 * ```ts
 * import { WindowLimiter } from "effect-together/policy"
 *
 * const waits = (["fixed", "log", "counter"] as const).map((kind) => {
 *   const limiter = WindowLimiter.make({ kind, limit: 2, windowSeconds: 10 })
 *   const [, used] = WindowLimiter.take(limiter, 2, 6)
 *   return WindowLimiter.wait(used, 1, 6)
 * })
 * waits // => [4, 10, 9]
 * ```
 *
 * **Source**: Cloudflare, "How we built rate limiting capable of scaling to millions of domains" (2017), for the counter;
 * the other two are textbook.
 *
 * **Gotchas**: where small costs come first again and again, a cost above the limit waits on. A clock that steps back stays
 * in the latest window: it frees nothing and forgets nothing.
 */
import { epsilon, periods, quantumSeconds, tolerance } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limiter. */
export interface Options {
  /** What counts: the window of the calendar, all grants of the last window, or an estimate of these. */
  readonly kind: "fixed" | "log" | "counter"
  /** Units that a window admits, > 0. */
  readonly limit: number
  /** Length of a window, in seconds, >= 0.001. Default 1, as per-second limits need. */
  readonly windowSeconds?: number | undefined
  /** What happens to a cost above the limit. Default `borrow`. */
  readonly oversize?: "borrow" | "reject" | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { windowSeconds: 1, oversize: "borrow" } as const

/** Holds what was granted at a time. */
export interface Entry {
  readonly at: number
  readonly cost: number
}

/** Holds what is the same for all kinds. */
interface Common {
  readonly limit: number
  readonly windowSeconds: number
  readonly oversize: "borrow" | "reject"
}

/** Holds the counts of the windows of a calendar. */
interface Windows extends Common {
  readonly kind: "fixed" | "counter"
  readonly startedAt: number
  /** Index of the current window, from 0. */
  readonly index: number
  /** Units that the current window counts; above `limit` while later windows owe. */
  readonly count: number
  /** Units that the window before it counted, at most `limit`. */
  readonly before: number
}

/** Holds the grants that still count. */
interface Log extends Common {
  readonly kind: "log"
  /** The latest time seen. */
  readonly updatedAt: number
  /** Grants, oldest first; only one that is alone may be above `limit`. */
  readonly entries: ReadonlyArray<Entry>
}

/** Holds a limiter. */
export type State = Windows | Log

/** Says whether the units were granted. */
export type Decision =
  | { readonly _tag: "Granted"; readonly remaining: number; readonly reason: "within-limit" | "borrowed" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "full" | "in-debt" | "emptying-for-oversize" }
  | { readonly _tag: "Oversize"; readonly limit: number; readonly reason: "cost-exceeds-limit" }

/**
 * Makes a limiter that has granted nothing.
 *
 * **Errors**: throws `RangeError` for an option out of range. So does every function here for a time or a cost that is
 * not finite: it would grant for ever.
 */
export const make = (options: Options, now = 0): State => {
  const where = "WindowLimiter.make"
  const kind = OptionCheck.oneOf(where, "kind", options.kind, ["fixed", "log", "counter"])
  const windowSeconds = options.windowSeconds ?? defaults.windowSeconds
  const common = {
    limit: OptionCheck.positive(where, "limit", options.limit),
    windowSeconds: OptionCheck.within(where, "windowSeconds", windowSeconds, quantumSeconds, Number.MAX_VALUE),
    oversize: OptionCheck.oneOf(where, "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"])
  }
  const startedAt = OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return kind === "log"
    ? { ...common, kind, updatedAt: startedAt, entries: [] }
    : { ...common, kind, startedAt, index: 0, count: 0, before: 0 }
}

/** Reads what is left of a cost after so many windows, each of which takes a limit of it. */
const left = (cost: number, windows: number, limit: number): number => Math.max(0, cost - windows * limit)

const rollLog = (state: Log, now: number): Log => {
  const { limit, windowSeconds } = state
  const entries = state.entries.flatMap(({ at, cost }) => {
    const passed = periods(at, now, windowSeconds)
    const rest = passed < 1 ? cost : left(cost, passed, limit)
    return rest === 0 ? [] : [passed < 1 ? { at, cost } : { at: at + passed * windowSeconds, cost: rest }]
  })
  return { ...state, updatedAt: now, entries }
}

const rollWindows = (state: Windows, now: number): Windows => {
  const { count, limit } = state
  const index = periods(state.startedAt, now, state.windowSeconds)
  const passed = index - state.index
  if (passed < 1) return state
  return {
    ...state,
    index,
    count: left(count, passed, limit),
    before: Math.min(limit, left(count, passed - 1, limit))
  }
}

/** Moves on to `now`, or stays where a clock stepped back; tells the time that it is then. */
const roll = (where: string, state: State, now: number): readonly [State, number] => {
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  if (state.kind === "log") {
    const at = Math.max(state.updatedAt, now)
    return [rollLog(state, at), at]
  }
  const rolled = rollWindows(state, now)
  return [rolled, Math.max(rolled.startedAt + rolled.index * rolled.windowSeconds, now)]
}

/** Reads the share of the window before this one that a sliding window still covers. */
const covered = ({ index, startedAt, windowSeconds }: Windows, at: number): number =>
  Math.max(0, 1 - (at - startedAt - index * windowSeconds) / windowSeconds)

/** Sums up what counts in a limiter that was rolled to `at`. */
const counted = (state: State, at: number): number => {
  switch (state.kind) {
    case "fixed":
      return state.count
    case "counter":
      return state.count + state.before * covered(state, at)
    case "log":
      return state.entries.reduce((sum, { cost }) => sum + cost, 0)
  }
}

/** Reads the units that may be granted at `now`: below 0 while a debt is waited off. */
export const remaining = (state: State, now: number): number => {
  const [rolled, at] = roll("WindowLimiter.remaining", state, now)
  return rolled.limit - counted(rolled, at)
}

/** Counts the windows until so much of `count` is left that `cost` fits beside it; 0 where it does now. */
const windowsUntil = (count: number, cost: number, limit: number): number =>
  Math.max(0, Math.ceil((count + cost - epsilon) / limit - 1))

/** Reads the seconds until as many units of the log as are too many are free. */
const waitLog = ({ entries, limit, windowSeconds }: Log, cost: number, over: number, at: number): number => {
  let free = 0
  let until = at
  for (const entry of entries) {
    if (free >= over - epsilon) break
    free += entry.cost
    until = entry.at + Math.max(1, windowsUntil(entry.cost, cost, limit)) * windowSeconds
  }
  return until - at
}

/** Reads the seconds until a fixed window has room. */
const waitFixed = ({ count, index, limit, startedAt, windowSeconds }: Windows, cost: number, at: number): number =>
  startedAt + (index + Math.max(1, windowsUntil(count, cost, limit))) * windowSeconds - at

/** Reads the seconds until a window, and what still counts of the one before it, have room. */
const waitCounter = (state: Windows, cost: number, at: number): number => {
  const { count, index, limit, startedAt, windowSeconds } = state
  const windows = windowsUntil(count, cost, limit)
  const later = windows > 0
  const begins = later ? startedAt + (index + windows) * windowSeconds : at
  const before = later ? Math.min(limit, left(count, windows - 1, limit)) : state.before
  const share = later ? 1 : covered(state, at)
  const over = left(count, windows, limit) + before * share + cost - limit
  return begins - at + Math.min(share, over / before) * windowSeconds
}

const neverFits = (state: State, cost: number): boolean => cost > state.limit && state.oversize === "reject"

/** Reads what a grant overlooks: a counter frees as little as a clock can show, the others free whole grants. */
const overlooked = ({ kind, limit, windowSeconds }: State, at: number): number =>
  kind === "counter" ? tolerance(limit / windowSeconds, at) : epsilon

const waitRolled = (state: State, cost: number, at: number): number => {
  const needed = Math.min(cost, state.limit)
  const over = counted(state, at) + needed - state.limit
  if (over <= overlooked(state, at)) return 0
  switch (state.kind) {
    case "fixed":
      return Math.max(quantumSeconds, waitFixed(state, needed, at))
    case "counter":
      return Math.max(quantumSeconds, waitCounter(state, needed, at))
    case "log":
      return Math.max(quantumSeconds, waitLog(state, needed, over, at))
  }
}

/**
 * Computes the wait until `cost` can be granted: 0 when it can now, `Infinity` when it never can.
 *
 * **Details**: any other wait is at least `quantumSeconds`.
 */
export const wait = (state: State, cost: number, now: number): number => {
  const where = "WindowLimiter.wait"
  OptionCheck.nonNegative(where, "cost", cost)
  const [rolled, at] = roll(where, state, now)
  return neverFits(rolled, cost) ? Number.POSITIVE_INFINITY : waitRolled(rolled, cost, at)
}

const granted = (state: State, cost: number, at: number): State => {
  if (state.kind !== "log") return { ...state, count: state.count + cost }
  return cost === 0 ? state : { ...state, entries: [...state.entries, { at, cost }] }
}

/** Takes `cost` units, or says how long to wait before asking again. */
export const take = (state: State, cost: number, now: number): readonly [Decision, State] => {
  const where = "WindowLimiter.take"
  OptionCheck.nonNegative(where, "cost", cost)
  const [rolled, at] = roll(where, state, now)
  const { limit } = rolled
  if (neverFits(rolled, cost)) return [{ _tag: "Oversize", limit, reason: "cost-exceeds-limit" }, rolled]
  const seconds = waitRolled(rolled, cost, at)
  if (seconds > 0) {
    const isOwed = counted(rolled, at) - limit > overlooked(rolled, at)
    const reason = isOwed ? "in-debt" : cost > limit ? "emptying-for-oversize" : "full"
    return [{ _tag: "Wait", seconds, reason }, rolled]
  }
  const next = granted(rolled, cost, at)
  const reason = cost > limit ? "borrowed" : "within-limit"
  return [{ _tag: "Granted", remaining: limit - counted(next, at), reason }, next]
}

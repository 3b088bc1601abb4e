/**
 * A send rate that follows the limit which answers state, and learns it where they state none.
 *
 * | event | rate | reason |
 * | --- | --- | --- |
 * | an answer states the limit `L` | `0.98·L`, if that is more than 2 % away | `stated` |
 * | a refusal | `× 0.85`; `× 0.98` where `start` is a known limit | `refused` |
 * | a clean second, nothing refused yet | `× √2` | `slow-start` |
 * | a clean second after that | `× 1.01` | `steady-growth` |
 *
 * Many calls in flight are refused together: a refusal of a call that was sent before the last cut cuts nothing, and
 * what an answer to such a call states is stale. The rate grows only while at least 70 % of it is used, never beyond
 * twice what was really sent, and not while it is a stated one. A known limit grows back to `start` and no further; a
 * stated one that was refused grows until an answer states it anew.
 *
 * One state for each limit, of requests and of tokens, and for each key and model. A 503 says nothing about a rate: do
 * not book it. What the provider asks to wait is for `Pause`.
 *
 * ```ts
 * import { HeaderRate } from "effect-together/policy"
 *
 * const [stated, rate] = HeaderRate.observe(HeaderRate.make(), { limitPerSecond: 100, sentAt: 1 })
 * stated // => { _tag: "Raised", from: 10, to: 98, reason: "stated" }
 * const [cut, slower] = HeaderRate.refuse(rate, { sentAt: 2 }, 3)
 * cut // => { _tag: "Lowered", from: 98, to: 83.3, reason: "refused" }
 * HeaderRate.refuse(slower, { sentAt: 2.5 }, 4)[0] // => { _tag: "Held", from: 83.3, to: 83.3, reason: "same-epoch" }
 * HeaderRate.grow(slower, { useRatio: 0.9, sentPerSecond: 80 }, 4)[0].reason // => "steady-growth"
 * ```
 *
 * **When to use**: where answers state a limit per second. `Lane` measures instead, which uses more of a limit that is
 * stated nowhere: `AdaptiveRate`.
 *
 * **Source**: RFC 5681 for the slow start; AWS SDKs adaptive mode for the bound by what was sent.
 *
 * **Gotchas**: to follow a limit that grows with success, growth must not be slower than that limit: 0.048 for one that
 * doubles in a quarter of a minute.
 */
import { periods } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a controller. */
export interface Options {
  /** Rate at the start, per second, > 0. Default 10, or `floor` if that is more. */
  readonly start?: number | undefined
  /** Whether `start` is a limit that is known, as that of a tier: the rate never grows beyond it. Default false. */
  readonly isKnown?: boolean | undefined
  /** Smallest rate that a refusal cuts to, per second, > 0. Default 0.1, or `start` if that is less. */
  readonly floor?: number | undefined
  /** Share of a stated limit that is used, and what a refusal leaves of a known one, in (0, 1). Default 0.98. */
  readonly share?: number | undefined
  /** What a refusal leaves of any other rate, in (0, 1). Default 0.85. */
  readonly decrease?: number | undefined
  /** Growth in a clean second once something was refused, as a share of the rate, >= 0. Default 0.01. */
  readonly increase?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  start: 10,
  isKnown: false,
  floor: 0.1,
  share: 0.98,
  decrease: 0.85,
  increase: 0.01
}

/** Holds a controller. */
export interface State {
  readonly settings: Settings
  /** Allowed rate, per second. */
  readonly rate: number
  /** Where the rate comes from: `config` is a known `start`. */
  readonly source: "config" | "header" | "learned"
  /** When a refusal last cut the rate. */
  readonly lastCutAt: number
  /** When the second that is not over yet began, with the last growth or refusal. */
  readonly cleanSince: number
}

/** Says how the rate moved and why. */
export interface Decision {
  readonly _tag: "Raised" | "Lowered" | "Held"
  readonly from: number
  readonly to: number
  readonly reason:
    | "stated"
    | "close"
    | "stale"
    | "no-limit"
    | "refused"
    | "same-epoch"
    | "at-floor"
    | "slow-start"
    | "steady-growth"
    | "measured-rate-cap"
    | "known-limit"
    | "second-open"
    | "little-used"
}

/**
 * Makes a controller at its start rate.
 *
 * **Details**: the defaults of `floor` and `start` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range. So do `refuse` and `grow` for a time that is not finite.
 */
export const make = (options: Options = {}, now = 0): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "HeaderRate.make"
  OptionCheck.positive(where, "start", filled.start)
  OptionCheck.positive(where, "floor", filled.floor)
  const settings = OptionCheck.ordered(where, filled, options, "floor", "start")
  OptionCheck.between(where, "share", settings.share, 0, 1)
  OptionCheck.between(where, "decrease", settings.decrease, 0, 1)
  OptionCheck.nonNegative(where, "increase", settings.increase)
  return {
    settings,
    rate: settings.start,
    source: settings.isKnown ? "config" : "learned",
    lastCutAt: Number.NEGATIVE_INFINITY,
    cleanSince: OptionCheck.between(where, "now", now, -Infinity, Infinity)
  }
}

/** How far a stated limit may be from the rate before that follows it, as a share of the rate. */
const closeRatio = 0.02

/** The share of the rate that must be used for it to grow. */
const leastUse = 0.7

const decide = (
  before: State,
  change: Partial<State>,
  reason: Decision["reason"]
): readonly [Decision, State] => {
  const after = { ...before, ...change }
  const [from, to] = [before.rate, after.rate]
  return [{ _tag: to > from ? "Raised" : to < from ? "Lowered" : "Held", from, to, reason }, after]
}

/** Describes what an answer that is no refusal states; a limit that is no number above 0 counts as none. */
export interface Observation {
  readonly limitPerSecond: number
  /** When the call was sent. */
  readonly sentAt: number
}

/** Books the limit that an answer states. */
export const observe = (state: State, { limitPerSecond, sentAt }: Observation): readonly [Decision, State] => {
  if (!(limitPerSecond > 0 && limitPerSecond < Infinity)) return decide(state, {}, "no-limit")
  if (!(sentAt > state.lastCutAt)) return decide(state, {}, "stale")
  const rate = limitPerSecond * state.settings.share
  return Math.abs(rate - state.rate) <= closeRatio * state.rate
    ? decide(state, { source: "header" }, "close")
    : decide(state, { source: "header", rate }, "stated")
}

/** Books a refusal for the rate, a 429: cuts once for all calls that were in flight. */
export const refuse = (
  state: State,
  refusal: { readonly sentAt: number },
  now: number
): readonly [Decision, State] => {
  OptionCheck.between("HeaderRate.refuse", "now", now, -Infinity, Infinity)
  const { rate, settings, source } = state
  if (!(refusal.sentAt > state.lastCutAt)) return decide(state, { cleanSince: now }, "same-epoch")
  const kept = source === "config" ? settings.share : settings.decrease
  const to = Math.min(rate, Math.max(settings.floor, rate * kept))
  const next = { rate: to, lastCutAt: now, cleanSince: now, source: source === "header" ? "learned" : source } as const
  return decide(state, next, to < rate ? "refused" : "at-floor")
}

/** Describes how much of the rate was used since the last growth. */
export interface Use {
  /** Share of the rate that was used, >= 0. */
  readonly useRatio: number
  /** Rate at which calls, or tokens, were really sent, >= 0. */
  readonly sentPerSecond: number
}

/** Grows the rate by the whole seconds that were clean. Ask as often as you like. */
export const grow = (state: State, use: Use, now: number): readonly [Decision, State] => {
  const where = "HeaderRate.grow"
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  OptionCheck.nonNegative(where, "useRatio", use.useRatio)
  OptionCheck.nonNegative(where, "sentPerSecond", use.sentPerSecond)
  const { rate, settings, source } = state
  if (source === "header") return decide(state, {}, "stated")
  const seconds = periods(state.cleanSince, now, 1)
  if (seconds < 1) return decide(state, {}, "second-open")
  const cleanSince = state.cleanSince + seconds
  if (use.useRatio < leastUse) return decide(state, { cleanSince }, "little-used")
  const isStart = source === "learned" && state.lastCutAt === Number.NEGATIVE_INFINITY
  const grown = rate * (isStart ? Math.SQRT2 : 1 + settings.increase) ** seconds
  const known = source === "config" ? settings.start : Infinity
  const bound = Math.max(rate, Math.min(known, 2 * use.sentPerSecond))
  if (grown <= bound) return decide(state, { cleanSince, rate: grown }, isStart ? "slow-start" : "steady-growth")
  return decide(state, { cleanSince, rate: bound }, bound === known ? "known-limit" : "measured-rate-cap")
}

/**
 * Stops calling a backend that fails, and finds out with few calls when it is well again.
 *
 * ```text
 *            failure or slow rate over, and enough calls
 *   Closed ───────────────────────────────────────────▶ Open ◀──────────┐
 *      ▲                                                 │ time is over  │ rate over: k + 1
 *      │              probes under the rates             ▼               │
 *      └──────────────────────────────────────────── HalfOpen ──────────┘
 * ```
 *
 * Open lasts `min(max, base·2^k)·U(0.8, 1.2)`, or the server's hint if that is
 * longer (at most `hintCapSeconds`); `k` counts the openings since the breaker
 * was last closed. Half-open admits `probes` calls and judges when all have
 * ended, or with `verdict: "early"` as soon as the rest cannot change the verdict,
 * be it to open or to close.
 *
 * Every permit carries the generation it was given in, and each change of state
 * starts a new one: a call that ends in another generation is stale and counts
 * for nothing. Half a minute of stragglers must not trip a breaker that has
 * just closed.
 *
 * Book as failures 5xx, timeouts and lost connections. 429, other 4xx,
 * cancellations and our own refusals are `Ignored`: they say nothing about the
 * backend's health. An ignored probe gives its place back.
 *
 * ```ts
 * import { Breaker } from "effect-together/policy"
 *
 * const breaker = Breaker.make({ minimumCalls: 1 })
 * const [, admitted] = Breaker.acquire(breaker, 0)
 * const failure = { _tag: "Failure", durationSeconds: 1 } as const
 * const [decision, open] = Breaker.record(admitted, { generation: 0 }, failure, 1, 0.5)
 * decision // => { _tag: "Opened", until: 6, reason: "failure-rate" }
 * Breaker.acquire(open, 2)[0] // => { _tag: "Rejected", reason: "open", retryAfterSeconds: 4 }
 * ```
 *
 * **Source**: resilience4j's state machine; Polly v8 for the growing break; the generation counter as in
 * sony/gobreaker. Bugs it avoids: denoland/std#7306 (no generations), cockatiel (window that only calls move).
 */
import * as BreakerWindow from "./BreakerWindow.ts"
import { quantumSeconds } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a breaker. */
export interface Options {
  /**
   * What is remembered while closed. Default: the last 100 calls, or `minimumCalls` if that is more, forgotten after
   * 300 s without one.
   */
  readonly window?: BreakerWindow.Kind | undefined
  /** Calls before the rates are judged, an integer >= 1. Default 20, or the size of a smaller ring. */
  readonly minimumCalls?: number | undefined
  /** Share of failed calls that opens, in (0, 1]. Default 0.5. */
  readonly failureRate?: number | undefined
  /** Share of slow calls that opens, in (0, 1]. Default 1. */
  readonly slowRate?: number | undefined
  /** Calls longer than this are slow, in seconds, > 0. Default 60. */
  readonly slowSeconds?: number | undefined
  /** First break, in seconds, > 0. Default 5, or `maxSeconds` if that is shorter. */
  readonly baseSeconds?: number | undefined
  /** Longest break before jitter, in seconds, > 0. Default 60, or `baseSeconds` if that is longer. */
  readonly maxSeconds?: number | undefined
  /** Spread of a break, in [0, 0.999]. Default 0.2. */
  readonly jitter?: number | undefined
  /** Longest hint that is believed, in seconds, >= 0. Default 300. */
  readonly hintCapSeconds?: number | undefined
  /** Calls that half-open admits, an integer >= 1. Default 10; 1 for a lane with little traffic. */
  readonly probes?: number | undefined
  /** When half-open judges. Default `complete`. */
  readonly verdict?: "complete" | "early" | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  window: { _tag: "Count", size: 100, idleSeconds: 300 },
  minimumCalls: 20,
  failureRate: 0.5,
  slowRate: 1,
  slowSeconds: 60,
  baseSeconds: 5,
  maxSeconds: 60,
  jitter: 0.2,
  hintCapSeconds: 300,
  probes: 10,
  verdict: "complete"
}

/** Holds what a breaker is doing. */
export type Phase =
  | { readonly _tag: "Closed"; readonly window: BreakerWindow.State }
  | { readonly _tag: "Open"; readonly until: number }
  | { readonly _tag: "HalfOpen"; readonly inFlight: number; readonly judged: BreakerWindow.Totals }

/** Holds a breaker. */
export interface State {
  readonly settings: Settings
  readonly phase: Phase
  /** Counts the changes of phase. */
  readonly generation: number
  /** Openings since the breaker was last closed: the exponent of the break. */
  readonly openings: number
}

/** Allows one call, in one generation. */
export interface Permit {
  readonly generation: number
}

/** Says whether a call may be sent. */
export type Admission =
  | { readonly _tag: "Admitted"; readonly permit: Permit; readonly reason: "closed" | "probe" }
  | {
    readonly _tag: "Rejected"
    readonly reason: "open" | "probes-in-flight"
    /** Seconds until the break is over, at least 0.001; 0 when it is a matter of probes. */
    readonly retryAfterSeconds: number
  }

/** Says how a call ended. */
export type Outcome =
  | { readonly _tag: "Success"; readonly durationSeconds: number }
  | {
    readonly _tag: "Failure"
    readonly durationSeconds: number
    /** Seconds the server asked us to stay away; `NaN` counts as none. */
    readonly hintSeconds?: number | undefined
  }
  | { readonly _tag: "Ignored" }

/** Says what the end of a call changed. */
export type Decision =
  | {
    readonly _tag: "Kept"
    readonly phase: Phase["_tag"]
    readonly reason: "under-rates" | "too-few-calls" | "ignored"
  }
  | { readonly _tag: "Stale"; readonly phase: Phase["_tag"]; readonly reason: "other-generation" }
  | { readonly _tag: "Opened"; readonly until: number; readonly reason: "failure-rate" | "slow-rate" }
  | { readonly _tag: "Closed"; readonly reason: "probes-passed" }

/**
 * Makes a closed breaker.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "Breaker.make"
  OptionCheck.integer(where, "minimumCalls", filled.minimumCalls, 1)
  OptionCheck.positive(where, "baseSeconds", filled.baseSeconds)
  OptionCheck.positive(where, "maxSeconds", filled.maxSeconds)
  const breaks = OptionCheck.ordered(where, filled, options, "baseSeconds", "maxSeconds")
  const settings = { ...breaks, ...judged(where, filled, options) }
  OptionCheck.above(where, "failureRate", settings.failureRate, 0, 1)
  OptionCheck.above(where, "slowRate", settings.slowRate, 0, 1)
  OptionCheck.positive(where, "slowSeconds", settings.slowSeconds)
  OptionCheck.within(where, "jitter", settings.jitter, 0, 0.999)
  OptionCheck.nonNegative(where, "hintCapSeconds", settings.hintCapSeconds)
  OptionCheck.integer(where, "probes", settings.probes, 1)
  OptionCheck.oneOf(where, "verdict", settings.verdict, ["complete", "early"])
  const window = BreakerWindow.make(settings.window)
  return { settings, phase: { _tag: "Closed", window }, generation: 0, openings: 0 }
}

/** Puts the calls before a judgement and the size of a ring in order. */
const judged = (
  where: string,
  { minimumCalls, window }: Settings,
  options: Options
): Pick<Settings, "minimumCalls" | "window"> => {
  if (window._tag === "Time") return { minimumCalls, window }
  const given = { minimumCalls: options.minimumCalls, "window.size": options.window && window.size }
  const bounds = { minimumCalls, "window.size": window.size }
  const bounded = OptionCheck.ordered(where, bounds, given, "minimumCalls", "window.size")
  return { minimumCalls: bounded.minimumCalls, window: { ...window, size: bounded["window.size"] } }
}

/** Asks to send a call. */
export const acquire = (state: State, now: number): readonly [Admission, State] => {
  const { phase, settings } = state
  const permit = { generation: state.generation }
  switch (phase._tag) {
    case "Closed":
      return [{ _tag: "Admitted", permit, reason: "closed" }, state]
    case "Open": {
      if (now < phase.until) {
        const retryAfterSeconds = Math.max(quantumSeconds, phase.until - now)
        return [{ _tag: "Rejected", reason: "open", retryAfterSeconds }, state]
      }
      const next = change(state, { _tag: "HalfOpen", inFlight: 1, judged: BreakerWindow.none })
      return [{ _tag: "Admitted", permit: { generation: next.generation }, reason: "probe" }, next]
    }
    case "HalfOpen": {
      if (phase.inFlight + phase.judged.calls >= settings.probes) {
        return [{ _tag: "Rejected", reason: "probes-in-flight", retryAfterSeconds: 0 }, state]
      }
      return [
        { _tag: "Admitted", permit, reason: "probe" },
        { ...state, phase: { ...phase, inFlight: phase.inFlight + 1 } }
      ]
    }
  }
}

const change = (state: State, phase: Phase): State => ({ ...state, phase, generation: state.generation + 1 })

/** Computes the seconds of a break: growing, spread, and no shorter than the hint that is believed. */
export const breakSeconds = (settings: Settings, openings: number, random: number, hintSeconds = 0): number => {
  const grown = Math.min(settings.maxSeconds, settings.baseSeconds * 2 ** openings)
  const spread = grown * (1 - settings.jitter + 2 * settings.jitter * random)
  const believed = Math.min(settings.hintCapSeconds, hintSeconds)
  // In this order a hint that is no number counts as none.
  return believed > spread ? believed : spread
}

/**
 * Books the end of a call. `random` is uniform in [0, 1) and spreads a break.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const record = (
  state: State,
  permit: Permit,
  outcome: Outcome,
  now: number,
  random: number
): readonly [Decision, State] => {
  OptionCheck.between("Breaker.record", "now", now, -Infinity, Infinity)
  const { phase } = state
  if (permit.generation !== state.generation || phase._tag === "Open") {
    return [{ _tag: "Stale", phase: phase._tag, reason: "other-generation" }, state]
  }
  if (outcome._tag === "Ignored") {
    const next = phase._tag === "HalfOpen" ? { ...state, phase: { ...phase, inFlight: without(phase) } } : state
    return [{ _tag: "Kept", phase: phase._tag, reason: "ignored" }, next]
  }
  const ended: BreakerWindow.Outcome = {
    failed: outcome._tag === "Failure",
    slow: outcome.durationSeconds > state.settings.slowSeconds,
    durationSeconds: outcome.durationSeconds
  }
  const open = (reason: "failure-rate" | "slow-rate"): readonly [Decision, State] => {
    const hint = outcome._tag === "Failure" ? outcome.hintSeconds : 0
    const until = now + breakSeconds(state.settings, state.openings, random, hint)
    return [
      { _tag: "Opened", until, reason },
      { ...change(state, { _tag: "Open", until }), openings: state.openings + 1 }
    ]
  }
  return phase._tag === "Closed" ? watch(state, phase.window, ended, now, open) : judge(state, phase, ended, open)
}

/** Counts the probes in flight once one has ended: never below 0, should a caller end one twice. */
const without = (phase: Extract<Phase, { readonly _tag: "HalfOpen" }>): number => Math.max(0, phase.inFlight - 1)

type Open = (reason: "failure-rate" | "slow-rate") => readonly [Decision, State]

const watch = (
  state: State,
  before: BreakerWindow.State,
  ended: BreakerWindow.Outcome,
  now: number,
  open: Open
): readonly [Decision, State] => {
  const { settings } = state
  const window = BreakerWindow.add(before, ended, now)
  const next: State = { ...state, phase: { _tag: "Closed", window } }
  const totals = BreakerWindow.totals(window, now)
  if (totals.calls < settings.minimumCalls) return [{ _tag: "Kept", phase: "Closed", reason: "too-few-calls" }, next]
  if (BreakerWindow.failureRate(totals) >= settings.failureRate) return open("failure-rate")
  if (BreakerWindow.slowRate(totals) >= settings.slowRate) return open("slow-rate")
  return [{ _tag: "Kept", phase: "Closed", reason: "under-rates" }, next]
}

const judge = (
  state: State,
  phase: Extract<Phase, { readonly _tag: "HalfOpen" }>,
  ended: BreakerWindow.Outcome,
  open: Open
): readonly [Decision, State] => {
  const { settings } = state
  const judged = BreakerWindow.plus(phase.judged, ended)
  const left = Math.max(0, settings.probes - judged.calls)
  if (left === 0 || settings.verdict === "early") {
    if (judged.failures / settings.probes >= settings.failureRate) return open("failure-rate")
    if (judged.slow / settings.probes >= settings.slowRate) return open("slow-rate")
  }
  // The worst that those left can do is to fail, or to be slow, all of them.
  const certain = settings.verdict === "early"
    && (judged.failures + left) / settings.probes < settings.failureRate
    && (judged.slow + left) / settings.probes < settings.slowRate
  if (left > 0 && !certain) {
    const next: State = { ...state, phase: { ...phase, inFlight: without(phase), judged } }
    return [{ _tag: "Kept", phase: "HalfOpen", reason: "too-few-calls" }, next]
  }
  const closed = change(state, { _tag: "Closed", window: BreakerWindow.make(settings.window) })
  return [{ _tag: "Closed", reason: "probes-passed" }, { ...closed, openings: 0 }]
}

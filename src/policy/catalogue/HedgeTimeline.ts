/**
 * When each try of one hedged call is sent, and which event ends it.
 *
 * | event | what follows |
 * | --- | --- |
 * | time | try `k` (from 0) at `k·delay` |
 * | non-fatal failure | the next try now, then the cadence again |
 * | pushback of `n` seconds | the next try at `t + n`, then the cadence |
 * | pushback "stop", or no number of seconds | no further try; those in flight go on |
 * | fatal failure | cancel all, fail |
 * | success | cancel all others, succeed |
 * | throttled or no budget when a try is due | no further try |
 * | last try failed, none left | fail |
 *
 * At most `maxAttemptsLimit` tries, whatever `maxAttempts` asks for. Drive it with `tick` at the time it
 * names, and with `fail` and `succeed` as answers come.
 *
 * ```ts
 * import { HedgeTimeline } from "effect-together/policy"
 *
 * HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, []).sends // => [0, 0.5, 1]
 * HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, [{ _tag: "Success", at: 0.7 }])
 * // => { sends: [0, 0.5], end: { _tag: "Succeed", cancel: 1, reason: "answer" } }
 * ```
 *
 * **Source**: gRPC proposal A6, hedging policy.
 *
 * **Gotchas**: a hedge must find a free permit and budget; it never waits for one. Settle the loser's reservation: the
 * provider may bill what it generated.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as RetryThrottle from "./RetryThrottle.ts"

/** Configures a timeline. */
export interface Options {
  /** Tries of one call, the first included, an integer >= 1; more than `maxAttemptsLimit` counts as that. Default 2. */
  readonly maxAttempts?: number | undefined
  /** The client's own bound on `maxAttempts`, an integer >= 1. Default 5, as the proposal says. */
  readonly maxAttemptsLimit?: number | undefined
  /** Seconds between two tries, >= 0; 0 sends all at once. Default 1; take it from `HedgeDelay`. */
  readonly delaySeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { maxAttempts: 2, maxAttemptsLimit: 5, delaySeconds: 1 }

/** Holds a call that is not over. */
export interface State {
  readonly settings: Settings
  /** Tries sent. */
  readonly sent: number
  /** Tries in flight. */
  readonly inFlight: number
  /** When the next try is due; absent when there is none. */
  readonly nextAt?: number | undefined
}

/** Says what to do now. `cancel` counts the tries in flight that must be interrupted. */
export type Decision =
  | { readonly _tag: "Send"; readonly attempt: number; readonly reason: "first" | "delay-elapsed" | "failure" }
  | {
    readonly _tag: "Wait"
    /** When to `tick`; absent when only an answer can follow. */
    readonly until?: number | undefined
    readonly reason: "cadence" | "pushback" | "all-sent" | "stopped" | "throttled"
  }
  | { readonly _tag: "Succeed"; readonly cancel: number; readonly reason: "answer" }
  | { readonly _tag: "Fail"; readonly cancel: number; readonly reason: "fatal" | "all-failed" }

/** Describes a try that failed. */
export interface Failure {
  /** True when no other try can fare better. */
  readonly fatal?: boolean | undefined
  /** Seconds the server wants us to wait; `"stop"`, or what is no such number, forbids a further try. */
  readonly pushback?: RetryThrottle.Pushback | undefined
}

const most = (settings: Settings): number => Math.min(settings.maxAttempts, settings.maxAttemptsLimit)

/**
 * Starts a call: its first try is sent.
 *
 * **Errors**: throws `RangeError` for an option out of range. So do `tick` and `fail` for a time that is not finite.
 */
export const start = (options: Options = {}, now = 0): readonly [Decision, State] => {
  const settings = OptionCheck.resolve(defaults, options)
  const where = "HedgeTimeline.start"
  OptionCheck.integer(where, "maxAttempts", settings.maxAttempts, 1)
  OptionCheck.integer(where, "maxAttemptsLimit", settings.maxAttemptsLimit, 1)
  OptionCheck.nonNegative(where, "delaySeconds", settings.delaySeconds)
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return send({ settings, sent: 0, inFlight: 0 }, now, "first")
}

const send = (
  state: State,
  now: number,
  reason: "first" | "delay-elapsed" | "failure"
): readonly [Decision, State] => {
  const { settings } = state
  const sent = state.sent + 1
  const next: State = { settings, sent, inFlight: state.inFlight + 1 }
  return [
    { _tag: "Send", attempt: sent, reason },
    sent < most(settings) ? { ...next, nextAt: now + settings.delaySeconds } : next
  ]
}

/** Tells why no try is due: all were sent, or hedging was stopped before. */
const idle = (state: State): "all-sent" | "stopped" => state.sent < most(state.settings) ? "stopped" : "all-sent"

/** Ends hedging but not the call: what is in flight may still answer. */
const stop = (state: State, reason: "stopped" | "throttled" | "all-sent"): readonly [Decision, State] => {
  const next = { settings: state.settings, sent: state.sent, inFlight: state.inFlight }
  return state.inFlight === 0
    ? [{ _tag: "Fail", cancel: 0, reason: "all-failed" }, next]
    : [{ _tag: "Wait", reason }, next]
}

const waiting = (state: State): Decision =>
  state.nextAt === undefined
    ? { _tag: "Wait", reason: idle(state) }
    : { _tag: "Wait", until: state.nextAt, reason: "cadence" }

/** Sends the next try if it is due. `allowed` is false when a throttle, a budget or a permit says no. */
export const tick = (state: State, now: number, allowed = true): readonly [Decision, State] => {
  OptionCheck.between("HedgeTimeline.tick", "now", now, -Infinity, Infinity)
  if (state.nextAt === undefined || now < state.nextAt) return [waiting(state), state]
  return allowed ? send(state, now, "delay-elapsed") : stop(state, "throttled")
}

/**
 * Books the failure of a try. `allowed` as for `tick`.
 *
 * **Details**: a failure that arrives when nothing is in flight (a loser that was cancelled) changes nothing.
 */
export const fail = (
  state: State,
  failure: Failure,
  now: number,
  allowed = true
): readonly [Decision, State] => {
  OptionCheck.between("HedgeTimeline.fail", "now", now, -Infinity, Infinity)
  if (state.inFlight === 0) return [waiting(state), state]
  const left: State = { ...state, inFlight: state.inFlight - 1 }
  if (failure.fatal === true) {
    return [{ _tag: "Fail", cancel: left.inFlight, reason: "fatal" }, { ...left, inFlight: 0, nextAt: undefined }]
  }
  const pushback = RetryThrottle.readPushback(failure.pushback)
  if (pushback === "stop") return stop(left, "stopped")
  if (left.nextAt === undefined) return stop(left, idle(left))
  if (pushback !== undefined) {
    const until = now + pushback
    return [{ _tag: "Wait", until, reason: "pushback" }, { ...left, nextAt: until }]
  }
  return allowed ? send(left, now, "failure") : stop(left, "throttled")
}

/**
 * Books the success of a try: the call is over.
 *
 * **Details**: as for `fail`, one that arrives when nothing is in flight changes nothing.
 */
export const succeed = (state: State): readonly [Decision, State] =>
  state.inFlight === 0
    ? [waiting(state), state]
    : [{ _tag: "Succeed", cancel: state.inFlight - 1, reason: "answer" }, { ...state, inFlight: 0, nextAt: undefined }]

/** Describes what happens to a call and when, for `preview`. */
export type Event =
  | { readonly _tag: "Failure"; readonly at: number; readonly failure: Failure }
  | { readonly _tag: "Success"; readonly at: number }

/** Lists when tries are sent, and how the call ends: `undefined` while it waits for an answer that never comes. */
export const preview = (
  options: Options,
  events: ReadonlyArray<Event>
): { readonly sends: ReadonlyArray<number>; readonly end: Decision | undefined } => {
  let [decision, state] = start(options, 0)
  const sends = [0]
  const book = (at: number) => {
    if (decision._tag === "Send") sends.push(at)
  }
  const runUntil = (time: number) => {
    while (state.nextAt !== undefined && state.nextAt < time) {
      const at = state.nextAt
      ;[decision, state] = tick(state, at)
      book(at)
    }
  }
  for (const event of events) {
    runUntil(event.at)
    ;[decision, state] = event._tag === "Success" ? succeed(state) : fail(state, event.failure, event.at)
    book(event.at)
    if (decision._tag === "Succeed" || decision._tag === "Fail") return { sends, end: decision }
  }
  runUntil(Number.POSITIVE_INFINITY)
  return { sends, end: undefined }
}

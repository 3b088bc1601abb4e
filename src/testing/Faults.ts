/**
 * Plans what goes wrong and when, and wraps any `HttpClient` or server with the plan.
 *
 * A plan is a list of rules, a rule is a `Fault` and a `When`. Everything in a `When` must hold:
 *
 * | field | the rule strikes |
 * | --- | --- |
 * | `match` | requests that a matcher picks (default: all) |
 * | `nth` | the n-th of those, counted from 1, or several |
 * | `from` | the n-th and all after it |
 * | `every` | each n-th |
 * | `probability` | a share of them, drawn from the plan's seed |
 * | `since`, `until` | within a window of time, counted from the first request |
 * | `times` | at most so often |
 *
 * Rules strike from first to last, each on what the one before left: a later `slowHeaders` delays an earlier `status`.
 *
 * ```
 * Faults.plan([
 *   Faults.outage({ since: "1 minute", for: "30 seconds" }),
 *   Faults.burst({ since: "2 minutes", for: "5 seconds", reset: 2 }),
 *   Faults.when(Fault.cutAtEvent(3), { match: "chatStream", probability: 0.01 })
 * ], { seed: 7 })
 * ```
 *
 * A plan wraps the scripted client, the simulation, the emulator ({@link middleware}) and the real client alike: the
 * same plan that fails in a test can run in staging. {@link toCode} prints it.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Millis from "../guard/Millis.ts"
import * as Fault from "./Fault.ts"
import * as Argument from "./internal/argument.ts"
import * as Damage from "./internal/damage.ts"
import { drained } from "./internal/drained.ts"
import { overSent } from "./internal/sentTransform.ts"
import * as Reply from "./Reply.ts"
import * as Sent from "./Sent.ts"
import * as SimulationRandom from "./SimulationRandom.ts"

/** Says when a fault strikes. Everything given must hold. */
export interface When {
  readonly match?: Sent.Matcher | undefined
  /** Counts the requests that `match` picks, from 1. */
  readonly nth?: number | ReadonlyArray<number> | undefined
  readonly from?: number | undefined
  readonly every?: number | undefined
  /** A ratio in [0, 1]. */
  readonly probability?: number | undefined
  /** Counted from the first request, at least 0. */
  readonly since?: Duration.Input | undefined
  /** After `since`. */
  readonly until?: Duration.Input | undefined
  readonly times?: number | undefined
}

/** Holds a fault and when it strikes. */
export interface Rule {
  readonly fault: Fault.Fault
  readonly when: When
}

/** Holds a list of rules and the seed of their chances. */
export interface Plan {
  readonly rules: ReadonlyArray<Rule>
  readonly seed: number
}

/** Reports one strike. */
export interface Strike {
  /** Index of the request, from 1. */
  readonly request: number
  /** Index of the rule, from 0. */
  readonly rule: number
  readonly fault: Fault.Fault
  readonly sent: Sent.Sent
}

/** Wraps clients and servers with one plan and keeps its count. */
export interface Injector {
  readonly wrap: <E, R>(
    client: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E | HttpClientError.HttpClientError, R>
  readonly middleware: <E, R>(
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest>
  /** Lists the strikes so far. */
  readonly strikes: () => ReadonlyArray<Strike>
}

/**
 * Makes a rule.
 *
 * **Errors**: throws a `RangeError` that names the field, for one that is out of range.
 */
export const when = (fault: Fault.Fault, when: When = {}): Rule => {
  const { every = 1, from = 1, nth = 1, probability = 1, times = 1 } = when
  const nths = typeof nth === "number" ? [nth] : nth
  if (nths.length === 0) Argument.refuse("Faults.when", "nth", "an integer >= 1, or a list of some", "[]")
  for (const each of nths) Argument.integer("Faults.when", "nth", each, 1)
  Argument.integer("Faults.when", "from", from, 1)
  Argument.integer("Faults.when", "every", every, 1)
  Argument.integer("Faults.when", "times", times, 1)
  if (!(probability >= 0 && probability <= 1)) Argument.refuse("Faults.when", "probability", "in [0, 1]", probability)
  const since = Millis.notNegative("Faults.when: since", when.since ?? 0)
  if (when.until !== undefined && Millis.notNegative("Faults.when: until", when.until) <= since) {
    Argument.refuse("Faults.when", "until", "after since", when.until)
  }
  return { fault, when }
}

/** Bounds a window of time, and what is struck in it. */
export interface Window {
  /** Default: at once. */
  readonly since?: Duration.Input | undefined
  readonly for: Duration.Input
  readonly match?: Sent.Matcher | undefined
}

const window = (constructor: string, options: Window): When => {
  const since = Millis.notNegative(`${constructor}: since`, options.since ?? 0)
  const length = Millis.positive(`${constructor}: for`, options.for)
  return { match: options.match, since: Duration.millis(since), until: Duration.millis(since + length) }
}

/** Answers 429 to everything within a window of time. */
export const burst = (options: Window & { readonly reset?: number | undefined }): Rule =>
  when(
    Fault.rateLimited(options.reset === undefined ? undefined : { reset: options.reset }),
    window("Faults.burst", options)
  )

/** Fails everything within a window of time, as a provider that is down: 503 unless told otherwise. */
export const outage = (options: Window & { readonly fault?: Fault.Fault | undefined }): Rule =>
  when(options.fault ?? Fault.status(503), window("Faults.outage", options))

/** Answers 402 to everything from a time on, until credit is added. */
export const creditExhaustion = (
  options?: { readonly since?: Duration.Input | undefined; readonly until?: Duration.Input | undefined }
): Rule => when(Fault.outOfCredits, { since: options?.since, until: options?.until })

/**
 * Makes a plan. A bare fault strikes every request.
 *
 * **Errors**: throws a `RangeError` for a rule that {@link when} refuses, and for a seed that is not finite.
 */
export const plan = (
  rules: ReadonlyArray<Rule | Fault.Fault>,
  options?: { readonly seed?: number | undefined }
): Plan => {
  const seed = Argument.finite("Faults.plan", "seed", options?.seed ?? 1)
  return { rules: rules.map((rule) => "_tag" in rule ? when(rule) : when(rule.fault, rule.when)), seed }
}

interface RuleState {
  seen: number
  struck: number
}

const due = (rule: Rule, state: RuleState, sent: Sent.Sent, elapsed: number, chance: () => number): boolean => {
  const { every, from, match, nth, probability, since, times, until } = rule.when
  if (match !== undefined && !Sent.matches(match, sent)) return false
  const n = ++state.seen
  if (nth !== undefined && !(typeof nth === "number" ? nth === n : nth.includes(n))) return false
  if (from !== undefined && n < from) return false
  if (every !== undefined && n % every !== 0) return false
  if (since !== undefined && elapsed < Duration.toMillis(Duration.fromInputUnsafe(since))) return false
  if (until !== undefined && elapsed >= Duration.toMillis(Duration.fromInputUnsafe(until))) return false
  if (times !== undefined && state.struck >= times) return false
  if (probability !== undefined && chance() >= probability) return false
  state.struck++
  return true
}

/** Starts a plan: its counts at zero, its windows from the first request on. */
export const make = (plan: Plan): Effect.Effect<Injector> =>
  Effect.sync(() => {
    let startMillis: number | undefined
    const seed = SimulationRandom.source(plan.seed)
    const states = plan.rules.map((): RuleState => ({ seen: 0, struck: 0 }))
    const strikes: Array<Strike> = []
    let requests = 0

    const decide = (sent: Sent.Sent, nowMillis: number): ReadonlyArray<Strike & { readonly draw: number }> => {
      const request = ++requests
      startMillis ??= nowMillis
      const elapsed = nowMillis - startMillis
      const found: Array<Strike & { readonly draw: number }> = []
      plan.rules.forEach((rule, index) => {
        const state = states[index]!
        const draw = SimulationRandom.derive(SimulationRandom.derive(seed, index), request)
        if (due(rule, state, sent, elapsed, () => SimulationRandom.uniform(draw, 0))) {
          found.push({ request, rule: index, fault: rule.fault, sent, draw })
        }
      })
      strikes.push(...found)
      return found
    }

    const strikeAll = <E, R>(
      exchange: Effect.Effect<HttpClientResponse.HttpClientResponse, E, R>,
      sent: Sent.Sent
    ): Effect.Effect<HttpClientResponse.HttpClientResponse, E | HttpClientError.HttpClientError, R> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        decide(sent, now).reduce<
          Effect.Effect<HttpClientResponse.HttpClientResponse, E | HttpClientError.HttpClientError, R>
        >((struck, { draw, fault }) => Fault.strike(fault, struck, sent.request, draw), exchange))

    return {
      wrap: (client) => overSent(client, strikeAll),
      // a server may run its handlers uninterruptibly: the app stays so, but a fault that waits ends when the client leaves
      middleware: (app) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (server) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.interruptible(serve(restore(app), server, strikeAll))
          )),
      strikes: () => strikes
    }
  })

const isInjected = <E>(error: E | HttpClientError.HttpClientError): error is HttpClientError.HttpClientError =>
  HttpClientError.isHttpClientError(error)

const isJson = (headers: Readonly<Record<string, string | undefined>>) =>
  (headers["content-type"] ?? "").includes("json")

const serve = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  server: HttpServerRequest.HttpServerRequest,
  strikeAll: <E1, R1>(
    exchange: Effect.Effect<HttpClientResponse.HttpClientResponse, E1, R1>,
    sent: Sent.Sent
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, E1 | HttpClientError.HttpClientError, R1>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R> =>
  Effect.gen(function*() {
    // only JSON is read here, and the server keeps it for the app; an upload stays the app's to read
    const text = isJson(server.headers) ? yield* Effect.orElseSucceed(server.text, () => "") : ""
    const address = Option.getOrElse(HttpServerRequest.toURL(server), () => new URL(server.url, "http://localhost"))
    const request = HttpClientRequest.make("POST")(address, { headers: server.headers }).pipe(
      text === "" ? (self) => self : HttpClientRequest.bodyText(text, "application/json")
    )
    let untouched: HttpServerResponse.HttpServerResponse | undefined
    let original: HttpClientResponse.HttpClientResponse | undefined
    const exchange = Effect.uninterruptible(Effect.map(app, (response) => {
      untouched = response
      original = HttpServerResponse.toClientResponse(response, { request })
      return original
    }))
    const response = yield* Sent.make({ ...request, method: server.method }, address).pipe(
      Effect.flatMap((sent) => strikeAll(exchange, sent)),
      // a connection to break: below
      Effect.catchIf(isInjected, () => Effect.void),
      // an app that cannot be interrupted answers a client who has left meanwhile
      Effect.onInterrupt(() => original === undefined ? Effect.void : Damage.freed(original.stream))
    )
    if (response === undefined) {
      return HttpServerResponse.stream(Stream.fail(Reply.cutError()), { contentLength: 1 })
    }
    return response === original && untouched !== undefined
      ? untouched
      : drained(HttpServerResponse.fromClientResponse(response))
  })

/** Wraps a client with a plan that starts with its first request. */
export const wrap = <E, R>(
  client: HttpClient.HttpClient.With<E, R>,
  plan: Plan
): Effect.Effect<HttpClient.HttpClient.With<E | HttpClientError.HttpClientError, R>> =>
  Effect.map(make(plan), (injector) => injector.wrap(client))

/** Wraps the `HttpClient` of the context with a plan that starts with the first request. */
export const layer = (plan: Plan): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.flatMap(HttpClient.HttpClient, (client) => wrap(client, plan))
  )

/**
 * Wraps a server's app with a plan that starts with the first request.
 *
 * **Details**
 *
 * A fault that breaks a connection starts an answer and tears it, which a client sees as a reset. Names cannot fail to
 * resolve here: `broken("dns")` is a reset too.
 */
export const middleware = (
  plan: Plan
): Effect.Effect<
  <E, R>(
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest>
> => Effect.map(make(plan), (injector) => injector.middleware)

const durationText = (input: Duration.Input | undefined): string | undefined =>
  input === undefined ? undefined : `${Duration.toMillis(Duration.fromInputUnsafe(input))} millis`

const ruleCode = (rule: Rule): string => {
  const { since, until, ...rest } = rule.when
  const fields = Fault.literal({ ...rest, since: durationText(since), until: durationText(until) })
  return fields === "{}" ? Fault.toCode(rule.fault) : `Faults.when(${Fault.toCode(rule.fault)}, ${fields})`
}

/** Prints the code that makes a plan. */
export const toCode = (plan: Plan): string => {
  const rules = plan.rules.map(ruleCode)
  const seed = plan.rules.some((rule) => rule.when.probability !== undefined || rule.fault._tag === "latency")
    ? `, { seed: ${plan.seed} }`
    : ""
  return rules.length === 1
    ? `Faults.plan([${rules[0]}]${seed})`
    : `Faults.plan([\n  ${rules.join(",\n  ")}\n]${seed})`
}

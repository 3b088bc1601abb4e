/**
 * What the simulated provider answers, as data: status, headers, body, times and costs.
 *
 * A reply is complete the moment the call arrives; whoever drives the
 * simulation lets it happen at its time. Three kinds: an `Answer` with 200, a
 * `Refusal` with a status and a body, a `Dropped` connection.
 *
 * Bodies are those that Together was seen to answer with, where one is known: a
 * top-level `id`, and `error` with `message`, `type`, `param`, `code`. What the edge in
 * front of the provider answers (502, 52x, 504) is HTML.
 */
import * as ProviderError from "./internal/providerError.ts"
import type { Config } from "./SimulationConfig.ts"
import * as Limit from "./SimulationLimit.ts"
import * as Random from "./SimulationRandom.ts"

/** Describes a call as it reaches the provider. */
export interface Arrival {
  /** Seconds since the simulation began; an arrival before the last event happens at the time of that event. */
  readonly at: number
  /** The API key as sent; empty or absent is no key. */
  readonly key?: string | undefined
  /** `chat`, `completions`, `embeddings`, `rerank`, `images`, … */
  readonly operation: string
  readonly model: string
  readonly inputTokens: number
  /** Upper bound of the answer; absent: the model's own. */
  readonly maxTokens?: number | undefined
  /** Exact length of the answer, for operations that generate nothing (0) or a known amount. */
  readonly outputTokens?: number | undefined
  /** Answers wanted (`n`); each has the same length. */
  readonly choices?: number | undefined
  /** Identifies the prompt: the same hash meets the same answer, see SimulationRandom.hash. */
  readonly promptHash: number
  /** The caller's name for the work (a custom id, an idempotency key), for counting what was billed twice. */
  readonly tag?: string | undefined
  /** `serverless` keeps a call off the provisioned pool. */
  readonly pool?: "serverless" | undefined
}

/** Names why a call was not answered. */
export type Reason =
  | "requests"
  | "tokens"
  | "in-flight"
  | "credits"
  | "key"
  | "model-unknown"
  | "model-unavailable"
  | "context"
  | "outage"
  | "fault"

/** Breaks an answer that began well. */
export interface Break {
  readonly kind: "cut" | "stall" | "error-frame"
  readonly afterTokens: number
}

interface Common {
  /** Unique in the simulation, in order of arrival; what `cancel` takes. */
  readonly id: number
  readonly requestId: string
  /** Seconds from the arrival to the end of the reply; `Infinity` where it never comes. */
  readonly latencySeconds: number
  readonly headers: Readonly<Record<string, string>>
}

/** Describes an answer: status 200. */
export interface Answer extends Common {
  readonly _tag: "Answer"
  readonly status: 200
  readonly firstTokenSeconds: number
  readonly inputTokens: number
  readonly cachedTokens: number
  /** Of one choice. */
  readonly outputTokens: number
  readonly choices: number
  readonly finishReason: "stop" | "length"
  readonly costNanoUsd: bigint
  readonly pool: "serverless" | "provisioned"
  /** Time between two tokens of a stream. */
  readonly secondsPerToken: number
  /** What the answer's text is made from: the same for each try of a prompt. */
  readonly textSeed: number
  readonly broken: Break | undefined
}

/** Describes a reply with an error status. */
export interface Refusal extends Common {
  readonly _tag: "Refusal"
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly reason: Reason
  /** Exact seconds until the lane could admit this call, where a limit refused it. */
  readonly waitSeconds: number | undefined
}

/** Describes a connection that was refused, reset or left hanging. */
export interface Dropped extends Common {
  readonly _tag: "Dropped"
  readonly kind: "refused" | "reset" | "hang"
  readonly reason: Reason
}

/** Describes what the provider does about a call that it does not answer. */
export type Denial = Refusal | Dropped

/** Describes what the provider does about a call. */
export type Reply = Answer | Denial

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const letters = (from: Random.Source, index: number, length: number): string => {
  let word = Random.word(from, index)
  let out = ""
  for (let i = 0; i < length; i++) {
    out += alphabet[word % 62]
    word = Math.floor(word / 62)
  }
  return out
}

const hex = (from: Random.Source, index: number): string => Random.word(from, index).toString(16).padStart(8, "0")

/** Makes the id of a request, in the provider's form: its tail is the edge's ray id. */
export const requestId = (from: Random.Source): string => {
  const own = Random.derive(from, 0x1d)
  return `o${letters(own, 0, 5)}${letters(own, 1, 1)}-${letters(own, 2, 5)}${letters(own, 3, 1)}-${hex(own, 4)}${
    hex(own, 5)
  }`
}

/** Writes an error body of the provider's usual shape. */
export const errorBody = (requestId: string, error: ProviderError.Description): string =>
  JSON.stringify({ id: requestId, error: ProviderError.make(error) })

/** Says that an account is out of credit. */
export const outOfCredits: ProviderError.Description = {
  message:
    "Credit limit exceeded. Please navigate to https://api.together.xyz/settings/billing to add credit or upgrade your plan.",
  type: "credit_limit"
}

/** Rounds a wait that is a whole number except for the small addition of `Limit.waitFor`. */
const exact = (wait: number): number => wait * (1 - 2e-9) - 2e-9

/** Writes a wait that is never too short: rounded up to the second or the millisecond, and one of them at least. */
const seconds = (config: Config, wait: number): string =>
  config.reset === "integer"
    ? String(Math.max(1, Math.ceil(exact(wait))))
    : String(Math.max(1, Math.ceil(exact(wait) * 1000)) / 1000)

const rate = (value: number): string => String(Math.round(value * 1000) / 1000)

const whole = (value: number): string => String(Math.max(0, Math.floor(value)))

const pairs = (entries: ReadonlyArray<readonly [string, number, (value: number) => string]>): Record<string, string> =>
  Object.fromEntries(
    entries.filter(([, value]) => Number.isFinite(value)).map(([name, value, write]) => [name, write(value)])
  )

/**
 * Writes the rate limit headers of a contract.
 *
 * **Details**: `wait` is the time until this call could be admitted, present on
 * a 429 only; where a contract sends `x-ratelimit-reset` on a success it is the
 * time until the buckets would be full, a whole second at least, or until
 * nothing counts in the window any more.
 */
export const limitHeaders = (
  config: Config,
  lane: Limit.Lane,
  wait: number | undefined
): Readonly<Record<string, string>> => {
  if (config.headers === "none") return {}
  if (config.headers === "v4") return wait === undefined ? {} : { "x-ratelimit-reset": seconds(config, wait) }
  const until = wait ?? Limit.emptyIn(lane)
  const reset = { "x-ratelimit-reset": until === undefined ? "1" : seconds(config, until) }
  if (config.headers === "v3") return reset
  const limits = Limit.rates(config, lane)
  const requests = pairs([
    ["x-ratelimit-limit", limits.requestsPerSecond, rate],
    ["x-ratelimit-remaining", lane.requests, whole]
  ])
  if (config.headers === "live") {
    return {
      "x-ratelimit": "false",
      ...requests,
      ...pairs([
        ["x-ratelimit-limit-tokens", limits.tokensPerSecond, rate],
        ["x-ratelimit-remaining-tokens", lane.tokens, whole]
      ]),
      ...reset,
      "retry-after": reset["x-ratelimit-reset"]
    }
  }
  const fixed = {
    ...requests,
    ...pairs([
      ["x-tokenlimit-limit", limits.tokensPerSecond, rate],
      ["x-tokenlimit-remaining", lane.tokens, whole]
    ]),
    ...reset
  }
  return config.headers === "v1" ? fixed : {
    ...fixed,
    ...pairs([
      ["x-ratelimit-limit-dynamic", lane.dynamic?.requestsPerSecond ?? Infinity, rate],
      ["x-ratelimit-remaining-dynamic", lane.dynamic === undefined ? Infinity : lane.requests, whole],
      ["x-tokenlimit-limit-dynamic", lane.dynamic?.tokensPerSecond ?? Infinity, rate],
      ["x-tokenlimit-remaining-dynamic", lane.dynamic === undefined ? Infinity : lane.tokens, whole]
    ])
  }
}

const perMinute = (value: number): string => rate(value * 60)

/**
 * Writes the message and type of a 429 for a rate.
 *
 * **Details**: a model with limits of its own answers `model_rate_limit`; the
 * fixed limits of the oldest contract answer `credit_limit`, as captured; every
 * later contract answers `dynamic_request_limited` or `dynamic_token_limited`.
 */
export const rateError = (
  config: Config,
  lane: Limit.Lane,
  shortage: Limit.Shortage
): { readonly message: string; readonly type: string } => {
  const limits = Limit.rates(config, lane)
  if (shortage === "in-flight") {
    return {
      message: `Too many concurrent requests: at most ${limits.maxInFlight} requests to this model may be in flight.`,
      type: "concurrency_limited"
    }
  }
  const dynamic = shortage === "requests" ? limits.dynamicRequests : limits.dynamicTokens
  if (!dynamic && config.models[lane.model]?.limits !== undefined) {
    const tokens = Number.isFinite(limits.tokensPerSecond) ? ` and ${perMinute(limits.tokensPerSecond)} tokens` : ""
    return {
      message:
        `You have reached the rate limit specific to this model ${lane.model}. The maximum rate limit for this ` +
        `model is ${perMinute(limits.requestsPerSecond)} queries${tokens} per minute. This limit differs from the ` +
        "general rate limits published at https://docs.together.ai/docs/rate-limits",
      type: "model_rate_limit"
    }
  }
  if (!dynamic && (config.headers === "v1" || config.headers === "live")) {
    return {
      message: `Request was rejected due to request rate limiting. Your rate limits are ` +
        `${perMinute(limits.requestsPerSecond)} RPM (${rate(limits.requestsPerSecond)} QPS) and ` +
        `${perMinute(limits.tokensPerSecond)} TPM (${rate(limits.tokensPerSecond)} TPS). ` +
        "See details: https://docs.together.ai/docs/rate-limits",
      type: "credit_limit"
    }
  }
  const [what, type] = shortage === "requests"
    ? ["Request", "dynamic_request_limited"]
    : ["Token", "dynamic_token_limited"]
  return {
    message: `${what} rate above the dynamic limit of this model. Slow down and retry after x-ratelimit-reset.`,
    type
  }
}

const html = new Set([502, 504, 520, 521, 522, 523, 524])

const messages: Readonly<Record<number, readonly [message: string, type: string]>> = {
  400: ["Input validation error", "invalid_request_error"],
  408: ["Request timeout", "timeout"],
  429: ["Too many requests", "rate_limit"],
  500: ["Internal server error", "server_error"],
  503: ["The engine is overloaded. Please try again after a brief wait.", "server_error"],
  529: ["Unknown server error", "server_error"]
}

/** Writes the body of a fault: HTML where the edge speaks, JSON where the provider does. */
export const faultBody = (
  status: number,
  requestId: string
): { readonly contentType: string; readonly body: string } =>
  html.has(status)
    ? {
      contentType: "text/html; charset=UTF-8",
      body: `<!DOCTYPE html>\n<html><head><title>api.together.ai | ${status}</title></head>` +
        `<body><h1>Error ${status}</h1><p>Ray ID: ${requestId.slice(-16)}</p></body></html>\n`
    }
    : {
      contentType: "application/json",
      body: errorBody(requestId, {
        message: messages[status]?.[0] ?? `Error ${status}`,
        type: messages[status]?.[1] ?? (status >= 500 ? "server_error" : "invalid_request_error")
      })
    }

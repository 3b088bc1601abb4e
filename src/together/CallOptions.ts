/**
 * What callers say about one call and are told about it: options, calls by path, and what was answered.
 *
 * `Together` exports all of it; `Client` makes the calls.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as HttpMethod from "effect/http/HttpMethod"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { Priority, TokenEstimate } from "../domain/Call.ts"
import type { TogetherError } from "../domain/TogetherError.ts"
import type { Usage } from "../domain/Usage.ts"
import type * as Price from "../policy/Price.ts"
import type * as Pipeline from "./Pipeline.ts"
import type { Exchange } from "./transport/Transport.ts"

/** Steers one call; what is absent is the client's default. */
export interface CallOptions {
  /** Rank in the lane's queue: `"interactive"`, `"normal"`, `"bulk"`, or 0 (first) to 499. Default: the client's, `"normal"`. */
  readonly priority?: Priority | undefined
  /**
   * Time for the whole call, including waits (also for credit), retries, fallbacks and the rest of a stream. At 0 or
   * less nothing is sent. A call that reaches it fails with `RequestTimeoutError` of phase `"deadline"`; one that could
   * not end in time fails earlier, with its last error or with `LaneOverflowError`. Default: the client's, else none.
   */
  readonly deadline?: Duration.Input | undefined
  /** When to retry; `Schedule.recurs(0)` for never. Default: the client's schedule. */
  readonly retry?: Schedule.Schedule<unknown, TogetherError> | undefined
  /**
   * Models to turn to, in this order, when the one asked for cannot serve the call. Each is priced, queued and retried
   * as a call of its own; the deadline is shared. Default: none.
   *
   * **Gotchas**: a call by path takes no fallback, since only you know where its body names the model.
   */
  readonly fallback?: ReadonlyArray<string> | undefined
  /** Asks for a slow answer a second time; streams are never hedged. Default: the client's, else never. */
  readonly hedge?: Pipeline.HedgeOptions | undefined
  /**
   * Your own word for a group of calls: budgets and spans use it, and how much its calls generate is learned
   * separately.
   */
  readonly label?: string | undefined
  /** Name of the provider's pool, where a model has several. Default: the serverless pool. */
  readonly pool?: string | undefined
  /**
   * Runs once a call is answered, before the caller sees the answer; for a stream, at its end. Default: nothing.
   *
   * **Details**: permit, limits and money are settled by then, and no deadline bounds it. A defect in it is a defect of the call.
   */
  readonly onAnswered?: ((answered: Answered) => Effect.Effect<void>) | undefined
}

/** Tells of a call that was answered. */
export interface Answered {
  /** The method that made the call: `"chat"`, `"chatStream"`, `"embeddings"`, … */
  readonly operation: string
  /** The model that answered, which may be a fallback; `""` where the operation has none. */
  readonly model: string
  /**
   * Attempts made for the call, the first included; with fallbacks, only those of `model`. A hedge is part of its
   * attempt.
   */
  readonly attempts: number
  /** HTTP status of the answer. */
  readonly status: number | undefined
  /** The provider's id of the exchange. */
  readonly requestId: string | undefined
  /** What the answer says the call consumed; `undefined` if it does not say. */
  readonly usage: Usage | undefined
  /**
   * What it cost, by the client's `prices`. Without usage it is assumed: for a stream by what arrived, else as the
   * ledger of `Credits` charges it. Without such a ledger, or without a price, it is unknown, with a reason.
   */
  readonly cost: Price.Cost
}

/** Steers a call whose cost the client cannot know. */
export interface CreationOptions extends CallOptions {
  /**
   * The most and the least that it may cost, as you know it, so that budgets can hold it. Default: unknown, which a
   * budget refuses unless `unknownPrice` of `Credits` allows it.
   */
  readonly cost?: Price.Estimate | undefined
}

/** Describes a call by path whose answer comes as it is, for endpoints that have no method of their own. */
export interface RawRequest {
  /** Default: `"POST"` with a `body` or a `form`, else `"GET"`. */
  readonly method?: HttpMethod.HttpMethod | undefined
  /** Path below the base URL, or an absolute URL on its host or on another of Together's. */
  readonly path: string
  /** Parameters of the address; one that is `undefined` is left out. Default: none. */
  readonly query?: Exchange["query"]
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as multipart; excludes `body`. */
  readonly form?: FormData | undefined
  /**
   * Collects the texts of `form`, which no error may quote. Default: they are not known, so an error quotes nothing of
   * an answer but the words that name its kind.
   */
  readonly formTexts?: Exchange["formTexts"]
  /** The model, which selects the lane. Default: the body's, if `path` is that of a typed operation or of speech, else none. */
  readonly model?: string | undefined
  /** Names the operation in errors, spans and metrics. Default: `"request"`. */
  readonly operation?: string | undefined
  /** True where a repeat after an ambiguous failure does no harm. Default: true for GET, HEAD, PUT and DELETE. */
  readonly idempotent?: boolean | undefined
  /**
   * What the call may consume. Default: if `path` is that of a typed operation, what that may consume; else nothing.
   */
  readonly estimate?: TokenEstimate | undefined
  /**
   * What the call may cost, for the budgets of a `Credits` service. `"free"` means nothing, and such a call is also
   * sent while the account is suspended. Default: `"free"` for GET, HEAD and DELETE; the price of `estimate`, if given;
   * as a typed operation, if `path` is that of one; by the characters of speech; else unknown, like a model without a price.
   */
  readonly cost?: Price.Estimate | "free" | undefined
}

/** Describes a call by path whose answer is JSON. */
export interface PathRequest<A> extends RawRequest {
  /**
   * Decodes the JSON of the answer, or of each event of a stream. An empty answer is decoded as `undefined`, or else as
   * `null`.
   */
  readonly response: Schema.Codec<A, unknown>
}

/** One event of a stream by path. */
export interface StreamEvent<A> {
  /** Its name; `message` where it has none. */
  readonly event: string
  readonly data: A
}

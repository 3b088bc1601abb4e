/**
 * Reads the refusal that another client of Together received, as the same error that our own client would have made of
 * it.
 *
 * What the guards know of Together they know from its errors. With this one function around another SDK's rejection,
 * retry, lane, breaker and fallback work for that SDK as they do here.
 */
import * as Result from "effect/Result"
import * as ForeignHeaders from "../../domain/ForeignHeaders.ts"
import { ConnectionError, type TogetherError } from "../../domain/TogetherError.ts"
import * as Classify from "./Classify.ts"
import * as Json from "../Json.ts"
import { promptsOf, promptsOfText, type Secrets } from "../redact/Redact.ts"
import * as Subject from "./Subject.ts"

/** Holds an answer outside 2xx, as any client hands it over. */
export interface ForeignResponse {
  readonly status: number
  /**
   * A `Headers`, a list of pairs, or a record, with names in any case; what comes several times is joined by commas;
   * of a request id the first counts. Default: none, so that no wait is known.
   */
  readonly headers?:
    | Headers
    | ReadonlyArray<readonly [name: string, value: string]>
    | Readonly<Record<string, string | number | ReadonlyArray<string> | null | undefined>>
    | null
    | undefined
  /** The body's text, or the JSON read from it. Default: empty. */
  readonly body?: unknown
  /**
   * What was sent, or its JSON text: its prompts are removed from what the error quotes. Default: not known, so the
   * error quotes nothing of the answer but the words that name its kind.
   */
  readonly request?: unknown
  /** `chat`, `embeddings`, …: on those a 403 is usually a prompt that is too long. Default: one of those. */
  readonly operation?: string | undefined
  readonly model?: string | undefined
}

const idHeader = "x-request-id"

/** Reads the headers; of several request ids the first counts. */
const headersOf = (headers: ForeignResponse["headers"]): Classify.Answer["headers"] => {
  const read = ForeignHeaders.read(headers)
  const id = read[idHeader]
  return id === undefined ? read : { ...read, [idHeader]: id.split(",")[0] }
}

const textOf = (body: unknown): string =>
  typeof body === "string" ? body : body === null ? "" : Json.stringify(body) ?? ""

const promptsIn = (request: unknown): Secrets["prompts"] => {
  if (request === undefined || request === null) return "unknown"
  return Result.getOrElse(
    Result.try(() => typeof request === "string" ? promptsOfText(request) : promptsOf(request)),
    () => "unknown" as const
  )
}

/** Builds the error where no status came, against what the types say: then there was no answer. */
const unanswered = (response: ForeignResponse): ConnectionError =>
  new ConnectionError({
    ...Subject.ofCall(response),
    message: `The other client reported no status (${
      String(response.status)
    }), so no answer came. Try again; check the network if it lasts.`
  })

/**
 * Builds the error of an answer that another client received: the `catch` of a promise around its SDK.
 *
 * **Gotchas**: a rejection without a status never became an answer. It is a `ConnectionError`, whose `permanent` says
 * whether a repeat is in vain, or a `RequestTimeoutError`.
 *
 * **Errors**: never throws, whatever the status, the headers, the body and the request.
 *
 * **Example**
 *
 * ```ts
 * import { Together } from "effect-together"
 *
 * const error = Together.errorFromResponse({
 *   status: 429,
 *   headers: { "Retry-After": "2" },
 *   body: { error: { message: "Rate limited", type: "dynamic_request_limited" } },
 *   model: "openai/gpt-oss-20b"
 * })
 * console.log(error._tag, String(error.retryAfter)) // => RateLimitError 2000 millis
 * ```
 */
export const errorFromResponse = (response: ForeignResponse): TogetherError =>
  Number.isSafeInteger(response.status)
    ? Classify.fromAnswer({
      status: response.status,
      headers: headersOf(response.headers),
      body: textOf(response.body),
      operation: response.operation,
      model: response.model,
      nowMillis: ForeignHeaders.noClock,
      secrets: { prompts: promptsIn(response.request) }
    })
    : unanswered(response)

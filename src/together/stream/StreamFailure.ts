/**
 * Says what went wrong with a stream that a 2xx status began, and whether a repeat may cure it.
 *
 * An error frame is read as if it were an answer with the status that it names. Without a status, its kinds say whose
 * fault it is; if they blame nobody, a repeat may help, as long as no token has arrived. Lack of credit before the
 * first token is an `InsufficientCreditsError`, as it is by status, so that the account is suspended and the call can
 * wait.
 */
import * as Duration from "effect/Duration"
import * as Enumeration from "../../domain/Enumeration.ts"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as Advice from "../error/Advice.ts"
import * as Classify from "../error/Classify.ts"
import * as ErrorBody from "../error/ErrorBody.ts"
import type * as EventDecoder from "./EventDecoder.ts"
import { redact, type Secrets } from "../redact/Redact.ts"
import * as Subject from "../error/Subject.ts"
import type { Exchange, Transport } from "../transport/Transport.ts"
import { timedOut } from "../error/TransportFailure.ts"

const blamesRequest =
  /^(?:invalid_(?:argument|input|param|request|value)|bad_?request|validation|unprocessable|unsupported|authentication|unauthori[sz]ed|permission|forbidden|not_?found)/

const blamesProvider = /server|internal|overload|unavailable|timeout/

/** A repeat would generate, and bill, an event of that size again. */
const tooLarge = "Call without streaming, where no such limit holds"

/** Reads an error frame as if it were an answer of the status that it names, else of a 500 or a 400 by its kinds. */
const readFrame = (frame: string, { model, operation }: Exchange, secrets: Secrets) => {
  const { kinds, requestId, status: named } = ErrorBody.parse(frame)
  const status = named ?? (kinds.some((kind) => blamesProvider.test(kind)) ? 500 : 400)
  const blamed = kinds.some((kind) => blamesRequest.test(kind))
  // a status that was assumed proves nothing: unless a kind or the sentence blames the request, a repeat may cure it
  const assumed = named === undefined && !blamed
  const error = Classify.fromAnswer({ status, headers: {}, body: frame, operation, nowMillis: 0, secrets, assumed })
  const final = error._tag === "InvalidRequestError" && named === undefined
    ? blamed
    : !TogetherError.isRetryable(error)
  // what names no status and is no such refusal may have come from the middle of the provider's work
  const refused = named !== undefined || final || error._tag === "RateLimitError" || error._tag === "OverloadedError"
  return {
    requestId,
    refused,
    isUnpaid: error._tag === "InsufficientCreditsError",
    named,
    remedy: final ? Advice.remedy(error._tag, { status, operation, model }) : undefined
  }
}

/** The first line of an event stream. What something on the way has relabelled holds the answer, which no message quotes. */
const holdsEvents = /^\s*(?:data|event|id|retry)?:/

/** Builds the error of a 2xx answer to a streaming call that is no event stream. */
export const unreadable = (exchange: Exchange, transport: Transport, head: Subject.Head, body: string) => {
  const { message, requestId } = ErrorBody.parse(body)
  const said = holdsEvents.test(body) ? undefined : message
  const secrets = transport.secrets(exchange)
  const contentType = head.headers["content-type"]
  return new TogetherError.DecodeError({
    ...Subject.ofAnswer(exchange, head, secrets, requestId),
    message: `The answer to a streaming call is ${
      contentType === undefined ? "without a content type" : redact(contentType, secrets)
    }, not text/event-stream.${
      said === undefined ? "" : ` It says: ${redact(said, secrets)}.`
    } Check the base URL, or call without streaming.`,
    body: body === "" ? undefined : redact(body, secrets)
  })
}

/** Says how far a stream came. */
const afterEvents = (count: number): string =>
  count === 0 ? "before any event" : `after ${Enumeration.counted(count, "event")}`

/** Builds the errors of one stream. */
export interface StreamFailure {
  /** What the stream says or lacks. */
  readonly failed: (failure: EventDecoder.Failure) => TogetherError.StreamError | TogetherError.InsufficientCreditsError
  readonly silent: () => TogetherError.RequestTimeoutError
  /** The transport failed in the middle of the body. */
  readonly cut: (error: unknown) => TogetherError.TogetherError
}

/** Makes what builds the errors of one stream, from what its decoder holds at that moment. */
export const make = (
  exchange: Exchange,
  transport: Transport,
  head: Subject.Head,
  decoder: Pick<EventDecoder.EventDecoder<unknown>, "events" | "partial" | "started">
): StreamFailure => {
  const { timeouts } = transport

  const failed: StreamFailure["failed"] = (failure) => {
    const secrets = transport.secrets(exchange)
    const read = failure.frame === undefined ? undefined : readFrame(failure.frame, exchange, secrets)
    const said = redact(failure.message, secrets)
    const body = failure.frame === undefined ? undefined : redact(failure.frame, secrets)
    const about = Subject.ofAnswer(exchange, head, secrets, read?.requestId)
    const remedy = failure.reason === "too-large" ? tooLarge : read?.remedy
    if (read?.isUnpaid === true && !decoder.started()) {
      return new TogetherError.InsufficientCreditsError({
        ...about,
        status: read.named ?? 402,
        message: `The stream failed before its first token: ${Classify.sentence(said)} ${read.remedy}.`,
        body
      })
    }
    return new TogetherError.StreamError({
      ...about,
      started: decoder.started(),
      refused: read?.refused === true && !decoder.started() ? true : undefined,
      partial: decoder.partial(),
      shouldRetry: remedy === undefined ? undefined : false,
      message: `The stream failed ${afterEvents(decoder.events())}${
        said === "" ? "." : `: ${Classify.sentence(said)}`
      } ${decoder.started() ? Advice.arrived : remedy ?? "Nothing had arrived yet: try again"}.`,
      body
    })
  }

  const silent: StreamFailure["silent"] = () =>
    decoder.started()
      ? new TogetherError.RequestTimeoutError({
        ...Subject.ofAnswer(exchange, head, transport.secrets(exchange)),
        phase: "idle",
        started: true,
        partial: decoder.partial(),
        message: `The stream was silent for ${Duration.format(timeouts.idle)} ${
          afterEvents(decoder.events())
        }. ${Advice.arrived}. Raise timeouts.idle to wait longer.`
      })
      : timedOut(exchange, "first-token", timeouts.firstToken, head)

  const cut: StreamFailure["cut"] = (error) => {
    const failure = transport.streamFailure(exchange, error, head)
    // it cannot be read, and it is billed
    if (failure._tag === "DecodeError") return failure
    return failed({ _tag: "Failed", reason: "cut", message: failure.message })
  }

  return { failed, silent, cut }
}

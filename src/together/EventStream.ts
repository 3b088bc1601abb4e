/**
 * Reads a streamed answer until its first token, and then for as long as someone pulls.
 *
 * `open` consumes the stream up to its first token, so that everything which
 * can fail before it can be retried unseen. What comes after is pulled by the
 * consumer: backpressure reaches the socket.
 *
 * **Errors**: `StreamError` for what the stream itself says or lacks,
 * `RequestTimeoutError` for silence (`first-token`, `idle`), `DecodeError` for
 * an answer that is no event stream, `StreamError` for a connection cut in the
 * middle.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import * as Classify from "./Classify.ts"
import * as ErrorBody from "./ErrorBody.ts"
import * as EventDecoder from "./EventDecoder.ts"
import { redact } from "./Redact.ts"
import { type Exchange, timedOut, type Transport } from "./Transport.ts"

type Chunks<Chunk> = readonly [Chunk, ...Array<Chunk>]

/** Is a stream that has delivered its first token. */
export interface Opened<Chunk> {
  /** Pulls the next chunks, the held-back first ones included. Done at the end of the stream. */
  readonly pull: Pull.Pull<Chunks<Chunk>, TogetherError.TogetherError>
  readonly usage: () => Usage.Usage | undefined
  /** Counts the characters of text and reasoning that arrived. */
  readonly characters: () => number
}

const nonEmpty = <Chunk>(chunks: Array<Chunk>): chunks is [Chunk, ...Array<Chunk>] => chunks.length > 0

/** Tells whether an error frame says something that a repeat cannot cure. */
const frameIsFinal = (frame: string): boolean => {
  const body = ErrorBody.parse(frame)
  const tag = Classify.verdict({ status: 500, headers: {}, body: frame, nowMillis: 0 }, body).tag
  return tag !== "ServerError" && tag !== "RateLimitError" || body.kinds.includes("invalid_request_error")
}

const unreadable = (exchange: Exchange, transport: Transport, contentType: string | undefined, body: string) => {
  const said = ErrorBody.parse(body).message
  const secrets = transport.secrets(exchange)
  return new TogetherError.DecodeError({
    operation: exchange.operation,
    model: exchange.model,
    message: `The answer to a streaming call is ${contentType ?? "without a content type"}, not text/event-stream.${
      said === undefined ? "" : ` It says: ${redact(said, secrets)}.`
    } Check the base URL, or call without streaming.`,
    body: body === "" ? undefined : redact(body, secrets)
  })
}

/**
 * Reads a response up to its first token.
 *
 * @param response an answer with a 2xx status, unread
 */
export const open = Effect.fnUntraced(function*<Chunk>(
  response: HttpClientResponse.HttpClientResponse,
  shape: EventDecoder.Shape<Chunk>,
  exchange: Exchange,
  transport: Transport
): Effect.fn.Return<Opened<Chunk>, TogetherError.TogetherError, Scope.Scope> {
  const { timeouts } = transport
  const contentType = response.headers["content-type"]
  if (contentType === undefined || !/^text\/event-stream\b/i.test(contentType.trim())) {
    const body = yield* Effect.timeoutOption(Effect.orElseSucceed(response.text, () => ""), timeouts.body)
    return yield* unreadable(exchange, transport, contentType, body._tag === "Some" ? body.value : "")
  }
  const clock = yield* Clock.clockWith(Effect.succeed)
  const decoder = EventDecoder.make(shape)
  const bytes = yield* Stream.toPull(response.stream)
  const requestId = response.headers["x-request-id"] ?? response.headers["cf-ray"]
  const common = { operation: exchange.operation, model: exchange.model, requestId }

  const streamError = (failure: EventDecoder.Failure): TogetherError.StreamError => {
    const secrets = transport.secrets(exchange)
    const final = failure.frame !== undefined && frameIsFinal(failure.frame)
    const said = redact(failure.message, secrets)
    return new TogetherError.StreamError({
      ...common,
      started: decoder.started(),
      partial: decoder.partial(),
      shouldRetry: final ? false : undefined,
      message: `The stream failed after ${decoder.events()} events${said === "" ? "" : `: ${said}`}. ${
        decoder.started()
          ? "Part of the answer arrived and is on the error; a repeat would generate and bill it again"
          : final
          ? "Correct the request"
          : "Nothing had arrived yet: try again"
      }.`,
      body: failure.frame === undefined ? undefined : redact(failure.frame, secrets)
    })
  }

  const cut = (error: unknown): TogetherError.TogetherError => {
    const failure = transport.bodyFailure(exchange, error)
    return streamError({ _tag: "Failed", reason: "cut", message: failure.message })
  }

  let lastEventAt = clock.currentTimeMillisUnsafe()
  let events = 0

  /** Bounds the silence since the last event: bytes that complete no event do not extend it. */
  const next = Effect.suspend(() => {
    const [phase, limit] = decoder.started()
      ? ["idle" as const, timeouts.idle]
      : ["first-token" as const, timeouts.firstToken]
    const silent = clock.currentTimeMillisUnsafe() - lastEventAt
    return Effect.timeoutOrElse(bytes, {
      duration: Duration.millis(Math.max(0, Duration.toMillis(limit) - silent)),
      orElse: () => Effect.fail(timedOut(exchange, phase, limit))
    })
  })

  /** Decodes until there is something to give, or the end. */
  const decode = (into: Array<Chunk>): Effect.Effect<void, TogetherError.TogetherError> =>
    Effect.matchCauseEffect(next, {
      onSuccess: (arrays) => {
        for (const array of arrays) decoder.feed(array, into)
        if (decoder.events() !== events) {
          events = decoder.events()
          // the first token is awaited from the headers on, a further event from the one before
          if (decoder.started()) lastEventAt = clock.currentTimeMillisUnsafe()
        }
        return into.length === 0 && decoder.end() === undefined ? decode(into) : Effect.void
      },
      onFailure: (cause) => {
        if (Pull.isDoneCause(cause)) {
          decoder.finish(into)
          return Effect.void
        }
        const reason = cause.reasons.find(Cause.isFailReason)
        if (reason === undefined) return Effect.failCause(cause as Cause.Cause<never>) // no fail reason in it: defects and interrupts only
        return Effect.fail(TogetherError.isTogetherError(reason.error) ? reason.error : cut(reason.error))
      }
    })

  let held: Array<Chunk> = []
  while (!decoder.started() && decoder.end() === undefined) yield* decode(held)
  const early = decoder.end()
  if (early?._tag === "Failed" && !decoder.started()) return yield* streamError(early)

  const pull: Opened<Chunk>["pull"] = Effect.suspend(() => {
    const into = held
    held = []
    if (nonEmpty(into)) return Effect.succeed(into)
    const end = decoder.end()
    if (end !== undefined) return end._tag === "Done" ? Cause.done() : Effect.fail(streamError(end))
    return Effect.andThen(decode(into), pullDecoded(into))
  })
  const pullDecoded = (into: Array<Chunk>): Opened<Chunk>["pull"] =>
    Effect.suspend(() => nonEmpty(into) ? Effect.succeed(into) : pull)

  return { pull, usage: decoder.usage, characters: decoder.characters }
})

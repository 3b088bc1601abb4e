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
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as TogetherError from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import * as ByteReader from "./ByteReader.ts"
import * as Classify from "./Classify.ts"
import * as ErrorBody from "./ErrorBody.ts"
import * as EventDecoder from "./EventDecoder.ts"
import { redact } from "./Redact.ts"
import { type Exchange, timedOut, type Transport } from "./Transport.ts"
import type * as Watchdog from "./Watchdog.ts"

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
  const reader = yield* ByteReader.make(response)
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

  let bite = (): void => {}
  const wait = yield* Effect.acquireRelease(
    Effect.withFiber<Watchdog.Wait>((fiber) => Effect.succeed(transport.watchdog.watch(fiber, Infinity, () => bite()))),
    (wait) => Effect.sync(wait.release)
  )
  const firstTokenBy = clock.currentTimeMillisUnsafe() + Duration.toMillis(timeouts.firstToken)
  const idleMillis = Duration.toMillis(timeouts.idle)

  /**
   * Decodes until there is something to give, or the end, and goes on with `then`. Silence counts while somebody pulls:
   * the first token is awaited from the headers on, a further event from the pull on. Bytes that complete no event do
   * not extend it.
   */
  const decode = <A, E>(into: Array<Chunk>, then: () => Effect.Effect<A, E>) =>
    Effect.callback<A, E | TogetherError.TogetherError>((resume) => {
      const end = (result: Effect.Effect<A, E | TogetherError.TogetherError>) => {
        wait.move(Infinity)
        resume(result)
      }
      const taker: ByteReader.Taker<unknown> = {
        onPieces: (pieces) => {
          for (const piece of pieces) decoder.feed(piece, into)
          if (into.length > 0 || decoder.end() !== undefined) end(then())
          else reader.demand(taker)
        },
        onEnd: () => {
          decoder.finish(into)
          end(then())
        },
        onFailure: (cause) => {
          const reason = cause.reasons.find(Cause.isFailReason)
          // no fail reason in it: defects and interrupts only
          end(reason === undefined ? Effect.failCause(cause as Cause.Cause<never>) : Effect.fail(cut(reason.error)))
        }
      }
      const phase = decoder.started() ? "idle" : "first-token"
      bite = () => {
        reader.withdraw()
        end(Effect.fail(timedOut(exchange, phase, phase === "idle" ? timeouts.idle : timeouts.firstToken)))
      }
      wait.move(phase === "idle" ? clock.currentTimeMillisUnsafe() + idleMillis : firstTokenBy)
      reader.demand(taker)
      return Effect.sync(() => {
        reader.withdraw()
        wait.move(Infinity)
      })
    })

  let held: Array<Chunk> = []
  while (!decoder.started() && decoder.end() === undefined) yield* decode(held, () => Effect.void)
  const early = decoder.end()
  if (early?._tag === "Failed" && !decoder.started()) return yield* streamError(early)

  const give = (into: Array<Chunk>): Opened<Chunk>["pull"] => {
    if (nonEmpty(into)) return Effect.succeed(into)
    const end = decoder.end()
    if (end === undefined) return decode(into, () => give(into))
    return end._tag === "Done" ? Cause.done() : Effect.fail(streamError(end))
  }
  const pull: Opened<Chunk>["pull"] = Effect.suspend(() => {
    const into = held
    held = []
    return give(into)
  })

  return { pull, usage: decoder.usage, characters: decoder.characters }
})

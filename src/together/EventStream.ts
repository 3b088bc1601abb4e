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
 * middle. What fails after the first token holds what arrived and is never
 * retried; nor is a frame that blames the request, the key or the account.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Remedy from "../domain/Remedy.ts"
import * as TogetherError from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import * as ByteReader from "./ByteReader.ts"
import * as Classify from "./Classify.ts"
import * as ErrorBody from "./ErrorBody.ts"
import * as EventDecoder from "./EventDecoder.ts"
import { redact, type Secrets } from "./Redact.ts"
import type { Exchange, Transport } from "./Transport.ts"
import { timedOut } from "./TransportFailure.ts"
import type * as Watchdog from "./Watchdog.ts"

type Chunks<Chunk> = readonly [Chunk, ...Array<Chunk>]

/** Is a stream that has delivered its first token. */
export interface Opened<Chunk> {
  /** Pulls the next chunks, the held-back first ones included. Done at the end of the stream. */
  readonly pull: Pull.Pull<Chunks<Chunk>, TogetherError.TogetherError>
  /** Reads the last usage seen; see `Usage.fromWire` for the input that stands in where it counts the output alone. */
  readonly usage: (estimatedInput?: number) => Usage.Usage | undefined
  /** Counts the characters that arrived: text, reasoning and tool calls of every choice. */
  readonly characters: () => number
  /** Holds what arrived so far. */
  readonly partial: () => TogetherError.PartialAnswer
}

const nonEmpty = <Chunk>(chunks: Array<Chunk>): chunks is [Chunk, ...Array<Chunk>] => chunks.length > 0

const blamesRequest =
  /^(?:invalid_(?:argument|input|param|request|value)|bad_?request|validation|unprocessable|unsupported|authentication|unauthori[sz]ed|permission|forbidden|not_?found)/

const blamesProvider = /server|internal|overload|unavailable|timeout/

/** An error frame suspends no account, so it promises no probe either. */
const remedyOf = (tag: TogetherError.TogetherError["_tag"], status: number): string =>
  tag === "InsufficientCreditsError" ? `Add credits at ${Remedy.billingPage}` : Classify.remedy(tag, status)

/** Reads an error frame as if it were an answer of the status that it names, else of a 500 or a 400 by its kinds. */
const readFrame = (frame: string, operation: string, secrets: Secrets) => {
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
  return { requestId, refused, remedy: final ? remedyOf(error._tag, status) : undefined }
}

const partArrived = "Part of the answer arrived and is on the error; a repeat would generate and bill it again"

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
  const idOf = (said: string | undefined) => response.headers["x-request-id"] ?? said ?? response.headers["cf-ray"]
  const common = { operation: exchange.operation, model: exchange.model }

  const streamError = (failure: EventDecoder.Failure): TogetherError.StreamError => {
    const secrets = transport.secrets(exchange)
    const read = failure.frame === undefined ? undefined : readFrame(failure.frame, exchange.operation, secrets)
    const said = redact(failure.message, secrets)
    return new TogetherError.StreamError({
      ...common,
      requestId: idOf(read?.requestId),
      started: decoder.started(),
      refused: read?.refused === true && !decoder.started() ? true : undefined,
      partial: decoder.partial(),
      shouldRetry: read?.remedy === undefined ? undefined : false,
      message: `The stream failed after ${decoder.events()} events${
        said === "" ? "." : `: ${Classify.sentence(said)}`
      } ${decoder.started() ? partArrived : read?.remedy ?? "Nothing had arrived yet: try again"}.`,
      body: failure.frame === undefined ? undefined : redact(failure.frame, secrets)
    })
  }

  const silent = (): TogetherError.RequestTimeoutError =>
    decoder.started()
      ? new TogetherError.RequestTimeoutError({
        ...common,
        requestId: idOf(undefined),
        phase: "idle",
        started: true,
        partial: decoder.partial(),
        message: `The stream was silent for ${
          Duration.format(timeouts.idle)
        } after ${decoder.events()} events. ${partArrived}. Raise timeouts.idle to wait longer.`
      })
      : timedOut(exchange, "first-token", timeouts.firstToken)

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
      bite = () => {
        reader.withdraw()
        end(Effect.fail(silent()))
      }
      wait.move(decoder.started() ? clock.currentTimeMillisUnsafe() + idleMillis : firstTokenBy)
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

  return { pull, usage: decoder.usage, characters: decoder.characters, partial: decoder.partial }
})

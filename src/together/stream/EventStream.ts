/**
 * Reads a streamed answer until its first token, and then for as long as someone pulls.
 *
 * `open` consumes the stream up to its first token, so that everything which
 * can fail before it can be retried unseen. What comes after is pulled by the
 * consumer: backpressure reaches the socket.
 *
 * Once nothing of the answer can be missing (`StreamChoices`), silence, a cut or a reset ends the stream.
 *
 * **Errors**: `StreamError` for what the stream itself says or lacks, and for a
 * connection cut in the middle; `RequestTimeoutError` for silence
 * (`first-token`, `idle`); `DecodeError` for an answer that is no event stream,
 * or reaches us compressed: requested again it would be billed again, and be no
 * different. What fails after the first token holds what arrived and is never
 * retried; nor is a frame that blames the request, the key or the account, or an
 * event that is too large to be read.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as TogetherError from "../../domain/TogetherError.ts"
import type * as Usage from "../../domain/Usage.ts"
import * as ByteReader from "./ByteReader.ts"
import type * as EventDecoder from "./EventDecoder.ts"
import { refusedText } from "../transport/Exchanger.ts"
import * as StreamFailure from "./StreamFailure.ts"
import type { Exchange, Opened as Answer, Transport } from "../transport/Transport.ts"
import * as TransportFailure from "../error/TransportFailure.ts"
import * as Watchdog from "../transport/Watchdog.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** How long the end of a body is waited for once the stream says that it is done; the consumer does not wait. */
  linger: Duration.millis(50)
} as const

type Chunks<Chunk> = readonly [Chunk, ...Array<Chunk>]

/** A stream that has delivered its first token. */
export interface Opened<Chunk> {
  /** Pulls the next chunks, the held-back first ones included. Done at the end of the stream. */
  readonly pull: Pull.Pull<Chunks<Chunk>, TogetherError.TogetherError>
  /** Reads the last usage seen; see `Usage.fromWire` for the input that stands in where it counts the output alone. */
  readonly usage: (estimatedInput?: number) => Usage.Usage | undefined
  /** Counts what was generated so far: text, reasoning and tool calls of every choice. */
  readonly generated: () => EventDecoder.Generated
  /** Holds what arrived so far. */
  readonly partial: () => TogetherError.PartialAnswer
}

/** Time of the socket, whatever the call's clock says: a test's may stand still. */
const socketClock = Clock.Clock.defaultValue()

/** Makes a test, piece by piece, whether bytes are text: compressed ones soon are none. */
const textCheck = (): (piece: Uint8Array) => boolean => {
  const utf8 = new TextDecoder("utf-8", { fatal: true })
  return (piece) =>
    Result.match(Result.try(() => utf8.decode(piece, { stream: true })), {
      onFailure: () => false,
      // oxlint-disable-next-line no-control-regex
      onSuccess: (text) => !/[\u0000-\u0008\u000e-\u001f]/.test(text)
    })
}

const nonEmpty = <Chunk>(chunks: Array<Chunk>): chunks is [Chunk, ...Array<Chunk>] => chunks.length > 0

/**
 * Reads a response up to its first token.
 *
 * @param answer an answer with a 2xx status, unread
 * @param decoder a fresh one
 */
export const open = Effect.fnUntraced(function*<Chunk>(
  answer: Answer,
  decoder: EventDecoder.EventDecoder<Chunk>,
  exchange: Exchange,
  transport: Transport
): Effect.fn.Return<Opened<Chunk>, TogetherError.TogetherError, Scope.Scope> {
  const { timeouts } = transport
  const { response } = answer
  const contentType = response.headers["content-type"]
  if (contentType === undefined || !/^text\/event-stream\b/i.test(contentType.trim())) {
    const body = yield* refusedText(response, timeouts.body)
    return yield* StreamFailure.unreadable(exchange, transport, answer, body)
  }
  const encoding = response.headers["content-encoding"]
  // a transport that decompresses leaves the header
  let isText = TransportFailure.isEncoded(encoding) ? textCheck() : undefined
  const clock = yield* Clock.clockWith(Effect.succeed)
  const reader = yield* Scope.provide(ByteReader.make(response), answer.scope)
  const { cut, failed, silent } = StreamFailure.make(exchange, transport, answer, decoder)

  /** A connection whose body has not ended is of no use again. The end follows [DONE] closely, and often behind it. */
  const ended = (): void => {
    const rest = reader.rest()
    if (rest === undefined) return
    const timely = Effect.timeoutOption(rest, defaults.linger)
    answer.linger(Effect.asVoid(Effect.provideService(timely, Clock.Clock, socketClock)))
  }

  let bite = (): void => {}
  const wait = yield* Effect.acquireRelease(
    Effect.withFiber<Watchdog.Wait>((fiber) => Effect.succeed(transport.watchdog.watch(fiber, Infinity, () => bite()))),
    (wait) => Effect.sync(wait.release)
  )
  const firstTokenBy = Watchdog.now(clock) + Duration.toMillis(timeouts.firstToken)
  const idleMillis = Duration.toMillis(timeouts.idle)

  /**
   * Decodes until there is something to give, or the end, and goes on with `then`. Silence counts while somebody pulls:
   * the first token is awaited from the headers on, a further event from the pull on. Bytes that complete no event do
   * not extend it. An interruption withdraws nothing: it closes the whole stream.
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
          if (decoder.events() > 0) isText = undefined
          else if (isText !== undefined && !pieces.every(isText)) {
            return end(Effect.fail(transport.streamFailure(exchange, TransportFailure.encoded(encoding), answer)))
          }
          if (into.length > 0 || decoder.end() !== undefined) end(then())
          else reader.demand(taker)
        },
        onEnd: () => {
          decoder.finish(into)
          end(then())
        },
        onFailure: (cause) => {
          if (decoder.whole()) return taker.onEnd()
          const error = Cause.findError(cause)
          end(Result.isSuccess(error) ? Effect.fail(cut(error.success)) : Effect.failCause(error.failure))
        }
      }
      bite = () => {
        reader.withdraw()
        if (decoder.whole()) taker.onEnd()
        else end(Effect.fail(silent()))
      }
      wait.move(decoder.started() ? Watchdog.now(clock) + idleMillis : firstTokenBy)
      reader.demand(taker)
    })

  let held: Array<Chunk> = []
  while (!decoder.started() && decoder.end() === undefined) yield* decode(held, () => Effect.void)
  const early = decoder.end()
  if (early?._tag === "Failed" && !decoder.started()) return yield* failed(early)

  const give = (into: Array<Chunk>): Opened<Chunk>["pull"] => {
    if (nonEmpty(into)) return Effect.succeed(into)
    const end = decoder.end()
    if (end === undefined) return decode(into, () => give(into))
    if (end._tag === "Failed") return Effect.fail(failed(end))
    ended()
    return Cause.done()
  }
  const pull: Opened<Chunk>["pull"] = Effect.suspend(() => {
    const into = held
    held = []
    return give(into)
  })

  return { pull, usage: decoder.usage, generated: decoder.generated, partial: decoder.partial }
})

/**
 * Reads the bytes of a response on demand, by callback, without a race for each piece.
 *
 * To wait for the next piece of a `Stream` and for a timer at once would take
 * a race, two fibers for every piece. Here a piece that was asked for is
 * handed over in a call, and a timer can withdraw the demand.
 *
 * | body | read by |
 * | --- | --- |
 * | a web response as Effect made it | its reader; what has arrived already is taken along, up to a limit |
 * | any other: wrapped, recorded, scripted | one fiber that pulls the `Stream` on demand |
 *
 * It waits only for what was asked for, so backpressure reaches the socket.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

type Pieces = ReadonlyArray<Uint8Array>

/** Takes what comes of one demand: pieces, the end, or a failure. */
export interface Taker<in E> {
  readonly onPieces: (pieces: Pieces) => void
  readonly onEnd: () => void
  readonly onFailure: (cause: Cause.Cause<E>) => void
}

/** Reads one body. */
export interface ByteReader<out E> {
  /** Asks for the next pieces. The taker is called once, before or after this returns, unless it is withdrawn. */
  readonly demand: (taker: Taker<E>) => void
  /** Withdraws the demand: what comes of it is kept for the next. */
  readonly withdraw: () => void
  /**
   * Reads on to the end of a web body and drops what comes; `undefined` once the end has come. Any other body counts as
   * ended, since no socket is known to be behind it.
   */
  readonly rest: () => Effect.Effect<void> | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Pieces handed over at once, at the most. */
  maxPieces: 32,
  /** Bytes from which on no further piece is taken along: what is decoded at once should be short-lived. */
  maxBytes: 16 * 1024
} as const

const pulled = Effect.fnUntraced(
  function*<E>(body: Stream.Stream<Uint8Array, E>): Effect.fn.Return<ByteReader<E>, never, Scope.Scope> {
    const pull = yield* Stream.toPull(body)
    let taker: Taker<E> | undefined
    let kept: ((taker: Taker<E>) => void) | undefined
    let wake: (() => void) | undefined

    /** Hands over what came to whoever asks, or keeps it until somebody does. */
    const give = (what: (taker: Taker<E>) => void): void => {
      const to = taker
      taker = undefined
      if (to === undefined) kept = what
      else what(to)
    }
    const asked = Effect.callback<void>((resume) => {
      wake = () => {
        wake = undefined
        resume(Effect.void)
      }
    })
    const next: Effect.Effect<void> = Pull.matchEffect(pull, {
      onSuccess: (pieces) => {
        give((to) => to.onPieces(pieces))
        // handing over often ends in the next demand at once
        return taker === undefined ? Effect.andThen(asked, next) : next
      },
      onFailure: (cause) => Effect.sync(() => give((to) => to.onFailure(cause))),
      onDone: () => Effect.sync(() => give((to) => to.onEnd()))
    })
    yield* Effect.forkScoped(Effect.andThen(asked, next), { startImmediately: true })

    return {
      demand: (asking) => {
        if (kept === undefined) {
          taker = asking
          wake?.()
        } else {
          const what = kept
          kept = undefined
          what(asking)
        }
      },
      withdraw: () => {
        taker = undefined
      },
      rest: () => undefined
    }
  }
)

/** Reads a web body: a promise for each piece, and one handing over for all that have arrived. */
class WebReader implements ByteReader<unknown> {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  #taker: Taker<unknown> | undefined
  #pieces: Array<Uint8Array> = []
  #bytes = 0
  #last: ((taker: Taker<unknown>) => void) | undefined
  #reading = false
  /** How many pieces there were when the next handing over was put at the end of the queue of microtasks. */
  #seen: number | undefined

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader
  }

  demand(taker: Taker<unknown>): void {
    this.#taker = taker
    if (this.#pieces.length > 0 || this.#last !== undefined) this.#give(taker)
    else this.#read()
  }

  withdraw(): void {
    this.#taker = undefined
  }

  rest(): Effect.Effect<void> | undefined {
    if (this.#last !== undefined) return undefined
    return Effect.callback((resume) => {
      const end = () => resume(Effect.void)
      const taker: Taker<unknown> = { onPieces: () => this.demand(taker), onEnd: end, onFailure: end }
      this.demand(taker)
      return Effect.sync(() => this.withdraw())
    })
  }

  #read(): void {
    if (this.#reading) return
    this.#reading = true
    this.#reader.read().then(this.#onRead, this.#onError)
  }

  readonly #onRead = ({ value }: ReadableStreamReadResult<Uint8Array>): void => {
    this.#reading = false
    if (value === undefined) this.#last = (to) => to.onEnd()
    else {
      this.#pieces.push(value)
      this.#bytes += value.length
    }
    this.#arrived()
  }

  readonly #onError = (error: unknown): void => {
    this.#reading = false
    this.#last = (to) => to.onFailure(Cause.fail(error))
    this.#arrived()
  }

  /** Asks for more, and hands over behind it: a piece that has arrived already comes first. */
  #arrived(): void {
    if (this.#taker === undefined) return
    if (!this.#enough()) this.#read()
    if (this.#seen === undefined) this.#line()
  }

  #enough(): boolean {
    return this.#last !== undefined || this.#pieces.length >= defaults.maxPieces || this.#bytes >= defaults.maxBytes
  }

  #line(): void {
    this.#seen = this.#pieces.length
    inLine.then(this.#look)
  }

  readonly #look = (): void => {
    const grown = this.#pieces.length > (this.#seen ?? 0)
    this.#seen = undefined
    if (this.#taker === undefined) return
    if (grown && !this.#enough()) this.#line()
    else this.#give(this.#taker)
  }

  #give(taker: Taker<unknown>): void {
    this.#taker = undefined
    const pieces = this.#pieces
    if (pieces.length > 0) {
      this.#pieces = []
      this.#bytes = 0
      taker.onPieces(pieces)
    } else this.#last?.(taker)
  }
}

const inLine = Promise.resolve()

const read = (body: ReadableStream<Uint8Array>): Effect.Effect<ByteReader<unknown>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => body.getReader()),
      // the reader of a failed body rejects once more, and nobody listens
      (reader) => Effect.promise(() => reader.cancel().then(undefined, () => undefined))
    ),
    (reader) => new WebReader(reader)
  )

/** The web body of a response as Effect makes it; `undefined` where anybody put something in between. */
const webBody = (response: HttpClientResponse.HttpClientResponse): ReadableStream<Uint8Array> | undefined => {
  plain ??= Object.getPrototypeOf(HttpClientResponse.fromWeb(response.request, new Response()))
  return Object.getPrototypeOf(response) === plain && !Object.hasOwn(response, "stream")
    ? Option.getOrUndefined(HttpClientResponse.toWeb(response))?.body ?? undefined
    : undefined
}

let plain: unknown

/** Reads the body of a response until the scope closes. */
export const make = (
  response: HttpClientResponse.HttpClientResponse
): Effect.Effect<ByteReader<unknown>, never, Scope.Scope> =>
  Effect.suspend((): Effect.Effect<ByteReader<unknown>, never, Scope.Scope> => {
    const body = webBody(response)
    return body === undefined ? pulled(response.stream) : read(body)
  })

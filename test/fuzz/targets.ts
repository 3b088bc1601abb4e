/** Feeds hostile input to the client and checks that what comes out is a value or a `TogetherError`. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Wiretap from "../../src/testing/Wiretap.ts"
import * as Chat from "../../src/together/Chat.ts"
import * as Classify from "../../src/together/error/Classify.ts"
import * as EventDecoder from "../../src/together/stream/EventDecoder.ts"
import * as Together from "../../src/together/Together.ts"
import * as generate from "./generate.ts"

/** Decodes one stream with the decoder alone. Throws what the decoder throws. */
export const decodeStream = (seed: number): string => {
  const decoder = EventDecoder.make(Chat.shape)
  const chunks: Array<Chat.ChatChunk> = []
  for (const piece of generate.eventStream(seed)) decoder.feed(piece, chunks)
  decoder.finish(chunks)
  const end = decoder.end()
  if (end === undefined) throw new Error(`seed ${seed}: the stream has no end`)
  decoder.partial()
  decoder.usage()
  return end._tag === "Done" ? "done" : end.reason
}

/** Classifies one answer. Throws what the classifier throws, and where the error is none. */
export const classify = (seed: number): string => {
  const answer = generate.answer(seed)
  const error = Classify.fromAnswer({ ...answer, operation: "chat", model: "m", nowMillis: 1_767_225_600_000 })
  if (!TogetherError.isTogetherError(error)) throw new Error(`seed ${seed}: ${String(error)} is no TogetherError`)
  TogetherError.isRetryable(error)
  return error._tag
}

const request = { model: "m", messages: [{ role: "user", content: "hi" }] }

/** Says how calls through the whole client end: `value`, a tag, or what must not be. Frees every socket. */
const outcomes = (
  seeds: ReadonlyArray<number>,
  reply: (seed: number) => Reply.Reply,
  call: (service: Together.Service) => Effect.Effect<unknown, unknown>
) =>
  Effect.suspend(() => {
    let current = 0
    const tap = Wiretap.make(HttpClient.make((wire) => Effect.suspend(() => Reply.send(reply(current), wire))))
    const client = Together.layerHttp({ apiKey: Redacted.make("key"), retry: Schedule.recurs(0) }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, tap.client))
    )
    return VirtualClock.run(
      Effect.gen(function*() {
        const service = yield* Together.Together
        const found: Array<string> = []
        for (const seed of seeds) {
          current = seed
          const exit = yield* Effect.exit(call(service))
          if (Exit.isSuccess(exit)) {
            found.push("value")
            continue
          }
          const error = exit.cause.reasons.find(Cause.isFailReason)?.error
          found.push(TogetherError.isTogetherError(error) ? error._tag : `seed ${seed}: ${String(exit.cause)}`)
        }
        return found
      }).pipe(Effect.provide(client), Effect.orDie),
      { limit: "36500 days" }
    ).pipe(
      Effect.map((result) => ({ exit: result.exit, open: tap.open().length, fibersLeft: result.fibersLeft }))
    )
  })

/** Streams through the whole client. */
export const streams = (seeds: ReadonlyArray<number>) =>
  outcomes(
    seeds,
    (seed) => ({
      ...Reply.raw("x", { contentType: "text/event-stream" }),
      parts: generate.eventStream(seed).map((data) => ({ data, waitMillis: 0 })),
      end: seed % 5 === 0 ? "cut" : "complete"
    }),
    (service) => Stream.runDrain(service.chatStream(request))
  )

/** Asks through the whole client. */
export const answers = (seeds: ReadonlyArray<number>) =>
  outcomes(
    seeds,
    (seed) => {
      const { body, headers, status } = generate.answer(seed)
      return Reply.raw(body, { status, headers })
    },
    (service) => service.chat(request)
  )

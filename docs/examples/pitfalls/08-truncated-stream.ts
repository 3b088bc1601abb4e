/**
 * Pitfall 8: the end of the bytes is taken for the end of the answer. A proxy that closes the connection in the middle
 * leaves half an answer that looks like a whole one.
 *
 * The matrix says `LOST`.
 */
import { Effect, Schedule, Stream } from "effect"
import { Chat, Together } from "effect-together"
import { contentOfEvents, HttpFailure, model, post, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: Effect.gen(function*() {
    const response = yield* post("name a river", true)
    if (response.status !== 200) return yield* new HttpFailure({ status: response.status, body: yield* response.text })
    return yield* Stream.mkString(contentOfEvents(response.stream))
  }).pipe(
    Effect.timeout("1 minute"),
    Effect.retry({ times: 4, schedule: Schedule.exponential("2 seconds") })
  )
}

/** A stream that ends without a finish reason or `[DONE]` is a `StreamError`, with what arrived in `partial`. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chatStream } = yield* Together.Together
    const request = { model, messages: [{ role: "user", content: "name a river" }] }
    return yield* Stream.mkString(Stream.map(chatStream(request), Chat.deltaText))
  }).pipe(Effect.provide(together))
}

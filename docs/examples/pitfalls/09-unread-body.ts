/**
 * Pitfall 9: an error answer whose body nobody reads. Its connection is never free again; after some hundred of them
 * the pool is empty and every request waits.
 *
 * The matrix says `LEAK`: a socket is left open.
 */
import { Effect, Schedule } from "effect"
import { Chat, Together } from "effect-together"
import { contentOf, HttpFailure, model, post, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: Effect.gen(function*() {
    const response = yield* post("name a river")
    if (response.status !== 200) return yield* new HttpFailure({ status: response.status, body: "" })
    return contentOf(yield* response.text)
  }).pipe(
    Effect.timeout("1 minute"),
    Effect.retry({
      times: 4,
      schedule: Schedule.exponential("3 seconds"),
      while: (error) => error._tag !== "HttpFailure" || error.status === 429 || error.status >= 500
    })
  )
}

/** The client reads every body it opens, to its end or not at all, and the scope of a stream frees its socket. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: "name a river" }] }))
  }).pipe(Effect.provide(together))
}

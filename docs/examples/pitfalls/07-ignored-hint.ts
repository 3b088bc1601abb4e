/**
 * Pitfall 7: a backoff that does not listen. The provider says how long to wait, in `x-ratelimit-reset`; the program
 * comes back at once, is refused again, and uses up its attempts.
 *
 * The matrix says `IMPATIENT`.
 */
import { Effect, Schedule } from "effect"
import { Chat, Together } from "effect-together"
import { ask, type HttpFailure, model, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: ask("name a river").pipe(
    Effect.timeout("1 minute"),
    Effect.retry({
      times: 6,
      schedule: Schedule.exponential("100 millis"),
      while: (error) => error._tag !== "HttpFailure" || (error as HttpFailure).status >= 429
    })
  )
}

/** The wait is read from the answer, never cut short, and holds for the whole lane. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: "name a river" }] }))
  }).pipe(Effect.provide(together))
}

/**
 * Pitfall 3: retrying everything. A wrong key stays wrong, an empty account stays empty, a prompt too long stays too
 * long: each is asked again and again.
 *
 * The matrix says `WASTE`: requests that can never succeed are repeated.
 */
import { Effect, Schedule } from "effect"
import { Chat, Together } from "effect-together"
import { ask, model, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: ask("name a river").pipe(
    Effect.timeout("1 minute"),
    Effect.retry({ times: 5, schedule: Schedule.exponential("2 seconds") })
  )
}

/** What can be cured by a repeat is data on the error, and the client reads it. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: "name a river" }] }))
  }).pipe(Effect.provide(together))
}

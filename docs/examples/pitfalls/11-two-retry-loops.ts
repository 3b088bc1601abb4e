/**
 * Pitfall 11: a retry around a client that retries. Five attempts times five are twenty-five, and they come when the
 * provider has least use for them.
 *
 * The matrix says `WASTE`: one call takes more attempts than any call should.
 */
import { Effect, Redacted, Schedule } from "effect"
import { Chat, Retry, Together, TogetherError } from "effect-together"
import { model, provider, together } from "./by-hand.ts"

const answer = Effect.gen(function*() {
  const { chat } = yield* Together.Together
  return Chat.text(yield* chat({ model, messages: [{ role: "user", content: "name a river" }] }))
})

export const broken = {
  provider,
  program: answer.pipe(
    Effect.retry({ times: 4, schedule: Schedule.spaced("1 second"), while: TogetherError.isRetryable }),
    Effect.provide(together)
  )
}

/** One loop: the client's own, told to be more patient. */
export const corrected = {
  provider,
  program: answer.pipe(
    Effect.provide(Together.layerHttp({ apiKey: Redacted.make("my-key"), retry: Retry.policy({ maxAttempts: 8 }) }))
  )
}

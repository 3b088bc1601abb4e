/**
 * Pitfall 6: no timeout. Errors are retried, but a provider that says nothing is not an error.
 *
 * The matrix says `HANG`: the program never ends.
 */
import { Effect, Schedule } from "effect"
import { Chat, Together } from "effect-together"
import { ask, type HttpFailure, model, provider, together } from "./by-hand.ts"

const passes = (error: { readonly _tag: string }): boolean => {
  if (error._tag === "HttpClientError") return true
  const { status } = error as HttpFailure
  return status === 429 || status >= 500
}

export const broken = {
  provider,
  program: ask("name a river").pipe(
    Effect.retry({ times: 4, schedule: Schedule.exponential("2 seconds"), while: passes })
  )
}

/** Every silence has its own limit: headers, body, first token, between two tokens; `deadline` bounds the call. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    const request = { model, messages: [{ role: "user", content: "name a river" }] }
    return Chat.text(yield* chat(request))
  }).pipe(Effect.provide(together))
}

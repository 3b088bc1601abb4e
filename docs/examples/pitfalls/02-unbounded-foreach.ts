/**
 * Pitfall 2: `concurrency: "unbounded"`. A thousand prompts become a thousand requests in the same instant, the provider
 * refuses most of them, and the retries come back in the same instant too.
 *
 * The matrix says `UNHANDLED`, without any fault: the program brings the trouble along.
 */
import { Effect, Schedule } from "effect"
import { HttpClient } from "effect/http"
import { Chat, Together } from "effect-together"
import { Reply } from "effect-together/testing"
import { ask, model, together } from "./by-hand.ts"

const prompts = Array.from({ length: 40 }, (_, index) => `prompt ${index}`)

/** A provider that takes one second per answer and four requests at a time. */
const provider = Effect.sync(() => {
  let inFlight = 0
  return HttpClient.make((request) =>
    Effect.suspend(() => {
      if (inFlight >= 4) return Reply.send(Reply.rateLimited({ reset: 1 }), request)
      inFlight++
      return Effect.ensuring(
        Reply.send(Reply.after(Reply.chat("done"), "1 second"), request),
        Effect.sync(() => inFlight--)
      )
    })
  )
})

export const broken = {
  provider,
  maxRequests: 1,
  program: Effect.forEach(
    prompts,
    (prompt) => ask(prompt).pipe(Effect.retry({ times: 4, schedule: Schedule.spaced("1 second") })),
    { concurrency: "unbounded" }
  )
}

/** As many in flight as the provider serves; a refusal pauses the lane, not one caller. */
export const corrected = {
  provider,
  maxRequests: 1,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return yield* Effect.forEach(
      prompts,
      (prompt) => Effect.map(chat({ model, messages: [{ role: "user", content: prompt }] }), Chat.text),
      { concurrency: 4 }
    )
  }).pipe(Effect.provide(together))
}

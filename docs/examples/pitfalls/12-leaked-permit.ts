/**
 * Pitfall 12: a limit kept by hand, whose permit is given back only when all goes well. After as many failures as there
 * are permits, everybody waits for a permit that never comes.
 *
 * The matrix says `HANG`.
 */
import { Effect, Semaphore } from "effect"
import { Chat, Together } from "effect-together"
import { model, prompts, provider, together } from "./by-hand.ts"

const answer = (prompt: string) =>
  Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: prompt }] }))
  })

export const broken = {
  provider,
  program: Effect.gen(function*() {
    const limit = yield* Semaphore.make(1)
    const results = yield* Effect.forEach(prompts, (prompt) =>
      Effect.result(Effect.gen(function*() {
        yield* limit.take(1)
        const text = yield* answer(prompt)
        yield* limit.release(1)
        return text
      })))
    return yield* Effect.forEach(results, Effect.fromResult)
  }).pipe(Effect.provide(together))
}

/** `withPermit` gives back on success, failure and interruption alike. (The client's lanes do this on their own.) */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const limit = yield* Semaphore.make(1)
    const results = yield* Effect.forEach(prompts, (prompt) => Effect.result(limit.withPermit(answer(prompt))))
    return yield* Effect.forEach(results, Effect.fromResult)
  }).pipe(Effect.provide(together))
}

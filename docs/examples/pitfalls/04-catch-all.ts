/**
 * Pitfall 4: the catch-all. It was written for the odd bad answer; the day the credit runs out it turns the whole job
 * into empty strings, and the program reports success.
 *
 * The matrix says `LOST`: the program succeeds with something else than its result.
 */
import { Effect } from "effect"
import { Chat, Together } from "effect-together"
import { model, prompts, provider, together } from "./by-hand.ts"

const answer = (prompt: string) =>
  Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: prompt }] }))
  })

export const broken = {
  provider,
  program: Effect.forEach(prompts, (prompt) => Effect.catch(answer(prompt), () => Effect.succeed(""))).pipe(
    Effect.provide(together)
  )
}

/** One tag, the one that was meant: a prompt too long is cut. 402 passes, and stops the job while it can resume. */
export const corrected = {
  provider,
  program: Effect.forEach(
    prompts,
    (prompt) => Effect.catchTag(answer(prompt), "ContextLengthError", () => answer(prompt.slice(0, 8)))
  ).pipe(
    Effect.provide(together)
  )
}

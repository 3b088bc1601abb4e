/**
 * Pitfall 1: the naive loop. One 429 in the middle, and everything that was answered before it is lost.
 *
 * The matrix says `UNHANDLED`: trouble that passes by itself ends the program.
 */
import { Effect } from "effect"
import { Chat, Together } from "effect-together"
import { ask, model, prompts, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: Effect.gen(function*() {
    const answers: Array<string> = []
    for (const prompt of prompts) answers.push(yield* ask(prompt))
    return answers
  })
}

/** The client waits and repeats what can be repeated. The loop stays a loop. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    const answers: Array<string> = []
    for (const prompt of prompts) {
      answers.push(Chat.text(yield* chat({ model, messages: [{ role: "user", content: prompt }] })))
    }
    return answers
  }).pipe(Effect.provide(together))
}

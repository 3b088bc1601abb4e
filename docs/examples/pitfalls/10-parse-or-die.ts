/**
 * Pitfall 10: the answer is JSON, until a gateway answers with a web page. `JSON.parse` throws where nobody catches,
 * and a defect goes past every retry and every fallback.
 *
 * The matrix says `DEFECT`.
 */
import { Effect } from "effect"
import { Chat, Together } from "effect-together"
import { contentOf, model, post, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: Effect.gen(function*() {
    const response = yield* post("name a river")
    return contentOf(yield* response.text)
  })
}

/** Whatever comes back is a value or a `TogetherError`: HTML, nothing, half a JSON. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chat } = yield* Together.Together
    return Chat.text(yield* chat({ model, messages: [{ role: "user", content: "name a river" }] }))
  }).pipe(Effect.provide(together))
}

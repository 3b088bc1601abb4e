/**
 * Pitfall 5: `Stream.retry` around a stream that is printed as it comes. The retry starts from the first word, and the
 * reader sees it twice.
 *
 * The matrix says `LOST`: what was printed is not the answer.
 */
import { Effect, Schedule, Stream } from "effect"
import { Chat, Together } from "effect-together"
import { contentOfEvents, HttpFailure, model, post, provider, together } from "./by-hand.ts"

export const broken = {
  provider,
  program: Effect.gen(function*() {
    let printed = ""
    const words = Stream.unwrap(Effect.gen(function*() {
      const response = yield* post("name a river", true)
      if (response.status !== 200) {
        return yield* new HttpFailure({ status: response.status, body: yield* response.text })
      }
      return contentOfEvents(response.stream)
    }))
    yield* words.pipe(
      Stream.timeoutOrElse({ duration: "30 seconds", orElse: () => Stream.fail("silence" as const) }),
      Stream.retry(Schedule.max([Schedule.exponential("2 seconds"), Schedule.recurs(4)])),
      Stream.runForEach((word) => Effect.sync(() => printed += word))
    )
    return printed
  })
}

/** The client repeats until the first token and never after it; then the error holds what was printed. */
export const corrected = {
  provider,
  program: Effect.gen(function*() {
    const { chatStream } = yield* Together.Together
    let printed = ""
    yield* Stream.runForEach(
      chatStream({ model, messages: [{ role: "user", content: "name a river" }] }),
      (chunk) => Effect.sync(() => printed += Chat.deltaText(chunk))
    )
    return printed
  }).pipe(Effect.provide(together))
}

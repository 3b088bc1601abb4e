import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Call } from "../../src/domain/Call.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as StreamDeadline from "../../src/together/stream/StreamDeadline.ts"
import * as Together from "../../src/together/Together.ts"

const call: Call = {
  operation: "chatStream",
  model: "m",
  lane: "l",
  priority: "normal",
  estimate: { inputTokens: 1, outputTokens: 1, maxOutputTokens: 1 },
  idempotent: true
}

describe("StreamDeadline", () => {
  describe("enclosed", () => {
    it.effect("gives nothing back at the deadline before what a pull does has ended", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const seen: Array<string> = []
        const note = (what: string) => Effect.sync(() => void seen.push(what))
        const slow = Effect.onInterrupt(Effect.never, () => Effect.delay(note("ended"), "1 second"))
        const stream = Stream.scoped(Stream.unwrap(
          Effect.as(Effect.addFinalizer(() => note("given back")), Stream.fromEffect(slow))
        ))
        const enclosed = StreamDeadline.enclosed(stream, Duration.seconds(5), call, () => undefined)
        const error = yield* Effect.flip(Stream.runDrain(enclosed))
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline" })
        expect(seen).toEqual(["ended", "given back"])
      })))

    it.effect("leaves neither fiber nor timer behind once a stream of the client has ended", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(
          Effect.gen(function*() {
            yield* TogetherTest.reply(Reply.stream(["a", "b"]))
            const { chatStream } = yield* Together.Together
            const messages = [{ role: "user", content: "?" }] as const
            return yield* Stream.runCount(chatStream({ model: "m", messages }, { deadline: "45 seconds" }))
          }).pipe(Effect.provide(TogetherTest.layer()))
        )
        expect([Exit.isSuccess(result.exit), result.timersLeft, result.fibersLeft]).toEqual([true, 0, 0])
      }))
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const request = { model: "openai/gpt-oss-20b", max_tokens: 9, messages: [{ role: "user" as const, content: "Hi" }] }

/** Runs calls whose attempts get these replies in turn, of a client that waits for credit. */
const answering = <A, E>(
  replies: ReadonlyArray<number | "answer">,
  retry: Schedule.Schedule<unknown>,
  use: (together: Together.Service) => Effect.Effect<A, E>
) => {
  const client = TogetherTest.layer({ verifyOnClose: false, together: { retry } })
  return VirtualClock.wrap(
    Effect.gen(function*() {
      yield* TogetherTest.reply(
        ...replies.map((reply) => reply === "answer" ? Reply.chat("Hello") : Reply.error(reply))
      )
      const ended = yield* use(yield* Together.Together)
      return { ended, statuses: (yield* TogetherTest.log).map(({ status }) => status) }
    }).pipe(Effect.provide(Layer.provide(client, Credits.layer({ whenSuspended: "wait" }))))
  )
}

/** Makes a call and gives its number of attempts. */
const attempts = (together: Together.Service) => {
  let told = 0
  const onAnswered = (answered: { readonly attempts: number }) => Effect.sync(() => void (told = answered.attempts))
  return Effect.map(together.chat(request, { onAnswered }), () => told)
}

const three = Retry.policy({ base: "100 millis", maxAttempts: 3 })

describe("a call whose account is suspended in between", () => {
  it.effect("counts its attempts on", () =>
    Effect.gen(function*() {
      const { ended } = yield* answering([500, 402, 402, "answer"], three, attempts)
      expect(ended).toBe(4)
    }))

  it.effect("says so where its deadline ends the wait, streamed or not, refused itself or not", () =>
    Effect.gen(function*() {
      const soon = { deadline: "5 seconds" } as const
      const chat = (together: Together.Service) => Effect.flip(together.chat(request, soon))
      const streamed = (together: Together.Service) => Effect.flip(Stream.runDrain(together.chatStream(request, soon)))
      for (const [first, next] of [[chat, streamed], [streamed, chat]] as const) {
        const { ended, statuses } = yield* answering(
          [402],
          three,
          (together) => Effect.all([first(together), next(together)])
        )
        for (const error of ended) {
          expect([error._tag, Reflect.get(error, "status")]).toEqual(["InsufficientCreditsError", undefined])
          expect(error.message).toContain("Not sent: the credit of account")
        }
        expect(statuses).toEqual([402])
      }
    }))

  it.effect("is retried no more often than its policy says, those refused for want of credit apart", () =>
    Effect.gen(function*() {
      const { ended, statuses } = yield* answering(
        [500, 500, 402, 500, "answer"],
        three,
        (together) => Effect.flip(together.chat(request))
      )
      expect(ended).toMatchObject({ _tag: "ServerError", attempts: 4 })
      expect(statuses).toEqual([500, 500, 402, 500])
    }))

  it.effect("goes on so as a stream", () =>
    Effect.gen(function*() {
      const { ended, statuses } = yield* answering(
        [500, 500, 402, 500, "answer"],
        three,
        (together) => Effect.flip(Stream.runDrain(together.chatStream(request)))
      )
      expect(ended).toMatchObject({ _tag: "ServerError", attempts: 4 })
      expect(statuses).toEqual([500, 500, 402, 500])
    }))

  it.effect("waits with a stream whose first frame says that credit ran out", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const unpaid = Reply.events([{ error: { message: "Credit limit exceeded", type: "credit_limit", code: 402 } }])
        yield* TogetherTest.reply(unpaid, Reply.stream(["Hello"]))
        const together = yield* Together.Together
        const stream = Stream.runDrain(together.chatStream(request))
        yield* stream
        expect((yield* TogetherTest.log).length).toBe(2)
      }).pipe(Effect.provide(Layer.provide(TogetherTest.layer(), Credits.layer({ whenSuspended: "wait" }))))
    ))

  it.effect("does not count an attempt that was stopped before it was sent", () =>
    Effect.gen(function*() {
      const { ended, statuses } = yield* answering(
        [500, 402, "answer", "answer"],
        Schedule.spaced("5 seconds"),
        (together) =>
          Effect.gen(function*() {
            const first = yield* Effect.forkChild(attempts(together))
            yield* Effect.sleep("2 seconds")
            const second = yield* Effect.forkChild(attempts(together))
            return [yield* Fiber.join(first), yield* Fiber.join(second)]
          })
      )
      expect(ended).toEqual([2, 2])
      expect(statuses).toEqual([500, 402, 200, 200])
    }))
})

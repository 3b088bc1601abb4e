import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ServerError, type TogetherError } from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import type * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const model = "openai/gpt-oss-120b"
const request = { model, messages: [{ role: "user" as const, content: "question" }], max_tokens: 500 }

describe("the circuit of a stream", () => {
  const once = { retry: Schedule.recurs(0) }
  const text = ["a", "b", "c"]

  /** Runs with a circuit that three failures open, and with replies in turn, the last one for ever. */
  const withCircuit = <A, E>(
    replies: readonly [Reply.Answer, ...Array<Reply.Answer>],
    use: (
      streamed: Stream.Stream<unknown, TogetherError>,
      breaker: Breaker.Breaker
    ) => Effect.Effect<A, E, Scope.Scope>,
    lanes?: Lanes.Options
  ) =>
    VirtualClock.run(
      Effect.gen(function*() {
        let sent = 0
        yield* TogetherTest.always("*", () => replies[Math.min(sent++, replies.length - 1)] ?? replies[0])
        const together = yield* Together.Together
        const breaker = yield* Breaker.Breaker
        return yield* Effect.scoped(use(together.chatStream(request, once), breaker))
      }).pipe(
        Effect.provide(TogetherTest.layer({ verifyOnClose: false, together: { lanes } })),
        Effect.provide(Breaker.layer({ minimumCalls: 3 }))
      )
    )

  const stateOf = (breaker: Breaker.Breaker) => Effect.map(breaker.state(`default/${model}`), ({ _tag }) => _tag)

  it.effect.each<[string, Reply.Answer, string]>([
    ["is cut", Reply.cutAt(Reply.stream(text), 1), "Open"],
    ["falls silent", Reply.stallAt(Reply.stream(text), 1), "Open"],
    ["fails before its first token", Reply.error(500), "Open"],
    ["reads to its end", Reply.stream(text), "Closed"]
  ])("judges one that %s at its end", ([, reply, state]) =>
    Effect.gen(function*() {
      const { exit, fibersLeft } = yield* withCircuit([reply], (streamed, breaker) =>
        Effect.gen(function*() {
          for (let n = 0; n < 3; n++) yield* Effect.exit(Stream.runDrain(streamed))
          return yield* stateOf(breaker)
        }))
      expect([exit, fibersLeft]).toEqual([Exit.succeed(state), 0])
    }))

  it.effect("counts none that its consumer leaves, interrupts or fails", () =>
    Effect.gen(function*() {
      const { exit, fibersLeft } = yield* withCircuit(
        [Reply.stream(text, { every: "1 second" })],
        (streamed, breaker) =>
          Effect.gen(function*() {
            for (let n = 0; n < 3; n++) {
              yield* Stream.runDrain(Stream.take(streamed, 1))
              yield* Effect.timeoutOption(Stream.runDrain(streamed), "1500 millis")
              yield* Effect.exit(Stream.runForEach(streamed, () => Effect.fail("enough")))
            }
            return yield* stateOf(breaker)
          })
      )
      expect([exit, fibersLeft]).toEqual([Exit.succeed("Closed"), 0])
    }))

  it.effect("closes it by a probe that reads to its end, not by one that breaks", () =>
    Effect.gen(function*() {
      const broken = Reply.cutAt(Reply.stream(text), 1)
      const { exit } = yield* withCircuit([broken, broken, broken, broken, Reply.stream(text)], (streamed, breaker) =>
        Effect.gen(function*() {
          const states: Array<string> = []
          for (let n = 0; n < 5; n++) {
            if (n >= 3) {
              yield* Effect.sleep("15 seconds")
            }
            yield* Effect.exit(Stream.runDrain(streamed))
            states.push(yield* stateOf(breaker))
          }
          return states
        }))
      expect(exit).toEqual(Exit.succeed(["Closed", "Closed", "Open", "Open", "Closed"]))
    }))

  it.effect("sends its probe before all that has queued since the outage", () =>
    Effect.gen(function*() {
      const { exit } = yield* withCircuit([Reply.stream(text)], (streamed, breaker) =>
        Effect.gen(function*() {
          const queued = Effect.exit(Stream.runDrain(streamed))
          yield* Effect.forEach(Array.from({ length: 100 }), () => Effect.forkChild(queued, { startImmediately: true }))
          const failing = breaker.run(Effect.fail(new ServerError({ message: "500" })), { key: `default/${model}` })
          yield* Effect.forEach([1, 2, 3], () => Effect.exit(failing))
          yield* Effect.sleep("15 seconds")
          const began = yield* Clock.currentTimeMillis
          yield* Stream.runDrain(streamed)
          return [(yield* Clock.currentTimeMillis) - began < 2000, yield* stateOf(breaker)]
        }), { requestsPerMinute: 60 })
      expect(exit).toEqual(Exit.succeed([true, "Closed"]))
    }))

  it.effect("makes way for the next probe, wherever its consumer leaves it", () =>
    Effect.gen(function*() {
      for (let after = 0; after <= 4000; after += 500) {
        const failed = Reply.error(500)
        const slow = Reply.after(Reply.stream(text, { every: "1 second" }), "1 second")
        const { exit, fibersLeft } = yield* withCircuit([failed, failed, failed, slow], (streamed, breaker) =>
          Effect.gen(function*() {
            for (let n = 0; n < 3; n++) {
              yield* Effect.exit(Stream.runDrain(streamed))
            }
            yield* Effect.sleep("10 seconds")
            const probe = yield* Effect.forkChild(Stream.runDrain(streamed), { startImmediately: true })
            yield* Effect.sleep(after)
            yield* Fiber.interrupt(probe)
            yield* Stream.runDrain(streamed)
            return yield* stateOf(breaker)
          }))
        expect([after, exit, fibersLeft]).toEqual([after, Exit.succeed("Closed"), 0])
      }
    }))
})

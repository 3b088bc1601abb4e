import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { serve } from "./serve.ts"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

describe("doctor", () => {
  it.effect(
    "waits 15 seconds for a server that does not answer, and as long for the call",
    () =>
      Effect.scoped(Effect.gen(function*() {
        let asked = 0
        const { url } = yield* serve((request, response) => {
          asked++
          // the first request has no key
          if (request.headers.authorization === undefined && asked > 1) response.writeHead(200).end("{}")
        })
        const until = (requests: number) =>
          live(Effect.gen(function*() {
            while (asked < requests) yield* Effect.sleep("5 millis")
            yield* Effect.sleep("20 millis")
          }))
        const doctor = Shell.open().run(["doctor", "--base-url", url], { TOGETHER_API_KEY: "k" })
        const first = yield* Effect.forkChild(doctor, { startImmediately: true })
        yield* until(1)
        yield* TestClock.adjust("15 seconds")
        const silent = yield* Fiber.join(first)
        expect(silent.out).toContain(
          `✗ address  ${url} does not answer within 15 s. Check the network and the address`
        )
        expect([silent.code, silent.out.includes("call"), asked]).toEqual([4, false, 1])
        const second = yield* Effect.forkChild(doctor, { startImmediately: true })
        yield* until(3)
        yield* TestClock.adjust("15 seconds")
        const { code, out } = yield* Fiber.join(second)
        expect([code, out.includes("✗ call     RequestTimeoutError"), asked]).toEqual([4, true, 3])
      })),
    30_000
  )
})

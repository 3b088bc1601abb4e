import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

describe("Lane, where answers are overdue", () => {
  /** Has twenty calls answered in a second each, then begins twelve that take a minute; reads the lane ten seconds later. */
  const isDown = (stream: boolean) =>
    Effect.gen(function*() {
      const lane = yield* Lane.make({ start: { requestsPerMinute: 6000 } })
      const call = (seconds: number, request: Partial<Lane.LaneRequest> = {}) =>
        lane.run(Effect.sleep(seconds * 1000), { tokens: 1, ...request, classify: () => ({ _tag: "Success" }) })
      yield* Effect.forEach(Array.from({ length: 20 }), () => call(1), { concurrency: "unbounded" })
      for (let i = 0; i < 12; i++) {
        yield* Effect.forkChild(call(60, { stream }), { startImmediately: true })
        yield* Effect.sleep(50)
      }
      yield* Effect.sleep(10_000)
      // a lane looks at what it awaits when a call comes
      yield* Effect.forkChild(call(1), { startImmediately: true })
      return (yield* lane.status).outage
    })

  it("takes twelve calls in a row for a hang, and no streams, which last", () =>
    Effect.gen(function*() {
      expect([yield* isDown(false), yield* isDown(true)]).toEqual([true, false])
    }).pipe(VirtualClock.wrap, Effect.runPromise))
})

import { describe, expect, it } from "@effect/vitest"
import * as SmoothLimiter from "../../../src/policy/catalogue/SmoothLimiter.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

type Step = readonly [nowMs: number, permits: number, calls: number, waitMs: number, nextFreeMs: number]

const reserve = (state: SmoothLimiter.State, permits: number, now: number) => {
  const [decision, next] = SmoothLimiter.reserve(state, permits, now)
  if (decision._tag === "Rejected") throw new Error("the wait is not bounded")
  return [decision, next] as const
}

describe("SmoothLimiter", () => {
  it.each(suite<{ cases: ReadonlyArray<{ intervalMs: number; steps: ReadonlyArray<Step> }> }>("failsafe.smooth").cases)(
    "hands out permits every $intervalMs ms",
    ({ intervalMs, steps }) => {
      for (const startedAt of [0, 1_700_000_000]) {
        let state = SmoothLimiter.make({ intervalSeconds: intervalMs / 1000 }, startedAt)
        for (const [nowMs, permits, calls, waitMs, nextFreeMs] of steps) {
          let wait = NaN
          for (let i = 0; i < calls; i++) {
            const [decision, next] = reserve(state, permits, startedAt + nowMs / 1000)
            wait = decision.waitSeconds
            state = next
          }
          expect(wait * 1000).toBeCloseTo(waitMs, 2)
          expect(state.nextFree * 1000).toBeCloseTo(nextFreeMs, 2)
        }
      }
    }
  )

  it("is free at its border, in seconds since 1970 too", () => {
    for (let i = 0; i < 200; i++) {
      const ms = 1_700_000_000_000 + i * 1370
      const [, used] = reserve(SmoothLimiter.make({ intervalSeconds: 0.1 }, ms / 1000), 1, ms / 1000)
      expect(reserve(used, 1, (ms + 100) / 1000)[0].waitSeconds).toBe(0)
      expect(reserve(used, 1, (ms + 99) / 1000)[0].waitSeconds).toBeCloseTo(0.001, 6)
    }
  })

  it("says whether a permit was free or must be waited for", () => {
    const [first, state] = reserve(SmoothLimiter.make({ intervalSeconds: 1 }), 1, 0)
    expect([first.reason, first.waitSeconds]).toEqual(["free", 0])
    const [second] = reserve(state, 1, 0)
    expect([second.reason, second.waitSeconds]).toEqual(["in-line", 1])
  })

  it("rejects a wait that is too long, and changes nothing", () => {
    const state = SmoothLimiter.make({ intervalSeconds: 1, maxWaitSeconds: 1 })
    const [decision, same] = SmoothLimiter.reserve(state, 3, 0)
    expect(decision).toEqual({ _tag: "Rejected", waitSeconds: 2, reason: "wait-too-long" })
    expect(same).toBe(state)
    expect(SmoothLimiter.reserve(state, 2, 0)[0]).toMatchObject({ _tag: "Reserved", waitSeconds: 1 })
  })

  describe("cancel", () => {
    const line = () => {
      const state = SmoothLimiter.make({ intervalSeconds: 1 })
      const [first, a] = reserve(state, 2, 0)
      const [second, b] = reserve(a, 2, 0)
      return { first, second, state: b }
    }

    it("gives the last reservation back", () => {
      const { second, state } = line()
      const [cancelled, next] = SmoothLimiter.cancel(state, second.reservation, 0)
      expect(cancelled).toEqual({ _tag: "Refunded", permits: 2, reason: "not-yet-used" })
      expect(next.nextFree).toBe(2)
    })

    it("keeps what others wait behind", () => {
      const { first, state } = line()
      expect(SmoothLimiter.cancel(state, first.reservation, 0)).toEqual([
        { _tag: "Kept", reason: "others-in-line" },
        state
      ])
    })

    it("gives a reservation back once, also when someone else took its place", () => {
      const { second, state } = line()
      const [, cancelled] = SmoothLimiter.cancel(state, second.reservation, 0)
      expect(SmoothLimiter.cancel(cancelled, second.reservation, 0)).toEqual([
        { _tag: "Kept", reason: "others-in-line" },
        cancelled
      ])
      const [third, taken] = reserve(cancelled, 2, 0)
      expect(third.waitSeconds).toBe(second.waitSeconds)
      expect(SmoothLimiter.cancel(taken, second.reservation, 0)).toEqual([
        { _tag: "Kept", reason: "others-in-line" },
        taken
      ])
    })

    it("gives line after line back, from the last to the first", () => {
      const { first, second, state } = line()
      const [, one] = SmoothLimiter.cancel(state, second.reservation, 0)
      const [cancelled, none] = SmoothLimiter.cancel(one, first.reservation, 0)
      expect(cancelled).toEqual({ _tag: "Refunded", permits: 2, reason: "not-yet-used" })
      expect(none.nextFree).toBe(0)
    })

    it("keeps the distance of what was cancelled with others behind it", () => {
      const [, first] = reserve(SmoothLimiter.make({ intervalSeconds: 1 }), 1, 0)
      const [big, second] = reserve(first, 5, 0)
      const [behind, third] = reserve(second, 1, 0)
      const [, cancelled] = SmoothLimiter.cancel(third, big.reservation, 0)
      expect([behind.waitSeconds, reserve(cancelled, 1, 0)[0].waitSeconds]).toEqual([6, 7])
    })

    it("keeps what could have been used already", () => {
      const { second, state } = line()
      expect(SmoothLimiter.cancel(state, second.reservation, 3)).toEqual([
        { _tag: "Kept", reason: "already-due" },
        state
      ])
    })
  })

  it("refuses options and permits out of range", () => {
    expect(() => SmoothLimiter.make({ intervalSeconds: 0 })).toThrow("SmoothLimiter.make: intervalSeconds must be")
    expect(() => SmoothLimiter.make({ intervalSeconds: 1, maxWaitSeconds: -1 })).toThrow("maxWaitSeconds must be")
    expect(() => SmoothLimiter.reserve(SmoothLimiter.make({ intervalSeconds: 1 }), 0, 0)).toThrow("permits must be")
    expect(() => SmoothLimiter.make({ intervalSeconds: 1 }, NaN)).toThrow("SmoothLimiter.make: now must be")
    expect(() => SmoothLimiter.reserve(SmoothLimiter.make({ intervalSeconds: 1 }), 1, NaN)).toThrow("now must be")
    const [decision, state] = reserve(SmoothLimiter.make({ intervalSeconds: 1 }), 2, 0)
    expect(() => SmoothLimiter.cancel(state, decision.reservation, NaN)).toThrow("SmoothLimiter.cancel: now must be")
  })

  it.prop("hands out times in order, at the rate and no faster", [events], ([list]) => {
    let state = SmoothLimiter.make({ intervalSeconds: 0.5 })
    let now = 0
    let last = -Infinity
    let permits = 0
    for (const { amount, ms } of list) {
      now += ms / 1000
      const [decision, next] = reserve(state, amount + 1, now)
      state = next
      permits += amount + 1
      const at = now + decision.waitSeconds
      expect(at).toBeGreaterThanOrEqual(last - 1e-9)
      last = at
      expect(permits).toBeLessThanOrEqual(Math.floor(at / 0.5 + 1e-6) + 1)
    }
  }, laws)
})

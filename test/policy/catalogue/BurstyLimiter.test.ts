import { describe, expect, it } from "@effect/vitest"
import * as BurstyLimiter from "../../../src/policy/catalogue/BurstyLimiter.ts"
import { events, laws } from "../events.ts"

const reserve = (state: BurstyLimiter.State, permits: number, now: number) => {
  const [decision, next] = BurstyLimiter.reserve(state, permits, now)
  if (decision._tag === "Rejected") throw new Error("the wait is not bounded")
  return [decision, next] as const
}

describe("BurstyLimiter", () => {
  it("begins a period at its border, in seconds since 1970 too", () => {
    for (let i = 0; i < 200; i++) {
      const ms = 1_700_000_000_000 + i * 1370
      const [, used] = reserve(BurstyLimiter.make({ permits: 1, periodSeconds: 0.1 }, ms / 1000), 1, ms / 1000)
      expect(BurstyLimiter.available(used, (ms + 99) / 1000)).toBe(0)
      expect(BurstyLimiter.available(used, (ms + 100) / 1000)).toBe(1)
    }
  })

  it("waits the same for permits taken one by one and at once", () => {
    const [atOnce] = reserve(BurstyLimiter.make({ permits: 2 }), 7, 0)
    let state = BurstyLimiter.make({ permits: 2 })
    let wait = 0
    for (let i = 0; i < 7; i++) {
      const [decision, next] = reserve(state, 1, 0)
      wait = decision.waitSeconds
      state = next
    }
    expect(wait).toBe(atOnce.waitSeconds)
  })

  it("never holds more than the permits of a period", () => {
    let state = BurstyLimiter.make({ permits: 2 })
    ;[, state] = reserve(state, 3, 0)
    expect(state.available).toBe(-1)
    expect(BurstyLimiter.available(state, 0.5)).toBe(-1)
    expect(BurstyLimiter.available(state, 10)).toBe(2)
  })

  it("rejects a wait that is too long", () => {
    const state = BurstyLimiter.make({ permits: 1, maxWaitSeconds: 0.5 })
    const [, used] = reserve(state, 1, 0)
    expect(BurstyLimiter.reserve(used, 1, 0)[0]).toEqual({ _tag: "Rejected", waitSeconds: 1, reason: "wait-too-long" })
  })

  describe("cancel", () => {
    it("gives the last reservation back", () => {
      const [, used] = reserve(BurstyLimiter.make({ permits: 2 }), 2, 0)
      const [last, after] = reserve(used, 2, 0)
      const [cancelled, next] = BurstyLimiter.cancel(after, last.reservation, 0.5)
      expect(cancelled).toEqual({ _tag: "Refunded", permits: 2, reason: "not-yet-used" })
      expect(reserve(next, 1, 0.5)[0]).toMatchObject({ waitSeconds: 0.5, reason: "overdrawn" })
    })

    it("gives a reservation back once, also when someone else took its place", () => {
      const [, used] = reserve(BurstyLimiter.make({ permits: 1 }), 1, 0)
      const [last, after] = reserve(used, 1, 0)
      const [, cancelled] = BurstyLimiter.cancel(after, last.reservation, 0)
      const kept = { _tag: "Kept", reason: "others-in-line" }
      expect(BurstyLimiter.cancel(cancelled, last.reservation, 0)).toEqual([kept, cancelled])
      const [again, taken] = reserve(cancelled, 1, 0)
      expect(again.waitSeconds).toBe(last.waitSeconds)
      expect(BurstyLimiter.cancel(taken, last.reservation, 0)).toEqual([kept, taken])
    })

    it("gives reservations back from the last to the first", () => {
      const [, used] = reserve(BurstyLimiter.make({ permits: 1 }), 1, 0)
      const [first, a] = reserve(used, 1, 0)
      const [second, b] = reserve(a, 1, 0)
      const [, c] = BurstyLimiter.cancel(b, second.reservation, 0)
      const [cancelled, d] = BurstyLimiter.cancel(c, first.reservation, 0)
      expect(cancelled).toEqual({ _tag: "Refunded", permits: 1, reason: "not-yet-used" })
      expect(d.available).toBe(used.available)
    })

    it("keeps a reservation that is due, or that others wait behind", () => {
      const [, used] = reserve(BurstyLimiter.make({ permits: 1 }), 1, 0)
      const [first, a] = reserve(used, 1, 0)
      const [, b] = reserve(a, 1, 0)
      expect(BurstyLimiter.cancel(b, first.reservation, 0)[0]).toEqual({ _tag: "Kept", reason: "others-in-line" })
      expect(BurstyLimiter.cancel(b, first.reservation, 1)[0]).toEqual({ _tag: "Kept", reason: "already-due" })
    })
  })

  it("refuses options and permits out of range", () => {
    expect(() => BurstyLimiter.make({ permits: 0 })).toThrow("BurstyLimiter.make: permits must be")
    expect(() => BurstyLimiter.make({ permits: 1, periodSeconds: 0 })).toThrow("periodSeconds must be")
    expect(() => BurstyLimiter.make({ permits: 1, maxWaitSeconds: -1 })).toThrow("maxWaitSeconds must be")
    expect(() => BurstyLimiter.reserve(BurstyLimiter.make({ permits: 1 }), 1.5, 0)).toThrow("permits must be")
  })

  it("refuses times that would start every period anew", () => {
    const state = BurstyLimiter.make({ permits: 1 })
    const [{ reservation }] = reserve(state, 1, 0)
    expect(() => BurstyLimiter.make({ permits: 1 }, NaN)).toThrow("BurstyLimiter.make: now must be")
    expect(() => BurstyLimiter.reserve(state, 1, NaN)).toThrow("BurstyLimiter.reserve: now must be")
    expect(() => BurstyLimiter.available(state, NaN)).toThrow("BurstyLimiter.available: now must be")
    expect(() => BurstyLimiter.cancel(state, reservation, NaN)).toThrow("BurstyLimiter.cancel: now must be")
  })

  it.prop("starts at most its permits in each period when taken one by one", [events], ([list]) => {
    let state = BurstyLimiter.make({ permits: 3 })
    let now = 0
    const starts = new Map<number, number>()
    for (const { ms } of list) {
      now += ms / 1000
      const [decision, next] = reserve(state, 1, now)
      state = next
      const period = Math.floor(now + decision.waitSeconds + 1e-9)
      starts.set(period, (starts.get(period) ?? 0) + 1)
    }
    for (const count of starts.values()) expect(count).toBeLessThanOrEqual(3)
  }, laws)
})

import { describe, expect, it } from "@effect/vitest"
import * as CubicRate from "../../../src/policy/catalogue/CubicRate.ts"
import { events, laws } from "../events.ts"
import { law } from "../law.ts"
import { suite } from "../vectors.ts"

describe("CubicRate", () => {
  it.each(suite<{ cases: ReadonlyArray<{ t: number; delayMs: number }> }>("aws.cubic.sendTokenDelay").cases)(
    "waits $delayMs ms after a first throttle at $t",
    ({ delayMs, t }) => {
      const [, throttled] = CubicRate.respond(CubicRate.make(), true, t)
      const [permission] = CubicRate.acquire(throttled, t)
      expect(permission).toEqual({ _tag: "Wait", seconds: expect.closeTo(delayMs / 1000, 9), reason: "short" })
    }
  )

  it("follows the cubic curve", () => {
    const { cases, given } = suite<{
      given: { lastMaxRate: number; lastThrottleTime: number }
      cases: ReadonlyArray<{ t: number; rate: number }>
    }>("aws.cubic.success")
    for (const { rate, t } of cases) {
      expect(CubicRate.cubic(CubicRate.defaults, given.lastMaxRate, given.lastThrottleTime, t)).toBe(rate)
    }
  })

  it.each(suite<{ cases: ReadonlyArray<{ t: number; rate: number }> }>("aws.cubic.throttleFresh").cases)(
    "cuts to $rate when the first response, at $t, is a throttle",
    ({ rate, t }) => {
      const [decision] = CubicRate.respond(CubicRate.make(), true, t)
      expect(decision.calculated).toBe(rate)
      expect(decision).toMatchObject({ _tag: "Held", to: 0.5, reason: "floor" })
    }
  )

  it("follows the trace of the SDKs", () => {
    let state = CubicRate.make()
    for (
      const step of suite<{
        cases: ReadonlyArray<{ throttled: boolean; t: number; measured: number; fill: number }>
      }>("aws.cubic.trace17").cases
    ) {
      ;[, state] = CubicRate.respond(state, step.throttled, step.t)
      expect(state.measuredRate).toBeCloseTo(step.measured, 9)
      expect(state.fillRate).toBeCloseTo(step.fill, 6)
    }
  })

  it.each(
    suite<{ cases: ReadonlyArray<{ wMax: number; K: number; rateAfterError?: number }> }>(
      "botocore.cubic.K"
    ).cases
  )("is back at $wMax after $K s", ({ K, rateAfterError, wMax }) => {
    const exact = CubicRate.make({ decimals: 15 }).settings
    expect(CubicRate.timeWindow(exact, wMax)).toBeCloseTo(K, 12)
    expect(CubicRate.cubic(exact, wMax, 5, 5 + K)).toBeCloseTo(wMax, 9)
    if (rateAfterError !== undefined) expect(CubicRate.cut(exact, wMax)).toBeCloseTo(rateAfterError, 12)
  })

  describe("acquire", () => {
    it("limits nothing before the first throttle", () => {
      const state = CubicRate.make()
      expect(CubicRate.acquire(state, 0, 1000)).toEqual([{ _tag: "Granted", reason: "not-limiting-yet" }, state])
    })

    const limited: CubicRate.State = {
      ...CubicRate.make(),
      enabled: true,
      fillRate: 10,
      capacity: 10,
      tokens: 0,
      refilledAt: 0
    }

    it("fills at the rate", () => {
      expect(CubicRate.acquire(limited, 0)[0]).toEqual({ _tag: "Wait", seconds: 0.1, reason: "short" })
      const [permission, next] = CubicRate.acquire(limited, 0.1)
      expect(permission).toEqual({ _tag: "Granted", reason: "in-stock" })
      expect(next.tokens).toBeCloseTo(0, 9)
    })

    it("borrows for a cost above the capacity when full", () => {
      expect(CubicRate.acquire(limited, 0.5, 25)[0]).toEqual({ _tag: "Wait", seconds: 0.5, reason: "short" })
      const [permission, next] = CubicRate.acquire(limited, 1, 25)
      expect(permission).toEqual({ _tag: "Granted", reason: "borrowed" })
      expect(CubicRate.acquire(next, 1)[0]).toEqual({ _tag: "Wait", seconds: 1.6, reason: "short" })
    })

    it("never waits less than a clock can show", () => {
      expect(CubicRate.acquire({ ...limited, tokens: 0.9999 }, 0)[0]).toMatchObject({ seconds: 0.001 })
      expect(() => CubicRate.acquire(limited, 0, -1)).toThrow("CubicRate.acquire: cost must be")
    })

    it("earns no second twice from a clock that jumps back and forth", () => {
      let state: CubicRate.State = { ...limited, fillRate: 1, capacity: 1, tokens: 1, refilledAt: 10 }
      let granted = 0
      for (let i = 0; i < 200; i++) {
        const [permission, next] = CubicRate.acquire(state, i % 2 === 0 ? 0 : 10)
        state = next
        if (permission._tag === "Granted") granted++
      }
      expect(granted).toBe(1)
    })

    it("grants whoever comes back when told, in seconds since 1970", () => {
      let now = 1_700_000_000
      let state: CubicRate.State = { ...limited, fillRate: 300, capacity: 1, refilledAt: now }
      for (let i = 0; i < 1000; i++) {
        const [permission, waited] = CubicRate.acquire(state, now)
        if (permission._tag === "Wait") now += permission.seconds
        const [again, next] = CubicRate.acquire(waited, now)
        expect([permission._tag, again._tag]).toEqual(["Wait", "Granted"])
        state = next
      }
    })

    it("refuses times that are not finite", () => {
      expect(() => CubicRate.make({}, NaN)).toThrow("CubicRate.make: now must be")
      expect(() => CubicRate.acquire(limited, NaN)).toThrow("CubicRate.acquire: now must be")
      expect(() => CubicRate.respond(limited, true, NaN)).toThrow("CubicRate.respond: now must be")
    })
  })

  it("gives the reason of every move", () => {
    const [first, a] = CubicRate.respond(CubicRate.make(), false, 1)
    expect(first).toMatchObject({ _tag: "Held", reason: "floor" })
    const [second, b] = CubicRate.respond({ ...a, measuredRate: 10, lastBucket: 2 }, false, 2)
    expect(second).toMatchObject({ _tag: "Raised", reason: "cubic-growth" })
    const [third, c] = CubicRate.respond({ ...b, measuredRate: 2 }, false, 2.4)
    expect(third).toMatchObject({ _tag: "Raised", to: 4, reason: "measured-rate-cap" })
    const [fourth] = CubicRate.respond({ ...c, measuredRate: 2 }, true, 2.45)
    expect(fourth).toMatchObject({ _tag: "Lowered", to: 1.4, reason: "throttled" })
  })

  it.each([
    [{ beta: 1 }, "beta"],
    [{ scale: 0 }, "scale"],
    [{ smooth: 0 }, "smooth"],
    [{ smooth: 1.1 }, "smooth"],
    [{ minFillRate: 0 }, "minFillRate"],
    [{ minCapacity: 0 }, "minCapacity"],
    [{ decimals: 16 }, "decimals"],
    [{ decimals: -1 }, "decimals"]
  ])("refuses %o", (options, field) => {
    expect(() => CubicRate.make(options)).toThrow(`CubicRate.make: ${field} must be`)
  })

  it.prop("never exceeds twice the measured rate, nor falls below the floor", [events], ([list]) => {
    let state = CubicRate.make()
    let now = 0
    for (const { kind, ms } of list) {
      now += ms / 1000
      const throttled = kind === 0
      const { enabled } = state
      const [, better] = CubicRate.respond(state, false, now)
      const [decision, next] = CubicRate.respond(state, throttled, now)
      state = next
      law(state.fillRate).toBeGreaterThanOrEqual(0.5)
      law(state.fillRate).toBeLessThanOrEqual(Math.max(0.5, 2 * state.measuredRate))
      law(state.tokens).toBeLessThanOrEqual(state.capacity)
      law(decision.to).toBe(state.fillRate)
      // A throttle once the limit is in force never raises the rate.
      if (throttled && enabled) law(decision.to).toBeLessThanOrEqual(decision.from)
      law(better.measuredRate).toBe(state.measuredRate)
    }
  }, laws)
})

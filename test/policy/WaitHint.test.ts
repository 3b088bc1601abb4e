import { describe, expect, it } from "@effect/vitest"
import * as WaitHint from "../../src/policy/WaitHint.ts"
import { events, laws } from "./events.ts"

const settings = WaitHint.make()

describe("WaitHint", () => {
  it("waits as asked and at most a tenth or a second longer", () => {
    expect(WaitHint.decide(settings, { hintSeconds: 2, backoffSeconds: 9 }, 0)).toEqual({
      _tag: "Wait",
      seconds: 2,
      reason: "hint"
    })
    expect(WaitHint.spread(settings, 2, 1)).toBeCloseTo(2.2, 12)
    expect(WaitHint.spread(settings, 50, 1)).toBeCloseTo(51, 12)
  })

  it("takes the backoff when nothing was asked, or less than nothing", () => {
    const wait = { _tag: "Wait", seconds: 0.7, reason: "backoff" }
    expect(WaitHint.decide(settings, { backoffSeconds: 0.7 }, 0.5)).toEqual(wait)
    expect(WaitHint.decide(settings, { hintSeconds: -1, backoffSeconds: 0.7 }, 0.5)).toEqual(wait)
  })

  it("obeys a hint of zero at once", () => {
    expect(WaitHint.decide(settings, { hintSeconds: 0, backoffSeconds: 5 }, 0.9)).toEqual({
      _tag: "Wait",
      seconds: 0,
      reason: "hint"
    })
  })

  it("gives up on a hint over the cap", () => {
    expect(WaitHint.decide(settings, { hintSeconds: 60, backoffSeconds: 1 }, 0)._tag).toBe("Wait")
    expect(WaitHint.decide(settings, { hintSeconds: 15_372, backoffSeconds: 1 }, 0)).toEqual({
      _tag: "GiveUp",
      seconds: 15_372,
      reason: "over-cap"
    })
  })

  it.each([
    { hintSeconds: 10, backoffSeconds: 1, remainingSeconds: 10 },
    { backoffSeconds: 10, remainingSeconds: 9 }
  ])("gives up on a wait past the deadline: %o", (event) => {
    expect(WaitHint.decide(settings, event, 0)).toEqual({ _tag: "GiveUp", seconds: 10, reason: "past-deadline" })
  })

  it("spreads no further than the deadline", () => {
    const event = { hintSeconds: 9.9, backoffSeconds: 0, remainingSeconds: 10 }
    expect(WaitHint.decide(settings, event, 0.99)).toEqual({
      _tag: "Wait",
      seconds: expect.closeTo(9.999, 9),
      reason: "hint"
    })
    expect(WaitHint.decide(settings, event, 0)).toMatchObject({ _tag: "Wait", seconds: 9.9 })
  })

  it("takes a hint that is no number for none", () => {
    const wait = { _tag: "Wait", seconds: 0.7, reason: "backoff" }
    expect(WaitHint.decide(settings, { hintSeconds: NaN, backoffSeconds: 0.7 }, 0.5)).toEqual(wait)
  })

  it.each([
    [{ capSeconds: -1 }, "capSeconds"],
    [{ spreadRatio: 0.3 }, "spreadRatio"],
    [{ spreadMaxSeconds: NaN }, "spreadMaxSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => WaitHint.make(options)).toThrow(`WaitHint.make: ${field} must be`)
  })

  it.prop("is never earlier than asked and never a quarter later", [events], ([list]) => {
    const widest = WaitHint.make({ spreadRatio: 0.25, spreadMaxSeconds: 1000 })
    for (const { draw, ms } of list) {
      const asked = ms / 100
      const waited = WaitHint.spread(widest, asked, draw / 1000)
      expect(waited).toBeGreaterThanOrEqual(asked)
      expect(waited).toBeLessThanOrEqual(asked * 1.25)
    }
  }, laws)
})

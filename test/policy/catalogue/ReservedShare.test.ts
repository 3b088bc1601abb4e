import { describe, expect, it } from "@effect/vitest"
import * as ReservedShare from "../../../src/policy/catalogue/ReservedShare.ts"
import { events, laws } from "../events.ts"
import { law } from "../law.ts"

const ten = { ratePerSecond: 10, burst: 5 }

/** Takes one token as often as it can until `to`, and tells how many it got. */
const drain = (state: ReservedShare.State, work: ReservedShare.Work, to: number) => {
  let next = state
  let granted = 0
  for (let now = state.updatedAt; now <= to;) {
    const [decision, following] = ReservedShare.take(next, work, 1, now)
    next = following
    if (decision._tag === "Wait") now += decision.seconds
    else granted++
  }
  return { granted, state: next }
}

describe("ReservedShare", () => {
  it("keeps its share in stock for interactive work", () => {
    const { granted, state } = drain(ReservedShare.make(ten), "bulk", 0)
    expect(granted).toBe(4)
    expect(ReservedShare.take(state, "bulk", 1, 0)[0]).toMatchObject({ _tag: "Wait", reason: "kept-for-interactive" })
    const [decision, empty] = ReservedShare.take(state, "interactive", 1, 0)
    expect(decision).toEqual({ _tag: "Granted", remaining: 0, reason: "in-stock" })
    expect(ReservedShare.take(empty, "interactive", 1, 0)[0]).toEqual({ _tag: "Wait", seconds: 0.1, reason: "short" })
    // The reserved bucket fills at 2 per second, the common one at 8.
    expect(ReservedShare.take(empty, "bulk", 1, 0)[0]).toEqual({ _tag: "Wait", seconds: 0.125, reason: "short" })
  })

  it("lends the whole rate to bulk work while nobody else asks", () => {
    expect(drain(ReservedShare.make(ten), "bulk", 100).granted).toBe(4 + 1000)
  })

  it("lets interactive work have the whole rate too", () => {
    expect(drain(ReservedShare.make(ten), "interactive", 100).granted).toBe(5 + 1000)
  })

  it("never lets interactive work within its share wait, whatever bulk work asks for", () => {
    let state = ReservedShare.make(ten)
    let bulk = 0
    for (let i = 1; i <= 200; i++) {
      const drained = drain(state, "bulk", i / 2)
      bulk += drained.granted
      const [decision, next] = ReservedShare.take(drained.state, "interactive", 1, i / 2)
      expect(decision._tag).toBe("Granted")
      state = next
    }
    // Of 1000 in 100 s, and the burst of 5, the 200 interactive calls leave all the rest to bulk work.
    expect(bulk).toBe(805)
  })

  it("fills the reserved bucket from the common one when that is full", () => {
    let state = ReservedShare.make(ten)
    ;[, state] = ReservedShare.take(state, "interactive", 1, 0)
    const { common, reserved } = ReservedShare.refill(state, 0.1)
    expect(reserved).toBeCloseTo(1, 9)
    expect(common).toBe(4)
  })

  it("borrows for a cost above what its work can find", () => {
    const [decision, owing] = ReservedShare.take(ReservedShare.make(ten), "bulk", 10, 0)
    expect(decision).toEqual({ _tag: "Granted", remaining: -5, reason: "borrowed" })
    expect(ReservedShare.take(owing, "bulk", 10, 0)[0]).toEqual({
      _tag: "Wait",
      seconds: 1,
      reason: "filling-for-oversize"
    })
    expect(ReservedShare.take(owing, "bulk", 1, 0)[0]).toEqual({ _tag: "Wait", seconds: 0.7, reason: "short" })
    // A debt of bulk work takes nothing from what is kept.
    const [kept, spent] = ReservedShare.take(owing, "interactive", 1, 0)
    expect(kept).toMatchObject({ _tag: "Granted", reason: "in-stock" })
    expect(ReservedShare.take(spent, "interactive", 1, 0)[0]).toMatchObject({ _tag: "Wait", seconds: 0.5 })
    expect(ReservedShare.take(owing, "interactive", 2, 0)[0]).toMatchObject({ _tag: "Wait", seconds: 0.7 })
    const [large, after] = ReservedShare.take(ReservedShare.make(ten), "interactive", 7, 0)
    expect(large).toMatchObject({ _tag: "Granted", reason: "borrowed" })
    expect(after).toMatchObject({ reserved: 0, common: -2 })
  })

  it("adds nothing for a time that is past, infinite or no number", () => {
    const [, state] = ReservedShare.take(ReservedShare.make(ten, 100), "bulk", 1, 100)
    for (const now of [100, 0, Infinity, NaN]) expect(ReservedShare.refill(state, now)).toBe(state)
  })

  it.each([
    [{ ratePerSecond: 0 }, "ratePerSecond"],
    [{ burst: 0 }, "burst"],
    [{ share: 0 }, "share"],
    [{ share: 1 }, "share"]
  ])("refuses %o", (options, field) => {
    expect(() => ReservedShare.make({ ...ten, ...options })).toThrow(`ReservedShare.make: ${field} must be`)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => ReservedShare.make(ten, now)).toThrow("ReservedShare.make: now must be")
  })

  it("refuses a cost that is no number", () => {
    expect(() => ReservedShare.take(ReservedShare.make(ten), "bulk", NaN, 0)).toThrow(
      "ReservedShare.take: cost must be"
    )
  })

  it.prop("grants at most its burst and its rate, and grants after every wait that it names", [events], ([list]) => {
    let state = ReservedShare.make({ ratePerSecond: 3, burst: 8, share: 0.25 })
    let now = 0
    let granted = 0
    for (const { amount, draw, kind, ms } of list) {
      const between = ReservedShare.refill(ReservedShare.refill(state, now + draw / 1e6), now + ms / 1000)
      now += ms / 1000
      const whole = ReservedShare.refill(state, now)
      if (draw / 1000 <= ms) law(between.common).toBeCloseTo(whole.common, 9)
      if (draw / 1000 <= ms) law(between.reserved).toBeCloseTo(whole.reserved, 9)
      const work = kind < 3 ? "bulk" : "interactive"
      const [decision, next] = ReservedShare.take(state, work, amount, now)
      state = next
      if (decision._tag === "Granted") {
        // What is borrowed above the burst is paid back before the next grant of its kind.
        granted += amount
        law(granted).toBeLessThanOrEqual(8 + 3 * now + 12)
      } else {
        law(decision.seconds).toBeGreaterThan(0)
        law(ReservedShare.take(state, work, amount, now + decision.seconds)[0]._tag).toBe("Granted")
        const sooner = now + decision.seconds * 0.9
        if (decision.seconds > 0.01) law(ReservedShare.take(state, work, amount, sooner)[0]._tag).toBe("Wait")
      }
      law(state.reserved).toBeGreaterThanOrEqual(0)
      law(state.reserved).toBeLessThanOrEqual(2)
      law(state.common).toBeLessThanOrEqual(6)
    }
  }, laws)
})

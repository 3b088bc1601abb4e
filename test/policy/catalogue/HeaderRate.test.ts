import { describe, expect, it } from "@effect/vitest"
import * as HeaderRate from "../../../src/policy/catalogue/HeaderRate.ts"
import { events, laws } from "../events.ts"

const busy = { useRatio: 1, sentPerSecond: 1e6 }

describe("HeaderRate", () => {
  it("takes 98 % of a limit that is more than 2 % away", () => {
    let state = HeaderRate.make({ start: 98 })
    const seen = [100, 101, 102.1, 98, 0, -5, NaN, Infinity].map((limitPerSecond, i) => {
      const [{ reason, to }, next] = HeaderRate.observe(state, { limitPerSecond, sentAt: i })
      state = next
      return [reason, Number(to.toFixed(3)), state.source]
    })
    expect(seen).toEqual([
      ["close", 98, "header"],
      ["close", 98, "header"],
      ["stated", 100.058, "header"],
      ["stated", 96.04, "header"],
      ["no-limit", 96.04, "header"],
      ["no-limit", 96.04, "header"],
      ["no-limit", 96.04, "header"],
      ["no-limit", 96.04, "header"]
    ])
  })

  it("cuts once for all calls that were sent before the cut, and does not believe what answers to them state", () => {
    let state = HeaderRate.make({ start: 64 })
    let cuts = 0
    for (let i = 0; i < 64; i++) {
      const [decision, next] = HeaderRate.refuse(state, { sentAt: i / 100 }, 1 + i / 1000)
      state = next
      if (decision.reason === "refused") cuts++
    }
    expect([cuts, state.rate]).toEqual([1, 64 * 0.85])
    expect(HeaderRate.observe(state, { limitPerSecond: 200, sentAt: 1 })[0].reason).toBe("stale")
    expect(HeaderRate.observe(state, { limitPerSecond: 200, sentAt: 1.1 })[0].to).toBe(196)
    expect(HeaderRate.refuse(state, { sentAt: 1.1 }, 2)[0].to).toBe(64 * 0.85 * 0.85)
  })

  it("doubles in two clean seconds until the first refusal, and grows by 1 % in each later", () => {
    let state = HeaderRate.make()
    const rates = [0.5, 1, 1.9, 2, 4].map((now) => {
      const [decision, next] = HeaderRate.grow(state, busy, now)
      state = next
      return [decision.reason, Number(decision.to.toFixed(6))]
    })
    expect(rates).toEqual([
      ["second-open", 10],
      ["slow-start", 14.142136],
      ["second-open", 14.142136],
      ["slow-start", 20],
      ["slow-start", 40]
    ])
    const [, cut] = HeaderRate.refuse(state, { sentAt: 4 }, 4.5)
    expect(HeaderRate.grow(cut, busy, 5)[0].reason).toBe("second-open")
    const [grown] = HeaderRate.grow(cut, busy, 5.5)
    expect([grown.reason, grown.to]).toEqual(["steady-growth", expect.closeTo(34.34, 9)])
    // a refusal of the same epoch makes its second unclean
    const [, again] = HeaderRate.refuse(cut, { sentAt: 4.2 }, 5.4)
    expect(HeaderRate.grow(again, busy, 5.5)[0].reason).toBe("second-open")
  })

  it("grows only while it is used, and to twice what was sent", () => {
    const state = HeaderRate.make()
    const [unused, idle] = HeaderRate.grow(state, { useRatio: 0.69, sentPerSecond: 100 }, 60)
    expect([unused.reason, unused.to]).toEqual(["little-used", 10])
    expect(HeaderRate.grow(idle, busy, 61)[0].to).toBeCloseTo(14.142136, 6)
    const [capped] = HeaderRate.grow(state, { useRatio: 0.7, sentPerSecond: 6 }, 60)
    expect(capped).toEqual({ _tag: "Raised", from: 10, to: 12, reason: "measured-rate-cap" })
    expect(HeaderRate.grow(state, { useRatio: 0.7, sentPerSecond: 1 }, 60)[0].to).toBe(10)
  })

  it("cuts a known limit by 2 %, and lets it grow back to where it was", () => {
    const known = HeaderRate.make({ start: 100, isKnown: true })
    expect(HeaderRate.grow(known, busy, 9)[0]).toEqual({ _tag: "Held", from: 100, to: 100, reason: "known-limit" })
    const [decision, cut] = HeaderRate.refuse(known, { sentAt: 0 }, 1)
    expect([decision.to, cut.source]).toEqual([98, "config"])
    expect(HeaderRate.grow(cut, busy, 2)[0].to).toBeCloseTo(98.98, 9)
    expect(HeaderRate.grow(cut, busy, 9)[0]).toMatchObject({ to: 100, reason: "known-limit" })
  })

  it("holds a stated limit, and after a refusal grows until it is stated anew", () => {
    const [, stated] = HeaderRate.observe(HeaderRate.make(), { limitPerSecond: 100, sentAt: 0 })
    expect(HeaderRate.grow(stated, busy, 60)[0]).toEqual({ _tag: "Held", from: 98, to: 98, reason: "stated" })
    const [, cut] = HeaderRate.refuse(stated, { sentAt: 60 }, 61)
    expect([cut.source, cut.rate]).toEqual(["learned", 98 * 0.85])
    expect(HeaderRate.grow(cut, busy, 62)[0].reason).toBe("steady-growth")
    expect(HeaderRate.observe(cut, { limitPerSecond: 100, sentAt: 62 })[0].to).toBe(98)
  })

  it("keeps its floor, also where a stated limit lies below it", () => {
    let state = HeaderRate.make({ start: 0.11 })
    ;[, state] = HeaderRate.refuse(state, { sentAt: 1 }, 1)
    expect(state.rate).toBe(0.1)
    expect(HeaderRate.refuse(state, { sentAt: 2 }, 2)[0].reason).toBe("at-floor")
    const [, below] = HeaderRate.observe(state, { limitPerSecond: 0.05, sentAt: 3 })
    expect(HeaderRate.refuse(below, { sentAt: 4 }, 4)[0]).toMatchObject({ _tag: "Held", to: 0.049 })
  })

  it("counts seconds since 1970 as any others, and none where the clock steps back", () => {
    const state = HeaderRate.make({}, 1_700_000_000.1)
    expect(HeaderRate.grow(state, busy, 1_700_000_001.1)[0].reason).toBe("slow-start")
    expect(HeaderRate.grow(state, busy, 1_600_000_000)[0].reason).toBe("second-open")
  })

  it.each([
    [{ start: 0 }, "start"],
    [{ floor: 0 }, "floor"],
    [{ floor: 11, start: 10 }, "start"],
    [{ share: 1 }, "share"],
    [{ decrease: 0 }, "decrease"],
    [{ increase: -1 }, "increase"]
  ])("refuses %o", (options, field) => {
    expect(() => HeaderRate.make(options)).toThrow(`HeaderRate.make: ${field} must be`)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => HeaderRate.refuse(HeaderRate.make(), { sentAt: 0 }, now)).toThrow("HeaderRate.refuse: now must be")
    expect(() => HeaderRate.grow(HeaderRate.make(), busy, now)).toThrow("HeaderRate.grow: now must be")
  })

  it.prop("never rises by a refusal, and grows to twice what was sent at most", [events], ([list]) => {
    let state = HeaderRate.make()
    let now = 0
    for (const { kind, ms } of list) {
      now += ms / 1000
      const before = state.rate
      if (kind === 0) {
        ;[, state] = HeaderRate.refuse(state, { sentAt: now - 0.5 }, now)
        expect(state.rate).toBeLessThanOrEqual(before)
      } else {
        ;[, state] = HeaderRate.grow(state, { useRatio: 1, sentPerSecond: 30 }, now)
        expect(state.rate).toBeLessThanOrEqual(Math.max(before, 60))
      }
      expect(state.rate).toBeGreaterThanOrEqual(0.1)
    }
  }, laws)
})

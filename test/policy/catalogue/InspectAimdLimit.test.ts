import { describe, expect, it } from "@effect/vitest"
import * as InspectAimdLimit from "../../../src/policy/catalogue/InspectAimdLimit.ts"

const ok = (inFlight: number) => ({ rttSeconds: 1, inFlight, dropped: false })
const refused = { rttSeconds: 1, inFlight: 1, dropped: true }

/** Feeds saturated successes until the limit moves, at most 1000. */
const cleanRound = (state: InspectAimdLimit.State, now: number) => {
  let next = state
  for (let i = 0; i < 1000; i++) {
    const [decision, following] = InspectAimdLimit.sample(next, ok(next.estimate), now)
    next = following
    if (decision.reason !== "round-open") return [decision, next, i + 1] as const
  }
  throw new Error("no round was closed")
}

describe("InspectAimdLimit", () => {
  it("doubles with each clean round while no limit is known", () => {
    let state = InspectAimdLimit.initial({ initial: 2 })
    const seen: Array<readonly [limit: number, successes: number]> = []
    for (let i = 0; i < 8; i++) {
      const [, next, successes] = cleanRound(state, 0)
      state = next
      seen.push([state.estimate, successes])
    }
    expect(seen).toEqual([[4, 4], [8, 4], [16, 8], [32, 16], [64, 32], [128, 64], [200, 128], [200, 200]])
    expect(cleanRound(state, 0)[0]).toMatchObject({ _tag: "Held", reason: "at-max" })
  })

  it("cuts to four fifths, rounded down to a multiple of five from ten on", () => {
    const cut = (initial: number) => InspectAimdLimit.sample(InspectAimdLimit.initial({ initial }), refused, 0)[0].to
    expect([100, 50, 33, 20, 13, 12, 9, 2, 1].map(cut)).toEqual([80, 40, 25, 15, 10, 9, 7, 1, 1])
    expect(InspectAimdLimit.sample(InspectAimdLimit.initial({ initial: 1 }), refused, 0)[0].reason).toBe("at-min")
  })

  it("adds a twentieth, rounded up to a multiple of five, once a limit is known", () => {
    const [, cut] = InspectAimdLimit.sample(InspectAimdLimit.initial({ initial: 100 }), refused, 0)
    const [decision, next] = cleanRound(cut, 15)
    expect(decision).toEqual({ _tag: "Raised", from: 80, to: 85, reason: "steady-growth" })
    expect(cleanRound(next, 15)[0].to).toBe(90)
    const [, low] = InspectAimdLimit.sample(InspectAimdLimit.initial({ initial: 5 }), refused, 0)
    expect(cleanRound(low, 15)[0]).toMatchObject({ from: 4, to: 5 })
  })

  it.each([[30, 32], [50, 52], [70, 74], [90, 94]])(
    "rounds half a call of growth to the even neighbour: from %d to %d",
    (from, to) => {
      const state = { ...InspectAimdLimit.initial({ initial: from, granularity: 1 }), refused: true }
      expect(cleanRound(state, 0)[0]).toMatchObject({ from, to })
    }
  )

  it("cuts once per 15 s however many refusals come, and ends the round each time", () => {
    let state = InspectAimdLimit.initial({ initial: 100 })
    for (let i = 0; i < 64; i++) [, state] = InspectAimdLimit.sample(state, refused, i / 10)
    expect(state.estimate).toBe(80)
    expect(InspectAimdLimit.sample(state, refused, 14.9)[0].reason).toBe("cooldown")
    expect(InspectAimdLimit.sample(state, refused, 15)[0]).toMatchObject({ to: 60, reason: "dropped" })
  })

  it("counts no success of the cooldown", () => {
    let [, state] = InspectAimdLimit.sample(InspectAimdLimit.initial({ initial: 5 }), refused, 0)
    for (let i = 0; i < 50; i++) {
      const [decision, next] = InspectAimdLimit.sample(state, ok(4), 14.9)
      expect(decision).toMatchObject({ _tag: "Held", reason: "cooldown" })
      state = next
    }
    expect(cleanRound(state, 15)[2]).toBe(4)
  })

  it("raises nothing for a round that did not use the limit", () => {
    let state = InspectAimdLimit.initial({ initial: 10 })
    let decision
    for (let i = 0; i < 10; i++) [decision, state] = InspectAimdLimit.sample(state, ok(7), 0)
    expect(decision).toMatchObject({ _tag: "Held", reason: "unsaturated" })
    expect(state).toMatchObject({ successes: 0, peak: 0, estimate: 10 })
  })

  it.each([
    [{ max: 10 }, { min: 1, initial: 10, max: 10 }],
    [{ initial: 300 }, { initial: 300, max: 300 }],
    [{ min: 40 }, { min: 40, initial: 40, max: 200 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(InspectAimdLimit.initial(options).settings).toMatchObject(settings)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() =>
      InspectAimdLimit.sample(InspectAimdLimit.initial(), { rttSeconds: 1, inFlight: 20, dropped: true }, now)
    ).toThrow("InspectAimdLimit.sample: now must be")
  })

  it.each([
    [{ min: 0 }, "min"],
    [{ max: 0 }, "max"],
    [{ initial: 0 }, "initial"],
    [{ initial: 300, max: 200 }, "max"],
    [{ decrease: 0 }, "decrease"],
    [{ increase: -1 }, "increase"],
    [{ cooldownSeconds: -1 }, "cooldownSeconds"],
    [{ roundFloor: 0 }, "roundFloor"],
    [{ saturation: 2 }, "saturation"],
    [{ granularity: 0 }, "granularity"]
  ])("refuses %o", (options, field) => {
    expect(() => InspectAimdLimit.initial(options)).toThrow(`InspectAimdLimit.initial: ${field} must be`)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as AimdLimit from "../../../src/policy/catalogue/AimdLimit.ts"
import * as ConcurrencyLimit from "../../../src/policy/catalogue/ConcurrencyLimit.ts"
import { suite } from "../vectors.ts"

const { cases, params } = suite<{
  params: { ratio: number; timeoutMs: number; min: number; max: number }
  cases: ReadonlyArray<{
    initial: number
    min?: number
    max?: number
    rttMs: number
    inflight: number
    drop: boolean
    limit: number
  }>
}>("netflix.aimd")

describe("AimdLimit", () => {
  it.each(cases)("moves from $initial to $limit", (vector) => {
    const state = AimdLimit.initial({
      initial: vector.initial,
      min: vector.min ?? params.min,
      max: vector.max ?? params.max,
      ratio: params.ratio,
      timeoutSeconds: params.timeoutMs / 1000
    })
    const event = { rttSeconds: vector.rttMs / 1000, inFlight: vector.inflight, dropped: vector.drop }
    const [decision, next] = AimdLimit.sample(state, event)
    expect(decision).toMatchObject({ from: vector.initial, to: vector.limit })
    expect(ConcurrencyLimit.limit(next)).toBe(vector.limit)
  })

  it.each([
    [{ initial: 30 }, { rttSeconds: 1, inFlight: 15, dropped: false }, "Raised", 31, "saturated"],
    [{ initial: 30 }, { rttSeconds: 1, inFlight: 14, dropped: false }, "Held", 30, "unsaturated"],
    [{ initial: 30 }, { rttSeconds: 6, inFlight: 30, dropped: false }, "Lowered", 27, "timed-out"],
    [{ initial: 30 }, { rttSeconds: 5, inFlight: 30, dropped: false }, "Raised", 31, "saturated"],
    [{ initial: 30 }, { rttSeconds: 1, inFlight: 30, dropped: true }, "Lowered", 27, "dropped"],
    [{ initial: 20 }, { rttSeconds: 1, inFlight: 30, dropped: true }, "Held", 20, "at-min"],
    [{ initial: 200 }, { rttSeconds: 1, inFlight: 200, dropped: false }, "Held", 200, "at-max"]
  ])("with %o and %o is %s at %d: %s", (options, event, _tag, to, reason) => {
    expect(AimdLimit.sample(AimdLimit.initial(options), event)[0]).toMatchObject({ _tag, to, reason })
  })

  it("keeps one call in flight, whatever the smallest limit", () => {
    const state = AimdLimit.initial({ min: 0, initial: 1 })
    const [decision, next] = AimdLimit.sample(state, { rttSeconds: 1, inFlight: 1, dropped: true })
    expect(decision).toEqual({ _tag: "Held", from: 1, to: 1, reason: "at-min" })
    expect(AimdLimit.sample(next, { rttSeconds: 1, inFlight: 1, dropped: false })[0]).toMatchObject({ to: 2 })
  })

  it.each([
    [{ initial: 10 }, { min: 10, initial: 10, max: 200 }],
    [{ max: 10 }, { min: 10, initial: 10, max: 10 }],
    [{ initial: 300 }, { min: 20, initial: 300, max: 300 }],
    [{ min: 40 }, { min: 40, initial: 40, max: 200 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(AimdLimit.initial(options).settings).toMatchObject(settings)
  })

  it.each([
    [{ min: -1 }, "min"],
    [{ min: 0, initial: 0 }, "initial"],
    [{ min: 0, initial: 1, max: 0 }, "max"],
    [{ initial: 0.5 }, "initial"],
    [{ initial: NaN }, "initial"],
    [{ min: 20, initial: 10 }, "initial"],
    [{ initial: 30, max: 20 }, "max"],
    [{ ratio: 1 }, "ratio"],
    [{ timeoutSeconds: 0 }, "timeoutSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => AimdLimit.initial(options)).toThrow(`AimdLimit.initial: ${field} must be`)
  })
})

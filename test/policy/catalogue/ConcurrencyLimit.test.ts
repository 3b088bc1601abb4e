import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as AimdLimit from "../../../src/policy/catalogue/AimdLimit.ts"
import * as ConcurrencyLimit from "../../../src/policy/catalogue/ConcurrencyLimit.ts"
import * as EnvoyGradientLimit from "../../../src/policy/catalogue/EnvoyGradientLimit.ts"
import * as FailsafeLimit from "../../../src/policy/catalogue/FailsafeLimit.ts"
import * as Gradient2Limit from "../../../src/policy/catalogue/Gradient2Limit.ts"
import * as InspectAimdLimit from "../../../src/policy/catalogue/InspectAimdLimit.ts"
import * as VegasLimit from "../../../src/policy/catalogue/VegasLimit.ts"
import { events, laws } from "../events.ts"
import { law } from "../law.ts"

/** Plays an event list against an algorithm and checks every law of the interface. */
const check = <Options, State extends ConcurrencyLimit.Estimated>(
  algorithm: ConcurrencyLimit.Algorithm<Options, State>,
  options: Options,
  [min, max]: readonly [number, number],
  list: ReadonlyArray<{ readonly ms: number; readonly amount: number; readonly kind: number; readonly draw: number }>
) => {
  let state = algorithm.initial(options)
  let now = 0
  for (const { amount, draw, kind, ms } of list) {
    now += ms / 1000
    const before = state
    const event = { rttSeconds: draw / 100, inFlight: amount * 5, dropped: kind === 0 }
    const [decision, next] = algorithm.sample(state, event, now, draw / 1000)
    state = next
    law(decision.from).toBe(ConcurrencyLimit.limit(before))
    law(decision.to).toBe(ConcurrencyLimit.limit(state))
    law(decision._tag).toBe(
      decision.to > decision.from ? "Raised" : decision.to < decision.from ? "Lowered" : "Held"
    )
    law(decision.to).toBeGreaterThanOrEqual(min)
    law(decision.to).toBeLessThanOrEqual(max)
    if (event.dropped) law(state.estimate).toBeLessThanOrEqual(before.estimate)
    law(algorithm.sample(before, event, now, draw / 1000)[1]).toEqual(state)
  }
  expect(JSON.parse(JSON.stringify(state))).toMatchObject({ estimate: state.estimate })
}

describe("ConcurrencyLimit", () => {
  it.prop("stays in its bounds, never rises on a drop, explains every move (AIMD)", [events], ([list]) => {
    check(AimdLimit, { min: 5, initial: 20, max: 60 }, [5, 60], list)
  }, laws)

  it.prop("stays in its bounds, never rises on a drop, explains every move (inspect)", [events], ([list]) => {
    check(InspectAimdLimit, { min: 2, initial: 3, max: 60 }, [2, 60], list)
  }, laws)

  it.prop("stays in its bounds, never rises on a drop, explains every move (Gradient2)", [events], ([list]) => {
    check(Gradient2Limit, { min: 5, initial: 20, max: 60 }, [5, 60], list)
  }, laws)

  it.prop("stays in its bounds, never rises on a drop, explains every move (Vegas)", [events], ([list]) => {
    check(VegasLimit, { initial: 20, max: 60, probeMultiplier: 0.5 }, [1, 60], list)
  }, laws)

  it.prop("stays in its bounds, never rises on a drop, explains every move (Envoy)", [events], ([list]) => {
    const options = { minRttSamples: 3, max: 60, windowSeconds: 2, minRttIntervalSeconds: 15 }
    check(EnvoyGradientLimit, options, [3, 60], list)
  }, laws)

  it.prop("stays in its bounds, never rises on a drop, explains every move (failsafe)", [events], ([list]) => {
    check(FailsafeLimit, { min: 2, max: 60, minSamples: 2, maxWindowSeconds: 2, warmup: 3 }, [2, 60], list)
  }, laws)

  it("steps by the whole part of the logarithm, at least by one", () => {
    expect([0, 1, 9.9, 10, 99.9, 100, 999.9, 1000, 10_000.9].map(ConcurrencyLimit.log10Step)).toEqual([
      1,
      1,
      1,
      1,
      1,
      2,
      2,
      3,
      4
    ])
  })

  it("takes each module as an algorithm", () => {
    expectTypeOf(AimdLimit).toExtend<ConcurrencyLimit.Algorithm<AimdLimit.Options, AimdLimit.State>>()
    expectTypeOf(VegasLimit).toExtend<ConcurrencyLimit.Algorithm<VegasLimit.Options, VegasLimit.State>>()
    expect(ConcurrencyLimit.limit({ estimate: 20.8 })).toBe(20)
  })
})

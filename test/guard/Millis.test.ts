import { describe, expect, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Millis from "../../src/guard/Millis.ts"

describe("Millis", () => {
  it("reads durations in milliseconds, the ends of each range included where it has them", () => {
    expect(Millis.positive("m: f", "1 micro")).toBe(0.001)
    expect(Millis.positive("m: f", "Infinity")).toBe(Infinity)
    expect(Millis.notNegative("m: f", 0)).toBe(0)
    expect(Millis.finite("m: f", "1 second")).toBe(1000)
    expect(Millis.accepted("m: f", "-1 second")).toBe(-1000)
    expect([1000, 60_000].map((end) => Millis.within("m: f", end, 1000, 60_000))).toEqual([1000, 60_000])
    expect(Millis.notBelow("m: f", "2 seconds", "g", 2000)).toBe(2000)
  })

  it.each<[() => number, string]>([
    [() => Millis.positive("m: f", 0), "m: f must be above 0, got 0 ms"],
    [() => Millis.notNegative("m: f", "-1 second"), "m: f must be at least 0, got -1000 ms"],
    [() => Millis.finite("m: f", "Infinity"), "m: f must be above 0 and finite, got Infinity ms"],
    [() => Millis.within("m: f", "1 hour", 0, 60_000), "m: f must be in [0, 60000] ms, got 3600000 ms"],
    [() => Millis.notBelow("m: f", 1, "g", 2), "m: f must be at least g, which is 2 ms, got 1 ms"],
    [() => Millis.positive("m: f", "1 minut" as Duration.Input), "m: f must be a duration, got 1 minut"],
    [() => Millis.notNegative("m: f", NaN), "m: f must be a duration, got NaN"],
    [() => Millis.accepted("m: f", NaN), "m: f must be a duration, got NaN"]
  ])("refuses others in one wording: %#", (read, message) => {
    expect(read).toThrow(new RangeError(message))
  })

  it("rounds waits up, and ignores what only sums left over", () => {
    expect([1.2, 2.0000000001, 3].map(Millis.whole)).toEqual([2, 2, 3])
  })
})

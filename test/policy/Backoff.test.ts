import { describe, expect, it } from "@effect/vitest"
import * as Backoff from "../../src/policy/Backoff.ts"
import { contend } from "./contention.ts"
import { events, laws, seeded } from "./events.ts"
import { law } from "./law.ts"
import { suite } from "./vectors.ts"

interface Formulas {
  readonly base: number
  readonly cap: number
  readonly cases: ReadonlyArray<{ n: number; u: number; none: number; full: number; equal: number }>
  readonly decorrelated: ReadonlyArray<{ prev: number; u: number; delay: number }>
}

describe("Backoff", () => {
  describe("formulas", () => {
    const { base, cap, cases, decorrelated } = suite<Formulas>("jitter.formulas")
    const options = { baseSeconds: base, capSeconds: cap, floorSeconds: 0 }

    it.each(cases)("spreads retry $n at u = $u", ({ equal, full, n, none, u }) => {
      expect(Backoff.delay({ ...options, jitter: "none" }, n, u)).toBeCloseTo(none, 9)
      expect(Backoff.delay({ ...options, jitter: "full" }, n, u)).toBeCloseTo(full, 9)
      expect(Backoff.delay({ ...options, jitter: "equal" }, n, u)).toBeCloseTo(equal, 9)
    })

    it.each(decorrelated)("decorrelates from $prev at u = $u", ({ delay, prev, u }) => {
      expect(Backoff.decorrelated(prev, u, base, cap)).toBeCloseTo(delay, 9)
    })
  })

  it.each(
    suite<{ cases: ReadonlyArray<{ kind: string; v: number; mean: number; variance: number }> }>(
      "jitter.statistics"
    ).cases
  )("$kind has the mean and variance of its closed form", ({ kind, mean, v, variance }) => {
    const random = seeded(7)
    const draw = (u: number) =>
      kind === "full"
        ? Backoff.full(v, u)
        : kind === "equal"
        ? Backoff.equal(v, u)
        : kind === "sdk"
        ? Backoff.subtract(v, u, 0.25)
        : Backoff.plusMinus(v, u, 0.2)
    const n = 20_000
    const draws = Array.from({ length: n }, () => draw(random()))
    const average = draws.reduce((sum, x) => sum + x, 0) / n
    const spread = draws.reduce((sum, x) => sum + (x - average) ** 2, 0) / n
    expect(Math.abs(average - mean)).toBeLessThan(4 * Math.sqrt(variance / n))
    expect(spread / variance).toBeGreaterThan(0.97)
    expect(spread / variance).toBeLessThan(1.03)
  })

  describe("polly", () => {
    const vectors = suite<{
      constant: ReadonlyArray<[number, number]>
      linearAttempt2: ReadonlyArray<[number, number]>
      decorrelatedV2: ReadonlyArray<{ u: ReadonlyArray<number>; delays: ReadonlyArray<number> }>
    }>("polly.jitter")
    const around = { jitter: "plusMinus", ratio: 0.25, baseSeconds: 1, floorSeconds: 0 } as const

    it.each(vectors.constant)("spreads a constant at u = %d to %d", (u, delay) => {
      expect(Backoff.delay({ ...around, curve: "constant" }, 0, u)).toBeCloseTo(delay, 9)
      expect(Backoff.delay({ ...around, curve: "constant" }, 5, u)).toBeCloseTo(delay, 9)
    })

    it.each(vectors.linearAttempt2)("spreads the third step of a line at u = %d to %d", (u, delay) => {
      expect(Backoff.delay({ ...around, curve: "linear" }, 2, u)).toBeCloseTo(delay, 9)
    })

    it.each(vectors.decorrelatedV2)("decorrelates (V2) with u = $u", ({ delays, u }) => {
      const seen = Backoff.preview({ ...Backoff.polly, baseSeconds: 1 }, u)
      expect(seen).toHaveLength(delays.length)
      for (const [i, delay] of delays.entries()) expect(seen[i]).toBeCloseTo(delay, 8)
    })

    it("grows by the factor of cockatiel's exponent when decorrelated (V2)", () => {
      const options = { ...Backoff.polly, baseSeconds: 0.128, capSeconds: 30, factor: 3 }
      const delays = Backoff.preview(options, [0.5, 0.5, 0.5, 0.5])
      for (const [i, delay] of [0.1407, 0.3274, 0.9521, 2.8508].entries()) expect(delays[i]).toBeCloseTo(delay, 3)
      expect(Backoff.decorrelatedV2(1, 0.5, 0, 1, Infinity)).toEqual(Backoff.decorrelatedV2(1, 0.5, 0, 1, Infinity, 2))
    })

    it("returns the cap where the curve overflows", () => {
      const capped = { ...Backoff.polly, capSeconds: 30 }
      expect(Backoff.delay(capped, 2000, 0.5)).toBe(30)
      expect(Backoff.preview(capped, Array.from({ length: 12 }, () => 0.5)).at(-1)).toBe(30)
    })
  })

  it("doubles as cockatiel without a generator", () => {
    const [{ delaysMs }] = suite<{ cases: [{ delaysMs: ReadonlyArray<number> }] }>("cockatiel.backoff").cases
    const seen = Backoff.preview(Backoff.cockatiel, delaysMs.map(() => 0.3))
    for (const [i, ms] of delaysMs.entries()) expect(seen[i]).toBeCloseTo(ms / 1000, 9)
  })

  it.each(
    suite<{
      cases: ReadonlyArray<{ initial: number; mult: number; max: number; u: number; delays: ReadonlyArray<number> }>
    }>("grpc.backoff").cases
  )("backs off as gRPC with the factor $u", ({ delays, initial, max, mult, u }) => {
    const options = { ...Backoff.grpc, baseSeconds: initial, factor: mult, capSeconds: max }
    for (const [n, delay] of delays.entries()) {
      expect(Backoff.delay(options, n, (u - 0.8) / 0.4)).toBeCloseTo(delay, 9)
    }
  })

  it("backs off as the provider's SDK", () => {
    expect(Backoff.preview(Backoff.sdk, [0, 0, 0, 0, 0, 0])).toEqual([0.5, 1, 2, 4, 8, 8])
    expect(Backoff.delay(Backoff.sdk, 0, 1)).toBeCloseTo(0.375, 9)
  })

  it("remembers the last delay when decorrelated", () => {
    const options = { jitter: "decorrelated", baseSeconds: 1, capSeconds: 20, floorSeconds: 0 } as const
    expect(Backoff.preview(options, [0.5, 0.5, 0.5, 0])).toEqual([2, 3.5, 5.75, 1])
  })

  it("with full jitter needs fewer calls and less time than without, under contention", () => {
    const average = (jitter: Backoff.Jitter) => {
      let calls = 0
      let seconds = 0
      for (let seed = 1; seed <= 5; seed++) {
        const run = contend({ jitter, baseSeconds: 0.005, capSeconds: 2, floorSeconds: 0 }, 50, seed)
        calls += run.calls / 5
        seconds += run.seconds / 5
      }
      return { calls, seconds }
    }
    const [none, equal, full] = [average("none"), average("equal"), average("full")]
    expect(full.seconds).toBeLessThan(none.seconds / 8)
    expect(full.calls).toBeLessThan(none.calls * 0.75)
    expect(full.seconds).toBeLessThan(equal.seconds * 0.9)
    expect(full.calls).toBeLessThan(equal.calls * 1.05)
  })

  it.each(["full", "equal", "decorrelated"] as const)("stays a number without a cap, however often: %s", (jitter) => {
    const options = { jitter, baseSeconds: 1, capSeconds: Infinity, floorSeconds: 0 } as const
    const growing = Array.from({ length: 1100 }, () => 0.999)
    for (const seconds of Backoff.preview(options, [...growing, 0, 0, 0.5])) {
      expect(seconds).toBeGreaterThanOrEqual(0)
      expect(seconds).toBeLessThanOrEqual(Number.MAX_VALUE)
    }
  })

  it("makes its defaults give way to what is given", () => {
    expect(Backoff.make({ baseSeconds: 30 }).settings).toMatchObject({ capSeconds: 30, floorSeconds: 0.01 })
    expect(Backoff.make({ baseSeconds: 0.001, capSeconds: 0.005 }).settings.floorSeconds).toBe(0.005)
    expect(Backoff.make({ capSeconds: 0.1 }).settings).toMatchObject({ baseSeconds: 0.1, floorSeconds: 0.01 })
    expect(Backoff.make({ floorSeconds: 60 }).settings).toMatchObject({ baseSeconds: 0.5, capSeconds: 60 })
    expect(Backoff.make({ baseSeconds: undefined, capSeconds: undefined }).settings).toEqual(Backoff.defaults)
  })

  it("never returns less than the floor", () => {
    expect(Backoff.delay({}, 0, 0)).toBe(Backoff.defaults.floorSeconds)
  })

  it.each(
    [
      [{ baseSeconds: 0 }, "baseSeconds"],
      [{ factor: 0.5 }, "factor"],
      [{ baseSeconds: NaN }, "baseSeconds"],
      [{ capSeconds: 0 }, "capSeconds"],
      [{ baseSeconds: 0.5, capSeconds: 0.1 }, "capSeconds"],
      [{ capSeconds: NaN }, "capSeconds"],
      [{ capSeconds: "3" as unknown as number }, "capSeconds"],
      [{ ratio: 2 }, "ratio"],
      [{ floorSeconds: 60, capSeconds: 20 }, "capSeconds"],
      [{ floorSeconds: -1 }, "floorSeconds"]
    ] as const
  )("refuses %o", (options, field) => {
    expect(() => Backoff.make(options)).toThrow(`Backoff.make: ${field} must be`)
  })

  it.prop("keeps every delay between the floor and the cap, spread apart", [events], ([list]) => {
    for (
      const jitter of ["none", "full", "equal", "plusMinus", "subtract", "decorrelated", "decorrelatedV2"] as const
    ) {
      const seconds = Backoff.preview({ jitter }, list.map((event) => event.draw / 1000))
      for (const [i, delay] of seconds.entries()) {
        law(delay).toBeGreaterThanOrEqual(Backoff.defaults.floorSeconds)
        law(delay).toBeLessThanOrEqual(Backoff.defaults.capSeconds * (jitter === "plusMinus" ? 1.2 : 1))
        if (jitter === "none" && i > 0) law(delay).toBeGreaterThanOrEqual(seconds[i - 1] ?? 0)
      }
    }
  }, laws)
})

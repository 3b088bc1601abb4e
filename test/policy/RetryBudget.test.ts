import { describe, expect, it } from "@effect/vitest"
import * as HedgeBudget from "../../src/policy/HedgeBudget.ts"
import * as RetryBudget from "../../src/policy/RetryBudget.ts"
import { events, laws, seeded } from "./events.ts"
import { suite } from "./vectors.ts"

interface Finagle {
  readonly cases: ReadonlyArray<{
    ttl: number
    minRetriesPerSec: number
    percent: number
    n: number
    retries: number
    tolerance: number
  }>
  readonly extra: [{ percent: number; n: number; balance: number }, { invalid: ReadonlyArray<string> }]
}

/** Applies a list of steps: `d` deposits, `w` withdraws, a number lets milliseconds pass. */
const play = (state: RetryBudget.State, steps: ReadonlyArray<"d" | "w" | number>) => {
  let now = 0
  let budget = state
  const granted: Array<boolean> = []
  for (const step of steps) {
    if (step === "d") {
      budget = RetryBudget.deposit(budget, now)
    } else if (step === "w") {
      const [decision, next] = RetryBudget.withdraw(budget, now)
      granted.push(decision._tag === "Granted")
      budget = next
    } else {
      now += step / 1000
    }
  }
  return granted
}

describe("RetryBudget", () => {
  describe("finagle", () => {
    const { cases, extra } = suite<Finagle>("finagle.retryBudget")

    it.each(cases)(
      "allows $retries retries for $n requests at $percent, $minRetriesPerSec per second, ttl $ttl",
      ({ minRetriesPerSec, n, percent, retries, tolerance, ttl }) => {
        for (const variant of ["finagle", "tower"] as const) {
          let state = RetryBudget.make({ ttlSeconds: ttl, minPerSecond: minRetriesPerSec, ratio: percent, variant })
          let allowed = 0
          for (let i = 0; i < n; i++) {
            state = RetryBudget.deposit(state, 0)
            const [decision, next] = RetryBudget.withdraw(state, 0)
            if (decision._tag === "Granted") allowed++
            state = next
          }
          // tower deposits 1 for each request, so its price is rounded to whole requests: 1/0.75 counts as 1.
          if (variant === "finagle") expect(Math.abs(allowed - retries)).toBeLessThanOrEqual(tolerance)
          else expect(allowed).toBeGreaterThanOrEqual(retries - tolerance)
        }
      }
    )

    it("lets one request pay for several retries", () => {
      const [{ balance, n, percent }] = extra
      let state = RetryBudget.make({ ttlSeconds: 60, minPerSecond: 0, ratio: percent })
      for (let i = 0; i < n; i++) state = RetryBudget.deposit(state, 0)
      expect(RetryBudget.balance(state, 0)).toBe(balance)
    })

    it.each([
      [{ ttlSeconds: 0 }, "ttlSeconds"],
      [{ ttlSeconds: 61 }, "ttlSeconds"],
      [{ minPerSecond: -1 }, "minPerSecond"],
      [{ ratio: -1 }, "ratio"],
      [{ ratio: 1001 }, "ratio"],
      [{ ratio: null as unknown as number }, "ratio"],
      [{ ratio: "0.2" as unknown as number }, "ratio"]
    ])("refuses %o", (options, field) => {
      expect(() => RetryBudget.make(options)).toThrow(`RetryBudget.make: ${field} must be`)
    })

    it("is empty without a ratio and without a reserve", () => {
      const state = RetryBudget.deposit(RetryBudget.make({ ratio: 0, minPerSecond: 0 }), 0)
      expect(RetryBudget.withdraw(state, 0)[0]).toEqual({ _tag: "Denied", balance: 0, reason: "budget-exhausted" })
    })

    it("stretches the ttl, at most to twice, when it is used at uneven times", () => {
      let state = RetryBudget.make({ ttlSeconds: 10, minPerSecond: 0, ratio: 1 })
      // A slot closes with the first use after its second: every 1.5 s here, so ten slots span 15 s.
      for (let i = 0; i < 8; i++) state = RetryBudget.deposit(state, i * 1.5)
      expect(RetryBudget.balance(state, 10.5)).toBe(8)
      for (let i = 8; i < 40; i++) state = RetryBudget.deposit(state, i * 1.5)
      expect(RetryBudget.balance(state, 58.5)).toBe(10)
    })

    it("adds a reserve that is no whole number of retries to what was deposited", () => {
      const state = RetryBudget.make({ ttlSeconds: 1, minPerSecond: 0.5, ratio: 0.2 })
      expect(play(state, ["d", "d", "w", "d", "w", "w"])).toEqual([false, true, false])
      const thirds = RetryBudget.make({ ttlSeconds: 3, minPerSecond: 0.1, ratio: 0.2 })
      expect(play(thirds, ["d", "d", "d", "w", "d", "w", "w"])).toEqual([false, true, false])
    })

    it("forgets deposits and withdrawals after the ttl", () => {
      const state = RetryBudget.make({ ttlSeconds: 10, minPerSecond: 0.1, ratio: 1 })
      expect(play(state, ["d", "w", "w", "w"])).toEqual([true, true, false])
      expect(play(state, ["d", "w", "w", 10_000, "w", "w"])).toEqual([true, true, true, false])
      expect(play(state, ["d", 8_900, "w", "w", "w"])).toEqual([true, true, false])
      expect(play(state, ["d", 1_000, 1_000, "d", 60_000, "w", "w"])).toEqual([true, false])
    })
  })

  describe("tower", () => {
    it("deposits a thousand above ratio 1", () => {
      const state = RetryBudget.make({ ttlSeconds: 1, minPerSecond: 0, ratio: 2, variant: "tower" })
      expect(play(state, ["d", "w", "w", "w"])).toEqual([true, true, false])
    })
  })

  it.each([NaN, Infinity, -Infinity])("begins at no time that is none: %d", (wrong) => {
    expect(() => RetryBudget.make({}, wrong)).toThrow(
      `RetryBudget.make: now must be in (-Infinity, Infinity), got ${wrong}`
    )
  })

  it.each([NaN, Infinity, -Infinity])("is the same after a use at %d, which is no time", (wrong) => {
    let state = RetryBudget.make({ ttlSeconds: 1, minPerSecond: 0, ratio: 1 })
    state = RetryBudget.deposit(RetryBudget.deposit(state, 0), wrong)
    expect(RetryBudget.balance(state, 0.5)).toBe(2)
    expect(RetryBudget.balance(state, 2)).toBe(0)
    expect(RetryBudget.balance(RetryBudget.deposit(state, 2), 2)).toBe(1)
  })

  it.each(["finagle", "tower"] as const)("closes a slot at its width, in seconds since 1970 too: %s", (variant) => {
    for (let i = 0; i < 200; i++) {
      const ms = 1_700_000_000_000 + i * 1370
      const options = { ttlSeconds: 1, minPerSecond: 0, ratio: 1, variant }
      const early = RetryBudget.deposit(RetryBudget.make(options, ms / 1000), ms / 1000)
      const next = RetryBudget.deposit(early, (ms + 100) / 1000)
      expect(next.openedAt).toBe((ms + 100) / 1000)
      expect(RetryBudget.deposit(next, (ms + 199) / 1000).openedAt).toBe((ms + 100) / 1000)
      // nine closed slots forget after exactly the ttl, ten keep the one that ends then
      expect(RetryBudget.balance(early, (ms + 1000) / 1000)).toBe(variant === "finagle" ? 0 : 1)
    }
  })

  it("tells the balance that is left", () => {
    const state = RetryBudget.make({ ttlSeconds: 1, minPerSecond: 3, ratio: 0.2 })
    expect(RetryBudget.withdraw(state, 0)[0]).toEqual({ _tag: "Granted", balance: 2, reason: "within-budget" })
  })

  describe("load", () => {
    const { cases } = suite<{
      cases: ReadonlyArray<{ p: number; N: number; naiveLoad: number; bucketLoad?: number }>
    }>("brooker.retryBudget")

    it.each(cases)("is $naiveLoad times the traffic at failure rate $p without a budget", (vector) => {
      expect(RetryBudget.naiveLoad(vector.p, vector.N)).toBeCloseTo(vector.naiveLoad, 9)
      if (vector.bucketLoad !== undefined) {
        expect(RetryBudget.budgetedLoad(vector.p, vector.N, 0.1)).toBeCloseTo(vector.bucketLoad, 9)
      }
    })

    it.each([
      [0.1, 3, 2, 1.111],
      [0, 3, 1.5, 1],
      [0.2, 2, 1.3, 1.24],
      [0.5, 3, 2, 1.875],
      [0.5, 3, 1.9, 1.875],
      [0.5, 3, 0.1, 1 + 0.05 / 0.95]
    ])(
      "is at least the traffic, and naive at most: %d failing, %d retries, %d for each success",
      (p, n, deposit, load) => {
        expect(RetryBudget.budgetedLoad(p, n, deposit)).toBeCloseTo(load, 9)
      }
    )

    it("matches a simulated bucket at half failures", () => {
      const random = seeded(3)
      let bucket = HedgeBudget.make({ capacity: 10, reward: 0.1 })
      let attempts = 0
      const calls = 50_000
      for (let i = 0; i < calls; i++) {
        for (let tries = 0; tries < 4; tries++) {
          attempts++
          if (random() >= 0.5) {
            bucket = HedgeBudget.succeed(bucket)
            break
          }
          const [decision, next] = HedgeBudget.acquire(bucket)
          bucket = next
          if (decision._tag === "Denied") break
        }
      }
      expect(attempts / calls).toBeCloseTo(RetryBudget.budgetedLoad(0.5, 3, 0.1), 2)
    })
  })

  it.prop("never grants more than the ratio and the reserve of any span pay for", [events], ([list]) => {
    for (const variant of ["finagle", "tower"] as const) {
      let state = RetryBudget.make({ ttlSeconds: 2, minPerSecond: 1, ratio: 0.5, variant })
      let now = 0
      let deposits = 0
      let grants = 0
      for (const { kind, ms } of list) {
        now += ms / 1000
        if (kind < 3) {
          state = RetryBudget.deposit(state, now)
          deposits++
        } else {
          const [decision, next] = RetryBudget.withdraw(state, now)
          if (decision._tag === "Granted") grants++
          expect(decision.balance).toBeGreaterThanOrEqual(0)
          state = next
        }
      }
      // One reserve of ttl·min for each ttl that has begun: withdrawals are forgotten a ttl later.
      expect(grants).toBeLessThanOrEqual(deposits * 0.5 + 2 * (1 + Math.ceil(now / 1.8)))
    }
  }, laws)
})

import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveThrottle from "../../../src/policy/catalogue/AdaptiveThrottle.ts"
import { events, laws, seeded } from "../events.ts"
import { law } from "../law.ts"
import { suite } from "../vectors.ts"

const reject = 0
const never = 0.999_999

/** Books calls that are all sent (drawn lucky); accepted ones are answered at once. */
const feed = (state: AdaptiveThrottle.State, now: number, calls: number, accepted: boolean) => {
  let next = state
  for (let i = 0; i < calls; i++) {
    ;[, next] = AdaptiveThrottle.attempt(next, now, never)
    if (accepted) next = AdaptiveThrottle.accept(next, now)
  }
  return next
}

describe("AdaptiveThrottle", () => {
  describe("probability", () => {
    it.each(
      suite<{ cases: ReadonlyArray<{ requests: number; accepts: number; K: number; p: number }> }>(
        "sre.adaptiveThrottling"
      ).cases
    )("rejects $p after $accepts of $requests with K = $K", ({ K, accepts, p, requests }) => {
      expect(AdaptiveThrottle.probability({ _tag: "Sre", k: K }, requests, accepts)).toBeCloseTo(p, 9)
    })

    it.each(
      suite<{
        cases: ReadonlyArray<{ n: number; s: number; thr: number; aggression: number; max: number; p: number }>
      }>("envoy.admissionControl").cases
    )(
      "rejects $p after $s of $n with aggression $aggression",
      ({ aggression, max, n, p, s, thr }) => {
        const rule = { _tag: "Envoy", threshold: thr, aggression, max, minPerSecond: 5 } as const
        expect(AdaptiveThrottle.probability(rule, n, s)).toBeCloseTo(p, 9)
        expect(AdaptiveThrottle.probability(rule, n, s, 4.9)).toBe(0)
      }
    )

    // failsafe-go's rule: a first failure alone rejects half, and the maximum holds.
    it.each([
      [1, 0, 0.5],
      [50, 0, 0.9],
      [100, 90, 0],
      [100, 45, 50 / 101],
      [0, 0, 0]
    ])("rejects as failsafe-go after %d requests and %d successes: %d", (n, s, p) => {
      expect(AdaptiveThrottle.probability(AdaptiveThrottle.failsafe, n, s)).toBeCloseTo(p, 9)
    })
  })

  it("rejects nothing while all is accepted", () => {
    const state = feed(AdaptiveThrottle.make(), 0, 100, true)
    expect(AdaptiveThrottle.attempt(state, 0, reject)[0]).toEqual({
      _tag: "Admitted",
      probability: 0,
      reason: "healthy"
    })
  })

  it.each([AdaptiveThrottle.envoy, AdaptiveThrottle.failsafe])("counts no reject as a request: $_tag", (rule) => {
    const state = feed(AdaptiveThrottle.make({ rule, windowSeconds: 10 }), 0, 100, false)
    const [decision, next] = AdaptiveThrottle.attempt(state, 0, reject)
    expect(decision._tag).toBe("Rejected")
    expect(next).toBe(state)
    expect(AdaptiveThrottle.counts(AdaptiveThrottle.attempt(state, 0, never)[1], 0).requests).toBe(101)
  })

  it("rejects with the probability, and counts rejects as requests by the book", () => {
    const state = feed(AdaptiveThrottle.make(), 0, 9, false)
    const [decision, next] = AdaptiveThrottle.attempt(state, 0, 0.5)
    expect(decision).toEqual({ _tag: "Rejected", probability: 0.9, reason: "backend-refuses" })
    expect(AdaptiveThrottle.counts(next, 0)).toEqual({ requests: 10, accepts: 0 })
    expect(AdaptiveThrottle.attempt(state, 0, 0.95)[0]).toMatchObject({ _tag: "Admitted", reason: "lucky" })
  })

  it("asks Envoy's rule for a rate of the window", () => {
    const make = () => AdaptiveThrottle.make({ rule: AdaptiveThrottle.envoy, windowSeconds: 10 })
    expect(AdaptiveThrottle.rejectionRate(feed(make(), 0, 49, false), 0)).toBe(0)
    expect(AdaptiveThrottle.rejectionRate(feed(make(), 0, 50, false), 0)).toBe(0.8)
  })

  it("forgets by time when nothing is sent", () => {
    const state = feed(AdaptiveThrottle.make({ windowSeconds: 10, slots: 5 }), 3, 100, false)
    expect(AdaptiveThrottle.rejectionRate(state, 3)).toBeGreaterThan(0.9)
    expect(AdaptiveThrottle.rejectionRate(state, 11.9)).toBeGreaterThan(0.9)
    expect(AdaptiveThrottle.rejectionRate(state, 12)).toBe(0)
  })

  /** Runs 100 calls per second against a backend that is down for 2 windows of 10 s, and well for `seconds` after. */
  const outage = (rule: AdaptiveThrottle.Rule, seconds: number, seed: number) => {
    const random = seeded(seed)
    let state = AdaptiveThrottle.make({ rule, windowSeconds: 10, slots: 10 })
    const run = (from: number, to: number, well: boolean) => {
      for (let call = from * 100; call < to * 100; call++) {
        const now = call / 100
        const [decision, next] = AdaptiveThrottle.attempt(state, now, random())
        state = well && decision._tag === "Admitted" ? AdaptiveThrottle.accept(next, now) : next
      }
      return AdaptiveThrottle.rejectionRate(state, to)
    }
    return { down: run(0, 20, false), well: run(20, 20 + seconds, true) }
  }

  it.each([AdaptiveThrottle.envoy, AdaptiveThrottle.failsafe])(
    "rejects nothing one window after the backend is well, fed by the calls that it admits: $_tag",
    (rule) => {
      for (let seed = 1; seed <= 20; seed++) {
        const { down, well } = outage(rule, 10, seed)
        expect(down).toBeGreaterThan(0.7)
        expect(well).toBe(0)
      }
    }
  )

  it("recovers within ten windows by the book, where every reject counts", () => {
    for (let seed = 1; seed <= 20; seed++) {
      expect(outage(AdaptiveThrottle.sre, 10, seed).well).toBeGreaterThan(0.9)
      expect(outage(AdaptiveThrottle.sre, 100, seed).well).toBe(0)
    }
  })

  describe("settleSeconds", () => {
    const rules = [AdaptiveThrottle.sre, { ...AdaptiveThrottle.envoy, minPerSecond: 0 }, AdaptiveThrottle.failsafe]

    /** Counts the rejects of 10 calls per second in [0, 60) and, after a silence, in [400, 460), answers after 30 s. */
    const rejects = (options: AdaptiveThrottle.Options, accepted: boolean) => {
      const random = seeded(1)
      let state = AdaptiveThrottle.make(options)
      const pending: Array<number> = []
      let rejected = 0
      for (let i = 0; i < 1200; i++) {
        const now = i / 10 + (i < 600 ? 0 : 340)
        while (pending[0] !== undefined && pending[0] <= now) {
          state = AdaptiveThrottle.accept(state, pending.shift() ?? now)
        }
        const [decision, next] = AdaptiveThrottle.attempt(state, now, random())
        state = next
        if (decision._tag === "Rejected") rejected++
        else if (accepted) pending.push(now + 30)
      }
      return rejected
    }

    it.each(rules)("never throttles a backend that accepts all within that time: $_tag", (rule) => {
      expect(rejects({ rule }, true)).toBeGreaterThan(300)
      expect(rejects({ rule, settleSeconds: 30 }, true)).toBe(0)
    })

    it.each(rules)("throttles one that accepts nothing: $_tag", (rule) => {
      expect(rejects({ rule, settleSeconds: 30 }, false)).toBeGreaterThan(300)
    })

    it("counts an attempt once its slot was over that long ago", () => {
      const state = feed(AdaptiveThrottle.make({ windowSeconds: 10, slots: 10, settleSeconds: 3 }), 0.5, 9, false)
      expect(AdaptiveThrottle.rejectionRate(state, 3.9)).toBe(0)
      expect(AdaptiveThrottle.rejectionRate(state, 4)).toBe(0.9)
      expect(AdaptiveThrottle.rejectionRate(state, 10)).toBe(0)
    })

    it("asks Envoy's rule for the rate of the part that settled", () => {
      const options = { rule: AdaptiveThrottle.envoy, windowSeconds: 10, slots: 10, settleSeconds: 4 }
      let state = AdaptiveThrottle.make(options)
      for (let second = 0; second < 20; second++) state = feed(state, second, 5, false)
      expect(AdaptiveThrottle.rejectionRate(state, 19)).toBe(0.8)
    })
  })

  it("makes its window give way to the time to settle", () => {
    expect(AdaptiveThrottle.make({ settleSeconds: 61 }).settings.windowSeconds).toBe(122)
    expect(AdaptiveThrottle.make({ settleSeconds: 60 }).settings.windowSeconds).toBe(120)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => AdaptiveThrottle.accept(AdaptiveThrottle.make(), now)).toThrow("AdaptiveThrottle.accept: now must be")
    expect(() => AdaptiveThrottle.attempt(AdaptiveThrottle.make(), now, 0)).toThrow(
      "AdaptiveThrottle.attempt: now must be"
    )
  })

  it.each([
    [{ windowSeconds: 0 }, "windowSeconds"],
    [{ slots: 0 }, "slots"],
    [{ slots: 3, settleSeconds: 1 }, "slots"],
    [{ settleSeconds: -1 }, "settleSeconds"],
    [{ settleSeconds: 61, windowSeconds: 120 }, "settleSeconds"],
    [{ settleSeconds: NaN }, "settleSeconds"],
    [{ rule: { _tag: "Sre", k: 0.5 } }, "rule.k"],
    [{ rule: { ...AdaptiveThrottle.envoy, threshold: 0 } as AdaptiveThrottle.Rule }, "rule.threshold"],
    [{ rule: { ...AdaptiveThrottle.envoy, threshold: 2 } as AdaptiveThrottle.Rule }, "rule.threshold"],
    [{ rule: { ...AdaptiveThrottle.envoy, aggression: 0 } as AdaptiveThrottle.Rule }, "rule.aggression"],
    [{ rule: { ...AdaptiveThrottle.envoy, minPerSecond: -1 } as AdaptiveThrottle.Rule }, "rule.minPerSecond"],
    [{ rule: { ...AdaptiveThrottle.failsafe, max: 2 } as AdaptiveThrottle.Rule }, "rule.max"],
    [{ rule: { ...AdaptiveThrottle.failsafe, padding: -1 } as AdaptiveThrottle.Rule }, "rule.padding"]
  ] as ReadonlyArray<[AdaptiveThrottle.Options, string]>)("refuses %o", (options, field) => {
    expect(() => AdaptiveThrottle.make(options)).toThrow(`AdaptiveThrottle.make: ${field} must be`)
  })

  it.prop("is a probability, and an accept never raises it", [events], ([list]) => {
    for (const settleSeconds of [0, 2]) {
      for (const rule of [AdaptiveThrottle.sre, AdaptiveThrottle.envoy, AdaptiveThrottle.failsafe]) {
        let state = AdaptiveThrottle.make({ rule, windowSeconds: 5, slots: 4, settleSeconds })
        let now = 0
        for (const { draw, kind, ms } of list) {
          now += ms / 1000
          const before = AdaptiveThrottle.rejectionRate(state, now)
          law(before).toBeGreaterThanOrEqual(0)
          law(before).toBeLessThanOrEqual(1)
          if (kind < 3) {
            state = AdaptiveThrottle.accept(state, now)
            law(AdaptiveThrottle.rejectionRate(state, now)).toBeLessThanOrEqual(before)
          } else {
            ;[, state] = AdaptiveThrottle.attempt(state, now, draw / 1000)
          }
          law(state.slots.length).toBeLessThanOrEqual(4)
          law(AdaptiveThrottle.rejectionRate(state, now + 5)).toBe(0)
        }
      }
    }
  }, laws)
})

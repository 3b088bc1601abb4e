import { describe, expect, it } from "@effect/vitest"
import * as TokenReservation from "../../../src/policy/catalogue/TokenReservation.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

interface Step {
  readonly t: number
  readonly op: "reserve" | "settle" | "refundNotSent"
  readonly est: number
  readonly actual?: number
  readonly wait?: number | "Infinity"
  readonly requestsLeft: number
  readonly tokensLeft: number
}

const options = { requestsPerSecond: 10, tokensPerSecond: 3000 }

describe("TokenReservation", () => {
  it("follows the vectors of reserving and reconciling", () => {
    let state = TokenReservation.make({ ...options, oversize: "reject" })
    for (const step of suite<{ steps: ReadonlyArray<Step> }>("tpm.reserveReconcile").steps) {
      if (step.op === "reserve") {
        const wait = TokenReservation.wait(state, step.est, step.t)
        expect(wait).toBeCloseTo(step.wait === "Infinity" ? Infinity : step.wait ?? NaN, 8)
        const [decision, next] = TokenReservation.reserve(state, step.est, step.t)
        expect(decision._tag).toBe(wait === 0 ? "Reserved" : wait === Infinity ? "Oversize" : "Wait")
        state = next
      } else {
        const outcome: TokenReservation.Outcome = step.op === "settle"
          ? { _tag: "Completed", actual: step.actual ?? NaN }
          : { _tag: "NotSent" }
        ;[, state] = TokenReservation.settle(state, step.est, outcome, step.t)
      }
      expect(state.requests.tokens).toBeCloseTo(step.requestsLeft, 6)
      expect(state.tokens.tokens).toBeCloseTo(step.tokensLeft, 6)
    }
  })

  it("says which limit is waited for", () => {
    let state = TokenReservation.make({ requestsPerSecond: 1, tokensPerSecond: 100 })
    ;[, state] = TokenReservation.reserve(state, 50, 0)
    expect(TokenReservation.reserve(state, 50, 0)[0]).toEqual({ _tag: "Wait", seconds: 1, reason: "requests" })
    expect(TokenReservation.reserve(state, 100, 1)[0]._tag).toBe("Reserved")
    const drained = TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 100 })
    const [, after] = TokenReservation.reserve(drained, 100, 0)
    expect(TokenReservation.reserve(after, 100, 0)[0]).toEqual({ _tag: "Wait", seconds: 1, reason: "tokens" })
  })

  it("debits nothing while it waits", () => {
    const state = TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 100 })
    const [, taken] = TokenReservation.reserve(state, 90, 0)
    expect(TokenReservation.reserve(taken, 20, 0)[1]).toEqual(taken)
  })

  describe("oversize", () => {
    it("borrows when full, and later calls wait the debt off", () => {
      const state = TokenReservation.make({ requestsPerSecond: 100, tokensPerSecond: 666 })
      const [decision, after] = TokenReservation.reserve(state, 800, 0)
      expect(decision).toEqual({ _tag: "Reserved", estimate: 800, reason: "borrowed" })
      expect(after.tokens.tokens).toBe(-134)
      expect(TokenReservation.wait(after, 1, 0)).toBeCloseTo(135 / 666, 9)
      expect(TokenReservation.wait(after, 800, 0)).toBeCloseTo(800 / 666, 9)
    })

    it("is not what fills the burst exactly", () => {
      const state = TokenReservation.make({ requestsPerSecond: 100, tokensPerSecond: 666 })
      expect(TokenReservation.reserve(state, 666, 0)[0]).toMatchObject({ reason: "in-stock" })
    })

    it("is rejected where the provider has a hard cap", () => {
      const state = TokenReservation.make({ ...options, oversize: "reject" })
      expect(TokenReservation.reserve(state, 3001, 0)).toEqual([
        { _tag: "Oversize", limit: 3000, reason: "estimate-exceeds-burst" },
        state
      ])
    })
  })

  describe("settle", () => {
    const reserved = () => TokenReservation.reserve(TokenReservation.make(options), 2000, 0)[1]
    const settle = (outcome: TokenReservation.Outcome) => {
      const [settlement, state] = TokenReservation.settle(reserved(), 2000, outcome, 0)
      return [settlement.reason, settlement.tokens, settlement.requests, state.tokens.tokens, state.requests.tokens]
    }

    it.each<[TokenReservation.Outcome, ReadonlyArray<string | number>]>([
      [{ _tag: "Completed", actual: 500 }, ["over-estimated", 1500, 0, 2500, 9]],
      [{ _tag: "Completed", actual: 2500 }, ["under-estimated", -500, 0, 500, 9]],
      [{ _tag: "Completed", actual: 2000 }, ["exact", 0, 0, 1000, 9]],
      [{ _tag: "Completed", actual: 9000 }, ["under-estimated", -7000, 0, -6000, 9]],
      [{ _tag: "Refused", charged: true }, ["refused", 2000, 0, 3000, 9]],
      [{ _tag: "Refused", charged: false }, ["refused", 2000, 1, 3000, 10]],
      [{ _tag: "NotSent" }, ["not-sent", 2000, 1, 3000, 10]],
      [{ _tag: "Unknown" }, ["kept", 0, 0, 1000, 9]],
      [{ _tag: "TimedOut", releaseAt: 5 }, ["held", 0, 0, 1000, 9]]
    ])("books %o", (outcome, expected) => {
      expect(settle(outcome)).toEqual(expected)
    })

    it("never credits over the burst", () => {
      const [, state] = TokenReservation.settle(reserved(), 2000, { _tag: "NotSent" }, 60)
      expect([state.tokens.tokens, state.requests.tokens]).toEqual([3000, 10])
    })

    it("releases what a lost call bound when the server can no longer burn it", () => {
      const slow = TokenReservation.make({ requestsPerSecond: 1, tokensPerSecond: 1, tokenBurst: 100 })
      const [, taken] = TokenReservation.reserve(slow, 80, 0)
      const [, held] = TokenReservation.settle(taken, 80, { _tag: "TimedOut", releaseAt: 5 }, 1)
      expect(TokenReservation.refill(held, 4).tokens.tokens).toBeCloseTo(24, 9)
      expect(TokenReservation.refill(held, 4).holds).toHaveLength(1)
      const released = TokenReservation.refill(held, 6)
      expect(released.tokens.tokens).toBe(100)
      expect(released.holds).toEqual([])
      expect(TokenReservation.refill(held, 5).tokens.tokens).toBe(100)
    })

    it("refuses a usage that is none", () => {
      expect(() => settle({ _tag: "Completed", actual: NaN })).toThrow("TokenReservation.settle: actual must be")
      expect(() => TokenReservation.reserve(TokenReservation.make(options), -1, 0)).toThrow("estimate must be")
    })
  })

  describe("bypass", () => {
    const make = () => TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 100, tokenBurst: 1000 })

    it("lets only an item without tokens pass while the head fills up for its own start", () => {
      const [, state] = TokenReservation.reserve(make(), 900, 0)
      // Whatever takes tokens moves the head's start, if it needs all 1000 or fewer.
      for (const [head, item] of [[1000, 50], [500, 50], [101, 0.5]] as const) {
        expect(TokenReservation.bypass(state, head, item, 0, 0)).toEqual({ _tag: "Keep", reason: "would-delay-head" })
      }
      // An item without tokens takes a request, and requests are back long before the head's tokens.
      expect(TokenReservation.bypass(state, 500, 0, 0, 0)).toEqual({ _tag: "Overtake", reason: "head-loses-nothing" })
    })

    it("keeps the order when the head is ready, was overtaken enough, or the item cannot be paid", () => {
      const [, state] = TokenReservation.reserve(make(), 900, 0)
      expect(TokenReservation.bypass(make(), 500, 1, 0, 0)).toEqual({ _tag: "Keep", reason: "head-is-ready" })
      expect(TokenReservation.bypass(state, 500, 0, 32, 0)).toEqual({ _tag: "Keep", reason: "overtaken-enough" })
      expect(TokenReservation.bypass(state, 500, 101, 0, 0)).toEqual({ _tag: "Keep", reason: "not-affordable" })
    })
  })

  it.each([
    [{ requestsPerSecond: 0, tokensPerSecond: 1 }, "requestsPerSecond"],
    [{ requestsPerSecond: 1, tokensPerSecond: 0 }, "tokensPerSecond"],
    [{ requestsPerSecond: 1, tokensPerSecond: 1, requestBurst: 0.5 }, "requestBurst"],
    [{ requestsPerSecond: 1, tokensPerSecond: 1, tokenBurst: 0 }, "tokenBurst"],
    [{ requestsPerSecond: 1, tokensPerSecond: 1, maxOvertakes: -1 }, "maxOvertakes"]
  ])("refuses %o", (bad, field) => {
    expect(() => TokenReservation.make(bad)).toThrow(`TokenReservation.make: ${field} must be`)
  })

  it("refuses a policy that is none, in its own name", () => {
    // @ts-expect-error: a cost above the burst is never waited for
    expect(() => TokenReservation.make({ ...options, oversize: "wait" })).toThrow(
      "TokenReservation.make: oversize must be one of borrow, reject, got wait"
    )
  })

  it("refuses times and estimates that would let everything in for ever", () => {
    const state = TokenReservation.make(options)
    expect(() => TokenReservation.make(options, NaN)).toThrow("TokenReservation.make: now must be")
    expect(() => TokenReservation.refill(state, NaN)).toThrow("TokenReservation.refill: now must be")
    expect(() => TokenReservation.wait(state, NaN, 0)).toThrow("TokenReservation.wait: estimate must be")
    expect(() => TokenReservation.wait(state, 1, NaN)).toThrow("TokenReservation.wait: now must be")
    expect(() => TokenReservation.reserve(state, NaN, 0)).toThrow("TokenReservation.reserve: estimate must be")
    expect(() => TokenReservation.reserve(state, 1, NaN)).toThrow("TokenReservation.reserve: now must be")
    for (const estimate of [NaN, Infinity, -1e6]) {
      expect(() => TokenReservation.settle(state, estimate, { _tag: "NotSent" }, 0)).toThrow(
        "TokenReservation.settle: estimate must be"
      )
    }
    expect(() => TokenReservation.settle(state, 1, { _tag: "NotSent" }, NaN)).toThrow(
      "TokenReservation.settle: now must be"
    )
    for (const releaseAt of [NaN, Infinity]) {
      expect(() => TokenReservation.settle(state, 1, { _tag: "TimedOut", releaseAt }, 0)).toThrow(
        "TokenReservation.settle: releaseAt must be"
      )
    }
  })

  it("reserves each slot of its rate in seconds since 1970", () => {
    const start = 1_700_000_000
    let state = TokenReservation.make(
      { requestsPerSecond: 1000, requestBurst: 1, tokensPerSecond: 1000, tokenBurst: 1 },
      start
    )
    for (let i = 0; i < 1000; i++) {
      const [decision, next] = TokenReservation.reserve(state, 1, start + i / 1000)
      expect(decision._tag).toBe("Reserved")
      state = next
    }
  })

  it.prop("holds both bounds, and balances what was reserved and not used", [events], ([list]) => {
    let state = TokenReservation.make({ requestsPerSecond: 2, requestBurst: 3, tokensPerSecond: 5, tokenBurst: 9 })
    let now = 0
    const open: Array<number> = []
    for (const { amount, kind, ms } of list) {
      now += ms / 1000
      const estimate = open[0]
      if (kind < 3 || estimate === undefined) {
        const [decision, next] = TokenReservation.reserve(state, amount, now)
        if (decision._tag === "Reserved") {
          open.push(amount)
          expect(next.requests.tokens).toBeCloseTo(TokenReservation.refill(state, now).requests.tokens - 1, 9)
          expect(next.tokens.tokens).toBeCloseTo(TokenReservation.refill(state, now).tokens.tokens - amount, 9)
        } else {
          expect(next).toEqual(TokenReservation.refill(state, now))
        }
        state = next
      } else {
        open.shift()
        const before = TokenReservation.refill(state, now).tokens.tokens
        const outcome: TokenReservation.Outcome = kind === 3
          ? { _tag: "Completed", actual: amount }
          : kind === 4
          ? { _tag: "NotSent" }
          : { _tag: "TimedOut", releaseAt: now + 1 }
        const [settlement, next] = TokenReservation.settle(state, estimate, outcome, now)
        state = next
        expect(state.tokens.tokens).toBeCloseTo(Math.min(9, before + settlement.tokens), 9)
      }
      expect(state.requests.tokens).toBeLessThanOrEqual(3)
      expect(state.tokens.tokens).toBeLessThanOrEqual(9)
      expect(state.requests.tokens).toBeGreaterThan(-1e-6)
    }
  }, laws)
})

import { describe, expect, it } from "@effect/vitest"
import * as TokenBucket from "../../../src/policy/catalogue/TokenBucket.ts"
import { events, laws } from "../events.ts"
import { law } from "../law.ts"
import { suite } from "../vectors.ts"

interface Op {
  readonly t: number
  readonly n: number
  readonly ok: boolean
  readonly wait: number | "Infinity"
}

/** Plays the operations of a suite and compares every answer. */
const play = (initial: TokenBucket.State, ops: ReadonlyArray<Op>) => {
  let state = initial
  for (const op of ops) {
    const wait = TokenBucket.wait(state, op.n, op.t)
    const [decision, next] = TokenBucket.take(state, op.n, op.t)
    state = next
    expect(decision._tag === "Granted").toBe(op.ok)
    if (op.wait === "Infinity") {
      expect(wait).toBe(Infinity)
      expect(decision._tag).toBe("Oversize")
    } else {
      expect(wait).toBeCloseTo(op.wait, 9)
    }
    if (decision._tag === "Wait") expect(decision.seconds).toBe(wait)
  }
}

describe("TokenBucket", () => {
  it("agrees with the vectors of single permits", () => {
    play(
      TokenBucket.make({ capacity: 3, refillPerSecond: 1 }),
      suite<{ tokenBucket: ReadonlyArray<Op> }>("limiter.compare").tokenBucket
    )
  })

  it("agrees with the vectors of weighted permits", () => {
    play(
      TokenBucket.make({ capacity: 20, refillPerSecond: 10, oversize: "reject" }),
      suite<{ tokenBucket: ReadonlyArray<Op> }>("limiter.weighted").tokenBucket
    )
  })

  it.each(
    suite<{
      cases: ReadonlyArray<{
        rate: number
        capacity: number
        tokens: number
        ops: ReadonlyArray<{ t: number; take: number; waitMs: number }>
      }>
    }>("aws.tokenBucket").cases
  )("takes as the adaptive send bucket", ({ capacity, ops, rate, tokens }) => {
    let state = TokenBucket.make({ capacity, refillPerSecond: rate, initial: tokens })
    for (const op of ops) {
      expect(TokenBucket.wait(state, op.take, op.t) * 1000).toBeCloseTo(op.waitMs, 6)
      ;[, state] = TokenBucket.take(state, op.take, op.t)
    }
  })

  it("grants over a shortfall of float noise", () => {
    const state = TokenBucket.make({ capacity: 1, refillPerSecond: 10, initial: 1 - 1e-12 })
    expect(TokenBucket.take(state, 1, 0)[0]._tag).toBe("Granted")
  })

  describe("in seconds since 1970", () => {
    const start = 1_700_000_000

    it("grants each slot of its rate", () => {
      let state = TokenBucket.make({ capacity: 1, refillPerSecond: 1000 }, start)
      let granted = 0
      for (let i = 1; i <= 10_000; i++) {
        const [decision, next] = TokenBucket.take(state, 1, start + i / 1000)
        state = next
        if (decision._tag === "Granted") granted++
      }
      expect(granted).toBe(10_000)
    })

    it.each([0.3, 3, 7, 777])("grants at %d per second whoever comes back when told", (rate) => {
      let state = TokenBucket.make({ capacity: 1, refillPerSecond: rate, initial: 0 }, start)
      let now = start
      for (let i = 0; i < 1000; i++) {
        now += TokenBucket.wait(state, 1, now)
        const [decision, next] = TokenBucket.take(state, 1, now)
        expect(decision._tag).toBe("Granted")
        state = next
      }
    })

    it("keeps what it overlooked as a debt", () => {
      const state = TokenBucket.make({ capacity: 1, refillPerSecond: 1000, initial: 0.9995 }, start)
      expect(TokenBucket.tolerance(1000, start)).toBeCloseTo(0.00075, 5)
      expect(TokenBucket.take(state, 1, start)[1].tokens).toBeCloseTo(-0.0005, 9)
      expect(TokenBucket.tolerance(1000, 0)).toBe(TokenBucket.epsilon)
    })
  })

  it("never waits less than a clock can show", () => {
    const state = TokenBucket.make({ capacity: 1, refillPerSecond: 1000, initial: 0.9999 })
    expect(TokenBucket.take(state, 1, 0)[0]).toEqual({ _tag: "Wait", seconds: 0.001, reason: "short" })
  })

  describe("oversize", () => {
    // A prompt of 800 tokens against 666 per second: shobrook/openlimit#8.
    const bucket = TokenBucket.make({ capacity: 666, refillPerSecond: 666, initial: 333 })

    it("borrows when the bucket is full, and later callers pay", () => {
      expect(TokenBucket.take(bucket, 800, 0)[0]).toEqual({
        _tag: "Wait",
        seconds: 0.5,
        reason: "filling-for-oversize"
      })
      const [decision, indebted] = TokenBucket.take(bucket, 800, 0.5)
      expect(decision).toEqual({ _tag: "Granted", remaining: -134, reason: "borrowed" })
      expect(TokenBucket.take(indebted, 1, 0.5)[0]).toEqual({
        _tag: "Wait",
        seconds: expect.closeTo(135 / 666, 9),
        reason: "in-debt"
      })
    })

    it("rejects at once where that is the policy", () => {
      expect(TokenBucket.take({ ...bucket, oversize: "reject" }, 800, 0)[0]).toEqual({
        _tag: "Oversize",
        capacity: 666,
        reason: "cost-exceeds-capacity"
      })
    })
  })

  it("adds nothing when the clock steps back", () => {
    const state = TokenBucket.make({ capacity: 10, refillPerSecond: 1, initial: 3 }, 100)
    expect(TokenBucket.refill(state, 90)).toBe(state)
    expect(TokenBucket.available(state, 102)).toBe(5)
  })

  it("credits up to the capacity and debits without a floor", () => {
    const state = TokenBucket.make({ capacity: 10, refillPerSecond: 1, initial: 3 })
    expect(TokenBucket.credit(state, 100, 0).tokens).toBe(10)
    expect(TokenBucket.credit(state, -100, 0).tokens).toBe(-97)
  })

  it("drops what piled up", () => {
    const state = TokenBucket.make({ capacity: 10, refillPerSecond: 1, initial: 0 })
    expect(TokenBucket.drain(state, 1, 60).tokens).toBe(1)
    expect(TokenBucket.drain(state, 1, 0.5).tokens).toBe(0.5)
  })

  it("keeps what was earned when it is resized, up to the new capacity", () => {
    const state = TokenBucket.make({ capacity: 10, refillPerSecond: 1, initial: 0 })
    expect(TokenBucket.resize(state, { capacity: 3, refillPerSecond: 5 }, 8)).toMatchObject({
      tokens: 3,
      capacity: 3,
      refillPerSecond: 5,
      updatedAt: 8
    })
    expect(TokenBucket.resize(state, { capacity: 30, refillPerSecond: 5 }, 8).tokens).toBe(8)
  })

  it.each([
    [{ capacity: 0, refillPerSecond: 1 }, "capacity"],
    [{ capacity: 1, refillPerSecond: 0 }, "refillPerSecond"],
    [{ capacity: 1, refillPerSecond: 1, initial: 2 }, "initial"],
    [{ capacity: 1, refillPerSecond: 1, initial: -Infinity }, "initial"]
  ])("refuses %o", (options, field) => {
    expect(() => TokenBucket.make(options)).toThrow(`TokenBucket.make: ${field} must be`)
  })

  it("refuses a cost that is no cost", () => {
    const state = TokenBucket.make({ capacity: 1, refillPerSecond: 1 })
    expect(() => TokenBucket.take(state, NaN, 0)).toThrow("TokenBucket.take: cost must be")
    expect(() => TokenBucket.take(state, -1, 0)).toThrow("TokenBucket.take: cost must be")
    expect(() => TokenBucket.wait(state, NaN, 0)).toThrow("TokenBucket.wait: cost must be")
  })

  it("refuses times and amounts that would grant for ever", () => {
    const state = TokenBucket.make({ capacity: 1, refillPerSecond: 1 })
    expect(() => TokenBucket.make({ capacity: 1, refillPerSecond: 1 }, NaN)).toThrow("TokenBucket.make: now must be")
    expect(() => TokenBucket.take(state, 1, NaN)).toThrow(
      new RangeError("TokenBucket.take: now must be in (-Infinity, Infinity), got NaN")
    )
    expect(() => TokenBucket.take(state, 1, Infinity)).toThrow("TokenBucket.take: now must be")
    expect(() => TokenBucket.wait(state, 1, NaN)).toThrow("TokenBucket.wait: now must be")
    expect(() => TokenBucket.refill(state, NaN)).toThrow("TokenBucket.refill: now must be")
    expect(() => TokenBucket.available(state, NaN)).toThrow("TokenBucket.available: now must be")
    expect(() => TokenBucket.credit(state, NaN, 0)).toThrow("TokenBucket.credit: amount must be")
    expect(() => TokenBucket.credit(state, 1, NaN)).toThrow("TokenBucket.credit: now must be")
    expect(() => TokenBucket.drain(state, NaN, 0)).toThrow("TokenBucket.drain: keep must be")
  })

  it("says wait, not oversize, however deep the debt", () => {
    const state = TokenBucket.make({ capacity: 1, refillPerSecond: 0.1, initial: -1e308 })
    expect(TokenBucket.take(state, 1, 0)[0]).toEqual({ _tag: "Wait", seconds: Infinity, reason: "in-debt" })
  })

  it.prop("admits at most capacity + rate·w over every span w", [events], ([list]) => {
    let state = TokenBucket.make({ capacity: 8, refillPerSecond: 5, oversize: "reject" })
    let now = 0
    const grants: Array<{ readonly at: number; readonly cost: number }> = []
    for (const { amount, ms } of list) {
      now += ms / 1000
      const [decision, next] = TokenBucket.take(state, amount, now)
      state = next
      if (decision._tag === "Granted") grants.push({ at: now, cost: amount })
      law(decision._tag === "Oversize").toBe(amount > 8)
    }
    for (const [i, first] of grants.entries()) {
      let sum = 0
      for (const grant of grants.slice(i)) {
        sum += grant.cost
        law(sum).toBeLessThanOrEqual(8 + 5 * (grant.at - first.at) + 1e-6)
      }
    }
  }, laws)

  it.prop("grants what it said to wait for, at the time it said", [events], ([list]) => {
    let state = TokenBucket.make({ capacity: 5, refillPerSecond: 3 })
    let now = 0
    for (const { amount, ms } of list) {
      now += ms / 1000
      const wait = TokenBucket.wait(state, amount, now)
      expect(wait).toBeLessThan(Infinity)
      now += wait
      const [decision, next] = TokenBucket.take(state, amount, now)
      expect(decision._tag).toBe("Granted")
      state = next
    }
  }, laws)
})

import { describe, expect, it } from "@effect/vitest"
import * as Gcra from "../../../src/policy/catalogue/Gcra.ts"
import * as TokenBucket from "../../../src/policy/catalogue/TokenBucket.ts"
import { events, laws, whole } from "../events.ts"
import { law } from "../law.ts"
import { suite } from "../vectors.ts"

interface Op {
  readonly t: number
  readonly n: number
  readonly ok: boolean
  readonly wait: number | "Infinity"
  readonly remaining?: number
}

const play = (initial: Gcra.State, ops: ReadonlyArray<Op>) => {
  let state = initial
  for (const op of ops) {
    const foretold = Gcra.wait(state, op.n, op.t)
    const [decision, next] = Gcra.take(state, op.n, op.t)
    state = next
    expect(decision._tag === "Granted").toBe(op.ok)
    const wait = decision._tag === "Wait" ? decision.seconds : decision._tag === "Oversize" ? Infinity : 0
    expect(foretold).toBe(wait)
    expect(wait).toBeCloseTo(op.wait === "Infinity" ? Infinity : op.wait, 9)
    if (op.remaining !== undefined) {
      expect(decision).toMatchObject({ remaining: expect.closeTo(op.remaining, 9) })
      expect(Gcra.remaining(state, op.t)).toBeCloseTo(op.remaining, 9)
    }
  }
}

describe("Gcra", () => {
  it("agrees with the vectors of single cells", () => {
    play(Gcra.make({ ratePerSecond: 1, burst: 3 }), suite<{ gcra: ReadonlyArray<Op> }>("limiter.compare").gcra)
  })

  it("agrees with the vectors of weighted cells", () => {
    play(
      Gcra.make({ ratePerSecond: 10, burst: 20, oversize: "reject" }),
      suite<{ gcra: ReadonlyArray<Op> }>("limiter.weighted").gcra
    )
  })

  it("lets a cost above the burst in when it is full, and leaves a debt", () => {
    const [first, after] = Gcra.take(Gcra.make({ ratePerSecond: 10, burst: 5 }), 8, 0)
    expect(first).toEqual({ _tag: "Granted", remaining: expect.closeTo(-3, 9), reason: "borrowed" })
    expect(Gcra.take(after, 8, 0)[0]).toEqual({
      _tag: "Wait",
      seconds: expect.closeTo(0.8, 9),
      reason: "filling-for-oversize"
    })
  })

  it.each([
    [{ ratePerSecond: 0, burst: 1 }, "ratePerSecond"],
    [{ ratePerSecond: 1, burst: 0 }, "burst"]
  ])("refuses %o", (options, field) => {
    expect(() => Gcra.make(options)).toThrow(`Gcra.make: ${field} must be`)
  })

  it("refuses a cost that is no cost", () => {
    const state = Gcra.make({ ratePerSecond: 1, burst: 1 })
    expect(() => Gcra.take(state, -1, 0)).toThrow("Gcra.take: cost must be")
    expect(() => Gcra.wait(state, NaN, 0)).toThrow("Gcra.wait: cost must be")
  })

  it("refuses times that would let everything pass for ever", () => {
    const options = { ratePerSecond: 1, burst: 1 }
    expect(() => Gcra.make(options, NaN)).toThrow("Gcra.make: now must be")
    expect(() => Gcra.take(Gcra.make(options), 1, NaN)).toThrow("Gcra.take: now must be")
    expect(() => Gcra.wait(Gcra.make(options), 1, Infinity)).toThrow("Gcra.wait: now must be")
  })

  for (const oversize of ["borrow", "reject"] as const) {
    // In seconds since 1970 the clock is coarse: answers agree, waits and remainders up to its rounding.
    for (const [start, digits] of [[0, 6], [1_700_000_000, 3]] as const) {
      it.prop(
        `answers as a token bucket of its rate and burst (${oversize}, from ${start} s)`,
        [events, whole(1, 10), whole(1, 30)],
        ([list, burst, rate]) => {
          let gcra = Gcra.make({ ratePerSecond: rate, burst, oversize }, start)
          let bucket = TokenBucket.make({ capacity: burst, refillPerSecond: rate, oversize }, start)
          let now = start
          for (const { amount, ms } of list) {
            now += ms / 1000
            const [a, nextGcra] = Gcra.take(gcra, amount, now)
            const [b, nextBucket] = TokenBucket.take(bucket, amount, now)
            expect(Gcra.wait(gcra, amount, now)).toBeCloseTo(TokenBucket.wait(bucket, amount, now), digits)
            gcra = nextGcra
            bucket = nextBucket
            expect(a._tag).toBe(b._tag)
            if (a._tag === "Wait" && b._tag === "Wait") expect(a.seconds).toBeCloseTo(b.seconds, digits)
            if (a._tag === "Granted" && b._tag === "Granted") expect(a.remaining).toBeCloseTo(b.remaining, digits)
          }
        },
        laws
      )
    }
  }

  it("grants each slot of its rate, and whoever comes back when told, in seconds since 1970", () => {
    const start = 1_700_000_000
    let slots = Gcra.make({ ratePerSecond: 1000, burst: 1 }, start)
    let told = Gcra.make({ ratePerSecond: 3, burst: 1 }, start)
    let now = start
    for (let i = 0; i < 10_000; i++) {
      const [slot, nextSlots] = Gcra.take(slots, 1, start + i / 1000)
      slots = nextSlots
      now += Gcra.wait(told, 1, now)
      const [decision, nextTold] = Gcra.take(told, 1, now)
      told = nextTold
      law([slot._tag, decision._tag]).toEqual(["Granted", "Granted"])
    }
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Gcra from "../../src/policy/Gcra.ts"
import * as TokenBucket from "../../src/policy/TokenBucket.ts"
import { events, laws, whole } from "./events.ts"
import { suite } from "./vectors.ts"

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
    const [decision, next] = Gcra.take(state, op.n, op.t)
    state = next
    expect(decision._tag === "Granted").toBe(op.ok)
    const wait = decision._tag === "Wait" ? decision.seconds : decision._tag === "Oversize" ? Infinity : 0
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
    expect(() => Gcra.take(Gcra.make({ ratePerSecond: 1, burst: 1 }), -1, 0)).toThrow("Gcra.take: cost must be")
  })

  for (const oversize of ["borrow", "reject"] as const) {
    it.prop(
      `answers as a token bucket of its rate and burst (${oversize})`,
      [events, whole(1, 10), whole(1, 30)],
      ([list, burst, rate]) => {
        let gcra = Gcra.make({ ratePerSecond: rate, burst, oversize })
        let bucket = TokenBucket.make({ capacity: burst, refillPerSecond: rate, oversize })
        let now = 0
        for (const { amount, ms } of list) {
          now += ms / 1000
          const [a, nextGcra] = Gcra.take(gcra, amount, now)
          const [b, nextBucket] = TokenBucket.take(bucket, amount, now)
          gcra = nextGcra
          bucket = nextBucket
          expect(a._tag).toBe(b._tag)
          if (a._tag === "Wait" && b._tag === "Wait") expect(a.seconds).toBeCloseTo(b.seconds, 6)
          if (a._tag === "Granted" && b._tag === "Granted") expect(a.remaining).toBeCloseTo(b.remaining, 6)
        }
      },
      laws
    )
  }
})

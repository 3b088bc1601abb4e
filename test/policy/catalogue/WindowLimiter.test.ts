import { describe, expect, it } from "@effect/vitest"
import * as Gcra from "../../../src/policy/catalogue/Gcra.ts"
import * as TokenBucket from "../../../src/policy/catalogue/TokenBucket.ts"
import * as WindowLimiter from "../../../src/policy/catalogue/WindowLimiter.ts"
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

type Kind = WindowLimiter.Options["kind"]

/** Fewer runs than other laws have: brute force counts all grants at each step. */
const few = { arbitrary: { ...laws.arbitrary, runs: 50 } } as const

const kinds: ReadonlyArray<Kind> = ["fixed", "log", "counter"]

/** What all limiters that are asked again and again share. */
interface Limiter<State> {
  readonly take: (state: State, cost: number, now: number) => readonly [Answer, State]
  readonly wait: (state: State, cost: number, now: number) => number
}

type Answer =
  | { readonly _tag: "Granted"; readonly remaining: number }
  | { readonly _tag: "Wait"; readonly seconds: number }
  | { readonly _tag: "Oversize" }

/** Plays the operations of a suite, and compares every answer. */
const play = <State>(limiter: Limiter<State>, initial: State, ops: ReadonlyArray<Op>) => {
  let state = initial
  for (const op of ops) {
    const foretold = limiter.wait(state, op.n, op.t)
    const [decision, next] = limiter.take(state, op.n, op.t)
    state = next
    const seconds = decision._tag === "Wait" ? decision.seconds : decision._tag === "Oversize" ? Infinity : 0
    expect(foretold).toBe(seconds)
    expect({ ...op, ok: decision._tag === "Granted" }).toEqual(op)
    expect(seconds, JSON.stringify(op)).toBeCloseTo(op.wait === "Infinity" ? Infinity : op.wait, 9)
    if (op.remaining !== undefined) {
      expect(decision).toMatchObject({ remaining: expect.closeTo(op.remaining, 9) })
    }
  }
}

/** A grant as brute force keeps it, in whole milliseconds. */
interface Grant {
  readonly ms: number
  readonly cost: number
}

/** Cuts what was borrowed into what each window takes of it. */
const cut = (grants: ReadonlyArray<Grant>, limit: number, windowMs: number): ReadonlyArray<Grant> =>
  grants.flatMap(({ cost, ms }) =>
    Array.from({ length: Math.ceil(cost / limit) }, (_, i) => ({
      ms: ms + i * windowMs,
      cost: Math.min(limit, cost - i * limit)
    }))
  )

const sum = (grants: ReadonlyArray<Grant>): number => grants.reduce((total, { cost }) => total + cost, 0)

/** Counts by all that was ever granted, in units times milliseconds: whole numbers. */
const brute = (kind: Kind, grants: ReadonlyArray<Grant>, limit: number, windowMs: number, ms: number): number => {
  const index = Math.floor(ms / windowMs)
  const parts = cut(grants, limit, windowMs)
  // a part of a later window is a debt: it counts from the start
  const since = (from: number) => sum(parts.filter((part) => Math.floor(part.ms / windowMs) >= from))
  switch (kind) {
    case "log":
      return windowMs * sum(parts.filter((part) => part.ms > ms - windowMs))
    case "fixed":
      return windowMs * since(index)
    case "counter":
      return windowMs * since(index) + (since(index - 1) - since(index)) * (windowMs - ms + index * windowMs)
  }
}

describe("WindowLimiter", () => {
  const vectors = suite<Record<"fixedWindow" | "slidingLog" | "slidingCounter", ReadonlyArray<Op>>>("limiter.windows")
  const three = { limit: 3, windowSeconds: 3 }

  it.each(
    [
      ["fixed", vectors.fixedWindow],
      ["log", vectors.slidingLog],
      ["counter", vectors.slidingCounter]
    ] as const
  )("agrees with the vectors of %s windows", (kind, ops) => {
    play(WindowLimiter, WindowLimiter.make({ ...three, kind, oversize: "reject" }), ops)
  })

  it("is asked as a bucket and as the cell rate algorithm are", () => {
    const { gcra, tokenBucket } = suite<Record<"gcra" | "tokenBucket", ReadonlyArray<Op>>>("limiter.compare")
    play(Gcra, Gcra.make({ ratePerSecond: 1, burst: 3 }), gcra)
    play(TokenBucket, TokenBucket.make({ capacity: 3, refillPerSecond: 1 }), tokenBucket)
  })

  it("begins its windows when it is made", () => {
    const limiter = WindowLimiter.make({ kind: "fixed", limit: 1, windowSeconds: 10 }, 1003)
    const [, used] = WindowLimiter.take(limiter, 1, 1005)
    expect(WindowLimiter.wait(used, 1, 1005)).toBe(8)
  })

  it("says why", () => {
    const reasons = kinds.map((kind) => {
      const seen: Array<string> = []
      let state = WindowLimiter.make({ kind, limit: 3 })
      for (const [cost, now] of [[2, 0], [2, 0], [5, 0], [5, 5], [1, 5], [1, 6.5]] as const) {
        const [decision, next] = WindowLimiter.take(state, cost, now)
        state = next
        seen.push(decision.reason)
      }
      expect(WindowLimiter.remaining(state, 6.5)).toBeLessThan(1)
      return seen
    })
    const [first] = reasons
    expect(first).toEqual(["within-limit", "full", "emptying-for-oversize", "borrowed", "in-debt", "within-limit"])
    expect(reasons[1]).toEqual(first)
    expect(reasons[2]).toEqual([...first!.slice(0, 5), "in-debt"])
  })

  it.each(kinds)("rejects at once a cost above the limit, where that is the policy: %s", (kind) => {
    const state = WindowLimiter.make({ kind, limit: 3, oversize: "reject" })
    const oversize = { _tag: "Oversize", limit: 3, reason: "cost-exceeds-limit" }
    expect(WindowLimiter.take(state, 3.5, 0)[0]).toEqual(oversize)
    expect(WindowLimiter.wait(state, 3.5, 0)).toBe(Infinity)
    expect(WindowLimiter.take(state, 3, 0)[0]._tag).toBe("Granted")
  })

  it.each(kinds)("keeps nothing of what costs nothing: %s", (kind) => {
    const state = WindowLimiter.make({ kind, limit: 3 })
    expect(WindowLimiter.take(state, 0, 0)[1]).toEqual(state)
  })

  it.each(kinds)("frees nothing when the clock steps back: %s", (kind) => {
    const [, used] = WindowLimiter.take(WindowLimiter.make({ kind, limit: 1 }), 1, 100.5)
    for (const now of [100.4, 50, 0, -7]) {
      const [decision, same] = WindowLimiter.take(used, 1, now)
      expect(decision._tag).toBe("Wait")
      expect(same).toEqual(used)
    }
    expect(WindowLimiter.remaining(used, 103)).toBe(1)
  })

  it("waits for whole windows also where the limit is so large that one unit is noise", () => {
    const [, full] = WindowLimiter.take(WindowLimiter.make({ kind: "fixed", limit: 1e10 }), 1e10, 0.25)
    expect(WindowLimiter.wait(full, 1, 0.25)).toBe(0.75)
  })

  it.each([
    [{ kind: "fixed", limit: 0 }, "limit"],
    [{ kind: "log", limit: Infinity }, "limit"],
    [{ kind: "log", limit: 1, windowSeconds: 0.0001 }, "windowSeconds"],
    [{ kind: "round" as Kind, limit: 1 }, "kind"],
    [{ kind: "log", limit: 1, oversize: "park" as "borrow" }, "oversize"]
  ] as ReadonlyArray<[WindowLimiter.Options, string]>)("refuses %o", (options, field) => {
    expect(() => WindowLimiter.make(options)).toThrow(`WindowLimiter.make: ${field} must be`)
  })

  it.each(kinds)("refuses times and costs that would grant for ever: %s", (kind) => {
    const state = WindowLimiter.make({ kind, limit: 1 })
    expect(() => WindowLimiter.make({ kind, limit: 1 }, NaN)).toThrow("WindowLimiter.make: now must be")
    expect(() => WindowLimiter.take(state, 1, NaN)).toThrow("WindowLimiter.take: now must be")
    expect(() => WindowLimiter.take(state, -1, 0)).toThrow("WindowLimiter.take: cost must be")
    expect(() => WindowLimiter.wait(state, NaN, 0)).toThrow("WindowLimiter.wait: cost must be")
    expect(() => WindowLimiter.wait(state, 1, Infinity)).toThrow("WindowLimiter.wait: now must be")
    expect(() => WindowLimiter.remaining(state, NaN)).toThrow("WindowLimiter.remaining: now must be")
  })

  for (const kind of kinds) {
    for (const start of [0, 1_700_000_000]) {
      it.prop(
        `${kind}: grants and counts as all that it ever granted says, borrowed or not (from ${start} s)`,
        [events, whole(1, 8), whole(1, 30)],
        ([list, limit, tenths]) => {
          const windowMs = tenths * 100
          let state = WindowLimiter.make({ kind, limit, windowSeconds: windowMs / 1000 }, start)
          let ms = 0
          const grants: Array<Grant> = []
          for (const event of list) {
            ms += event.ms
            const now = (start * 1000 + ms) / 1000
            const over = brute(kind, grants, limit, windowMs, ms) + (Math.min(event.amount, limit) - limit) * windowMs
            const [decision, next] = WindowLimiter.take(state, event.amount, now)
            state = next
            law(decision._tag).toBe(over <= 0 ? "Granted" : "Wait")
            if (decision._tag === "Granted") grants.push({ ms, cost: event.amount })
            const remaining = limit - brute(kind, grants, limit, windowMs, ms) / windowMs
            law(WindowLimiter.remaining(state, now)).toBeCloseTo(remaining, start === 0 ? 6 : 3)
          }
        },
        few
      )

      it.prop(
        `${kind}: grants at the time it said, and not sooner (from ${start} s)`,
        [events, whole(1, 8), whole(1, 30)],
        ([list, limit, tenths]) => {
          let state = WindowLimiter.make({ kind, limit, windowSeconds: tenths / 10 }, start)
          let now = start
          for (const { amount, ms } of list) {
            now += ms / 1000
            const seconds = WindowLimiter.wait(state, amount, now)
            law(seconds === 0 || seconds >= 0.001 && seconds < Infinity).toBe(true)
            if (seconds > 0.002) law(WindowLimiter.take(state, amount, now + seconds - 0.001)[0]._tag).toBe("Wait")
            now += seconds
            const [decision, next] = WindowLimiter.take(state, amount, now)
            law(decision._tag).toBe("Granted")
            state = next
          }
        },
        few
      )
    }

    it.prop(
      `${kind}: grants at most ${kind === "log" ? "the limit" : "twice the limit"} in any span of a window`,
      [events, whole(1, 12), whole(1, 30)],
      ([list, limit, tenths]) => {
        const windowMs = tenths * 100
        let state = WindowLimiter.make({ kind, limit, windowSeconds: windowMs / 1000, oversize: "reject" })
        let ms = 0
        const grants: Array<Grant> = []
        for (const event of list) {
          ms += event.ms % 200
          const [decision, next] = WindowLimiter.take(state, event.amount, ms / 1000)
          state = next
          law(decision._tag === "Oversize").toBe(event.amount > limit)
          if (decision._tag === "Granted") grants.push({ ms, cost: event.amount })
        }
        for (const first of grants) {
          const span = grants.filter((grant) => grant.ms >= first.ms && grant.ms < first.ms + windowMs)
          law(sum(span)).toBeLessThanOrEqual(kind === "log" ? limit : 2 * limit)
        }
      },
      few
    )
  }
})

import { describe, expect, it } from "@effect/vitest"
import * as RetryQuota from "../../../src/policy/catalogue/RetryQuota.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

interface Spec {
  readonly name: string
  readonly given: { readonly initial?: number; readonly maxAttempts?: number; readonly base?: number }
  readonly steps: ReadonlyArray<{
    readonly status: number
    readonly outcome: "retry_request" | "success" | "max_attempts_exceeded" | "retry_quota_exceeded"
    readonly quota: number
    readonly delay?: number
  }>
}

const outcomes = { "max-attempts": "max_attempts_exceeded", "quota-exceeded": "retry_quota_exceeded" } as const

describe("RetryQuota", () => {
  it.each(suite<{ cases: ReadonlyArray<Spec> }>("aws.standard2026.spec").cases)("$name", ({ given, steps }) => {
    let state = RetryQuota.make({ initial: given.initial, maxAttempts: given.maxAttempts, baseSeconds: given.base })
    let call = RetryQuota.request
    for (const step of steps) {
      if (step.status === 200) {
        ;[, state] = RetryQuota.succeed(state, call)
        call = RetryQuota.request
        expect(step.outcome).toBe("success")
      } else {
        const kind = step.status === 429 ? "throttling" : "other"
        const [decision, next] = RetryQuota.fail(state, call, { kind }, 1)
        state = next
        if (decision._tag === "Retry") {
          expect(step.outcome).toBe("retry_request")
          expect(decision.delaySeconds).toBeCloseTo(step.delay ?? NaN, 9)
          call = decision.request
        } else {
          expect(decision.reason).not.toBe("not-retryable")
          if (decision.reason !== "not-retryable") expect(outcomes[decision.reason]).toBe(step.outcome)
        }
      }
      expect(state.capacity).toBe(step.quota)
    }
  })

  it.each(
    suite<{
      cases: ReadonlyArray<{ header: string; quotaAfterFailure: number; delay: number; quotaAfterSuccess: number }>
    }>("aws.standard2026.retryAfter").cases
  )("obeys the hint $header", (vector) => {
    const ms = Number(vector.header)
    const [decision, failed] = RetryQuota.fail(
      RetryQuota.make(),
      RetryQuota.request,
      { kind: "other", hintSeconds: ms >= 0 ? ms / 1000 : undefined },
      1
    )
    expect(decision).toMatchObject({ _tag: "Retry", delaySeconds: expect.closeTo(vector.delay, 9) })
    expect(failed.capacity).toBe(vector.quotaAfterFailure)
    const [, succeeded] = RetryQuota.succeed(failed, decision._tag === "Retry" ? decision.request : RetryQuota.request)
    expect(succeeded.capacity).toBe(vector.quotaAfterSuccess)
  })

  it.each(
    suite<{
      cases: ReadonlyArray<{
        name: string
        spec: "legacy" | "2026"
        steps: ReadonlyArray<{ kind: "TRANSIENT" | "THROTTLING"; retry: number; cost: number; delayMs: number }>
      }>
    }>("aws.standard.delayTables").cases
  )("$name ($spec)", ({ spec, steps }) => {
    let state = RetryQuota.make({ ...(spec === "legacy" ? RetryQuota.legacy : {}), maxAttempts: 9 })
    let call = RetryQuota.request
    for (const step of steps) {
      const kind = step.kind === "TRANSIENT" ? "transient" : "throttling"
      const [decision, next] = RetryQuota.fail(state, call, { kind }, 1)
      expect(decision).toMatchObject({ _tag: "Retry", cost: step.cost })
      if (decision._tag === "Retry") {
        expect(decision.delaySeconds * 1000).toBeCloseTo(step.delayMs, 6)
        expect(decision.request.attempts).toBe(step.retry + 1)
        call = decision.request
      }
      state = next
    }
    expect(state.capacity).toBe(500 - steps.reduce((sum, step) => sum + step.cost, 0))
  })

  it("asks for the kind of error before the attempts and the attempts before the quota", () => {
    const empty = RetryQuota.make({ initial: 0, maxAttempts: 1 })
    const stop = (failure: RetryQuota.Failure, state = empty) =>
      RetryQuota.fail(state, RetryQuota.request, failure, 1)[0]
    expect(stop({ kind: "other", retryable: false })).toMatchObject({ _tag: "Stop", reason: "not-retryable" })
    expect(stop({ kind: "other" })).toMatchObject({ _tag: "Stop", reason: "max-attempts" })
    expect(stop({ kind: "other" }, RetryQuota.make({ initial: 0 }))).toMatchObject({
      _tag: "Stop",
      reason: "quota-exceeded",
      delaySeconds: 0
    })
  })

  it("sleeps before it fails on an empty quota when polling long", () => {
    const state = RetryQuota.make({ initial: 0, longPoll: true })
    expect(RetryQuota.fail(state, RetryQuota.request, { kind: "throttling" }, 1)[0]).toEqual({
      _tag: "Stop",
      reason: "quota-exceeded",
      delaySeconds: 1
    })
  })

  it("gives back the last cost after retries, and one token without", () => {
    const drained = RetryQuota.make({ initial: 100 })
    expect(RetryQuota.succeed(drained, RetryQuota.request)[0]).toEqual({
      _tag: "Refunded",
      tokens: 1,
      reason: "no-retry"
    })
    expect(RetryQuota.succeed(drained, { attempts: 2, lastCost: 14 })[0]).toMatchObject({
      tokens: 14,
      reason: "last-retry"
    })
    expect(RetryQuota.succeed(RetryQuota.make(), RetryQuota.request)[0].tokens).toBe(0)
  })

  it("gives nothing back for a retry that cost nothing", () => {
    const drained = RetryQuota.make({ initial: 100, throttlingCost: 0 })
    const [decision, failed] = RetryQuota.fail(drained, RetryQuota.request, { kind: "throttling" }, 1)
    if (decision._tag !== "Retry") throw new Error("the quota is not empty")
    expect(RetryQuota.succeed(failed, decision.request)[0]).toEqual({
      _tag: "Refunded",
      tokens: 0,
      reason: "last-retry"
    })
  })

  it("takes a hint that is no number for none", () => {
    const { settings } = RetryQuota.make()
    expect(RetryQuota.delay(settings, "throttling", 0, 0.5, NaN)).toBe(0.5)
    expect(RetryQuota.delay(settings, "throttling", 0, 0.5, Infinity)).toBe(5.5)
  })

  describe("refill", () => {
    it("lets a drained quota recover though nothing succeeds", () => {
      const fail = (state: RetryQuota.State) => RetryQuota.fail(state, RetryQuota.request, { kind: "other" }, 1)
      const drained = RetryQuota.make({ initial: 0, refillPerSecond: 1.4 }, 100)
      expect(fail(RetryQuota.refill(drained, 109.9))[0]).toMatchObject({ _tag: "Stop", reason: "quota-exceeded" })
      const [decision, spent] = fail(RetryQuota.refill(RetryQuota.refill(drained, 103.3), 110))
      expect(decision).toMatchObject({ _tag: "Retry", cost: 14 })
      expect(spent.capacity).toBeCloseTo(0, 9)
      expect(RetryQuota.refill(spent, 1e6).capacity).toBe(500)
    })

    it("gives nothing by default, nor for a time that is past, infinite or no number", () => {
      expect(RetryQuota.refill(RetryQuota.make({ initial: 0 }), 1e6).capacity).toBe(0)
      const state = RetryQuota.make({ initial: 0, refillPerSecond: 1 }, 100)
      for (const now of [100, 0, Infinity, NaN]) expect(RetryQuota.refill(state, now)).toBe(state)
    })

    it.prop("lets out what time earned, no more and no less, when everything fails", [events], ([list]) => {
      // A step of 2 s earns the price of one retry, so that a bucket for two never runs over.
      let state = RetryQuota.make({ capacity: 28, initial: 0, refillPerSecond: 7 })
      let now = 0
      let retries = 0
      for (const { ms } of list) {
        now += ms / 1000
        const refilled = RetryQuota.refill(state, now)
        const [decision, next] = RetryQuota.fail(refilled, RetryQuota.request, { kind: "other" }, 1)
        if (decision._tag === "Retry") retries++
        state = next
        expect(state.capacity).toBeGreaterThanOrEqual(0)
        expect(retries * 14 + state.capacity).toBeCloseTo(7 * now, 6)
      }
    }, laws)
  })

  it("lets 35 retries pass when everything fails, and then none", () => {
    let state = RetryQuota.make()
    let retries = 0
    for (let i = 0; i < 1000; i++) {
      const [decision, next] = RetryQuota.fail(state, RetryQuota.request, { kind: "other" }, 1)
      if (decision._tag === "Retry") retries++
      state = next
    }
    expect(retries).toBe(35)
  })

  it("starts full at a capacity of its own", () => {
    expect(RetryQuota.make({ capacity: 50 }).capacity).toBe(50)
    expect(RetryQuota.make({ capacity: 0 }).capacity).toBe(0)
  })

  it("allows no retry that costs more than the capacity", () => {
    const state = RetryQuota.make({ capacity: 13 })
    expect(RetryQuota.fail(state, RetryQuota.request, { kind: "throttling" }, 0)[0]._tag).toBe("Retry")
    expect(RetryQuota.fail(state, RetryQuota.request, { kind: "other" }, 0)).toEqual([
      { _tag: "Stop", reason: "quota-exceeded", delaySeconds: 0 },
      state
    ])
    expect(RetryQuota.fail(RetryQuota.make({ capacity: 3 }), RetryQuota.request, { kind: "throttling" }, 0)[0])
      .toMatchObject({ reason: "quota-exceeded" })
  })

  it.each([
    [{ initial: 600 }, { initial: 600, capacity: 600 }],
    [{ capacity: 600 }, { initial: 600, capacity: 600 }],
    [{ initial: 100 }, { initial: 100, capacity: 500 }],
    [{ capSeconds: 0.5 }, { baseSeconds: 0.05, throttlingBaseSeconds: 0.5, capSeconds: 0.5 }],
    [{ baseSeconds: 30 }, { baseSeconds: 30, throttlingBaseSeconds: 1, capSeconds: 30 }],
    [{ baseSeconds: 30, throttlingBaseSeconds: 60 }, { baseSeconds: 30, throttlingBaseSeconds: 60, capSeconds: 60 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(RetryQuota.make(options).settings).toMatchObject(settings)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => RetryQuota.make({}, now)).toThrow("RetryQuota.make: now must be")
  })

  it.each([
    [{ capacity: -1 }, "capacity"],
    [{ capacity: Infinity }, "capacity"],
    [{ refillPerSecond: -1 }, "refillPerSecond"],
    [{ initial: -1 }, "initial"],
    [{ initial: 501, capacity: 500 }, "capacity"],
    [{ throttlingCost: -1 }, "throttlingCost"],
    [{ transientCost: -1 }, "transientCost"],
    [{ otherCost: -1 }, "otherCost"],
    [{ baseSeconds: 0 }, "baseSeconds"],
    [{ throttlingBaseSeconds: 0 }, "throttlingBaseSeconds"],
    [{ capSeconds: 0 }, "capSeconds"],
    [{ throttlingBaseSeconds: 3, capSeconds: 2 }, "capSeconds"],
    [{ maxAttempts: 0 }, "maxAttempts"],
    [{ refund: -1 }, "refund"],
    [{ hintSlackSeconds: -1 }, "hintSlackSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => RetryQuota.make(options)).toThrow(`RetryQuota.make: ${field} must be`)
  })

  it.prop("stays in its bounds, and a failure never adds tokens", [events], ([list]) => {
    let state = RetryQuota.make({ capacity: 60 })
    for (const { draw, kind } of list) {
      const before = state.capacity
      if (kind < 2) {
        ;[, state] = RetryQuota.succeed(state, { attempts: kind + 1, lastCost: kind * 14 })
        expect(state.capacity).toBeGreaterThanOrEqual(before)
      } else {
        const failure = { kind: (["throttling", "transient", "other", "other"] as const)[kind - 2] ?? "other" }
        ;[, state] = RetryQuota.fail(state, RetryQuota.request, failure, draw / 1000)
        expect(state.capacity).toBeLessThanOrEqual(before)
      }
      expect(state.capacity).toBeGreaterThanOrEqual(0)
      expect(state.capacity).toBeLessThanOrEqual(60)
    }
  }, laws)
})

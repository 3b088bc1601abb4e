import { describe, expect, it } from "@effect/vitest"
import * as RetryThrottle from "../../../src/policy/catalogue/RetryThrottle.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

describe("RetryThrottle", () => {
  it("follows the trace of grpc-go's throttling test", () => {
    const { cases, params, serverOkAt } = suite<{
      params: { maxTokens: number; tokenRatio: number; maxAttempts: number }
      serverOkAt: ReadonlyArray<number>
      cases: ReadonlyArray<{ code: "OK" | "UNAVAILABLE"; lastIndex: number; tokens: number }>
    }>("grpc.throttling.trace")
    let state = RetryThrottle.make(params)
    let index = -1
    for (const expected of cases) {
      let call = RetryThrottle.call
      let code = ""
      while (code === "") {
        index++
        if (serverOkAt.includes(index)) {
          ;[, state] = RetryThrottle.succeed(state)
          code = "OK"
        } else {
          const [decision, next] = RetryThrottle.attempt(state, call, { retryable: true }, 0.5)
          state = next
          if (decision._tag === "Retry") call = decision.call
          else code = "UNAVAILABLE"
        }
      }
      expect({ code, lastIndex: index, tokens: RetryThrottle.tokens(state) }).toEqual(expected)
    }
  })

  it("judges after the decrement, and at half is throttled", () => {
    let state = RetryThrottle.make({ maxTokens: 4 })
    let decision: RetryThrottle.Decision
    ;[decision, state] = RetryThrottle.fail(state)
    expect(decision).toEqual({ _tag: "Allowed", tokens: 3, reason: "above-half" })
    ;[decision, state] = RetryThrottle.fail(state)
    expect(decision).toEqual({ _tag: "Throttled", tokens: 2, reason: "at-or-below-half" })
    ;[decision, state] = RetryThrottle.succeed(state)
    expect(decision).toEqual({ _tag: "Allowed", tokens: 2.1, reason: "above-half" })
  })

  describe("attempt", () => {
    const state = RetryThrottle.make()
    const attempt = (
      failure: RetryThrottle.Failure,
      call = RetryThrottle.call,
      from = state,
      random = 0.5
    ) => RetryThrottle.attempt(from, call, failure, random)

    it("stops without counting on a status that is not retryable", () => {
      expect(attempt({ retryable: false })).toEqual([{ _tag: "Stop", reason: "not-retryable" }, state])
    })

    it("stops and counts on a pushback without retry", () => {
      const [decision, next] = attempt({ retryable: false, pushback: "stop" })
      expect(decision).toEqual({ _tag: "Stop", reason: "pushback" })
      expect(RetryThrottle.tokens(next)).toBe(9)
    })

    it("replaces the delay exactly on a pushback, and restarts the backoff", () => {
      const [decision, next] = attempt({ retryable: false, pushback: 3 }, { attempts: 2, retriesSincePushback: 1 })
      expect(RetryThrottle.tokens(next)).toBe(10)
      expect(decision).toEqual({
        _tag: "Retry",
        delaySeconds: 3,
        reason: "pushback",
        call: { attempts: 3, retriesSincePushback: 0 }
      })
    })

    it.each([-1, NaN, Infinity])("stops and counts on the pushback %d, which is no time to wait", (pushback) => {
      const [decision, next] = attempt({ retryable: true, pushback })
      expect(decision).toEqual({ _tag: "Stop", reason: "pushback" })
      expect(RetryThrottle.tokens(next)).toBe(9)
    })

    it("counts a retryable status with a pushback", () => {
      const [decision, next] = attempt({ retryable: true, pushback: 0 })
      expect(decision).toMatchObject({ _tag: "Retry", delaySeconds: 0, reason: "pushback" })
      expect(RetryThrottle.tokens(next)).toBe(9)
    })

    it("obeys no pushback while throttled", () => {
      const [, low] = RetryThrottle.fail(RetryThrottle.make({ maxTokens: 2 }))
      expect(attempt({ retryable: false, pushback: 1 }, RetryThrottle.call, low)).toEqual([
        { _tag: "Stop", reason: "throttled" },
        low
      ])
    })

    it("grows the backoff with each retry up to the maximum", () => {
      const options = { maxAttempts: 100, maxAttemptsLimit: 100 }
      let call = RetryThrottle.call
      const delays: Array<number> = []
      for (let i = 0; i < 5; i++) {
        const [decision] = attempt({ retryable: true }, call, RetryThrottle.make(options))
        if (decision._tag !== "Retry") throw new Error("retries are left")
        delays.push(decision.delaySeconds)
        call = decision.call
      }
      for (const [i, delay] of [0.1, 0.2, 0.4, 0.8, 1].entries()) expect(delays[i]).toBeCloseTo(delay, 9)
    })

    it("makes five attempts at the most, whatever is configured", () => {
      const many = RetryThrottle.make({ maxAttempts: 20, maxTokens: 1000 })
      expect(attempt({ retryable: true }, { attempts: 4, retriesSincePushback: 3 }, many)[0]._tag).toBe("Retry")
      expect(attempt({ retryable: true }, { attempts: 5, retriesSincePushback: 4 }, many)[0]).toEqual({
        _tag: "Stop",
        reason: "max-attempts"
      })
    })

    it("stops when throttled", () => {
      const low = RetryThrottle.make({ maxTokens: 2 })
      expect(attempt({ retryable: true }, RetryThrottle.call, low)[0]).toEqual({ _tag: "Stop", reason: "throttled" })
    })
  })

  it("keeps its tokens to three decimals", () => {
    expect(RetryThrottle.tokens(RetryThrottle.make({ maxTokens: 1.001 }))).toBe(1.001)
    expect(RetryThrottle.tokens(RetryThrottle.make({ maxTokens: 4.3509 }))).toBe(4.35)
  })

  it.each(
    [
      ["250", 0.25],
      ["0", 0],
      ["2147483647", 2_147_483.647],
      ["2147483648", "stop"],
      ["99999999999999999999", "stop"],
      ["-1", "stop"],
      ["007", "stop"],
      ["soon", "stop"],
      ["", "stop"]
    ] as const
  )("reads the pushback %o as %o", (text, expected) => {
    expect(RetryThrottle.parsePushback(text)).toBe(expected)
  })

  it.each([
    [{ maxTokens: 0 }, "maxTokens"],
    [{ maxTokens: 0.0005 }, "maxTokens"],
    [{ maxTokens: 1001 }, "maxTokens"],
    [{ tokenRatio: 0 }, "tokenRatio"],
    [{ maxAttempts: 0 }, "maxAttempts"],
    [{ maxAttemptsLimit: 0 }, "maxAttemptsLimit"],
    [{ initialBackoffSeconds: 0 }, "initialBackoffSeconds"],
    [{ backoffMultiplier: 0 }, "backoffMultiplier"],
    [{ maxBackoffSeconds: 0 }, "maxBackoffSeconds"],
    [{ initialBackoffSeconds: 2, maxBackoffSeconds: 1 }, "maxBackoffSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => RetryThrottle.make(options)).toThrow(`RetryThrottle.make: ${field} must be`)
  })

  it.each([
    [{ initialBackoffSeconds: 5 }, { initialBackoffSeconds: 5, maxBackoffSeconds: 5 }],
    [{ maxBackoffSeconds: 0.05 }, { initialBackoffSeconds: 0.05, maxBackoffSeconds: 0.05 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(RetryThrottle.make(options).settings).toMatchObject(settings)
  })

  it.prop("stays in its bounds, and a failure never allows what was not allowed", [events], ([list]) => {
    let state = RetryThrottle.make({ tokenRatio: 0.333 })
    for (const { kind } of list) {
      const before = RetryThrottle.allowed(state)
      const [decision, next] = kind < 3 ? RetryThrottle.succeed(state) : RetryThrottle.fail(state)
      state = next
      expect(decision.tokens).toBeGreaterThanOrEqual(0)
      expect(decision.tokens).toBeLessThanOrEqual(10)
      if (kind >= 3 && !before) expect(decision._tag).toBe("Throttled")
    }
  }, laws)
})

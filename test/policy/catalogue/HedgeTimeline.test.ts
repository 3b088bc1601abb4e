import { describe, expect, it } from "@effect/vitest"
import * as HedgeTimeline from "../../../src/policy/catalogue/HedgeTimeline.ts"
import { events, laws } from "../events.ts"

const four = { maxAttempts: 4, delaySeconds: 0.5 }
const failure = (at: number, failed: HedgeTimeline.Failure = {}) => ({ _tag: "Failure", at, failure: failed }) as const
const success = (at: number) => ({ _tag: "Success", at }) as const

describe("HedgeTimeline", () => {
  // The rules of gRPC proposal A6, hedging policy, with four attempts half a second apart.
  it.each<[string, ReadonlyArray<HedgeTimeline.Event>, ReadonlyArray<number>, HedgeTimeline.Decision | undefined]>([
    ["sends at the cadence while nothing answers", [], [0, 0.5, 1, 1.5], undefined],
    ["stops at a success", [success(0.7)], [0, 0.5], { _tag: "Succeed", cancel: 1, reason: "answer" }],
    [
      "sends the next at once after a failure, then at the cadence again",
      [failure(0.2)],
      [0, 0.2, 0.7, 1.2],
      undefined
    ],
    ["stops at a fatal failure", [failure(0.7, { fatal: true })], [0, 0.5], {
      _tag: "Fail",
      cancel: 1,
      reason: "fatal"
    }],
    [
      "waits as the server asks, then goes on at the cadence",
      [failure(0.2, { pushback: 2 })],
      [0, 2.2, 2.7, 3.2],
      undefined
    ],
    [
      "sends no more when the server says so, but waits for those in flight",
      [
        failure(0.7, { pushback: "stop" }),
        success(5)
      ],
      [0, 0.5],
      { _tag: "Succeed", cancel: 0, reason: "answer" }
    ],
    ["fails when the server says stop and nothing is in flight", [failure(0.2, { pushback: "stop" })], [0], {
      _tag: "Fail",
      cancel: 0,
      reason: "all-failed"
    }],
    ["fails when all have failed", [failure(2), failure(2.1), failure(2.2), failure(2.3)], [0, 0.5, 1, 1.5], {
      _tag: "Fail",
      cancel: 0,
      reason: "all-failed"
    }],
    [
      "succeeds by the last when the others failed",
      [failure(2), failure(2), failure(2), success(3)],
      [0, 0.5, 1, 1.5],
      {
        _tag: "Succeed",
        cancel: 0,
        reason: "answer"
      }
    ]
  ])("%s", (_name, happened, sends, end) => {
    const seen = HedgeTimeline.preview(four, happened)
    expect(seen.sends).toHaveLength(sends.length)
    for (const [i, at] of sends.entries()) expect(seen.sends[i]).toBeCloseTo(at, 9)
    expect(seen.end).toEqual(end)
  })

  it("sends all at once without a delay", () => {
    expect(HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0 }, []).sends).toEqual([0, 0, 0])
  })

  it("makes five attempts at the most", () => {
    expect(HedgeTimeline.preview({ maxAttempts: 50 }, []).sends).toHaveLength(5)
    expect(HedgeTimeline.preview({ maxAttempts: 1 }, []).sends).toEqual([0])
  })

  describe("tick", () => {
    it("waits for the cadence", () => {
      const [first, state] = HedgeTimeline.start(four, 10)
      expect(first).toEqual({ _tag: "Send", attempt: 1, reason: "first" })
      expect(HedgeTimeline.tick(state, 10.4)).toEqual([{ _tag: "Wait", until: 10.5, reason: "cadence" }, state])
      expect(HedgeTimeline.tick(state, 10.5)[0]).toEqual({ _tag: "Send", attempt: 2, reason: "delay-elapsed" })
    })

    it("hedges no more once it was not allowed to", () => {
      const [, state] = HedgeTimeline.start(four, 0)
      const [decision, stopped] = HedgeTimeline.tick(state, 0.5, false)
      expect(decision).toEqual({ _tag: "Wait", reason: "throttled" })
      expect(HedgeTimeline.tick(stopped, 9)[0]).toEqual({ _tag: "Wait", reason: "stopped" })
      expect(HedgeTimeline.fail(stopped, {}, 9)[0]).toEqual({ _tag: "Fail", cancel: 0, reason: "all-failed" })
    })

    it("says when all were sent", () => {
      const [, state] = HedgeTimeline.start({ maxAttempts: 1 }, 0)
      expect(HedgeTimeline.tick(state, 9)[0]).toEqual({ _tag: "Wait", reason: "all-sent" })
    })
  })

  describe("fail", () => {
    it("sends nothing when it is not allowed to, and fails if nothing is in flight", () => {
      const [, one] = HedgeTimeline.start(four, 0)
      expect(HedgeTimeline.fail(one, {}, 0.1, false)[0]).toEqual({ _tag: "Fail", cancel: 0, reason: "all-failed" })
      const [, two] = HedgeTimeline.tick(one, 0.5)
      expect(HedgeTimeline.fail(two, {}, 0.6, false)[0]).toEqual({ _tag: "Wait", reason: "throttled" })
    })

    it("waits for those in flight when all were sent", () => {
      const [, one] = HedgeTimeline.start({ maxAttempts: 2, delaySeconds: 0.5 }, 0)
      const [, two] = HedgeTimeline.tick(one, 0.5)
      expect(HedgeTimeline.fail(two, { pushback: 1 }, 0.6)[0]).toEqual({ _tag: "Wait", reason: "all-sent" })
    })

    it.each([-1, NaN, Infinity])("takes the pushback %d, which is no time to wait, for a stop", (pushback) => {
      const [, one] = HedgeTimeline.start(four, 0)
      const [, two] = HedgeTimeline.tick(one, 0.5)
      const [decision, stopped] = HedgeTimeline.fail(two, { pushback }, 0.6)
      expect(decision).toEqual({ _tag: "Wait", reason: "stopped" })
      expect(stopped.nextAt).toBeUndefined()
    })

    it("changes nothing once the call is over, or while nothing is in flight", () => {
      const [, one] = HedgeTimeline.start(four, 0)
      const [, over] = HedgeTimeline.succeed(one)
      expect(HedgeTimeline.fail(over, {}, 1)).toEqual([{ _tag: "Wait", reason: "stopped" }, over])
      expect(HedgeTimeline.succeed(over)).toEqual([{ _tag: "Wait", reason: "stopped" }, over])
      const [, waiting] = HedgeTimeline.fail(one, { pushback: 3 }, 1)
      const ignored = [{ _tag: "Wait", until: 4, reason: "cadence" }, waiting]
      expect(HedgeTimeline.fail(waiting, {}, 2)).toEqual(ignored)
      expect(HedgeTimeline.succeed(waiting)).toEqual(ignored)
    })

    it("names the pushback it waits for", () => {
      const [, state] = HedgeTimeline.start(four, 0)
      expect(HedgeTimeline.fail(state, { pushback: 3 }, 1)[0]).toEqual({ _tag: "Wait", until: 4, reason: "pushback" })
    })
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => HedgeTimeline.start({}, now)).toThrow("HedgeTimeline.start: now must be")
    expect(() => HedgeTimeline.tick(HedgeTimeline.start()[1], now)).toThrow("HedgeTimeline.tick: now must be")
    expect(() => HedgeTimeline.fail(HedgeTimeline.start()[1], {}, now)).toThrow("HedgeTimeline.fail: now must be")
  })

  it.each([
    [{ maxAttempts: 0 }, "maxAttempts"],
    [{ maxAttemptsLimit: 0 }, "maxAttemptsLimit"],
    [{ delaySeconds: -1 }, "delaySeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => HedgeTimeline.start(options)).toThrow(`HedgeTimeline.start: ${field} must be`)
  })

  it.prop("sends at most its attempts, and ends with every one of them accounted for", [events], ([list]) => {
    let [decision, state] = HedgeTimeline.start({ maxAttempts: 4, delaySeconds: 1 }, 0)
    let now = 0
    let sent = 1
    let failed = 0
    for (const { amount, draw, kind, ms } of list) {
      now += ms / 1000
      if (kind < 2) {
        ;[decision, state] = HedgeTimeline.tick(state, now, draw > 300)
      } else if (state.inFlight > 0) {
        if (kind === 2) {
          ;[decision, state] = HedgeTimeline.succeed(state)
        } else {
          failed++
          const failure = {
            fatal: amount === 0,
            pushback: amount < 3 ? amount : amount === 3 ? "stop" : undefined
          } as const
          ;[decision, state] = HedgeTimeline.fail(state, failure, now, draw > 300)
        }
      }
      if (decision._tag === "Send") sent = decision.attempt
      expect(sent).toBeLessThanOrEqual(4)
      expect(state.inFlight).toBeGreaterThanOrEqual(0)
      if (decision._tag === "Fail") {
        expect(failed + decision.cancel).toBe(sent)
        return
      }
      if (decision._tag === "Succeed") {
        expect(failed + decision.cancel + 1).toBe(sent)
        return
      }
      expect(state.inFlight).toBe(sent - failed)
      // Never stuck: something is in flight, or a next attempt is due.
      expect(state.inFlight > 0 || state.nextAt !== undefined).toBe(true)
    }
  }, laws)
})

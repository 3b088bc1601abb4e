import { describe, expect, it } from "@effect/vitest"
import * as Breaker from "../../../src/policy/catalogue/Breaker.ts"
import { events, laws } from "../events.ts"

const ok: Breaker.Outcome = { _tag: "Success", durationSeconds: 1 }
const slow: Breaker.Outcome = { _tag: "Success", durationSeconds: 61 }
const bad: Breaker.Outcome = { _tag: "Failure", durationSeconds: 1 }
const ignored: Breaker.Outcome = { _tag: "Ignored" }
const half = 0.5

/** Sends a call and ends it at once. */
const call = (state: Breaker.State, outcome: Breaker.Outcome, now: number, random = half) => {
  const [admission, admitted] = Breaker.acquire(state, now)
  if (admission._tag === "Rejected") throw new Error(`rejected: ${admission.reason}`)
  return Breaker.record(admitted, admission.permit, outcome, now, random)
}

const calls = (state: Breaker.State, outcomes: ReadonlyArray<Breaker.Outcome>, now: number) => {
  let next = state
  const decisions = outcomes.map((outcome) => {
    const [decision, following] = call(next, outcome, now)
    next = following
    return decision
  })
  return [decisions, next] as const
}

const times = (n: number, outcome: Breaker.Outcome) => Array.from({ length: n }, () => outcome)

const small = { minimumCalls: 4, probes: 3 }
const opened = (options: Breaker.Options = {}) => calls(Breaker.make({ ...small, ...options }), times(4, bad), 0)[1]

describe("Breaker", () => {
  describe("closed", () => {
    it("opens at the failure rate, once there are enough calls", () => {
      const [decisions, state] = calls(Breaker.make(small), [bad, bad, bad, ok], 0)
      expect(decisions.map((decision) => decision.reason)).toEqual([
        "too-few-calls",
        "too-few-calls",
        "too-few-calls",
        "failure-rate"
      ])
      expect(state.phase).toEqual({ _tag: "Open", until: 5 })
    })

    it("stays closed below the rates", () => {
      const [decisions] = calls(Breaker.make(small), [bad, ok, ok, slow, ok], 0)
      expect(decisions.at(-1)).toEqual({ _tag: "Kept", phase: "Closed", reason: "under-rates" })
    })

    it("opens when all calls are slow", () => {
      expect(calls(Breaker.make(small), times(4, slow), 0)[0].at(-1)).toMatchObject({
        _tag: "Opened",
        reason: "slow-rate"
      })
    })

    it("ignores what says nothing about the backend", () => {
      const [decisions, state] = calls(Breaker.make(small), times(50, ignored), 0)
      expect(decisions.at(-1)).toEqual({ _tag: "Kept", phase: "Closed", reason: "ignored" })
      expect(state).toEqual(Breaker.make(small))
    })

    it("forgets failures by time", () => {
      const window = { _tag: "Time", seconds: 10 } as const
      const [, state] = calls(Breaker.make({ ...small, window }), times(3, bad), 0)
      expect(call(state, bad, 10)[0]).toMatchObject({ _tag: "Kept", reason: "too-few-calls" })
      expect(call(state, bad, 9.9)[0]._tag).toBe("Opened")
    })
  })

  describe("open", () => {
    it("rejects until the break is over, then admits a probe", () => {
      const state = opened()
      expect(Breaker.acquire(state, 4)[0]).toEqual({ _tag: "Rejected", reason: "open", retryAfterSeconds: 1 })
      expect(Breaker.acquire(state, 5 - 1e-12)[0]).toMatchObject({ retryAfterSeconds: 0.001 })
      expect(Breaker.acquire(state, 5)[0]).toMatchObject({ _tag: "Admitted", reason: "probe" })
    })

    it("spreads the break by a fifth", () => {
      const { settings } = Breaker.make()
      expect(Breaker.breakSeconds(settings, 0, 0)).toBeCloseTo(4, 9)
      expect(Breaker.breakSeconds(settings, 0, 1)).toBeCloseTo(6, 9)
    })

    it("doubles the break up to its maximum", () => {
      const { settings } = Breaker.make()
      expect([0, 1, 2, 3, 4, 9].map((k) => Breaker.breakSeconds(settings, k, half))).toEqual([5, 10, 20, 40, 60, 60])
    })

    it("lasts as long as the server asks, within reason", () => {
      const hinted = (hintSeconds: number): Breaker.Outcome => ({ _tag: "Failure", durationSeconds: 1, hintSeconds })
      const until = (hint: number) => {
        const [, state] = calls(Breaker.make(small), times(3, bad), 0)
        const [decision] = call(state, hinted(hint), 0)
        return decision._tag === "Opened" ? decision.until : NaN
      }
      expect([1, 30, 4000, Infinity].map(until)).toEqual([5, 30, 300, 300])
      expect(until(NaN)).toBe(5)
    })
  })

  describe("half-open", () => {
    it("admits its probes and no more", () => {
      let state = opened()
      for (let i = 0; i < 3; i++) {
        const [admission, next] = Breaker.acquire(state, 5)
        expect(admission).toMatchObject({ _tag: "Admitted", reason: "probe", permit: { generation: 2 } })
        state = next
      }
      expect(Breaker.acquire(state, 5)[0]).toEqual({
        _tag: "Rejected",
        reason: "probes-in-flight",
        retryAfterSeconds: 0
      })
    })

    it("closes when all probes are judged and under the rates", () => {
      const [decisions, state] = calls(opened(), [ok, bad, ok], 5)
      expect(decisions).toEqual([
        { _tag: "Kept", phase: "HalfOpen", reason: "too-few-calls" },
        { _tag: "Kept", phase: "HalfOpen", reason: "too-few-calls" },
        { _tag: "Closed", reason: "probes-passed" }
      ])
      expect(state).toMatchObject({ phase: { _tag: "Closed", window: { outcomes: [] } }, openings: 0, generation: 3 })
    })

    it("opens for longer when the probes fail", () => {
      const [decisions, state] = calls(opened(), [bad, ok, bad], 5)
      expect(decisions.at(-1)).toEqual({ _tag: "Opened", until: 15, reason: "failure-rate" })
      expect(state.openings).toBe(2)
      expect(calls(state, [slow, slow, slow], 15)[0].at(-1)).toEqual({ _tag: "Opened", until: 35, reason: "slow-rate" })
    })

    it("judges as soon as the verdict is certain where asked to", () => {
      const [decisions] = calls(opened({ verdict: "early" }), [bad, bad], 5)
      expect(decisions.at(-1)).toMatchObject({ _tag: "Opened", reason: "failure-rate" })
      expect(calls(opened({ verdict: "early" }), [ok, bad, ok], 5)[0].at(-1)?._tag).toBe("Closed")
    })

    it("closes as soon as those left cannot reach a rate, where asked to", () => {
      const early = opened({ verdict: "early", probes: 10 })
      const tags = (outcomes: ReadonlyArray<Breaker.Outcome>) =>
        calls(early, outcomes, 5)[0].map((decision) => decision._tag)
      // Four left are 0.4 of ten, below the failure rate; five are 0.5, and could reach it.
      expect(tags(times(6, ok))).toEqual([...times(5, ok).map(() => "Kept"), "Closed"])
      expect(tags([bad, ...times(6, ok)]).at(-1)).toBe("Closed")
      expect(calls(opened({ probes: 10 }), times(9, ok), 5)[0].at(-1)?._tag).toBe("Kept")
      const [decisions] = calls(opened({ verdict: "early", probes: 10, slowRate: 0.3 }), [slow, ...times(8, ok)], 5)
      expect(decisions.map((decision) => decision._tag)).toEqual([...times(8, ok).map(() => "Kept"), "Closed"])
    })

    it("admits no more than its probes when a caller ends one twice", () => {
      const [admission, probing] = Breaker.acquire(opened(), 5)
      if (admission._tag === "Rejected") throw new Error("the break is over")
      const twice = (outcome: Breaker.Outcome) => {
        const [, once] = Breaker.record(probing, admission.permit, outcome, 5, half)
        return Breaker.record(once, admission.permit, outcome, 5, half)[1]
      }
      expect(twice(ignored).phase).toMatchObject({ _tag: "HalfOpen", inFlight: 0 })
      expect(twice(ok).phase).toMatchObject({ _tag: "HalfOpen", inFlight: 0, judged: { calls: 2 } })
    })

    it("gives the place of an ignored probe back", () => {
      let state = opened({ probes: 1 })
      for (let i = 0; i < 5; i++) {
        const [decision, next] = call(state, ignored, 5)
        expect(decision).toEqual({ _tag: "Kept", phase: "HalfOpen", reason: "ignored" })
        state = next
      }
      expect(call(state, ok, 5)[0]).toEqual({ _tag: "Closed", reason: "probes-passed" })
    })
  })

  describe("generations", () => {
    it("ignores a call that ends in another generation", () => {
      const [admission, admitted] = Breaker.acquire(Breaker.make(small), 0)
      if (admission._tag === "Rejected") throw new Error("closed admits")
      const [, open] = calls(admitted, times(4, bad), 0)
      const stale = { _tag: "Stale", phase: "Open", reason: "other-generation" }
      expect(Breaker.record(open, admission.permit, ok, 1, half)).toEqual([stale, open])
      const [, halfOpen] = Breaker.acquire(open, 5)
      expect(Breaker.record(halfOpen, admission.permit, bad, 6, half)).toEqual([
        { ...stale, phase: "HalfOpen" },
        halfOpen
      ])
      const [, closed] = calls(open, times(3, ok), 5)
      expect(Breaker.record(closed, admission.permit, bad, 6, half)).toEqual([{ ...stale, phase: "Closed" }, closed])
    })
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => Breaker.record(Breaker.make(), { generation: 0 }, { _tag: "Ignored" }, now, 0)).toThrow(
      "Breaker.record: now must be"
    )
  })

  it.each([
    [{ minimumCalls: 0 }, "minimumCalls"],
    [{ failureRate: 0 }, "failureRate"],
    [{ failureRate: 1.1 }, "failureRate"],
    [{ slowRate: 0 }, "slowRate"],
    [{ slowRate: 1.1 }, "slowRate"],
    [{ slowSeconds: 0 }, "slowSeconds"],
    [{ baseSeconds: 0 }, "baseSeconds"],
    [{ maxSeconds: 0 }, "maxSeconds"],
    [{ baseSeconds: 5, maxSeconds: 1 }, "maxSeconds"],
    [{ jitter: 1 }, "jitter"],
    [{ hintCapSeconds: -1 }, "hintCapSeconds"],
    [{ probes: 0 }, "probes"],
    [{ window: { _tag: "Count", size: 10, idleSeconds: 60 }, minimumCalls: 11 } as const, "window.size"]
  ])("refuses %o", (options, field) => {
    expect(() => Breaker.make(options)).toThrow(`Breaker.make: ${field} must be`)
  })

  it("names the field that is wrong", () => {
    const make = (options: Breaker.Options) => () => Breaker.make(options)
    expect(make({ window: { _tag: "Count", size: 0, idleSeconds: 60 } })).toThrow("BreakerWindow.make: size must be")
    expect(make({ failureRate: 0 })).toThrow("Breaker.make: failureRate must be in (0, 1], got 0")
  })

  it("makes its defaults give way to what is given", () => {
    const { settings } = Breaker.make({ window: { _tag: "Count", size: 10, idleSeconds: 60 }, baseSeconds: 90 })
    expect(settings).toMatchObject({ minimumCalls: 10, maxSeconds: 90 })
    expect(Breaker.make({ window: { _tag: "Time", seconds: 10 } }).settings.minimumCalls).toBe(20)
    expect(Breaker.make({ maxSeconds: 1 }).settings.baseSeconds).toBe(1)
    const { phase } = Breaker.make({ minimumCalls: 150 })
    expect(phase).toMatchObject({ _tag: "Closed", window: { _tag: "Count", size: 150, idleSeconds: 300 } })
  })

  it.prop("admits at most its probes at a time, and never leaks one", [events], ([list]) => {
    let state = Breaker.make({ ...small, window: { _tag: "Time", seconds: 5 } })
    let now = 0
    let generation = 0
    const inFlight: Array<Breaker.Permit> = []
    for (const { amount, draw, kind, ms } of list) {
      now += ms / 1000
      const permit = inFlight[amount % Math.max(1, inFlight.length)]
      if (kind < 3 || permit === undefined) {
        const [admission, next] = Breaker.acquire(state, now)
        state = next
        if (admission._tag === "Admitted") inFlight.push(admission.permit)
        else expect(admission.retryAfterSeconds).toBeGreaterThanOrEqual(0)
      } else {
        inFlight.splice(inFlight.indexOf(permit), 1)
        const outcome = kind === 3 ? ok : kind === 4 ? bad : ignored
        const [decision, next] = Breaker.record(state, permit, outcome, now, draw / 1000)
        if (permit.generation !== state.generation) {
          expect(decision._tag).toBe("Stale")
          expect(next).toBe(state)
        }
        state = next
      }
      expect(state.generation).toBeGreaterThanOrEqual(generation)
      generation = state.generation
      if (state.phase._tag === "HalfOpen") {
        const probes = inFlight.filter((open) => open.generation === generation).length
        expect(state.phase.inFlight).toBe(probes)
        expect(probes + state.phase.judged.calls).toBeLessThanOrEqual(3)
      }
    }
  }, laws)
})

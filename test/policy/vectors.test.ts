/** The suites of vectors.rules.json, each by the functions that vectors.md names for it. */
import { describe, expect, it } from "@effect/vitest"
import * as Backoff from "../../src/policy/Backoff.ts"
import * as AdaptiveThrottle from "../../src/policy/catalogue/AdaptiveThrottle.ts"
import * as Breaker from "../../src/policy/catalogue/Breaker.ts"
import * as BurstyLimiter from "../../src/policy/catalogue/BurstyLimiter.ts"
import * as ConcurrencyLimit from "../../src/policy/catalogue/ConcurrencyLimit.ts"
import * as HedgeTimeline from "../../src/policy/catalogue/HedgeTimeline.ts"
import * as InflightBudget from "../../src/policy/catalogue/InflightBudget.ts"
import * as InspectAimdLimit from "../../src/policy/catalogue/InspectAimdLimit.ts"
import * as Pause from "../../src/policy/catalogue/Pause.ts"
import * as PriorityShedding from "../../src/policy/catalogue/PriorityShedding.ts"
import * as RemainingBudget from "../../src/policy/catalogue/RemainingBudget.ts"
import * as TokenReservation from "../../src/policy/catalogue/TokenReservation.ts"
import * as VegasLimit from "../../src/policy/catalogue/VegasLimit.ts"
import * as RetryBudget from "../../src/policy/RetryBudget.ts"
import { suite } from "./vectors.ts"

/** Reads the cases of a suite. */
const cases = <Case>(id: string): ReadonlyArray<Case> => suite<{ cases: ReadonlyArray<Case> }>(id).cases

/** Reads the steps of a suite that is one history. */
const steps = <Step>(id: string): ReadonlyArray<Step> => suite<{ steps: ReadonlyArray<Step> }>(id).steps

describe("vectors of the rules", () => {
  it.each(cases<{ base: number; u: number; delays: ReadonlyArray<number> }>("botocore.backoff"))(
    "botocore.backoff, base $base, u = $u",
    ({ base, delays, u }) => {
      const { cap } = suite<{ cap: number }>("botocore.backoff")
      for (const [i, delay] of delays.entries()) {
        expect(Backoff.delay({ baseSeconds: base, capSeconds: cap, floorSeconds: 0 }, i, u)).toBeCloseTo(delay, 9)
      }
    }
  )

  it.each(
    cases<{
      name: string
      ttl: number
      minPerSec: number
      percent: number
      ops: ReadonlyArray<readonly [number, "deposit" | "withdraw", boolean?]>
    }>("tower.tpsBudget")
  )("tower.tpsBudget, $name", ({ minPerSec, ops, percent, ttl }) => {
    for (const start of [0, 1_700_000_000]) {
      const options = { ttlSeconds: ttl, minPerSecond: minPerSec, ratio: percent, variant: "tower" } as const
      let state = RetryBudget.make(options, start)
      for (const [t, op, granted] of ops) {
        if (op === "deposit") {
          state = RetryBudget.deposit(state, start + t)
        } else {
          const [decision, next] = RetryBudget.withdraw(state, start + t)
          state = next
          expect(decision._tag === "Granted").toBe(granted)
        }
      }
    }
  })

  it("failsafe.inflightBudget", () => {
    const vector = suite<{
      maxRate: number
      minConcurrency: number
      executions: number
      ops: string
      allowed: ReadonlyArray<boolean>
    }>("failsafe.inflightBudget")
    let state = InflightBudget.make({ ratio: vector.maxRate, minConcurrency: vector.minConcurrency })
    for (let i = 0; i < vector.executions; i++) state = InflightBudget.start(state)
    const allowed: Array<boolean> = []
    for (const op of vector.ops) {
      if (op === "R") {
        state = InflightBudget.release(state)
      } else {
        const [decision, next] = InflightBudget.acquire(state)
        state = next
        allowed.push(decision._tag === "Granted")
      }
    }
    expect(allowed).toEqual(vector.allowed)
  })

  it.each(
    cases<{ requests: number; accepts: number; threshold: number; max: number; p: number }>(
      "failsafe.adaptiveThrottler"
    )
  )("failsafe.adaptiveThrottler, $accepts of $requests", ({ accepts, max, p, requests, threshold }) => {
    const rule = { ...AdaptiveThrottle.failsafe, threshold, max }
    expect(AdaptiveThrottle.probability(rule, requests, accepts)).toBeCloseTo(p, 12)
  })

  it("inspect_ai.aimd", () => {
    type Step = readonly [t: number, event: "ok" | "429", times: number, inFlight: number, limit: number]
    const { initial, max, min } = suite<{ initial: number; min: number; max: number }>("inspect_ai.aimd")
    let state = InspectAimdLimit.initial({ initial, min, max })
    for (const [t, event, times, inFlight, limit] of steps<Step>("inspect_ai.aimd")) {
      for (let i = 0; i < times; i++) {
        ;[, state] = InspectAimdLimit.sample(state, { rttSeconds: 1, inFlight, dropped: event === "429" }, t)
      }
      expect(ConcurrencyLimit.limit(state), `${times} × ${event} at ${t}`).toBe(limit)
    }
  })

  it.each(
    cases<VegasLimit.Options & { steps: ReadonlyArray<readonly [rttMs: number, inFlight: number, limit: number]> }>(
      "netflix.vegas"
    )
  )("netflix.vegas, %o", ({ steps, ...options }) => {
    let state = VegasLimit.initial(options)
    for (const [rttMs, inFlight, limit] of steps) {
      ;[, state] = VegasLimit.sample(state, { rttSeconds: rttMs / 1000, inFlight, dropped: false }, 0, 0.999)
      expect(ConcurrencyLimit.limit(state)).toBe(limit)
    }
  })

  type Bursty = readonly [
    nowMs: number,
    permits: number,
    calls: number,
    waitMs: number,
    available: number,
    period: number
  ]
  it.each(cases<{ permits: number; periodMs: number; steps: ReadonlyArray<Bursty> }>("failsafe.bursty"))(
    "failsafe.bursty, $permits permits",
    ({ periodMs, permits, steps }) => {
      for (const start of [0, 1_700_000_000]) {
        let state = BurstyLimiter.make({ permits, periodSeconds: periodMs / 1000 }, start)
        for (const [nowMs, wanted, calls, waitMs, available, period] of steps) {
          let wait = NaN
          for (let i = 0; i < calls; i++) {
            const [decision, next] = BurstyLimiter.reserve(state, wanted, start + nowMs / 1000)
            wait = decision.waitSeconds
            state = next
          }
          expect(wait * 1000).toBeCloseTo(waitMs, start === 0 ? 6 : 2)
          expect([state.available, state.period]).toEqual([available, period])
        }
      }
    }
  )

  it("tpm.oversizeBorrow", () => {
    const options = suite<{ requestsPerSecond: number; tokensPerSecond: number }>("tpm.oversizeBorrow")
    let state = TokenReservation.make(options)
    for (const step of steps<{ t: number; est: number; wait: number; tokensLeft: number }>("tpm.oversizeBorrow")) {
      expect(TokenReservation.wait(state, step.est, step.t)).toBeCloseTo(step.wait, 9)
      ;[, state] = TokenReservation.reserve(state, step.est, step.t)
      expect(state.tokens.tokens).toBeCloseTo(step.tokensLeft, 9)
    }
  })

  it("headers.remaining", () => {
    type Step =
      | { readonly t: number; readonly observe: { sequence: number; remaining: number; reset: number } }
      | { readonly t: number; readonly sent: number; readonly rate: number; readonly cost: number; wait: number }
    let state = RemainingBudget.make()
    for (const step of steps<Step>("headers.remaining")) {
      if ("observe" in step) {
        const { remaining, reset, sequence } = step.observe
        ;[, state] = RemainingBudget.observe(state, { sequence, remaining, resetSeconds: reset }, step.t)
      } else {
        const { cost, rate, sent, t, wait } = step
        const decision = RemainingBudget.admit(state, { sent, cost, ratePerSecond: rate }, t)
        expect(decision._tag === "Wait" ? decision.seconds : 0, JSON.stringify(step)).toBeCloseTo(wait, 9)
      }
    }
  })

  it("pause.shared", () => {
    type Step =
      | readonly [t: number, event: "ok", sentAt: number]
      | readonly [t: number, sentAt: number, hint: number | null, until: number, epoch: "new" | "same"]
    let state = Pause.make()
    for (const step of steps<Step>("pause.shared")) {
      if (step[1] === "ok") {
        state = Pause.succeed(state, step[2])
      } else {
        const [t, sentAt, hint, until, epoch] = step
        const [decision, next] = Pause.refuse(state, { sentAt, hintSeconds: hint ?? undefined }, t)
        state = next
        expect(decision.until, JSON.stringify(step)).toBeCloseTo(until, 9)
        expect(decision.epoch, JSON.stringify(step)).toBe(epoch)
      }
    }
  })

  type Hedged = readonly [at: number, what: "ok" | "fatal" | "nonfatal" | { readonly pushback: number | "stop" }]
  it.each(
    cases<{
      maxAttempts: number
      delay: number
      events: ReadonlyArray<Hedged>
      sends: ReadonlyArray<number>
      end?: HedgeTimeline.Decision["_tag"]
    }>("grpc.hedging.timeline")
  )("grpc.hedging.timeline, $maxAttempts attempts, $events", ({ delay, end, events, maxAttempts, sends }) => {
    const happened = events.map(([at, what]): HedgeTimeline.Event => {
      if (what === "ok") return { _tag: "Success", at }
      const failure = typeof what === "object" ? what : { fatal: what === "fatal" }
      return { _tag: "Failure", at, failure }
    })
    const seen = HedgeTimeline.preview({ maxAttempts, delaySeconds: delay }, happened)
    expect(seen.sends).toHaveLength(sends.length)
    for (const [i, at] of sends.entries()) expect(seen.sends[i]).toBeCloseTo(at, 9)
    expect(seen.end?._tag).toBe(end)
  })

  it("priority.shedding", () => {
    const { levels, queue } = suite<{
      levels: ReadonlyArray<number>
      queue: ReadonlyArray<{ limit: number; queued: number; p: number }>
    }>("priority.shedding")
    const state = levels.reduce((state, level) => PriorityShedding.admit(state, level)[1], PriorityShedding.make())
    for (const { p, threshold } of cases<{ p: number; threshold: number }>("priority.shedding")) {
      expect(PriorityShedding.calibrate(state, p)[1].threshold, `p = ${p}`).toBe(threshold)
    }
    for (const { limit, p, queued } of queue) {
      expect(PriorityShedding.queueRate(PriorityShedding.defaults, queued, limit)).toBeCloseTo(p, 9)
    }
  })

  it.each(cases<{ k: number; u: number; hint?: number; s: number }>("breaker.backoff"))(
    "breaker.backoff, k = $k, u = $u",
    ({ hint, k, s, u }) => {
      const { base, max } = suite<{ base: number; max: number }>("breaker.backoff")
      const { settings } = Breaker.make({ baseSeconds: base, maxSeconds: max })
      expect(Breaker.breakSeconds(settings, k, u, hint)).toBeCloseTo(s, 9)
    }
  )
})

import { describe, expect, it } from "@effect/vitest"
import * as Deadline from "../../../src/policy/catalogue/Deadline.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

interface Vector {
  readonly deadline: number
  readonly now: number
  readonly perAttempt?: number
  readonly attemptTimeout?: number
  readonly backoff?: number
  readonly minAttempt?: number
  readonly action?: "fail-now" | "sleep"
}

describe("Deadline", () => {
  it.each(suite<{ cases: ReadonlyArray<Vector> }>("deadline.propagation").cases)(
    "decides at $now of $deadline",
    ({ action, attemptTimeout, backoff, deadline, minAttempt, now, perAttempt }) => {
      const settings = Deadline.make({ perAttemptSeconds: perAttempt, minAttemptSeconds: minAttempt })
      if (attemptTimeout !== undefined) {
        expect(Deadline.attempt(settings, deadline, now)).toMatchObject({
          _tag: "Start",
          timeoutSeconds: attemptTimeout
        })
      } else {
        const slept = Deadline.sleep(settings, deadline, now, backoff ?? 0)
        expect(slept._tag).toBe(action === "sleep" ? "Sleep" : "FailNow")
        if (backoff === undefined) expect(Deadline.attempt(settings, deadline, now)._tag).toBe("FailNow")
      }
    }
  )

  const settings = Deadline.make({ perAttemptSeconds: 30 })

  it("bounds an attempt by itself or by the deadline", () => {
    expect(Deadline.attempt(settings, 60, 0)).toEqual({ _tag: "Start", timeoutSeconds: 30, reason: "per-attempt" })
    expect(Deadline.attempt(settings, 60, 45)).toEqual({ _tag: "Start", timeoutSeconds: 15, reason: "deadline" })
    expect(Deadline.attempt(Deadline.make(), 60, 0)).toMatchObject({ timeoutSeconds: 60 })
  })

  it("starts nothing that cannot end in time", () => {
    expect(Deadline.attempt(settings, 60, 58)._tag).toBe("Start")
    expect(Deadline.attempt(settings, 60, 58.5)).toEqual({
      _tag: "FailNow",
      remainingSeconds: 1.5,
      reason: "too-little-left"
    })
    expect(Deadline.attempt(settings, 60, 60)).toEqual({ _tag: "FailNow", remainingSeconds: 0, reason: "expired" })
  })

  it("starts nothing, and does not sleep, by times that are no numbers", () => {
    expect(Deadline.attempt(settings, NaN, 0)).toEqual({ _tag: "FailNow", remainingSeconds: 0, reason: "expired" })
    expect(Deadline.sleep(settings, NaN, 0, 1)).toMatchObject({ _tag: "FailNow", reason: "expired" })
    expect(Deadline.sleep(settings, 60, 0, NaN)).toMatchObject({ _tag: "FailNow", reason: "would-exceed" })
    expect(Deadline.attempt(settings, Infinity, 0)).toMatchObject({ _tag: "Start", timeoutSeconds: 30 })
  })

  it("sleeps only if an attempt fits after it", () => {
    expect(Deadline.sleep(settings, 60, 50, 7)).toEqual({ _tag: "Sleep", seconds: 7, reason: "time-left" })
    expect(Deadline.sleep(settings, 60, 50, 8)).toEqual({ _tag: "FailNow", etaSeconds: 8, reason: "would-exceed" })
    expect(Deadline.sleep(settings, 60, 61, 0)).toEqual({ _tag: "FailNow", etaSeconds: 0, reason: "expired" })
  })

  it.each([
    [{ perAttemptSeconds: -1 }, "perAttemptSeconds"],
    [{ perAttemptSeconds: 0 }, "perAttemptSeconds"],
    [{ minAttemptSeconds: Infinity }, "minAttemptSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => Deadline.make(options)).toThrow(`Deadline.make: ${field} must be`)
  })

  it.prop("starts an attempt after every sleep it allows, and never past the deadline", [events], ([list]) => {
    for (const { amount, draw, ms } of list) {
      const now = draw / 10
      const deadline = 50
      const slept = Deadline.sleep(settings, deadline, now, ms / 100)
      if (slept._tag === "Sleep") {
        const started = Deadline.attempt(settings, deadline, now + slept.seconds)
        expect(started._tag).toBe("Start")
      }
      const started = Deadline.attempt(Deadline.make({ perAttemptSeconds: amount + 1 }), deadline, now)
      if (started._tag === "Start") expect(now + started.timeoutSeconds).toBeLessThanOrEqual(deadline + 1e-9)
    }
  }, laws)
})

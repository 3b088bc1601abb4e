import { describe, expect, it } from "@effect/vitest"
import * as Pause from "../../../src/policy/catalogue/Pause.ts"
import { events, laws } from "../events.ts"

describe("Pause", () => {
  it("is open at first", () => {
    expect(Pause.gate(Pause.make(), 0)).toEqual({ _tag: "Open", reason: "not-paused" })
  })

  it("waits as long as was asked, and opens then", () => {
    const [decision, state] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: 3 }, 2)
    expect(decision).toEqual({ _tag: "Extended", until: 5, epoch: "new", reason: "hint", hintSeconds: 3 })
    expect(Pause.gate(state, 4)).toEqual({ _tag: "Paused", until: 5, waitSeconds: 1, reason: "paused" })
    expect(Pause.gate(state, 5)._tag).toBe("Open")
    // less would not move a clock
    expect(Pause.gate(state, 5 - 1e-12)).toMatchObject({ waitSeconds: 0.001 })
  })

  it("answers 64 refusals of calls sent together as one event", () => {
    let state = Pause.make()
    const decisions: Array<Pause.Decision> = []
    for (let i = 0; i < 64; i++) {
      const [decision, next] = Pause.refuse(state, { sentAt: 0.9, hintSeconds: 1 }, 1 + i / 100)
      decisions.push(decision)
      state = next
    }
    expect(decisions.filter((decision) => decision.epoch === "new")).toHaveLength(1)
    // A refusal of the same epoch may still move the horizon.
    expect(state.pausedUntil).toBeCloseTo(2.63, 9)
  })

  it("never shortens: the longest wait counts", () => {
    let [, state] = Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds: 30 }, 1)
    const [decision, next] = Pause.refuse(state, { sentAt: 0, hintSeconds: 2 }, 2)
    expect(decision).toMatchObject({ _tag: "Unchanged", until: 31, epoch: "same" })
    state = Pause.succeed(next)
    expect(state.pausedUntil).toBe(31)
  })

  it("clamps a hint that is too long, and tells of it", () => {
    const [decision] = Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds: 15_372 }, 1)
    expect(decision).toEqual({
      _tag: "Extended",
      until: 601,
      epoch: "new",
      reason: "hint-too-long",
      hintSeconds: 15_372
    })
    expect(Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds: 600 }, 1)[0].reason).toBe("hint")
    expect(Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds: -5 }, 1)[0].until).toBe(1)
  })

  describe("without a hint", () => {
    it("doubles with each epoch up to a minute", () => {
      let state = Pause.make()
      const waits: Array<number> = []
      for (let i = 0; i < 8; i++) {
        const now = (i + 1) * 1000
        const [decision, next] = Pause.refuse(state, { sentAt: now - 1 }, now)
        expect(decision).toMatchObject({ epoch: "new", reason: "backoff" })
        waits.push(decision.until - now)
        state = next
      }
      expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60])
    })

    it("starts over after an epoch with a hint", () => {
      let state = Pause.make()
      const waits: Array<number> = []
      for (const [i, hintSeconds] of [undefined, undefined, 3, undefined].entries()) {
        const now = (i + 1) * 1000
        const [decision, next] = Pause.refuse(state, { sentAt: now - 1, hintSeconds }, now)
        waits.push(decision.until - now)
        state = next
      }
      expect(waits).toEqual([1, 2, 3, 1])
    })

    it("takes a hint that is no number for none", () => {
      const [decision, state] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: NaN }, 2)
      expect(decision).toEqual({ _tag: "Extended", until: 3, epoch: "new", reason: "backoff" })
      expect(Pause.gate(state, 3)._tag).toBe("Open")
      const [longest] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: Infinity }, 2)
      expect(longest).toMatchObject({ until: 602, reason: "hint-too-long" })
    })

    it("adds nothing to an epoch that was answered", () => {
      const [, state] = Pause.refuse(Pause.make(), { sentAt: 0 }, 1)
      expect(Pause.refuse(state, { sentAt: 1 }, 1.5)).toEqual([
        { _tag: "Unchanged", until: 2, epoch: "same", reason: "already-paused" },
        state
      ])
    })

    it("starts over after a success of a call that was sent since", () => {
      const [, paused] = Pause.refuse(Pause.make(), { sentAt: 0 }, 1)
      expect(Pause.succeed(paused, 0.5)).toBe(paused)
      expect(Pause.succeed(paused, 1.5).hintless).toBe(0)
      const [decision] = Pause.refuse(Pause.succeed(paused), { sentAt: 3 }, 4)
      expect(decision.until).toBe(5)
    })

    it("does not move the horizon back behind a hint", () => {
      const [, hinted] = Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds: 100 }, 1)
      expect(Pause.refuse(hinted, { sentAt: 2 }, 3)[0]).toMatchObject({ _tag: "Unchanged", until: 101, epoch: "new" })
    })
  })

  it.each([
    [{ maxPauseSeconds: -1 }, "maxPauseSeconds"],
    [{ backoffBaseSeconds: 0 }, "backoffBaseSeconds"],
    [{ backoffMaxSeconds: 0 }, "backoffMaxSeconds"],
    [{ backoffBaseSeconds: 90, backoffMaxSeconds: 60 }, "backoffMaxSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => Pause.make(options)).toThrow(`Pause.make: ${field} must be`)
  })

  it.each([NaN, Infinity, -Infinity])("refuses the time %d", (now) => {
    for (const hintSeconds of [undefined, 3]) {
      expect(() => Pause.refuse(Pause.make(), { sentAt: 0, hintSeconds }, now)).toThrow("Pause.refuse: now must be")
    }
  })

  it("makes its defaults give way to what is given", () => {
    expect(Pause.make({ backoffMaxSeconds: 0.5 }).settings.backoffBaseSeconds).toBe(0.5)
    expect(Pause.make({ backoffBaseSeconds: 90 }).settings.backoffMaxSeconds).toBe(90)
  })

  it.prop("never shortens, never waits longer than the maximum, one epoch per round of calls", [events], ([list]) => {
    let state = Pause.make()
    let now = 0
    for (const { amount, draw, kind, ms } of list) {
      now += ms / 1000
      const before = state.pausedUntil
      if (kind === 0) {
        state = Pause.succeed(state, now - draw / 100)
      } else {
        const refusal = { sentAt: now - draw / 100, hintSeconds: kind < 3 ? undefined : amount * 100 }
        const [decision, next] = Pause.refuse(state, refusal, now)
        expect(decision.epoch).toBe(refusal.sentAt > state.epochAt ? "new" : "same")
        expect(decision._tag).toBe(next.pausedUntil > state.pausedUntil ? "Extended" : "Unchanged")
        state = next
      }
      expect(state.pausedUntil).toBeGreaterThanOrEqual(before)
      expect(state.pausedUntil).toBeLessThanOrEqual(now + 600)
    }
  }, laws)
})

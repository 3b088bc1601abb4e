import { describe, expect, it } from "@effect/vitest"
import * as Outage from "../../../src/policy/catalogue/Outage.ts"
import { seeded } from "../events.ts"

/** Books failures in a row, each of a call that was sent just before. */
const failing = (n: number, options: Outage.Options = {}) => {
  let state = Outage.make(options)
  const decisions: Array<Outage.Decision> = []
  for (let i = 1; i <= n; i++) {
    const [decision, next] = Outage.fail(state, i / 10, i / 10, 1)
    decisions.push(decision)
    state = next
  }
  return { decisions, state }
}

describe("Outage", () => {
  it("pauses after five failures in a row", () => {
    const { decisions, state } = failing(5)
    expect(decisions.slice(0, 4).map((decision) => decision._tag)).toEqual(["Counted", "Counted", "Counted", "Counted"])
    expect(decisions[4]).toEqual({ _tag: "Paused", until: 1, reason: "failures-in-a-row" })
    expect(Outage.gate(state, 0.9)[0]).toEqual({ _tag: "Hold", until: 1, reason: "paused" })
  })

  it("counts anew after a success", () => {
    const state = Outage.succeed(failing(4).state)
    expect(Outage.fail(state, 1, 1, 1)[0]).toEqual({ _tag: "Counted", failures: 1, reason: "too-few-failures" })
    expect(Outage.gate(state, 1)[0]).toEqual({ _tag: "Flow", reason: "no-outage" })
  })

  it("lets one probe out per pause", () => {
    const [gate, probing] = Outage.gate(failing(5).state, 1)
    expect(gate).toEqual({ _tag: "Probe", reason: "pause-over" })
    expect(Outage.gate(probing, 99)[0]).toEqual({ _tag: "Hold", reason: "probe-in-flight" })
    expect(Outage.gate(Outage.succeed(probing), 99)[0]._tag).toBe("Flow")
    expect(Outage.gate(Outage.abandon(probing), 99)[0]._tag).toBe("Probe")
  })

  it("pauses longer with each failed probe, up to five seconds", () => {
    let { state } = failing(5)
    const waits: Array<number> = []
    for (let i = 0; i < 5; i++) {
      const now = 100 * (i + 1)
      const [, probing] = Outage.gate(state, now)
      const [decision, next] = Outage.fail(probing, now, now, 1)
      expect(decision).toMatchObject({ _tag: "Paused", reason: "probe-failed" })
      if (decision._tag === "Paused") waits.push(decision.until - now)
      state = next
    }
    expect(waits).toEqual([1, 2, 4, 5, 5])
  })

  it("ignores failures of calls that were sent before the pause", () => {
    const { state } = failing(5)
    expect(Outage.fail(state, 0.5, 3, 1)).toEqual([{ _tag: "Stale", reason: "sent-before-pause" }, state])
  })

  it("ignores successes of calls that were sent before the pause", () => {
    const { state } = failing(5)
    expect(Outage.succeed(state, 0.5)).toBe(state)
    expect(Outage.gate(Outage.succeed(state, 0.6), 0.7)[0]._tag).toBe("Flow")
  })

  it("makes its defaults give way to what is given", () => {
    expect(Outage.make({ maxSeconds: 0.1 }).settings.baseSeconds).toBe(0.1)
    expect(Outage.make({ baseSeconds: 10 }).settings.maxSeconds).toBe(10)
  })

  it("spreads a pause between half and all of it", () => {
    const until = (random: number) => {
      const [decision] = Outage.fail(Outage.make({ failures: 1, baseSeconds: 2 }), 0, 0, random)
      return decision._tag === "Paused" ? decision.until : NaN
    }
    expect([0, 0.5, 1].map(until)).toEqual([1, 1.5, 2])
  })

  it("notices within five seconds that the backend is back, and sends little before", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = seeded(seed)
      let state = Outage.make()
      const back = 10 + 50 * random()
      let sent = 0
      let recovered = NaN
      for (let now = 0; Number.isNaN(recovered); now += 0.05) {
        const [gate, next] = Outage.gate(state, now)
        state = next
        if (gate._tag === "Hold") continue
        sent++
        if (now >= back) recovered = now
        else [, state] = Outage.fail(state, now, now, random())
      }
      expect(recovered - back).toBeLessThanOrEqual(5.05)
      // Five failures, three growing pauses, then one probe every 2.5 s or more.
      expect(sent).toBeLessThanOrEqual(10 + back / 2.5)
    }
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => Outage.fail(Outage.make(), 0, now, 0)).toThrow("Outage.fail: now must be")
  })

  it.each([
    [{ failures: 0 }, "failures"],
    [{ baseSeconds: 0 }, "baseSeconds"],
    [{ maxSeconds: 0 }, "maxSeconds"],
    [{ baseSeconds: 0.5, maxSeconds: 0.1 }, "maxSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => Outage.make(options)).toThrow(`Outage.make: ${field} must be`)
  })
})

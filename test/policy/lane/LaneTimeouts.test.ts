import { describe, expect, it } from "@effect/vitest"
import * as Timeouts from "../../../src/policy/lane/LaneTimeouts.ts"
import { seeded } from "../events.ts"

/** Tells of attempts in the order of sending, those that hang as timeouts, until one is no longer their own. */
const play = (
  state: Timeouts.State,
  from: number,
  count: number,
  hangs: (seq: number) => boolean,
  tried = false
): readonly [Timeouts.Verdict, State: Timeouts.State, seq: number] => {
  let next = state
  for (let seq = from; seq < from + count; seq++) {
    if (!hangs(seq)) continue
    const [verdict, learned] = Timeouts.add(next, seq, tried)
    next = learned
    if (verdict !== "own") return [verdict, next, seq]
  }
  return ["own", next, from + count]
}

const share = (of: number, seed: number) => {
  const random = seeded(seed)
  return () => random() < of
}

const seeds = [1, 2, 3, 4, 5, 6, 7, 8]

/** A trial after many timeouts: what a provider of whose calls a share hangs makes of it. */
const trial = (before: number, then: number, seed: number) => {
  const [, state, seq] = play(Timeouts.initial, 0, 10_000, share(before, seed))
  return play(Timeouts.tryFewer(state, seq + 50), seq + 50, 200, share(then, seed + 100), true)
}

describe("LaneTimeouts", () => {
  it.each([0.01, 0.05, 0.1, 0.15])("takes a share of %d for the calls' own", (of) => {
    for (const seed of seeds) expect(play(Timeouts.initial, 0, 10_000, share(of, seed))[0]).toBe("own")
  })

  it.each([0.4, 0.5, 0.8, 1])("blames the calls in flight for a share of %d", (of) => {
    for (const seed of seeds) expect(play(Timeouts.initial, 0, 500, share(of, seed))[0]).toBe("crowd")
  })

  it("blames them for a run of timeouts behind many answers", () => {
    expect(play(Timeouts.initial, 0, 2000, (seq) => seq >= 1200)).toMatchObject(["crowd", {}, 1207])
  })

  it.each([0.3, 0.5, 0.8])("acquits them where a share of %d stays with fewer in flight", (of) => {
    const verdicts = seeds.map((seed) => trial(of, of, seed)[0])
    expect(verdicts.filter((verdict) => verdict === "acquitted").length).toBeGreaterThanOrEqual(7)
  })

  it.each([0.4, 0.5, 0.8])("does not acquit them where fewer in flight leave a quarter of a share of %d", (of) => {
    for (const seed of seeds) expect(trial(of, of / 4, seed)[0]).not.toBe("acquitted")
  })

  it("blames nobody for a share that was harmless, but for more than it, or once it is over", () => {
    for (const seed of seeds) {
      const [verdict, state, seq] = trial(0.5, 0.5, seed)
      if (verdict !== "acquitted") continue
      expect(play(state, seq + 1, 10_000, share(0.5, seed))[0]).toBe("own")
      expect(play(state, seq + 1, 200, () => true)[0]).toBe("crowd")
      const [, healed, later] = play(state, seq + 1, 5000, share(0.01, seed))
      expect(play(healed, later, 200, share(0.5, seed))[0]).toBe("crowd")
    }
  })

  it("counts a refusal for neither side", () => {
    let state = Timeouts.initial
    let verdict: Timeouts.Verdict = "own"
    for (let seq = 0; seq < 100 && verdict === "own"; seq += 10) {
      ;[verdict, state] = Timeouts.add(state, seq, false)
      for (let i = 0; i < 9; i++) state = Timeouts.ended(state, 0)
    }
    expect([verdict, state.share]).toEqual(["crowd", 1])
  })

  it("counts what its caller gave up late in a share alone", () => {
    let state = Timeouts.answer(Timeouts.initial, 1)
    for (let n = 0; n < 20; n++) state = Timeouts.ended(state, 30)
    for (let n = 0; n < 20; n++) state = Timeouts.ended(state, 2)
    const [verdict, { excess, share }] = Timeouts.add(state, 60, false)
    expect([verdict, excess < 3, share]).toEqual(["own", true, 21 / 41])
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as InFlight from "../../../src/policy/lane/LaneInFlight.ts"

describe("LaneInFlight", () => {
  const refuse = (state: InFlight.State, seq: number, count: number, at: number) =>
    InFlight.refuse(state, { seq, at, count }, "nothing", at + 0.05)
  const answered = (state: InFlight.State, calls: number, at: number): InFlight.State =>
    calls === 0 ? state : answered(InFlight.succeed(state, 1000 + calls, at - 3, at), calls - 1, at)

  it("takes two refusals for a rate, and the same count once more for a cap", () => {
    const [first, suspected] = refuse(InFlight.make(), 16, 17, 1)
    const [second, again] = refuse(answered(suspected, 5, 3), 30, 17, 4)
    const [third, learned] = refuse(answered(again, 5, 6), 44, 17, 7)
    expect([first, second, third]).toEqual(["rate", "rate", "in-flight"])
    expect([again.kind, learned.kind, learned.limit]).toEqual(["unknown", "cap", 16])
  })

  it("takes the same count for a cap once more where requests are named", () => {
    let state = InFlight.make()
    const verdicts: Array<InFlight.Verdict> = []
    for (let n = 0; n < 4; n++) {
      const at = 1 + 3 * n
      const [verdict, next] = InFlight.refuse(state, { seq: 16 * n, at, count: 17 }, "requests", at + 0.05)
      verdicts.push(verdict)
      state = answered(next, 5, at + 2)
    }
    expect([verdicts, state.limit]).toEqual([["rate", "rate", "rate", "in-flight"], 16])
  })

  it("takes the same count for no further episode while hardly a call has ended", () => {
    let [, state] = refuse(InFlight.make(), 0, 33, 1)
    for (let n = 1; n < 9; n++) state = refuse(answered(state, n === 8 ? 0 : 1, n), n, 33, n + 0.5)[1]
    // of the seven that ended four make an episode, one in eight of those in flight
    expect([state.kind, state.episodes]).toEqual(["unknown", 2])
  })

  it("drops the suspicion when more calls are admitted", () => {
    const [, suspected] = refuse(InFlight.make(), 16, 17, 1)
    const sent = InFlight.send(suspected, 20, 18, 3)
    const cleared = InFlight.advance(sent, 4)
    expect(refuse(cleared, 30, 17, 6)[0]).toBe("rate")
  })

  it("believes a refusal that names concurrency at once", () => {
    const [verdict, state] = InFlight.refuse(InFlight.make(), { seq: 0, at: 1, count: 9 }, "concurrency", 1.05)
    expect([verdict, state.limit]).toEqual(["in-flight", 8])
  })

  const named = (state: InFlight.State, seq: number, count: number, at: number) =>
    InFlight.refuse(state, { seq, at, count }, "concurrency", at + 0.05)

  it("doubts a refusal that names concurrency where as many were admitted, and believes the next", () => {
    const [verdict, doubted] = named(InFlight.send(InFlight.make(), 0, 40, 1), 9, 5, 2)
    expect([verdict, doubted.limit]).toEqual(["in-flight", Infinity])
    expect(named(doubted, 10, 12, 2.04)[1].limit).toBe(Infinity)
    expect(named(doubted, 11, 5, 3)[1].limit).toBe(4)
  })

  it("believes it where the more were refused as well, or may still be", () => {
    const sent = InFlight.send(InFlight.make(), 0, 40, 1)
    expect(named(InFlight.ended(sent, 0), 9, 5, 2)[1].limit).toBe(4)
    expect(named(sent, 9, 5, 1.1)[1].limit).toBe(4)
    expect(named(sent, 0, 40, 1)[1].limit).toBe(39)
    expect(InFlight.refuse(sent, { seq: 9, at: 0.9, count: 5 }, "concurrency", 2)[1].limit).toBe(4)
  })

  it("takes a cap that fell for what was admitted, not for what was sent and refused beside it", () => {
    const cap = InFlight.make({ limit: 32 })
    // 29 are in flight, then 26
    const fell = named(cap, 100, 30, 1)[1]
    expect(fell.limit).toBe(29)
    const again = named(fell, 101, 28, 1.02)[1]
    // 101 had not come back when this one was sent
    expect(named(again, 102, 28, 1.06)[1].limit).toBe(26)
    // its place came back at that very moment
    expect(named(again, 102, 27, 1.07)[1].limit).toBe(26)
  })

  it("remembers no more refusals of late than it says", () => {
    let state = InFlight.make({ limit: 200 })
    for (let seq = 0; seq < 100; seq++) state = named(state, seq, 200, 1)[1]
    expect(state.refused).toHaveLength(InFlight.defaults.refusedMost)
  })

  it("believes the less that name concurrency the more came at random", () => {
    let state = InFlight.make()
    for (let n = 0; n < 9; n++) state = named(InFlight.send(state, 2 * n, 40, n), 2 * n + 1, 5, n + 0.5)[1]
    const limits: Array<number> = []
    for (let n = 10; n < 15; n++) {
      state = named(state, 10 * n, 5, n)[1]
      limits.push(state.limit)
    }
    expect(limits).toEqual([Infinity, Infinity, Infinity, 4, 4])
  })

  it("probes a cap sooner that refuses as many as it admitted", () => {
    const [, capped] = named(InFlight.make(), 0, 9, 1)
    const [, doubted] = named(InFlight.send(capped, 1, 8, 2), 2, 8, 3)
    expect([doubted.limit, InFlight.capacity(doubted, 4), InFlight.capacity(doubted, 4.1)]).toEqual([8, 8, 9])
  })

  it("probes one above a cap, and raises it when the probe is admitted", () => {
    const [, capped] = InFlight.refuse(InFlight.make(), { seq: 0, at: 1, count: 9 }, "concurrency", 1.05)
    expect(InFlight.capacity(capped, 5)).toBe(8)
    expect(InFlight.capacity(capped, 12)).toBe(9)
    const probing = InFlight.send(capped, 50, 9, 12)
    expect(InFlight.capacity(probing, 12)).toBe(8)
    expect(InFlight.advance(probing, 13).limit).toBe(9)
  })

  it("probes a cap the later the more often it fell back to where it was raised from", () => {
    let [, state] = named(InFlight.make(), 15, 16, 1)
    let now = 1
    let seq = 16
    const intervals = Array.from({ length: 7 }, () => {
      const { probeAt, probeEvery } = state
      expect(state.limit).toBe(15)
      now = probeAt + 1
      state = InFlight.advance(InFlight.send(state, seq++, 16, now), now + 0.5)
      expect(state.limit).toBe(16)
      // the first is doubted, since as many were admitted, and the second may have met a call whose end was not counted yet
      for (const late of [1, 2, 3]) state = named(state, seq++, 16, now + late)[1]
      return probeEvery
    })
    expect(intervals).toEqual([10, 20, 40, 80, 160, 240, 240])
  })

  it("takes no refusal of a call that was alone for a cap, unless it says so", () => {
    let state = InFlight.make()
    for (let seq = 0; seq < 9; seq++) {
      const [verdict, next] = refuse(state, seq, 1, seq)
      expect(verdict).toBe("rate")
      state = next
    }
    expect([state.kind, refuse(state, 9, 1, 8.02)[0]]).toEqual(["unknown", "rate"])
    expect(InFlight.refuse(state, { seq: 10, at: 10, count: 1 }, "concurrency", 10.05)[1].limit).toBe(1)
  })

  it("takes what was sent before the last cut for the same episode", () => {
    const [, capped] = InFlight.refuse(InFlight.make(), { seq: 0, at: 1, count: 9 }, "concurrency", 1.05)
    const [, suspected] = refuse(InFlight.make(), 16, 17, 1)
    expect([refuse(capped, 1, 4, 1)[0], refuse(suspected, 17, 19, 1)[0]]).toEqual(["in-flight", "rate"])
  })

  it("believes the next cap less easily once an admission disproved one", () => {
    const episodes = (from: InFlight.State, count = 17): number => {
      let state = from
      for (let n = 1;; n++) {
        const at = from.probeAt + 10 * n
        state = refuse(answered(state, 3, at - 1), 100 * n, count, at)[1]
        if (state.kind === "cap") return n
      }
    }
    expect([episodes(InFlight.make()), episodes(InFlight.make(), 4)]).toEqual([3, 4])
    const [, capped] = InFlight.refuse(InFlight.make(), { seq: 0, at: 1, count: 9 }, "concurrency", 1.05)
    const raised = InFlight.advance(InFlight.send(capped, 50, 9, 12), 13)
    expect(episodes({ ...raised, kind: "unknown", limit: Infinity })).toBe(5)
  })

  it("probes a cap not at the heels of another call", () => {
    const [, capped] = InFlight.refuse(InFlight.make(), { seq: 0, at: 1, count: 3 }, "concurrency", 1.05)
    const busy = InFlight.send(InFlight.succeed(capped, 1, 2, 10), 2, 2, 20)
    expect([InFlight.wait(busy, 1, 20), InFlight.wait(busy, 2, 20), InFlight.wait(busy, 3, 20)]).toEqual([
      0,
      2,
      Infinity
    ])
    expect([InFlight.wait(busy, 2, 22), InFlight.wait({ ...busy, max: 2 }, 2, 20)]).toEqual([0, Infinity])
  })

  const timedOut = (state: InFlight.State, seq: number, at: number, now: number, down = false): InFlight.State =>
    InFlight.timeOut(state, { seq, at, count: 20, next: 100 }, down, now)
  const many = (at: number, now: number): InFlight.State =>
    Array.from({ length: 8 }, (_, seq) => seq).reduce(
      (state, seq) => timedOut(state, seq, at, now),
      InFlight.make()
    )

  it("tries a quarter of the calls in flight once per episode of timeouts, for as long as a timeout takes", () => {
    let state = many(1, 2)
    expect(state.limit).toBe(5)
    for (let seq = 20; seq < 40; seq++) state = timedOut(state, seq, 1.5, 3)
    for (let i = 0; i < 5; i++) state = InFlight.succeed(state, 100 + i, 2.5, 3)
    expect(state.limit).toBe(5)
  })

  it("grows back with each success at first, with each round then, and by an eighth above where calls timed out", () => {
    let state = many(1, 2)
    const limits: Array<number> = []
    for (let i = 0; i < 350; i++) {
      const { limit } = state
      state = InFlight.succeed(state, i, 4, 4)
      if (state.limit > limit) limits.push(i, state.limit)
    }
    expect(limits.slice(0, 20)).toEqual([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12, 7, 13, 8, 14, 22, 15])
    expect(limits.filter((_, i) => i % 2 === 1).slice(9)).toEqual([
      15,
      16,
      17,
      18,
      19,
      20,
      21,
      22,
      25,
      29,
      33,
      38,
      43,
      49
    ])
  })

  it("takes a timeout for the call's own where others were answered, and not where the provider goes down", () => {
    expect(timedOut(InFlight.make(), 100, 3, 4, true).limit).toBe(5)
    let state = InFlight.make()
    for (let seq = 0; seq < 400; seq += 4) state = timedOut(state, seq, 3, 4)
    expect(state.limit).toBe(Infinity)
  })

  it("remains a cap where many time out below it", () => {
    let state: InFlight.State = { ...InFlight.make({ limit: 20 }), kind: "cap" }
    for (let seq = 0; seq < 40; seq += 2) state = timedOut(state, seq, 1, 2)
    expect([state.limit < 20, state.kind, state.uncut]).toEqual([true, "cap", { limit: 20, kind: "cap" }])
  })

  it("is what it was where as many time out with a quarter in flight, from the next success on", () => {
    let state = InFlight.make()
    for (let seq = 0; seq < 40; seq += 2) state = timedOut(state, seq, 1, 2)
    for (let seq = 100; seq < 120; seq += 2) state = timedOut(state, seq, 2.5, 3.5)
    expect(state.limit).toBe(5)
    const restored = InFlight.succeed(state, 121, 3, 4)
    expect([restored.limit, restored.kind]).toEqual([Infinity, "unknown"])
    let later = restored
    for (let seq = 122; seq < 2000; seq += 2) later = timedOut(later, seq, 5, 6)
    expect(later.limit).toBe(Infinity)
  })
})

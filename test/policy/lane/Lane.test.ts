import { describe, expect, it } from "@effect/vitest"
import type { RateLimitScope } from "../../../src/domain/TogetherError.ts"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as InFlight from "../../../src/policy/lane/LaneInFlight.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Outage from "../../../src/policy/lane/LaneOutage.ts"
import * as Queue from "../../../src/policy/lane/LaneQueue.ts"
import { law } from "../law.ts"
import { changed } from "../learner.ts"

const generator = (seed: number) => () => {
  seed = (seed + 0x6D2B79F5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

describe("AdaptiveRate", () => {
  it("doubles every half second while nothing objects and it is used", () => {
    let state = AdaptiveRate.make({ initial: 10 })
    for (let now = 0.125; now <= 1.0001; now += 0.125) {
      state = AdaptiveRate.send(state, 1, true, 0)
      state = AdaptiveRate.advance(state, now)[1]
    }
    expect(state.rate).toBeCloseTo(40, 6)
  })

  it.each(["start", "probe"] as const)("takes time in which no refusal could be heard for none, in %s", (phase) => {
    let state = changed(AdaptiveRate.make({ initial: 10.5 }), { phase, limit: 10 })
    for (let at = 0; at < 1; at += 0.1) state = AdaptiveRate.send(state, 1, true, at)
    expect(AdaptiveRate.advance(state, 1)[1].rate).toBeGreaterThan(10.7)
    const deaf = AdaptiveRate.deafened(state, 0.95)
    expect(AdaptiveRate.advance(deaf, 1)[1].rate).toBe(10.5)
    const raised = AdaptiveRate.advance(deaf, 1.2)[1]
    expect(raised.rate).toBeGreaterThan(10.5)
    expect(raised.rate).toBeLessThan(AdaptiveRate.advance(state, 1.2)[1].rate)
  })

  it("keeps its rate while nobody needs it", () => {
    let state = AdaptiveRate.make({ initial: 10 })
    for (let now = 1; now < 60; now++) {
      state = AdaptiveRate.send(state, 1, false, now)
      state = AdaptiveRate.advance(state, now)[1]
    }
    expect(state.rate).toBe(10)
  })

  it("cuts once per episode, however many refusals it brings", () => {
    let state = AdaptiveRate.make({ initial: 10 })
    const stamps = Array.from({ length: 64 }, (_, i) => {
      const stamp = { at: i * 0.001, sent: state.traffic.sent, cost: 1 }
      state = AdaptiveRate.send(state, 1, true, 0)
      return stamp
    })
    const moves = stamps.map((stamp, i) => {
      const [move, next] = AdaptiveRate.refuse(state, stamp, 0.1 + i * 0.001)
      state = next
      return move
    })
    expect(moves.filter((move) => move !== undefined)).toEqual([{ from: 10, to: 5, reason: "start-refused" }])
    expect(state.traffic.refused).toBe(64)
  })

  it("has nothing to try again where nothing was refused in vain", () => {
    expect(AdaptiveRate.afterVain(AdaptiveRate.make())).toBe(0)
  })

  it("takes what went through between two refusals for the limit, whatever the burst", () => {
    let state = AdaptiveRate.make({ initial: 20 })
    state = AdaptiveRate.refuse(state, { at: 1, sent: 0, cost: 1 }, 1.05)[1]
    for (let i = 0; i < 70; i++) state = AdaptiveRate.send(state, 1, true, 0)
    const [move, next] = AdaptiveRate.refuse(state, { at: 11, sent: 71, cost: 1 }, 11.05)
    expect(move?.reason).toBe("bracket-closed")
    // 70 admitted in 10 s: the next rate lies just above 7 per second, not at half of 10
    expect(next.rate).toBeGreaterThan(6.9)
    expect(next.rate).toBeLessThan(7.6)
  })

  it("probes the more seldom the more refusals one episode brings", () => {
    const known = AdaptiveRate.make({ initial: 10, known: true })
    let state = changed(known, { probe: { eager: 5, interval: 20 }, cutAt: 1 })
    for (let i = 0; i < 4; i++) state = AdaptiveRate.refuse(state, { at: 1, sent: i, cost: 1 }, 1.05)[1]
    expect([state.episode.refusals, state.episode.usual]).toEqual([5, 1])
    state = AdaptiveRate.refuse(state, { at: 20, sent: 200, cost: 1 }, 20.05)[1]
    expect([state.episode.refusals, state.episode.usual]).toEqual([1, 3])
    const after = (sends: number): AdaptiveRate.Phase => {
      let next = changed(state, { phase: "hold", probe: { interval: 20, eager: 5 } })
      for (let i = 0; i < sends; i++) next = AdaptiveRate.send(next, 1, true, 20.1 + i / 10)
      return AdaptiveRate.advance(next, 20.1 + sends / 10)[1].phase
    }
    expect([after(59), after(60)]).toEqual(["hold", "probe"])
  })

  it("doubles the excess of a probe in half a second, and in two attempts at least", () => {
    const probing = (rate: number, sends: number, seconds: number): number => {
      let state: AdaptiveRate.State = { ...AdaptiveRate.make({ initial: rate, known: true }), phase: "probe" }
      for (let i = 1; i <= sends; i++) state = AdaptiveRate.send(state, 1, true, i * seconds / sends)
      return AdaptiveRate.advance(state, seconds)[1].rate / rate
    }
    expect(probing(100, 100, 1)).toBeCloseTo(1 + 0.05 * 4, 6)
    expect(probing(0.5, 2, 1.9)).toBeCloseTo(1 + 0.05 * 2, 6)
  })

  it("cuts from the rate at which the refused attempt was sent, however late its refusal is heard of", () => {
    const state = changed(AdaptiveRate.make({ initial: 10 }), { rate: 160, traffic: { sent: 40 } })
    const stamp = { at: 1, sent: 20, cost: 1 }
    const [, late] = AdaptiveRate.refuse(state, stamp, 2)
    expect([late.rate / 160, late.episode.lag]).toEqual([expect.closeTo(0.5 * 2 ** (-0.95 / 0.5), 3), 1])
    const [, never] = AdaptiveRate.refuse({ ...state, rate: 11 }, stamp, 2)
    expect(never.bad).toBe(10)
  })

  it("raises no bracket on attempts that may still be refused", () => {
    const raised = (lag: number): boolean => {
      let state = changed(AdaptiveRate.make({ initial: 10 }), {
        phase: "settle",
        bad: 20,
        episode: { lag },
        bucket: { empty: { at: 0, admitted: 0 } }
      })
      for (let i = 1; i <= 8; i++) state = AdaptiveRate.send(state, 1, true, i / 10)
      return AdaptiveRate.advance(state, 0.8)[0]?.reason === "bracket-raised"
    }
    expect([raised(0.05), raised(1)]).toEqual([true, false])
  })

  it("probes by time where calls are slow and the limit moved lately", () => {
    const after = (seconds: number, eager: number): AdaptiveRate.Phase => {
      let state = changed(AdaptiveRate.make({ initial: 1, known: true }), { probe: { interval: 16, eager } })
      for (let i = 1; i <= seconds; i++) state = AdaptiveRate.send(state, 1, true, i)
      return AdaptiveRate.advance(state, seconds)[1].phase
    }
    expect([after(5, 2), after(6, 2), after(6, 0), after(16, 0)]).toEqual(["hold", "probe", "hold", "probe"])
  })

  it("goes on at once where the limit rose a second time in a row, along the growth between the two", () => {
    const hold = AdaptiveRate.make({ initial: 10, known: true })
    const rising = changed(hold, {
      phase: "probe",
      rate: 40,
      rise: { count: 1, at: -20, to: 5 },
      traffic: { sent: 200 },
      bucket: { empty: { at: 0, admitted: 0 } }
    })
    const [move, rose] = AdaptiveRate.refuse(rising, { at: 8, sent: 199, cost: 1 }, 8.05)
    expect(move?.reason).toBe("limit-rose")
    expect([rose.phase, rose.limit, rose.rise.count]).toEqual(["hold", rose.rate, 2])
    expect(rose.rise.trend).toBeGreaterThan(0)
    const [, first] = AdaptiveRate.refuse(changed(rising, { rise: { count: 0 } }), { at: 8, sent: 199, cost: 1 }, 8.05)
    expect([first.phase, first.rise.count, first.rise.trend]).toEqual(["settle", 1, 0])
  })

  it("holds its bounds, and no refusal raises a rate, after any list of events", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = generator(seed)
      const ceiling = random() < 0.5 ? 50 : Infinity
      let state = AdaptiveRate.make({ initial: 10, ceiling })
      let now = 0
      const open: Array<AdaptiveRate.Stamp> = []
      for (let i = 0; i < 400; i++) {
        now += random() < 0.02 ? random() * 900 : random() * random() * 2
        const what = random()
        if (what < 0.6) {
          open.push({ at: now, sent: state.traffic.sent, cost: 1 })
          state = AdaptiveRate.send(state, 1, random() < 0.8, now)
        } else if (what < 0.8) {
          state = AdaptiveRate.advance(state, now)[1]
        } else {
          const stamp = open.splice(Math.floor(random() * open.length), 1)[0]
          if (stamp === undefined) continue
          const before = state.rate
          state = AdaptiveRate.refuse(state, stamp, now)[1]
          law(state.rate).toBeLessThanOrEqual(before)
        }
        law(state.rate).toBeGreaterThanOrEqual(state.lowest)
        law(state.rate).toBeLessThanOrEqual(ceiling)
        law(Number.isFinite(state.rate)).toBe(true)
      }
    }
  })

  it("believes a stated limit, and no longer once it was refused below it", () => {
    let state = AdaptiveRate.make({ initial: 10 })
    state = AdaptiveRate.told(state, 40, 1, 1)[1]
    expect([state.phase, state.rate]).toEqual(["hold", 40])
    state = AdaptiveRate.send(state, 1, true, 0)
    state = AdaptiveRate.refuse(state, { at: 2, sent: 0, cost: 1 }, 2.1)[1]
    const refused = state.rate
    expect(refused).toBeLessThan(40)
    expect(AdaptiveRate.told(state, 40, 3, 3)[1].rate).toBe(refused)
    expect(AdaptiveRate.told(state, 25, 3, 3)[1].rate).toBe(25)
  })

  it("refuses options out of range", () => {
    expect(() => AdaptiveRate.make({ initial: 0 })).toThrow(
      "AdaptiveRate.make: initial must be in (0, Infinity], got 0"
    )
    expect(() => AdaptiveRate.make({ ceiling: NaN })).toThrow("ceiling must be in (0, Infinity], got NaN")
    expect(() => AdaptiveRate.make({ lowest: Infinity })).toThrow(
      new RangeError("AdaptiveRate.make: lowest must be a finite number > 0, got Infinity")
    )
    expect(() => AdaptiveRate.make({ lowest: 100, ceiling: 10 })).toThrow(
      new RangeError("AdaptiveRate.make: lowest must be in (0, 10], got 100")
    )
    expect(() => AdaptiveRate.make({ initial: 100, ceiling: 10 })).toThrow(
      new RangeError("AdaptiveRate.make: initial must be in (0, 10], got 100")
    )
  })

  it("begins at the ceiling where that is below the default start", () => {
    expect(AdaptiveRate.make({ ceiling: 5 })).toMatchObject({ rate: 5, lowest: 0.02 })
    expect(AdaptiveRate.make({ ceiling: 0.01 })).toMatchObject({ rate: 0.01, lowest: 0.01 })
    expect(Kernel.make({ requests: { ceiling: 5 }, tokens: { ceiling: 700 } })).toMatchObject({
      requests: { rate: 5 },
      tokens: { rate: 700 }
    })
  })
})

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

describe("LaneOutage", () => {
  const storm = (share: number, sends: number, seed: number) => {
    const random = generator(seed)
    let state = Outage.initial
    let alarms = 0
    for (let seq = 0; seq < sends; seq++) {
      const at = seq * 0.1
      const before = state.down
      state = Outage.send(state, seq, at)
      state = random() < share ? Outage.fail(state, seq, at, at + 0.05) : Outage.succeed(state, at, at + 0.05)
      if (state.down && !before) alarms++
    }
    return alarms
  }

  it("takes five failures in a row for an outage where nothing failed before", () => {
    let state = Outage.initial
    for (let seq = 0; seq < 40; seq++) state = Outage.send(state, seq, seq)
    for (let seq = 35; seq < 39; seq++) state = Outage.fail(state, seq, seq, seq + 0.05)
    expect(state.down).toBe(false)
    expect(Outage.fail(state, 39, 39, 39.05).down).toBe(true)
  })

  it.each([0.05, 0.1, 0.2, 0.3, 0.4, 0.5])("raises no alarm where a share of %d fails at random", (share) => {
    expect(storm(share, 20_000, 7)).toBeLessThanOrEqual(1)
  })

  it("raises one alarm where all fail", () => {
    expect(storm(1, 200, 7)).toBe(1)
  })

  it("remembers for long how many fail, so that a lull before it makes no outage of a run", () => {
    let state = Outage.initial
    let seq = 0
    const attempt = (fails: boolean) => {
      state = Outage.send(state, seq, seq)
      state = fails ? Outage.fail(state, seq, seq, seq + 0.05) : Outage.succeed(state, seq, seq + 0.05)
      seq++
    }
    for (let i = 0; i < 200; i++) attempt(i % 3 === 0)
    for (let i = 0; i < 32; i++) attempt(false)
    for (let i = 0; i < 7; i++) attempt(true)
    expect(state.down).toBe(false)
    for (let i = 0; i < 2; i++) attempt(true)
    expect(state.down).toBe(true)
  })

  it("counts nothing of an outage that is over: neither what was sent before its end, nor its probes", () => {
    let state = Outage.initial
    for (let seq = 0; seq < 40; seq++) state = Outage.send(state, seq, 0)
    for (let seq = 30; seq < 40; seq++) state = Outage.fail(state, seq, 0, 0.05)
    let seq = 40
    for (; seq < 100; seq++) {
      state = Outage.send(state, seq, seq)
      state = Outage.fail(state, seq, seq, seq + 0.05)
    }
    expect([state.down, state.olderFailures]).toEqual([true, 0])
    state = Outage.send(state, seq, seq)
    state = Outage.succeed(state, seq, seq + 1)
    const late = Outage.fail(state, seq - 2, seq - 2, seq + 1)
    expect([late.down, late.failed]).toEqual([false, 0])
  })

  it("sees an outage whose failures are so late that many attempts overtake each", () => {
    const late = (fails: (seq: number) => boolean, sends = 400): number => {
      let state = Outage.initial
      for (let seq = 0; seq < sends; seq++) {
        state = Outage.send(state, seq, seq / 100)
        const failing = seq - 50
        if (failing >= 0 && fails(failing)) state = Outage.fail(state, failing, failing / 100, seq / 100)
        if (state.down) return seq
      }
      return -1
    }
    expect(late((seq) => seq >= 100)).toBe(50 + 100 + 12 + 15)
    expect(late((seq) => seq % 4 !== 0)).toBe(-1)
    const random = generator(5)
    expect(late(() => random() < 0.4, 20_000)).toBe(-1)
    // where three in four failed before, thirty-two in a row are no news, but a hundred are
    const often = (most: number) => (seq: number): boolean => seq % 4 !== 0 || (seq >= 240 && seq < 240 + most)
    expect(late(often(32), 600)).toBe(-1)
    expect(late(often(100), 600)).toBeGreaterThan(300)
  })

  it("lets one probe go, and is up again when the probe stays silent", () => {
    let state = Outage.initial
    for (let seq = 0; seq < 7; seq++) {
      state = Outage.send(state, seq, 0)
      state = Outage.fail(state, seq, 0, 0.05)
    }
    expect(state.down).toBe(true)
    expect(Outage.wait(state, 0.1)).toBeCloseTo(0.45, 6)
    const probing = Outage.send(state, 7, 0.6)
    expect(Outage.wait(probing, 0.6)).toBeGreaterThan(0)
    expect(Outage.advance(probing, 1).down).toBe(false)
    expect(Outage.fail(probing, 7, 0.6, 0.65).down).toBe(true)
  })
})

describe("LaneQueue", () => {
  const entry = (level: number, retry = false): Queue.Entry => ({
    level,
    retry,
    stream: false,
    tokens: 1,
    order: 0,
    gone: false
  })

  it("serves by level, retried before fresh, first in first out", () => {
    const queue = Queue.make<Queue.Entry>()
    const bulk = entry(400)
    const fresh = entry(200)
    const second = entry(200)
    const retried = entry(200, true)
    const first = entry(0)
    for (const one of [bulk, fresh, second, retried, first]) Queue.add(queue, one)
    expect([1, 2, 3, 4, 5].map(() => Queue.take(queue))).toEqual([first, retried, fresh, second, bulk])
    expect(queue.size).toBe(0)
  })

  it("starves no level", () => {
    const queue = Queue.make<Queue.Entry>()
    for (let i = 0; i < 200; i++) Queue.add(queue, entry(0))
    Queue.add(queue, entry(200))
    Queue.add(queue, entry(400))
    const order = Array.from({ length: 60 }, () => Queue.take(queue)?.level)
    expect(order.indexOf(200)).toBe(Queue.fairness)
    expect(order.indexOf(400)).toBe(2 * Queue.fairness + 1)
  })

  it("counts and serves rightly after any list of additions, removals and takes", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = generator(seed)
      const queue = Queue.make<Queue.Entry>()
      const waiting = new Set<Queue.Entry>()
      for (let i = 0; i < 500; i++) {
        const what = random()
        if (what < 0.5) {
          const one = entry([0, 200, 400][Math.floor(random() * 3)] ?? 0, random() < 0.3)
          waiting.add(one)
          Queue.add(queue, one)
        } else if (what < 0.75) {
          const one = [...waiting][Math.floor(random() * waiting.size)]
          if (one === undefined) continue
          waiting.delete(one)
          Queue.remove(queue, one)
          Queue.remove(queue, one)
        } else {
          const head = Queue.peek(queue)
          const taken = Queue.take(queue)
          law(taken).toBe(head)
          if (taken === undefined) law(waiting.size).toBe(0)
          else law(waiting.delete(taken)).toBe(true)
        }
        law(queue.size).toBe(waiting.size)
        law(queue.tokens).toBe(waiting.size)
      }
    }
  })
})

describe("LaneKernel", () => {
  it("moves only the limit that a refusal names", () => {
    const start = Kernel.make({}, 0)
    const settle = (scope: RateLimitScope) => {
      const [ticket, state] = Kernel.admit(start, 100, undefined, 1)
      return Kernel.settle(state, ticket, { _tag: "Throttled", scope, retryAfter: 1 }, 1.05)[1]
    }
    const requests = settle("requests")
    expect([requests.requests.rate, requests.tokensPaced, requests.inFlight.limit]).toEqual([5, false, Infinity])
    const tokens = settle("tokens")
    expect([tokens.requests.rate, tokens.tokensPaced, tokens.inFlight.limit]).toEqual([10, true, Infinity])
    const concurrency = settle("concurrency")
    expect([concurrency.requests.rate, concurrency.tokensPaced, concurrency.inFlight.limit]).toEqual([10, false, 1])
  })

  it("does not pause for a cap that is named, for a place is free as soon as a call ends", () => {
    const pausedBy = (scope: RateLimitScope): number => {
      const [ticket, sent] = Kernel.admit(Kernel.make({}, 0), 100, undefined, 1)
      return Kernel.settle(sent, ticket, { _tag: "Throttled", scope, retryAfter: 1 }, 1.05)[1].pausedUntil
    }
    expect(pausedBy("concurrency")).toBe(-Infinity)
    expect((["requests", "tokens", "model", "unknown"] as const).map(pausedBy)).toEqual([2.05, 2.05, 2.05, 2.05])
  })

  it("pauses where a cap is named that is in doubt", () => {
    let state = Kernel.make({}, 0)
    const admit = (now: number) => {
      const [ticket, sent] = Kernel.admit(state, 100, undefined, now)
      state = sent
      return ticket
    }
    const many = Array.from({ length: 9 }, () => admit(1))
    for (const ticket of many) state = Kernel.settle(state, ticket, { _tag: "Success" }, 2)[1]
    state = Kernel.settle(state, admit(3), { _tag: "Throttled", scope: "concurrency", retryAfter: 1 }, 3.05)[1]
    expect([state.inFlight.limit, state.pausedUntil]).toEqual([Infinity, 4.05])
  })

  it("ends a probe where an outage begins: what comes back tells nothing of the limit", () => {
    const made = Kernel.make({ requests: { initial: 10, known: true } }, 0)
    const probing = { phase: "probe", rate: 14 } as const
    let state: Kernel.State = {
      ...made,
      requests: changed(made.requests, probing),
      tokens: changed(made.tokens, { ...probing, limit: 9 })
    }
    let told: ReadonlyArray<Kernel.Decision> = []
    for (let i = 0; i < 20 && !state.outage.down; i++) {
      const [ticket, sent] = Kernel.admit(state, 1, "requests", i / 10)
      ;[told, state] = Kernel.settle(sent, ticket, { _tag: "Overloaded" }, i / 10 + 0.02)
    }
    expect([state.outage.down, state.requests.phase, state.requests.rate]).toEqual([true, "hold", 10])
    expect(told.map(({ from, reason, subject, to }) => [subject, reason, from, to])).toEqual([
      ["outage", "began", 0, 1],
      ["requests", "settled", 14, 10],
      ["tokens", "settled", 14, 9]
    ])
  })

  it.each(["an answer", "silence"])("makes up for an outage with what the bucket saved, once %s ends it", (end) => {
    const made = Kernel.make({ requests: { initial: 10, known: true } }, 0)
    const down: Kernel.State = {
      ...made,
      requests: changed(made.requests, { bucket: { burst: 12 } }),
      outage: { ...made.outage, down: true, since: 5 }
    }
    const [ticket, sent] = Kernel.admit(down, 1, "outage", 20)
    const up = end === "silence"
      ? Kernel.advance(sent, 30)[1]
      : Kernel.settle(sent, ticket, { _tag: "Success" }, 20.5)[1]
    expect([sent.requestsOwed, up.outage.down, up.requestsOwed]).toEqual([0, false, 8])
  })

  it("never cuts a rate for a 503, a failure, a timeout or an interruption", () => {
    for (
      const sample of [
        { _tag: "Overloaded", retryAfter: 9 },
        { _tag: "Failed" },
        { _tag: "TimedOut" },
        { _tag: "Ignored", sent: true },
        { _tag: "Ignored", sent: false }
      ] as const
    ) {
      let state = Kernel.make({}, 0)
      for (let i = 0; i < 30; i++) {
        const [ticket, next] = Kernel.admit(state, 100, undefined, i)
        state = Kernel.settle(next, ticket, sample, i + 0.05)[1]
      }
      expect(state.requests.rate).toBe(10)
    }
  })

  it("pauses as long as asked, once, and a success does not shorten it", () => {
    const [first, one] = Kernel.admit(Kernel.make({}, 0), 1, undefined, 0)
    const [second, two] = Kernel.admit(one, 1, undefined, 0.1)
    const [, paused] = Kernel.settle(two, first, { _tag: "Throttled", scope: "requests", retryAfter: 5 }, 1)
    expect(Kernel.wait(paused, 1)).toEqual([5, "pause"])
    const [, after] = Kernel.settle(paused, second, { _tag: "Success" }, 2)
    expect(Kernel.wait(after, 2)).toEqual([4, "pause"])
    expect(Kernel.wait(after, 6)[0]).toBe(0)
  })

  it("doubles pauses without a hint only while next to nothing goes through between them", () => {
    const pauses = (between: number): ReadonlyArray<number> => {
      let state = Kernel.make({ requests: { initial: 100 } }, 0)
      let now = 0
      return Array.from({ length: 4 }, () => {
        for (let i = 0; i < between; i++) state = Kernel.admit(state, 1, undefined, now += 0.01)[1]
        const [ticket, sent] = Kernel.admit(state, 1, undefined, now += 0.01)
        state = Kernel.settle(sent, ticket, { _tag: "Throttled", scope: "requests" }, now += 0.05)[1]
        const pause = state.pausedUntil - now
        now = state.pausedUntil
        return pause
      })
    }
    const near = (values: ReadonlyArray<number>) => values.map((value) => expect.closeTo(value, 6))
    expect(pauses(0)).toEqual(near([0.1, 0.2, 0.4, 0.8]))
    expect(pauses(5)).toEqual(near([0.1, 0.1, 0.1, 0.1]))
  })

  it("sends again at once what failed, as far as the bucket was seen to hold it", () => {
    const empty = { at: 0, admitted: 0 }
    const credit = (bucket: Partial<AdaptiveRate.State["bucket"]>): number => {
      const made = Kernel.make({ requests: { initial: 10, known: true } }, 0)
      let state: Kernel.State = { ...made, requests: changed(made.requests, { bucket }) }
      for (let i = 0; i < 6; i++) {
        const [ticket, sent] = Kernel.admit(state, 1, undefined, i)
        state = Kernel.settle(sent, ticket, { _tag: "Failed" }, i + 0.5)[1]
        state = { ...state, outage: { ...state.outage, failed: 0, down: false } }
      }
      return -state.requestDebt.units
    }
    expect([credit({}), credit({ empty, burst: 9 }), credit({ empty, burst: 2.5 })]).toEqual([1, 1, 1])
    const probed = { empty, probes: 1 }
    expect([credit({ ...probed, burst: 1.5 }), credit(probed), credit({ empty, single: "yes" })]).toEqual([0.5, 0, 0])
    expect([credit({ empty, met: { units: 3, seconds: 0 } }), credit({ empty })]).toEqual([1, 1])
  })

  it("mirrors a limit of tokens that the provider states", () => {
    const [ticket, sent] = Kernel.admit(Kernel.make({}, 0), 100, undefined, 1)
    const [decisions, told] = Kernel.settle(sent, ticket, { _tag: "Success", tokensPerSecond: 500 }, 2)
    expect(decisions).toMatchObject([{ subject: "tokens", reason: "provider-said", to: 500 }])
    expect([told.tokensPaced, told.tokenMirror === undefined]).toEqual([true, false])
  })

  it("bounds a pause", () => {
    const [ticket, state] = Kernel.admit(Kernel.make({ maxPause: 60 }, 0), 1, undefined, 0)
    const [, paused] = Kernel.settle(state, ticket, { _tag: "Throttled", scope: "requests", retryAfter: 15_372 }, 1)
    expect(Kernel.wait(paused, 1)[0]).toBe(60)
  })

  it("admits a call larger than a second of tokens, and lets later ones pay", () => {
    const state = Kernel.make({ tokens: { initial: 1000, known: true }, requests: { initial: 1000, known: true } }, 0)
    expect(Kernel.wait(state, 0)[0]).toBe(0)
    const [, after] = Kernel.admit(state, 5000, undefined, 0)
    const [wait, by] = Kernel.wait(after, 0)
    expect(by).toBe("tokens")
    // five seconds of the limit, and what its uncertainty asks for
    expect(wait).toBeGreaterThan(5)
    expect(wait).toBeLessThan(5.6)
  })

  it("takes a call for as large as the last fifty were", () => {
    let [, state] = Kernel.admit(Kernel.make({}, 0), 100, undefined, 0)
    for (let i = 1; i <= 50; i++) state = Kernel.admit(state, 1100, undefined, i)[1]
    expect(state.meanTokens).toBeCloseTo(100 + 1000 * (1 - 0.98 ** 50), 6)
  })

  it("takes what a pause filled for no cap, where the bucket refuses at the same count each time", () => {
    // the provider asks for a minute each time, in which its bucket of five fills up
    const refused = (lost: boolean, scope: "unknown" | "requests" | "model" = "unknown"): string => {
      let state = Kernel.make({ requests: { initial: 10 } }, 0)
      let now = 0
      for (let episode = 0; episode < 5; episode++) {
        now += 100
        state = { ...state, resumed: false, stray: Kernel.make({}, 0).stray }
        state = {
          ...state,
          requests: { ...state.requests, episode: { ...state.requests.episode, asked: lost ? 60 : 0 } }
        }
        const tickets: Array<Kernel.Ticket> = []
        for (let i = 0; i < 6; i++) {
          const [ticket, sent] = Kernel.admit(state, 10, "requests", now + i / 100)
          tickets.push(ticket)
          state = sent
        }
        for (const [i, ticket] of tickets.entries()) {
          const sample: Kernel.Sample = i < 5 ? { _tag: "Success" } : { _tag: "Throttled", scope }
          // the last is refused while all others are under way
          state = i < 5 ? state : Kernel.settle(state, ticket, sample, now + 0.1)[1]
        }
        for (const ticket of tickets.slice(0, 5)) state = Kernel.settle(state, ticket, { _tag: "Success" }, now + 1)[1]
      }
      return state.inFlight.kind
    }
    expect([refused(true), refused(false)]).toEqual(["unknown", "cap"])
    // a cap may go by the name of a limit of requests
    expect([refused(true, "requests"), refused(false, "requests")]).toEqual(["unknown", "cap"])
    expect([refused(true, "model"), refused(false, "model")]).toEqual(["unknown", "cap"])
  })

  it("gives unused tokens back", () => {
    const state = Kernel.make({ tokens: { initial: 1000, known: true }, requests: { initial: 1000, known: true } }, 0)
    const [ticket, after] = Kernel.admit(state, 5000, undefined, 0)
    const [, settled] = Kernel.settle(after, ticket, { _tag: "Success", tokens: 1000 }, 0.5)
    const [wait, by] = Kernel.wait(settled, 0.5)
    expect(by).toBe("tokens")
    expect(wait).toBeGreaterThan(0.5)
    expect(wait).toBeLessThan(1)
  })
})

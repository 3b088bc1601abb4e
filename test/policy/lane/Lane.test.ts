import { describe, expect, it } from "@effect/vitest"
import type { RateLimitScope } from "../../../src/domain/TogetherError.ts"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
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

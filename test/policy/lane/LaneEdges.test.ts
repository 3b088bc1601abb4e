import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as Rise from "../../../src/policy/rate/Rise.ts"
import * as Estimate from "../../../src/policy/lane/LaneEstimate.ts"
import * as InFlight from "../../../src/policy/lane/LaneInFlight.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Outage from "../../../src/policy/lane/LaneOutage.ts"
import * as Queue from "../../../src/policy/lane/LaneQueue.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"
import { changed, type Over } from "../learner.ts"

const pick = <A>(random: () => number, first: A, ...rest: ReadonlyArray<A>): A =>
  rest[Math.floor(random() * (rest.length + 1)) - 1] ?? first

/** A learner in the middle of its work: 400 units sent at 10 per second, the bucket last empty at 10 s. */
const learner = (over: Over): AdaptiveRate.State => {
  const moment = { at: 10, admitted: 100 }
  const state = changed(AdaptiveRate.make({ initial: 10 }), {
    phase: "hold",
    cutAt: 10,
    step: { at: 10, sent: 100, sends: 10, paced: 10 },
    traffic: { sent: 400, mean: 1, largest: 1 },
    bucket: { empty: moment, since: moment, met: { units: 20, seconds: 1 } },
    probe: { interval: 300 }
  })
  return changed(state, over)
}

describe("AdaptiveRate, edges", () => {
  it("follows a trend while it holds, and only upwards by more than a hundredth", () => {
    const rising = learner({ rise: { trend: 0.1 }, traffic: { at: 12 } })
    const [move, grown] = AdaptiveRate.advance(rising, 12)
    expect(move).toBeUndefined()
    expect(grown.rate).toBeCloseTo(10 * Math.exp(0.2), 9)
    expect(AdaptiveRate.advance(rising, 10.01)[1]).toBe(rising)
  })

  it("lets no trend run on while nobody sends", () => {
    const rising = learner({ rise: { trend: 0.1 }, traffic: { at: 12 } })
    const rested = AdaptiveRate.advance(rising, 612)[1]
    expect(rested.rate).toBeCloseTo(10 * Math.exp(0.1 * 4), 9)
  })

  describe("after a silence", () => {
    const silent = (over: Over = {}) => {
      const state = learner({ traffic: { at: 20 }, step: { paced: 0, sends: 0 } })
      return AdaptiveRate.send(changed(state, over), 1, false, 622)
    }

    it("takes the silence, but for two seconds, out of what is measured", () => {
      expect(silent()).toMatchObject({
        cutAt: 20,
        step: { at: 610, sends: 0 },
        traffic: { since: 600, at: 622 },
        bucket: { empty: { at: 610 }, since: { at: 610 } }
      })
      const unmet = { empty: undefined, since: undefined }
      expect(silent({ bucket: unmet, cutAt: 21 })).toMatchObject({ bucket: unmet, cutAt: 21 })
    })

    it("waits for four attempts at the learned rate where those take longer", () => {
      expect(silent({ rate: 0.5, limit: 0.5 }).bucket.empty?.at).toBe(10 + 594)
      expect(silent({ phase: "probe", rate: 10, limit: 0.5 }).bucket.empty?.at).toBe(10 + 594)
    })

    it("counts the time in full that an attempt had to wait for the limit, or for a pause", () => {
      const held = AdaptiveRate.send(learner({ traffic: { at: 20 } }), 1, true, 622)
      expect([held.bucket.empty?.at, held.bucket.since?.at, held.step.at, held.step.sends]).toEqual([10, 10, 10, 11])
    })

    it("keeps a measured limit through the first refusal, whoever held the lane back", () => {
      for (const phase of ["hold", "probe"] as const) {
        for (const paced of [0, 10]) {
          // 10 per second for 10 s, ten minutes of silence, and 20 s at 10 per second: then refused
          let state = learner({ phase, traffic: { sent: 200, at: 20 }, step: { paced } })
          for (let i = 0; i < 200; i++) state = AdaptiveRate.send(state, 1, i > 0 && paced > 0, 620 + i / 10)
          const [move, next] = AdaptiveRate.refuse(state, { at: 640, sent: state.traffic.sent, cost: 1 }, 640.05)
          expect(move?.from).toBe(10)
          expect(next.rate, `${phase}, ${paced}`).toBeGreaterThanOrEqual(9)
          expect(next.rate).toBeLessThanOrEqual(10)
        }
      }
    })

    it("learns nothing from a refusal of what was sent before it", () => {
      const state = silent()
      const [move, next] = AdaptiveRate.refuse(state, { at: 20, sent: 399, cost: 1 }, 622.05)
      expect(move).toBeUndefined()
      const noted = { high: next.high, returns: { refusedAt: 622.05, triedAt: Infinity } }
      const { refusals } = state.episode
      expect(next).toEqual(changed(state, { ...noted, traffic: { refused: 1 }, episode: { refusals: refusals + 1 } }))
    })
  })

  it("takes a limit that was loaded, and never measured, for no less than it was", () => {
    let state = AdaptiveRate.make({ initial: 10, known: true })
    for (let i = 0; i < 60; i++) state = AdaptiveRate.send(state, 1, false, i / 10)
    const [move, next] = AdaptiveRate.refuse(state, { at: 6, sent: 60, cost: 1 }, 6.05)
    expect(move?.reason).toBe("limit-drifted")
    expect(next.rate).toBeGreaterThanOrEqual(9)
  })

  it("drifts half the trend away when a refusal meets a rising limit", () => {
    const [move, next] = AdaptiveRate.refuse(learner({ rise: { trend: 0.1 } }), { at: 15, sent: 145, cost: 1 }, 15.05)
    expect(move).toEqual({ from: 10, to: 9, reason: "limit-drifted" })
    expect([next.phase, next.rise.trend, next.limit]).toEqual(["hold", 0.05, 9])
  })

  it("learns a trend from two rises in a row, none from one, and bounds it", () => {
    const probe = (rise: Over["rise"] = {}) =>
      AdaptiveRate.refuse(
        learner({ phase: "probe", rate: 30, limit: 10, rise }),
        { at: 12, sent: 160, cost: 1 },
        12.05
      )
    const [move, once] = probe()
    expect([move?.reason, once.phase, once.rise.count, once.rise.trend]).toEqual(["limit-rose", "settle", 1, 0])
    const [, twice] = probe({ count: 1, at: 2.05, to: once.rate / Math.exp(0.5) })
    expect(twice.rise.count).toBe(2)
    expect(twice.rise.trend).toBeCloseTo(0.05, 9)
    expect(probe({ count: 1, at: 11.05, to: 1 })[1].rise.trend).toBe(Rise.defaults.trendMax)
    expect(probe({ count: 1, at: 2.05, to: 1000 })[1].rise.trend).toBe(0)
  })

  it("cuts deeper with each early refusal in a row, and never below half", () => {
    let state = learner({ phase: "settle" })
    const kept = Array.from({ length: 6 }, (_, i) => {
      const before = state.rate
      // nothing was admitted since the last
      const sent = 100 + state.traffic.refused
      state = AdaptiveRate.refuse(state, { at: 11 + i, sent, cost: 1 }, 11.05 + i)[1]
      return state.rate / before
    })
    const cuts = [0.9, 0.8, 0.6, 0.5, 0.5, 0.5]
    const single = (phase: "hold" | "settle") =>
      AdaptiveRate.refuse(
        learner({ phase, streak: { early: 1 }, bucket: { single: "yes" } }),
        { at: 11, sent: 100, cost: 1 },
        11.05
      )[1].bucket.single
    // of a limit that fell nothing is known but its rate
    expect([single("hold"), single("settle")]).toEqual(["unknown", "yes"])
    for (const [i, share] of kept.entries()) expect(share).toBeCloseTo(cuts[i] ?? NaN, 9)
  })
})

describe("LaneInFlight, edges", () => {
  it("refuses options out of range", () => {
    expect(() => InFlight.make({ max: 0 })).toThrow(
      new RangeError("LaneInFlight.make: max must be an integer >= 1 or Infinity, got 0")
    )
    expect(() => InFlight.make({ limit: NaN })).toThrow(
      new RangeError("LaneInFlight.make: limit must be an integer >= 1 or Infinity, got NaN")
    )
    expect(() => Kernel.make({ maxInFlight: 1.5 })).toThrow(
      new RangeError("LaneKernel.make: maxInFlight must be an integer >= 1 or Infinity, got 1.5")
    )
    expect(() => Kernel.make({ inFlight: 0 })).toThrow("LaneKernel.make: inFlight must be an integer >= 1")
  })

  it("takes a given limit for a cap, and probes above it", () => {
    const state = InFlight.make({ limit: 4 })
    expect([state.kind, InFlight.capacity(state, 0), InFlight.capacity(state, 10)]).toEqual(["cap", 4, 5])
    expect(InFlight.capacity(InFlight.make({ limit: 4, max: 4 }), 10)).toBe(4)
  })

  it("holds a given limit for the first ten seconds, wherever the clock begins", () => {
    const start = 1_700_000_000
    const { inFlight } = Kernel.make({ inFlight: 5 }, start)
    expect([0, 9.9, 10].map((seconds) => InFlight.capacity(inFlight, start + seconds))).toEqual([5, 5, 6])
  })

  it("forgives a refusal one below the cap after enough successes", () => {
    const below = { seq: 1, at: 1, count: 4 }
    let state = InFlight.make({ limit: 4 })
    const [verdict, once] = InFlight.refuse(state, below, "nothing", 1.05)
    expect([verdict, once.limit, once.episodes]).toEqual(["in-flight", 4, 1])
    state = once
    for (let seq = 2; seq < 19; seq++) state = InFlight.succeed(state, seq, 2, 2)
    expect([state.episodes, state.clean]).toEqual([1, 17])
    state = InFlight.succeed(state, 19, 2, 2)
    expect([state.episodes, state.clean, state.limit]).toEqual([0, 0, 4])
  })

  it("probes half as often after each probe refused, and at least every four minutes", () => {
    let state = InFlight.make({ limit: 4 })
    const waits = Array.from({ length: 6 }, (_, seq) => {
      const at = state.probeAt
      const probing = InFlight.send(state, seq, 5, at)
      expect([probing.aboveSeq, probing.aboveAt]).toEqual([seq, at])
      const [verdict, refused] = InFlight.refuse(probing, { seq, at, count: 5 }, "nothing", at + 0.05)
      expect([verdict, refused.limit, refused.aboveSeq, refused.aboveAt]).toEqual(["in-flight", 4, -1, -1])
      state = refused
      return refused.probeEvery
    })
    expect(waits).toEqual([20, 40, 80, 160, 240, 240])
  })
})

describe("LaneOutage, edges", () => {
  it("learns no run from a failure that 32 attempts have overtaken, only how long it took", () => {
    let state = Outage.initial
    for (let seq = 0; seq < 40; seq++) state = Outage.send(state, seq, 0)
    const late = Outage.fail(state, 7, 0, 1)
    expect([late.down, late.failed]).toEqual([false, 0])
    expect(late.failureSeconds).toBeCloseTo(0.335, 9)
    expect(Outage.fail(state, 8, 0, 1).failed).not.toBe(0)
  })

  it("ignores, while down, every failure but the probe's", () => {
    let state = Outage.initial
    for (let seq = 0; seq < 40; seq++) state = Outage.send(state, seq, 0)
    for (let seq = 35; seq < 40; seq++) state = Outage.fail(state, seq, 0, 0.05)
    expect(state.down).toBe(true)
    const probing = Outage.send(state, 40, 1)
    expect(Outage.fail(probing, 3, 0, 1.1)).toMatchObject({ down: true, probe: 40, probeAt: state.probeAt })
    expect(Outage.fail(probing, 40, 1, 1.1, 9)).toMatchObject({ down: true, probe: -1, probeAt: 10.1 })
  })
})

describe("LaneQueue, edges", () => {
  const entry = (level: number, retry = false, tokens = 1): Queue.Entry => ({
    level,
    retry,
    stream: false,
    tokens,
    order: 0,
    gone: false
  })

  it("gives each entry back once, taken or removed, after any list of events", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed)
      const queue = Queue.make<Queue.Entry>()
      const waiting = new Set<Queue.Entry>()
      const levels = 1 + Math.floor(random() * 30)
      const adds = 0.35 + random() * 0.3
      for (let i = 0; i < 600; i++) {
        const what = random()
        if (what < adds) {
          const one = entry(Math.floor(random() * levels), random() < 0.3, Math.floor(random() * 50))
          waiting.add(one)
          Queue.add(queue, one)
        } else if (what < 0.75) {
          const one = [...waiting][Math.floor(random() * waiting.size)]
          if (one === undefined) continue
          waiting.delete(one)
          Queue.remove(queue, one)
        } else {
          const taken = Queue.take(queue)
          law(taken === undefined ? waiting.size === 0 : waiting.delete(taken)).toBe(true)
          if (taken !== undefined) Queue.remove(queue, taken)
        }
        law(queue.size).toBe(waiting.size)
        law(queue.tokens).toBe([...waiting].reduce((sum, one) => sum + one.tokens, 0))
        law(queue.passed).toBeLessThanOrEqual(Queue.fairness)
      }
      while (queue.size > 0) {
        const taken = Queue.take(queue)
        law(taken !== undefined && waiting.delete(taken)).toBe(true)
      }
      law(waiting.size).toBe(0)
      expect(Queue.take(queue)).toBeUndefined()
    }
  })

  it("forgets a line that nobody waits in once more than sixteen are known", () => {
    const queue = Queue.make<Queue.Entry>()
    for (let level = 17; level >= 0; level--) Queue.add(queue, entry(level))
    for (let i = 0; i < 18; i++) expect(Queue.take(queue)).toBeDefined()
    expect(queue.lines.length).toBe(16)
  })

  it("keeps the order, and drops what is served, in a list of thousands", () => {
    const queue = Queue.make<Queue.Entry>()
    for (let i = 0; i < 3000; i++) Queue.add(queue, entry(200))
    for (let i = 0; i < 3000; i++) {
      law(Queue.take(queue)?.order).toBe(i)
      const list = queue.lines[0]?.short
      law((list?.head ?? NaN) <= Math.max(1024, (list?.items.length ?? 0) / 2)).toBe(true)
    }
    expect(Queue.take(queue)).toBeUndefined()
  })

  it("serves nobody who was marked as gone without being removed", () => {
    const queue = Queue.make<Queue.Entry>()
    const marked = entry(400)
    for (let i = 0; i <= Queue.fairness; i++) Queue.add(queue, entry(0))
    Queue.add(queue, marked)
    marked.gone = true
    // the turn of those passed over comes, and nobody is there
    expect(Array.from({ length: Queue.fairness + 1 }, () => Queue.take(queue)?.level))
      .toEqual(Array.from({ length: Queue.fairness + 1 }, () => 0))
    expect([Queue.peek(queue), Queue.take(queue)]).toEqual([undefined, undefined])
  })
})

describe("LaneKernel, edges", () => {
  const scopes = ["requests", "tokens", "model", "concurrency", "unknown"] as const
  const seconds = (random: () => number) => pick(random, undefined, 0, random() * 3, 500)
  const stated = (random: () => number) =>
    pick(random, undefined, undefined, undefined, 0, -1, NaN, Infinity, 5 + random() * 40, 40)
  const sampled = (random: () => number): Kernel.Sample =>
    pick<() => Kernel.Sample>(
      random,
      () => ({
        _tag: "Success",
        tokens: pick(random, undefined, 0, Math.floor(random() * 3000)),
        requestsPerSecond: stated(random),
        tokensPerSecond: stated(random)
      }),
      () => ({ _tag: "Success" }),
      () => ({ _tag: "Throttled", scope: pick(random, scopes[0], ...scopes), retryAfter: seconds(random) }),
      () => ({ _tag: "Overloaded", retryAfter: seconds(random) }),
      () => ({ _tag: "Failed" }),
      () => ({ _tag: "TimedOut" }),
      () => ({ _tag: "Ignored", sent: random() < 0.5 })
    )()

  it("holds every bound, and balances attempts, after any list of events on a state saved at any time", () => {
    for (let seed = 1; seed <= 24; seed++) {
      const random = seeded(seed)
      const max = pick(random, 1, 3, 20)
      const ceiling = pick(random, 50, Infinity)
      const options: Kernel.Options = {
        maxInFlight: max,
        maxPause: pick(random, 60, 2),
        inFlight: pick(random, undefined, 2),
        requests: { ceiling, known: random() < 0.5 },
        tokens: pick<AdaptiveRate.Options | undefined>(random, undefined, { ceiling: 5000 }, {
          initial: 900,
          known: true
        })
      }
      let state = Kernel.make(options, 0)
      let now = 0
      let blocker: Kernel.Blocker | undefined
      const open: Array<Kernel.Ticket> = []
      for (let i = 0; i < 300; i++) {
        now += random() * random()
        if (random() < 0.02) state = structuredClone(state)
        const [decisions, advanced] = Kernel.advance(state, now)
        state = advanced
        // the end of a search is told although the rate stays
        for (const one of decisions) if (one.reason !== "settled") expect(one.from).not.toBe(one.to)
        const [wait, by] = Kernel.wait(state, now)
        law(wait).toBeGreaterThanOrEqual(0)
        law(wait === 0).toBe(by === undefined)
        if (wait === Infinity) law(open.length).toBeGreaterThan(0)
        if (wait === 0) {
          const [ticket, next] = Kernel.admit(state, pick(random, 0, Math.floor(random() * 2000)), blocker, now)
          law(ticket.count).toBe(open.push(ticket))
          state = next
        }
        blocker = by
        if (random() < 0.5) {
          const ticket = open.splice(Math.floor(random() * open.length), 1)[0]
          if (ticket !== undefined) state = Kernel.settle(state, ticket, sampled(random), now)[1]
        }
        law(state.count).toBe(open.length)
        law(state.count).toBeLessThanOrEqual(max)
        law(state.inFlight.limit).toBeGreaterThanOrEqual(1)
        law(state.requests.rate).toBeGreaterThanOrEqual(state.requests.lowest)
        law(state.requests.rate).toBeLessThanOrEqual(ceiling)
        law(state.tokens.rate).toBeGreaterThanOrEqual(state.tokens.lowest)
        law(state.tokens.rate).toBeLessThanOrEqual(state.tokens.ceiling)
        law(state.pausedUntil).toBeLessThanOrEqual(now + state.maxPause)
        const ahead = { requests: 3, tokens: 100, streams: 0 }
        const kind = { taken: state.count, heldSoFar: 0, waiting: 3, seconds: 5 }
        const places = { cap: max, most: max, keeps: Infinity, short: kind, streams: { ...kind, taken: 0 }, front: 3 }
        for (const stream of [false, true]) {
          law(Estimate.estimate(state, ahead, places, stream, Estimate.initial, now)).toBeGreaterThanOrEqual(0)
        }
      }
      for (const ticket of open) state = Kernel.settle(state, ticket, { _tag: "Success" }, now + 1)[1]
      law(state.count).toBe(0)
    }
  }, 30_000)

  it("refuses a pause out of range", () => {
    expect(() => Kernel.make({ maxPause: 0 })).toThrow(
      new RangeError("LaneKernel.make: maxPause must be in (0, Infinity], got 0")
    )
  })

  it("takes over the rates that a success states, once, and paces tokens from then on", () => {
    const success = { _tag: "Success", requestsPerSecond: 40, tokensPerSecond: 9000 } as const
    const [first, one] = Kernel.admit(Kernel.make({}, 0), 100, undefined, 1)
    const [told, known] = Kernel.settle(one, first, success, 1.5)
    expect(told).toEqual([
      { subject: "requests", reason: "provider-said", from: 10, to: 40 },
      { subject: "tokens", reason: "provider-said", from: Infinity, to: 9000 }
    ])
    expect([known.requests.rate, known.tokens.rate, known.tokensPaced]).toEqual([40, 9000, true])
    const [second, two] = Kernel.admit(known, 100, undefined, 2)
    expect(Kernel.settle(two, second, success, 2.5)[0]).toEqual([])
  })

  it("says that the rate of tokens moved by itself", () => {
    let state = Kernel.make({ tokens: { ceiling: 5000, initial: 1000 }, requests: { ceiling: 10 } }, 0)
    state = Kernel.admit(state, 100, "tokens", 0.1)[1]
    const [decisions, grown] = Kernel.advance(state, 0.5)
    expect(decisions).toEqual([{ subject: "tokens", reason: "start-grew", from: 1000, to: grown.tokens.rate }])
    expect(grown.tokens.rate).toBe(2000)
  })

  it("makes up for a pause gently, attempt by attempt", () => {
    const idle = Kernel.make({
      requests: { initial: 10, known: true },
      tokens: { initial: 1000, known: true }
    }, 0)
    const owing: Kernel.State = { ...idle, requestsOwed: 0.3 }
    const [, once] = Kernel.admit(owing, 100, undefined, 1)
    expect([once.requestsOwed, once.requestDebt.units]).toEqual([0.3 - Kernel.defaults.makeUp, 0.8])
    const [, twice] = Kernel.admit(once, 100, undefined, 2)
    expect(twice.requestsOwed).toBe(0)
    expect(Kernel.admit(twice, 100, undefined, 3)[1].requestDebt.units).toBe(1)
  })

  it("owes what a pause held back where the bucket is known to hold it", () => {
    const idle = Kernel.make({ requests: { initial: 10, known: true } }, 0)
    const deep = { ...idle, requests: changed(idle.requests, { bucket: { burst: 12 } }) }
    const [ticket, sent] = Kernel.admit(deep, 0, undefined, 1)
    const [, paused] = Kernel.settle(sent, ticket, { _tag: "Throttled", scope: "tokens", retryAfter: 0.5 }, 1.05)
    expect(paused.requestsOwed).toBe(5)
  })

  it("finds no evidence for tokens in a nameless refusal of a call without any", () => {
    const [ticket, sent] = Kernel.admit(Kernel.make({}, 0), 0, undefined, 1)
    const [decisions, state] = Kernel.settle(sent, ticket, { _tag: "Throttled", scope: "unknown" }, 1.05)
    expect([state.tokenEvidence, state.tokensPaced]).toEqual([0, false])
    expect(decisions.map((one) => one.reason)).toEqual(["start-refused", "no-hint"])
  })

  it("cuts the rate of tokens once for two refusals of one episode", () => {
    const refusal = { _tag: "Throttled", scope: "tokens", retryAfter: 1 } as const
    const [first, one] = Kernel.admit(Kernel.make({ tokens: { initial: 1000, ceiling: 1000 } }, 0), 100, undefined, 1)
    const [second, two] = Kernel.admit(one, 100, undefined, 1.01)
    const [cut, after] = Kernel.settle(two, first, refusal, 1.1)
    expect(cut.map((each) => each.subject)).toEqual(["tokens", "pause"])
    const [again, last] = Kernel.settle(after, second, refusal, 1.2)
    expect(again).toEqual([])
    expect([last.tokens.rate, last.tokens.traffic.refused]).toEqual([after.tokens.rate, 200])
  })

  describe("mirrors", () => {
    const tokens: Kernel.Sample = { _tag: "Throttled", scope: "tokens", retryAfter: 1 }
    const requests: Kernel.Sample = { _tag: "Throttled", scope: "requests", retryAfter: 1 }
    const unknown: Kernel.Sample = { _tag: "Throttled", scope: "unknown", retryAfter: 1 }

    /** Sends ten calls a second of 500 tokens for two seconds, and has the last refused. */
    const refused = (sample: Kernel.Sample, options: Kernel.Options = {}): Kernel.State => {
      let state = Kernel.make({ requests: { initial: 100 }, ...options }, 0)
      let last: Kernel.Ticket | undefined
      for (let i = 0; i < 21; i++) {
        const [ticket, next] = Kernel.admit(state, 500, undefined, i * 0.1)
        last = ticket
        state = next
      }
      if (last === undefined) throw new Error("nothing was sent")
      return Kernel.settle(state, last, sample, 2.05)[1]
    }

    it("mirrors tokens from their first refusal on, and requests from the first of them after that", () => {
      const before = refused(requests)
      expect([before.requestMirror, before.tokenMirror]).toEqual([undefined, undefined])
      const paced = refused(tokens)
      expect(paced.tokenMirror).toBeDefined()
      expect(paced.requestMirror).toBeUndefined()
      const [ticket, sent] = Kernel.admit(paced, 500, "tokens", 4)
      const [decisions, both] = Kernel.settle(sent, ticket, requests, 4.05)
      expect(both.requestMirror).toBeDefined()
      expect(decisions[0]).toMatchObject({ subject: "requests", reason: "start-refused", from: 100 })
      const [again, third] = Kernel.admit(both, 500, "requests", 6)
      const [more, after] = Kernel.settle(third, again, requests, 6.05)
      expect(more.map((one) => one.subject)).toEqual(["requests", "pause"])
      expect(after.requests.rate).toBeLessThanOrEqual(both.requests.rate)
    })

    it("learns nothing from the refusal of an attempt that was sent before the last cut", () => {
      const paced = refused(tokens)
      const [first, one] = Kernel.admit(paced, 500, "tokens", 4)
      const [second, two] = Kernel.admit(one, 500, "tokens", 4.01)
      const [, cut] = Kernel.settle(two, first, tokens, 4.05)
      const [decisions, same] = Kernel.settle(cut, second, tokens, 4.06)
      expect(decisions).toEqual([])
      expect([same.tokens.rate, same.tokens.traffic.refused]).toEqual([
        cut.tokens.rate,
        cut.tokens.traffic.refused + 500
      ])
      const unmirrored = { ...paced, tokenMirror: undefined }
      expect(Kernel.settle({ ...two, tokenMirror: undefined, tokens: cut.tokens }, second, tokens, 4.06)[1].tokenMirror)
        .toBe(unmirrored.tokenMirror)
    })

    it("shows the rate of the mirror, within the caps, and keeps to a cap of tokens", () => {
      const capped = refused(tokens, { tokens: { ceiling: 800 } })
      expect(capped.tokens.rate).toBeLessThanOrEqual(800)
      const idle = { ...capped, pausedUntil: 0 }
      const [, sent] = Kernel.admit(idle, 8000, undefined, 60)
      const [wait, by] = Kernel.wait(sent, 60, 1)
      expect(by).toBe("tokens")
      expect(wait).toBeGreaterThan(9)
      const [, later] = Kernel.advance(sent, 61)
      expect(later.tokens.rate).toBeLessThanOrEqual(800)
      expect(later.tokenMirror?.pending).toEqual([])
    })

    it("begins near a rate that was given", () => {
      const given = refused(tokens, { tokens: { initial: 9000, known: true } })
      expect(given.tokens.rate).toBeLessThanOrEqual(9000)
      // 10,000 were admitted in two seconds before it was refused
      expect(given.tokens.rate).toBeGreaterThan(5000)
    })

    it("mirrors limits from the start where both are known, and only tokens where requests are not", () => {
      const known = { initial: 100, known: true }
      const both = Kernel.make({ requests: known, tokens: known }, 0)
      expect([both.requestMirror?.before, both.tokenMirror?.before]).toEqual([100, 100])
      const tokens = Kernel.make({ tokens: known }, 0)
      expect([tokens.requestMirror, tokens.tokenMirror?.before]).toEqual([undefined, 100])
      expect(Kernel.make({ requests: known }, 0).tokenMirror).toBeUndefined()
    })

    it("moves its mirrors to limits that a success states", () => {
      const paced = refused(tokens)
      const [ticket, sent] = Kernel.admit(paced, 500, "tokens", 4)
      const [, both] = Kernel.settle(sent, ticket, requests, 4.05)
      const [answered, asked] = Kernel.admit(both, 500, "tokens", 6)
      const stated: Kernel.Sample = { _tag: "Success", requestsPerSecond: 40, tokensPerSecond: 7000 }
      const [decisions, told] = Kernel.settle(asked, answered, stated, 8)
      expect(decisions.map((one) => [one.subject, one.reason])).toEqual([
        ["requests", "provider-said"],
        ["tokens", "provider-said"]
      ])
      const rates = Kernel.advance(told, 9)[1]
      expect(rates.requests.rate / 40).toBeCloseTo(1, 1)
      expect(rates.tokens.rate / 7000).toBeCloseTo(1, 1)
    })

    it("takes a refusal that names nothing for the limit whose mirror expected it", () => {
      const paced = { ...refused(tokens), pausedUntil: 0 }
      const [, large] = Kernel.admit(paced, 90_000, "tokens", 30)
      const [huge, sent] = Kernel.admit(large, 500, "tokens", 30.01)
      expect(Kernel.settle(sent, huge, unknown, 30.06)[1].tokens.traffic.refused).toBe(
        sent.tokens.traffic.refused + 500
      )
      const [small, few] = Kernel.admit(paced, 1, undefined, 3000)
      const [decisions, both] = Kernel.settle(few, small, unknown, 3000.05)
      expect(decisions[0]?.subject).toBe("requests")
      const [, second] = Kernel.admit({ ...both, pausedUntil: 0 }, 1, "requests", 3000.06)
      const [next, third] = Kernel.admit(second, 1, "requests", 3000.07)
      expect(Kernel.settle(third, next, unknown, 3000.11)[1].requests.traffic.refused).toBe(
        third.requests.traffic.refused + 1
      )
    })
  })
})

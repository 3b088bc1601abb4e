import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as InFlight from "../../../src/policy/lane/LaneInFlight.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import { bucket } from "../../guard/lanes.ts"
import { events, laws, whole } from "../events.ts"

/** Each run of these is long. */
const fewer = { arbitrary: { ...laws.arbitrary, runs: 40 } } as const

const refusal: Kernel.Sample = { _tag: "Throttled", scope: "tokens" }

/** The ends of attempts that were sent and not refused. */
const ends: ReadonlyArray<Kernel.Sample> = [
  { _tag: "Success" },
  { _tag: "Overloaded" },
  { _tag: "Failed" },
  { _tag: "TimedOut" },
  { _tag: "Ignored", sent: true }
]

const endOf = (among: ReadonlyArray<Kernel.Sample>, kind: number): Kernel.Sample => {
  const sample = among[kind % among.length]
  if (sample === undefined) throw new Error("there is no end to choose from")
  return sample
}

/** Waits out what a lane waits for, and sends an attempt; the lane has none in flight. */
const sentNext = (before: Kernel.State, from: number): readonly [Kernel.Ticket, Kernel.State, number] => {
  let state = before
  let now = from
  while (true) {
    state = Kernel.advance(state, now)[1]
    const [seconds, by] = Kernel.wait(state, now, 100)
    if (seconds === 0) {
      const [ticket, next] = Kernel.admit(state, 100, by, now)
      return [ticket, next, now]
    }
    now += seconds
  }
}

/** Sends attempts one after another that all end the same. */
const series = (count: number, sample: Kernel.Sample, options: Kernel.Options = {}) => {
  let state = Kernel.make(options)
  let now = 0
  for (let i = 0; i < count; i++) {
    const [ticket, next, at] = sentNext(state, now)
    now = at + 0.05
    state = Kernel.settle(next, ticket, sample, now)[1]
  }
  return { state, now }
}

const limitsOf = ({ inFlight, requests, tokens }: Kernel.State) => [requests.rate, tokens.rate, inFlight.limit]

describe("LaneKernel, after a night in which the machine slept", () => {
  it.each([20, 40, 60, 80])("takes no refusals for a measure of the night, after %d s of work", (seconds) => {
    const refused: Kernel.Sample = { _tag: "Throttled", scope: "tokens", retryAfter: 1 }
    const take = bucket(3000, 3000)
    let state = Kernel.make()
    let now = 0
    let blocker: Kernel.Blocker | undefined
    while (now < seconds) {
      state = Kernel.advance(state, now)[1]
      const [wait, by] = Kernel.wait(state, now, 300)
      if (wait > 0) {
        now += wait
        blocker = by
      } else {
        const [ticket, next] = Kernel.admit(state, 300, blocker, now)
        const sample = take(now, 300) ? { _tag: "Success" } as const : refused
        now += 0.005
        state = Kernel.settle(next, ticket, sample, now)[1]
      }
    }
    const { rate } = state.tokens
    expect(rate).toBeGreaterThan(2000)
    now += 28_800
    state = Kernel.stoodStill(state, 28_800)
    for (const sample of [refused, { _tag: "Failed" } as const, refused]) {
      const [ticket, next] = Kernel.admit(state, 300, blocker, now)
      state = Kernel.settle(next, ticket, sample, now + 0.05)[1]
      now += 1.1
    }
    expect(state.tokens.rate).toBeGreaterThan(rate / 10)
  })
})

describe("AdaptiveRate, in a probe", () => {
  const probing = (limit: number): AdaptiveRate.State => ({
    ...AdaptiveRate.make({ initial: limit, known: true }),
    phase: "probe"
  })

  const speeds = Arbitrary.array(Arbitrary.all({ perSecond: whole(1, 60), ms: whole(200, 6000) }), { maxLength: 10 })

  it.prop("rises to no more than 1.5 times what was sent in the last two to four seconds", [speeds], ([list]) => {
    let state = probing(10)
    let now = 0
    const sends: Array<number> = []
    for (const { ms, perSecond } of list) {
      for (let i = 0; i < perSecond * ms / 1000; i++) {
        now += 1 / perSecond
        sends.push(now)
        state = AdaptiveRate.send(state, 1, true, now)
        const { rate } = state
        state = AdaptiveRate.advance(state, now)[1]
        if (state.rate === rate || now < 3) continue
        // a gap of a second at the most comes on top of two and of four
        const uses = sends.flatMap((from, index) =>
          now - from >= 2 && now - from <= 5 ? [(sends.length - index) / (now - from)] : []
        )
        expect(state.rate).toBeLessThanOrEqual(1.5 * Math.max(...uses) + 1e-9)
      }
    }
  }, fewer)

  it("does not rise for what was sent before, once little is", () => {
    let state = probing(10)
    for (let i = 1; i <= 400; i++) state = AdaptiveRate.send(state, 1, true, i / 40)
    for (let i = 1; i <= 30; i++) state = AdaptiveRate.send(state, 1, true, 10 + i / 5)
    expect(AdaptiveRate.advance(state, 16)[1].rate).toBe(10)
  })

  it("grows exponentially far above the limit from which it began, where all is used", () => {
    let state = probing(1)
    let now = 0
    const reached = (rate: number): number => {
      while (state.rate < rate && now < 120) {
        now += 1 / state.rate
        state = AdaptiveRate.advance(AdaptiveRate.send(state, 1, true, now), now)[1]
      }
      return now
    }
    const fifteen = reached(15)
    const sixty = reached(60)
    const more = reached(240)
    expect(fifteen).toBeLessThan(14)
    // four times as much takes as long, wherever it begins
    expect(sixty - fifteen).toBeLessThan(8)
    expect(more - sixty).toBeLessThan(8)
  })

  it("ends where more is sent and comes back, though nothing was refused", () => {
    let state = AdaptiveRate.make({ initial: 10, known: true })
    let level = 10
    let last = 0
    const phases: Array<AdaptiveRate.Phase> = []
    for (let now = 0; now < 60; now += 1 / state.rate) {
      level = Math.min(10, level + 10 * (now - last))
      last = now
      state = AdaptiveRate.send(state, 1, true, now)
      if (level < 1) state = AdaptiveRate.withdraw(state, 1, now)
      else level--
      state = AdaptiveRate.advance(state, now)[1]
      if (phases.at(-1) !== state.phase) phases.push(state.phase)
    }
    // it went on at one and a half times the limit for good
    expect(phases.slice(0, 3)).toEqual(["hold", "probe", "hold"])
    expect(state.limit).toBeLessThan(11)
  })
})

describe("AdaptiveRate, whose lowest rate is above the limit", () => {
  /** Refuses every other attempt, at the rate that is learned. */
  const alternating = (count: number): AdaptiveRate.State => {
    let state = AdaptiveRate.make({ initial: 0.02, known: true })
    let now = 0
    for (let i = 0; i < count; i++) {
      now += 1 / state.rate
      const stamp = { at: now, sent: state.traffic.sent, cost: 1 }
      state = AdaptiveRate.send(state, 1, true, now)
      if (i % 3 === 2) state = AdaptiveRate.refuse(state, stamp, now + 0.05)[1]
    }
    return state
  }

  it("falls below it where refusals come between admissions, to a sixteenth at the most", () => {
    expect(alternating(12).rate).toBeLessThan(0.019)
    const { lowest, rate } = alternating(600)
    expect(lowest).toBe(0.02 / 16)
    expect(rate).toBeGreaterThanOrEqual(lowest)
  })
})

describe("AdaptiveRate, told a limit", () => {
  /** A learner that was told 600, and then refused at 10 until it believed less than that. */
  const disproved = (): readonly [AdaptiveRate.State, number] => {
    let state = AdaptiveRate.told(AdaptiveRate.make(), 600, 1, 1)[1]
    let now = 1
    for (let i = 0; i < 20; i++) {
      now += 1
      const stamp = { at: now, sent: state.traffic.sent, cost: 1 }
      state = AdaptiveRate.refuse(AdaptiveRate.send(state, 1, true, now), stamp, now + 0.05)[1]
    }
    return [state, now + 1]
  }

  it("does not believe as much again once refusals disproved it, whatever is said in between", () => {
    const [state, now] = disproved()
    expect(state.rate).toBeLessThan(60)
    for (const stated of [600, 570, 630, 6000]) {
      const [move, kept] = AdaptiveRate.told(state, stated, now, now)
      expect([move, kept.rate, kept.phase]).toEqual([undefined, state.rate, state.phase])
    }
    const [, right] = AdaptiveRate.told(state, 10, now, now)
    expect([right.phase, right.rate]).toEqual(["hold", 10])
    for (const stated of [600, 570, 630]) expect(AdaptiveRate.told(right, stated, now, now)[1].rate).toBe(10)
    expect(AdaptiveRate.told(right, 300, now, now)[1].rate).toBe(20)
  })

  it("believes as much again once less was stated alone for five seconds: the limit fell, and is back", () => {
    const [state, now] = disproved()
    const [, fallen] = AdaptiveRate.told(state, 10, now, now)
    expect(AdaptiveRate.told(fallen, 600, now + 4.9, now + 6)[1].rate).toBe(10)
    expect(AdaptiveRate.told(fallen, 600, now + 5, now + 6)[1].rate).toBe(20)
  })

  it("tries what is stated far above what was refused from twice that on, and goes no further", () => {
    const [state, from] = disproved()
    let tried = AdaptiveRate.told(AdaptiveRate.told(state, 10, from, from)[1], 300, from + 1, from + 1)[1]
    const rates = [tried.rate]
    for (let now = from + 1; tried.phase === "start"; now += 0.25) {
      tried = AdaptiveRate.advance(AdaptiveRate.send(tried, 1, true, now), now)[1]
      if (tried.rate !== rates.at(-1)) rates.push(tried.rate)
    }
    expect([rates[0], tried.phase, tried.rate]).toEqual([20, "hold", 300])
    expect(rates.length).toBeGreaterThan(5)
    expect(rates).toEqual(rates.toSorted((one, other) => one - other))
  })

  it("goes back at once where what is stated far above is refused before it was used, and does not try it again", () => {
    const [state, now] = disproved()
    const right = AdaptiveRate.told(state, 10, now, now)[1]
    let tried = AdaptiveRate.told(right, 300, now + 1, now + 1)[1]
    tried = AdaptiveRate.send(tried, 1, true, now + 2)
    const back = AdaptiveRate.refuse(tried, { at: now + 2, sent: tried.traffic.sent - 1, cost: 1 }, now + 2.2)[1]
    expect([back.phase, back.rate]).toEqual([right.phase, 10])
    for (const stated of [300, 310]) expect(AdaptiveRate.told(back, stated, now + 3, now + 3)[1].rate).toBe(10)
  })

  it("goes by the lower of two limits that are stated by turns", () => {
    let [state, now] = disproved()
    for (let i = 0; i < 30; i++) {
      now += 1
      state = AdaptiveRate.told(state, i % 2 === 0 ? 10 : 600, now, now)[1]
      expect(state.rate).toBe(10)
    }
  })

  it("does not go back to what was stated to an attempt that was sent earlier", () => {
    const [, state] = AdaptiveRate.told(AdaptiveRate.make(), 20, 5, 6)
    expect(AdaptiveRate.told(state, 60, 4, 7)).toEqual([undefined, state])
    expect(AdaptiveRate.told(state, 60, 6, 7)[1].rate).toBe(60)
  })

  it("takes what is stated below its lowest rate for that", () => {
    const [move, state] = AdaptiveRate.told(AdaptiveRate.make(), 0.001, 1, 1)
    expect(move).toEqual({ from: 10, to: 0.02, reason: "provider-said" })
    expect([state.rate, state.limit]).toEqual([0.02, 0.02])
  })
})

describe("LaneKernel, refused in vain", () => {
  it("keeps the rate of tokens at the lowest rate of requests, times the tokens of a call", () => {
    let state = Kernel.make()
    let now = 0
    const rates: Array<number> = []
    for (let i = 0; i < 100; i++) {
      const [ticket, next, at] = sentNext(state, now)
      now = at + (i < 20 ? 1 : 0.05)
      state = Kernel.settle(next, ticket, i < 20 ? { _tag: "Success" } : refusal, now)[1]
      if (i >= 20) rates.push(state.tokens.rate)
    }
    expect(Math.min(...rates)).toBeGreaterThanOrEqual(0.02 * 100)
    expect(Math.min(...rates)).toBeLessThan(0.021 * 100)
    const capped = series(100, refusal, { tokens: { ceiling: 1 } })
    expect(capped.state.tokens.rate).toBeLessThanOrEqual(1)
  })
})

describe("LaneKernel, whose attempts time out", () => {
  /** Sends attempts at once, of which so many have failed. */
  const burst = (count: number, failures: number): readonly [Array<Kernel.Ticket>, Kernel.State] => {
    let state = Kernel.make()
    const tickets = Array.from({ length: count }, () => {
      const [ticket, next] = Kernel.admit(state, 100, undefined, 0)
      state = next
      return ticket
    })
    for (const ticket of tickets.splice(0, failures)) state = Kernel.settle(state, ticket, { _tag: "Failed" }, 0.05)[1]
    return [tickets, state]
  }

  it.prop("changes no limit for one that was alone, or in an outage, after any list of events", [
    events,
    whole(0, 1)
  ], ([list, outage]) => {
    const begun = burst(30 * outage, 8 * outage)
    const [open] = begun
    let [, state] = begun
    expect(state.outage.down).toBe(outage === 1)
    let now = 0.1
    for (const { amount, draw, kind, ms } of list) {
      now += ms / 1000
      state = Kernel.advance(state, now)[1]
      for (let i = 0; i < amount && Kernel.wait(state, now, 100)[0] === 0; i++) {
        const [ticket, next] = Kernel.admit(state, 100, undefined, now)
        state = next
        open.push(ticket)
      }
      const [ticket] = open.splice(draw % Math.max(1, open.length), 1)
      if (ticket === undefined) continue
      const sample = kind === 0 ? refusal : endOf(ends, kind - 1)
      const before = state
      state = Kernel.settle(state, ticket, sample, now + 0.02)[1]
      const { down, silent, since } = before.outage
      // one that was sent before a silence may have caused it
      const isNone = sample._tag === "TimedOut" && (before.count === 1 || (down && !(silent && ticket.at < since)))
      if (isNone) expect(limitsOf(state)).toEqual(limitsOf(before))
    }
    // and for one that is sent when all have ended
    for (const ticket of open) state = Kernel.settle(state, ticket, { _tag: "Success" }, now + 1)[1]
    const [ticket, alone, at] = sentNext(state, now + 1)
    expect(limitsOf(Kernel.settle(alone, ticket, { _tag: "TimedOut" }, at + 1)[1])).toEqual(limitsOf(alone))
  }, fewer)

  it("shrinks the limit of calls in flight only where several were under way", () => {
    const limitOf = (count: number): number => {
      const [tickets, state] = burst(count, 0)
      return tickets.slice(0, 8).reduce((was, ticket) => Kernel.settle(was, ticket, { _tag: "TimedOut" }, 20)[1], state)
        .inFlight.limit
    }
    expect([limitOf(1), limitOf(2), limitOf(20)]).toEqual([Infinity, Infinity, 3])
  })
})

describe("LaneKernel, under caps of the user", () => {
  const steps = Arbitrary.array(
    Arbitrary.all({ seconds: whole(0, 5), kind: whole(0, 4), slow: whole(0, 1) }),
    { minLength: 30, maxLength: 40 }
  )

  it.prop(
    "lets no minute have more than the cap, however attempts end that were sent",
    [steps, whole(0, 1)],
    ([list, of]) => {
      let state = Kernel.make(of === 0 ? { requests: { ceiling: 1 } } : { tokens: { ceiling: 100 } })
      let now = 0
      const sent: Array<number> = []
      const open: Array<Kernel.Ticket> = []
      for (const { kind, seconds, slow } of list) {
        const until = now + seconds
        while (now <= until) {
          state = Kernel.advance(state, now)[1]
          const [wait, by] = Kernel.wait(state, now, 100)
          if (wait === 0) {
            const [ticket, next] = Kernel.admit(state, 100, by, now)
            state = next
            sent.push(now)
            open.push(ticket)
          } else {
            now = Math.min(now + wait, until + 0.001)
          }
        }
        for (const ticket of open.splice(slow)) state = Kernel.settle(state, ticket, endOf(ends, kind), now)[1]
      }
      sent.forEach((at, i) => {
        const minute = sent.slice(i).filter((one) => one < at + 60).length
        expect(minute).toBeLessThanOrEqual(61)
      })
    },
    laws
  )

  it("has a place again for an attempt that was never sent, and only for that", () => {
    const waitAfter = (sample: Kernel.Sample): number => {
      const made = Kernel.make({ requests: { ceiling: 1 }, tokens: { ceiling: 100 } })
      const [ticket, sent] = Kernel.admit(made, 100, undefined, 0)
      return Kernel.wait(Kernel.settle(sent, ticket, sample, 0.1)[1], 0.1, 100)[0]
    }
    expect(waitAfter({ _tag: "Ignored", sent: false })).toBe(0)
    for (const end of ends) expect(waitAfter(end), end._tag).toBeCloseTo(0.9, 6)
  })

  it("may use no more at once than a second's worth of places that came back", () => {
    let state = Kernel.make({ requests: { ceiling: 1 } })
    const send = (now: number): Kernel.Ticket => {
      const [ticket, next] = Kernel.admit(state, 100, undefined, now)
      state = next
      return ticket
    }
    const tickets = Array.from({ length: 6 }, () => send(0))
    for (const ticket of tickets) state = Kernel.settle(state, ticket, { _tag: "Ignored", sent: false }, 10)[1]
    let sent = 0
    for (; Kernel.wait(state, 10, 100)[0] === 0; sent++) send(10)
    expect(sent).toBe(2)
  })

  it("is given back tokens that were not used, asked for more that were, and keeps those of a failure", () => {
    const waitAfter = (sample: Kernel.Sample): number => {
      const made = Kernel.make({ tokens: { ceiling: 100 } })
      const [ticket, sent] = Kernel.admit(made, 500, undefined, 0)
      return Kernel.wait(Kernel.settle(sent, ticket, sample, 1)[1], 1, 500)[0]
    }
    const waits = [0, 50, 300, 500, 700].map((tokens) => waitAfter({ _tag: "Success", tokens }))
    expect(waits).toEqual([0, 0, 2, 4, 6].map((seconds) => expect.closeTo(seconds, 6)))
    expect(waitAfter({ _tag: "Failed" })).toBeCloseTo(4, 6)
  })
})

describe("LaneKernel, in an outage", () => {
  const probes = Arbitrary.array(Arbitrary.all({ ms: whole(0, 240), draw: whole(0, 1) }), { maxLength: 20 })

  it.prop("stays in it where a probe was ignored, sent or not, and sends the next", [probes], ([list]) => {
    let { now, state } = series(10, { _tag: "Failed" })
    expect(state.outage.down).toBe(true)
    for (const { draw, ms } of list) {
      const [ticket, probing, at] = sentNext(state, now)
      now = at + ms / 1000
      state = Kernel.settle(probing, ticket, { _tag: "Ignored", sent: draw === 0 }, now)[1]
      now += 2
      state = Kernel.advance(state, now)[1]
      expect(state.outage.down).toBe(true)
    }
    const [ticket, probing, at] = sentNext(state, now)
    expect(Kernel.settle(probing, ticket, { _tag: "Success" }, at + 0.2)[1].outage.down).toBe(false)
  }, fewer)
})

describe("LaneKernel, at the start, whose attempts fail", () => {
  /** Sends without end for ten seconds; a failure comes after 20 ms, an answer after half a second. */
  const rateAfter = (fails: (now: number, attempt: number) => boolean): number => {
    let state = Kernel.make()
    let blocker: Kernel.Blocker | undefined
    const under: Array<readonly [ends: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []
    for (let ms = 0; ms < 10_000; ms += 5) {
      const now = ms / 1000
      for (const one of under.filter(([ends]) => ends <= now)) {
        under.splice(under.indexOf(one), 1)
        state = Kernel.settle(state, one[1], one[2], now)[1]
      }
      // a client is not infinitely fast
      for (let sent = 0; sent < 5; sent++) {
        state = Kernel.advance(state, now)[1]
        const [seconds, by] = Kernel.wait(state, now, 100)
        blocker = by ?? blocker
        if (seconds > 0) break
        const [ticket, next] = Kernel.admit(state, 100, blocker, now)
        state = next
        blocker = undefined
        const failed = fails(now, ticket.seq)
        under.push([now + (failed ? 0.02 : 0.5), ticket, { _tag: failed ? "Overloaded" : "Success" }])
      }
    }
    return state.requests.rate
  }

  it("does not race away from a limit that answers 503", () => {
    let admitted = 0
    const rate = rateAfter((now) => admitted >= 20 + 20 * now || ++admitted === 0)
    expect(rate).toBeGreaterThan(20)
    expect(rate).toBeLessThan(200)
  })

  it("grows where as many fail at any rate", () => {
    expect(rateAfter((_, attempt) => attempt % 2 === 1)).toBeGreaterThan(300)
  })
})

describe("LaneKernel, after a call of a million tokens", () => {
  it("waits no longer than minutes, whatever low rate of tokens was learned or loaded", () => {
    for (const rate of [0.02, 1, 100]) {
      let state = Kernel.make({ tokens: { initial: rate, known: true } })
      let now = 0
      const [ticket, sent] = Kernel.admit(state, 1_000_000, undefined, now)
      state = Kernel.settle(sent, ticket, { _tag: "Success" }, now + 60)[1]
      now = 60
      const [next, , at] = sentNext(state, now)
      expect(next.seq).toBe(1)
      expect(at).toBeLessThan(400)
    }
  })
})

describe("LaneKernel, above a cap of calls in flight", () => {
  const probes = Arbitrary.array(Arbitrary.all({ ms: whole(0, 190), kind: whole(0, 3) }), { maxLength: 12 })
  const neutral: ReadonlyArray<Kernel.Sample> = [
    { _tag: "Failed" },
    { _tag: "Overloaded" },
    { _tag: "Ignored", sent: true },
    { _tag: "Ignored", sent: false }
  ]

  it.prop("keeps it where a probe failed or was ignored, and sends another", [whole(1, 30), probes], ([cap, list]) => {
    let state = Kernel.make({ inFlight: cap, requests: { initial: 1000, known: true } })
    for (let i = 0; i < cap; i++) state = Kernel.admit(state, 100, undefined, 0)[1]
    expect(Kernel.wait(state, 9, 100)).toEqual([Infinity, "in-flight"])
    let now = 11
    for (const { kind, ms } of list) {
      // many probes that fail one after another would be an outage
      state = { ...state, outage: { ...state.outage, failed: 0 } }
      const [ticket, probing] = Kernel.admit(Kernel.advance(state, now)[1], 100, undefined, now)
      expect(ticket.count).toBe(cap + 1)
      state = Kernel.settle(probing, ticket, endOf(neutral, kind), now + ms / 1000)[1]
      now += 2
      state = Kernel.advance(state, now)[1]
      expect(state.inFlight.limit).toBe(cap)
      expect(Kernel.wait(state, now, 100)[0]).toBe(0)
    }
    const [, probing] = Kernel.admit(state, 100, undefined, now)
    expect(Kernel.advance(probing, now + 1)[1].inFlight.limit).toBe(cap + 1)
  }, fewer)

  it("raises it by an eighth each time, from the third in a row", () => {
    let state = InFlight.make({ limit: 16 })
    let now = 0
    const raises = Array.from({ length: 5 }, (_, i) => {
      now = Math.max(now + 2, state.probeAt)
      state = InFlight.advance(InFlight.send(state, 100 + i, state.limit + 1, now), now + 0.3)
      return state.limit
    })
    expect(raises).toEqual([17, 18, 21, 24, 27])
    const [, refused] = InFlight.refuse(state, { seq: 200, at: now + 2, count: 28 }, "concurrency", now + 2.05)
    const at = refused.probeAt
    expect(InFlight.advance(InFlight.send(refused, 201, 28, at), at + 0.3).limit).toBe(28)
  })
})

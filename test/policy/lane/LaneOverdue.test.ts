import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Overdue from "../../../src/policy/lane/LaneOverdue.ts"

interface Open {
  readonly ticket: Kernel.Ticket
  readonly endsAt: number
  readonly sample: Kernel.Sample
}

const success: Kernel.Sample = { _tag: "Success" }
const timedOut: Kernel.Sample = { _tag: "TimedOut" }
const failed: Kernel.Sample = { _tag: "Failed" }
const refused: Kernel.Sample = { _tag: "Throttled", scope: "requests", retryAfter: 1 }

/** Sends as fast as the lane lets, 10 ms at a time; `end` says after how many seconds an attempt ends, and how. */
const play = (
  options: Kernel.Options,
  seconds: number,
  end: (at: number, seq: number) => readonly [seconds: number, sample: Kernel.Sample],
  awaited: (sent: number) => boolean = () => true
) => {
  let state = Kernel.make(options, 0)
  let open: ReadonlyArray<Open> = []
  const sent: Array<number> = []
  const rates: Array<number> = []
  const outages: Array<readonly [at: number, reason: string]> = []
  const note = (decisions: ReadonlyArray<Kernel.Decision>, at: number) => {
    for (const { reason, subject } of decisions) if (subject === "outage") outages.push([at, reason])
  }
  for (let tick = 0; tick < seconds * 100; tick++) {
    const now = tick / 100
    for (const { sample, ticket } of open.filter(({ endsAt }) => endsAt <= now)) {
      const [decisions, next] = Kernel.settle(state, ticket, sample, now)
      note(decisions, now)
      state = next
    }
    open = open.filter(({ endsAt }) => endsAt > now)
    let by: Kernel.Blocker | undefined
    for (let i = 0; i < 100; i++) {
      const [decisions, next] = Kernel.advance(state, now)
      note(decisions, now)
      state = next
      const [wait, blocker] = Kernel.wait(state, now, 1)
      if (wait > 0.005) {
        by = blocker
        break
      }
      const [ticket, admitted] = Kernel.admit(state, 1, by ?? "requests", now, awaited(sent.length))
      state = admitted
      const [took, sample] = end(now, ticket.seq)
      sent.push(now)
      open = [...open, { ticket, endsAt: now + took, sample }]
    }
    rates.push(state.requests.rate)
  }
  return { state, sent, rates, outages, open }
}

const known: Kernel.Options = { requests: { initial: 10, ceiling: 10, known: true } }

describe("Lane, where answers are overdue", () => {
  const hang = (ends: (at: number) => readonly [number, Kernel.Sample] = () => [1000, success], options = known) =>
    play(options, 70, (at) => at < 30 || at >= 60 ? [3, success] : ends(at))

  it("takes a provider that hangs for down, and sends single probes until one is answered", () => {
    const { outages, sent, state } = hang()
    expect(outages.map(([, reason]) => reason)).toEqual(["began", "ended"])
    const [began, ended] = [outages[0]![0], outages[1]![0]]
    expect(began).toBeGreaterThan(33)
    expect(began).toBeLessThan(38)
    expect(ended).toBeGreaterThan(63)
    expect(ended).toBeLessThan(65.1)
    const probes = sent.filter((at) => at > began + 0.01 && at < ended - 0.01)
    expect(probes.length).toBeLessThan(20)
    expect(probes.every((at, i) => i === 0 || at - probes[i - 1]! < 2.02)).toBe(true)
    expect(state.outage.silent).toBe(false)
  })

  it("raises no rate on the way there", () => {
    let level = 10
    let last = 0
    const { rates, outages } = play({ requests: { initial: 10, known: true } }, 70, (at) => {
      if (at >= 30) return [1000, success]
      level = Math.min(10, level + (at - last) * 10)
      last = at
      if (level < 1) return [0.05, refused]
      level--
      return [3, success]
    })
    const began = outages[0]![0]
    expect(rates[Math.floor(began * 100) - 1]).toBeLessThanOrEqual(rates[3500]!)
    expect(Math.max(...rates.slice(3500))).toBeLessThan(40)
  })

  it("is up once a refusal comes, or an answer that was overdue", () => {
    for (const end of [[6, refused], [8, success]] as const) {
      const { outages } = hang((at) => at < 31 ? end : [1000, success])
      expect(outages.slice(0, 2).map(([, reason]) => reason)).toEqual(["began", "ended"])
      expect(outages[1]![0]).toBeLessThan(30 + end[0] + 1)
    }
  })

  it("goes on as in any outage where a probe fails", () => {
    const { outages, state } = hang((at) => at < 45 ? [1000, success] : [0.05, failed])
    expect(outages.map(([, reason]) => reason)).toEqual(["began", "ended"])
    expect(state.outage.failureSeconds).toBeCloseTo(0.05)
  })

  it("blames the number of calls once for timeouts of what was sent before, and not for those of probes", () => {
    const { outages, state } = hang(() => [20, timedOut])
    expect(outages.map(([, reason]) => reason)).toEqual(["began", "ended"])
    expect(state.inFlight.limit).toBeGreaterThan(10)
  })

  it("waits longer once answers that took longer than ever ended a silence", () => {
    const { outages } = play(known, 200, (at) => [at < 30 ? 1 : 12, success])
    expect(outages.map(([, reason]) => reason)).toEqual(["began", "ended"])
  })

  it.each([
    ["a tail of slow calls", (_: number, seq: number) => [seq % 20 === 0 ? 40 : 1, success] as const],
    [
      "timeouts of half of all calls",
      (_: number, seq: number) => seq % 2 === 0 ? [20, timedOut] as const : [1, success] as const
    ]
  ])("takes %s for no silence", (_, end) => {
    expect(play(known, 120, end).outages).toEqual([])
  })

  it("learns that answers come together", () => {
    const { outages } = play(known, 50, (at) => [5 * Math.ceil((at + 0.01) / 5) - at + 1, success])
    expect(outages.length).toBeLessThanOrEqual(2)
  })

  it("awaits no call that has failed before", () => {
    const { outages } = play(known, 60, (at) => [at < 40 ? 1 : 1000, success], (sent) => sent <= 300)
    expect(outages).toEqual([])
  })

  it("takes a program that stood still for no silence", () => {
    const { state } = play(known, 30, () => [3, success])
    const later = Kernel.stoodStill(state, 20)
    expect(Kernel.advance(later, 50)[1].outage.down).toBe(false)
    expect(Kernel.advance(state, 50)[1].outage.down).toBe(true)
  })

  it("sends only a few of those at once that fail at once, and makes up for the others", () => {
    const { open, state } = play(known, 30, () => [3, success])
    let now = state
    for (const { ticket } of open.slice(0, 4)) now = Kernel.settle(now, ticket, success, 30)[1]
    let sent = 0
    for (const { ticket } of open.slice(4, 20)) {
      now = Kernel.settle(now, ticket, { _tag: "Overloaded" }, 30)[1]
      if (now.outage.down) break
      while (Kernel.wait(now, 30, 1)[0] === 0) {
        now = Kernel.admit(now, 1, "requests", 30)[1]
        sent++
      }
    }
    expect(sent).toBeLessThanOrEqual(Kernel.defaults.resent + 1)
  })
})

describe("LaneOverdue", () => {
  const usual = { answerSeconds: 1, share: 0 }

  /** Sends so many, one each tenth of a second, after one that was answered. */
  const waiting = (count: number, share = 0): Overdue.State => {
    let state = Overdue.send(Overdue.initial, 1, usual, 0)
    state = Overdue.answer(state, 0, 0, usual, 1)
    for (let i = 0; i < count; i++) state = Overdue.send(state, i + 1, { answerSeconds: 1, share }, 1 + i / 10)
    return state
  }

  it("asks for ten in a row, and for more where many time out", () => {
    expect([9, 10].map((count) => Overdue.is(waiting(count), 100))).toEqual([false, true])
    expect([35, 36].map((count) => Overdue.is(waiting(count, 0.6), 100))).toEqual([false, true])
  })

  it("knows of a thousand that wait when they were sent", () => {
    const state = Overdue.answer(waiting(1000), 500, 500, usual, 101)
    expect(state.marks.length).toBeLessThanOrEqual(Overdue.defaults.marks)
    expect(state.since).toBeGreaterThanOrEqual(52)
    expect(state.since).toBeLessThan(80)
  })

  it("counts none that has ended without an answer", () => {
    expect(Overdue.ended(waiting(10), 5, 9, usual, 3).since).toBe(Infinity)
    const state = Overdue.ended(waiting(40), 5, 39, usual, 6)
    expect(Overdue.ended(state, 0, 38, usual, 6)).toEqual(state)
    expect(Overdue.ended(waiting(3), 2, 2, usual, 3).gone).toBe(1)
  })
})

describe("LaneKernel, before anything was heard", () => {
  it("sends no more than 200, and ten seconds later single probes", () => {
    const { outages, sent } = play({}, 42, () => [Infinity, success])
    expect(sent.filter((at) => at < 10)).toHaveLength(Kernel.defaults.unheard)
    expect(outages.map(([, reason]) => reason)).toEqual(["began"])
    expect(outages[0]?.[0]).toBeGreaterThan(12)
    expect(outages[0]?.[0]).toBeLessThan(14)
    expect(sent.length).toBeLessThan(Kernel.defaults.unheard + 20)
  })

  it("goes on at the first answer, however long it took", () => {
    const { outages, sent } = play({}, 31.5, () => [30, success])
    expect(outages.map(([, reason]) => reason)).toEqual(["began", "ended"])
    expect(outages[1]?.[0]).toBeCloseTo(30, 1)
    expect(sent.filter((at) => at > 30).length).toBeGreaterThan(100)
  })

  it.each([["answer", success], ["failure", failed]] as const)(
    "bounds nothing once one %s was heard",
    (_name, sample) => {
      const { outages, sent } = play({}, 3.2, (_, seq) => seq === 0 ? [1.8, sample] : [Infinity, success])
      expect(outages).toEqual([])
      expect(sent.length).toBeGreaterThan(300)
    }
  )

  it("does not count streams, which may last for minutes", () => {
    const { outages, sent } = play({}, 3.2, () => [60, success], () => false)
    expect(outages).toEqual([])
    expect(sent.length).toBeGreaterThan(300)
  })

  it("bounds nothing where the rate is known", () => {
    const { sent } = play({ requests: { initial: 500, known: true } }, 1, () => [Infinity, success])
    expect(sent.length).toBeGreaterThan(400)
  })
})

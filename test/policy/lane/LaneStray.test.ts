import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Stray from "../../../src/policy/lane/LaneStray.ts"
import * as LaneStrayState from "../../../src/policy/lane/LaneStrayState.ts"
import { laws, seeded, whole } from "../events.ts"

const refusal: Kernel.Sample = { _tag: "Throttled", scope: "unknown" }

/** Is what a provider does with an attempt that is sent at a time. */
type Provider = (now: number) => boolean

/** Refuses a share of all attempts, whatever their rate. */
const byChance = (share: number, seed: number): Provider => {
  const random = seeded(seed)
  return () => random() >= share
}

/** Refuses what a bucket of one second does not hold, and of one attempt at least. */
const bucket = (rate: (now: number) => number): Provider => {
  let level = Math.max(1, rate(0))
  let at = 0
  return (now) => {
    level = Math.min(Math.max(1, rate(now)), level + rate(now) * (now - at))
    at = now
    if (level < 1) return false
    level--
    return true
  }
}

/** Sends attempts, each as soon as the lane lets it, and tells of each after 50 ms, or later. */
const run = (count: number, provider: Provider, options: Kernel.Options = {}, seconds = 0.05) => {
  const heardAfter = seconds
  let state = Kernel.make(options)
  let now = 0
  let refused = 0
  let raised = 0
  const decisions: Array<Kernel.Decision> = []
  let under: Array<readonly [at: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []
  const settle = (until: number): void => {
    for (const [at, ticket, sample] of under.filter(([at]) => at <= until)) {
      const before = state.requests.rate
      const [made, next] = Kernel.settle(state, ticket, sample, at)
      // calls in flight explain the refusals before a cap, too: what those taught of the rate is forgotten
      const isCap = made.some(({ reason }) => reason === "cap-found")
      if (sample._tag === "Throttled" && next.requests.rate > before && !isCap) raised++
      decisions.push(...made)
      state = next
    }
    under = under.filter(([at]) => at > until)
  }
  const advance = (): void => {
    const [made, next] = Kernel.advance(state, now)
    decisions.push(...made)
    state = next
  }
  for (let i = 0; i < count; i++) {
    for (;;) {
      settle(now)
      advance()
      const [seconds, by] = Kernel.wait(state, now, 10)
      if (seconds === 0) {
        const [ticket, next] = Kernel.admit(state, 10, by ?? "requests", now)
        state = next
        const admits = provider(now)
        if (!admits) refused++
        under.push([now + heardAfter, ticket, admits ? { _tag: "Success" } : refusal])
        break
      }
      const heard = Math.min(...under.map(([at]) => at))
      now = Math.min(now + seconds, Math.max(now, heard))
    }
  }
  settle(Infinity)
  return { state, now, refused, raised, reasons: decisions.map(({ reason }) => reason) }
}

/** Holds a lane in a trial, and its clock: of attempts at equal distances, in seconds, each third was refused. */
const inTrial = (every = 30): { state: Kernel.State; now: number } => {
  let state = Kernel.make({ requests: { initial: 20, known: true } })
  let now = 0
  for (let i = 0; state.stray.phase._tag !== "Trial" && i < 1000; i++) {
    now += every
    const [ticket, sent] = Kernel.admit(Kernel.advance(state, now)[1], 10, "requests", now)
    state = Kernel.settle(sent, ticket, i % 3 === 2 ? refusal : { _tag: "Success" }, now + Math.min(0.05, every / 4))[1]
    state = Kernel.advance(state, now + Math.min(0.1, every / 2))[1]
  }
  return { state, now: now + Math.min(0.1, every / 2) }
}

/** Sends an attempt that ends so. */
const send = (before: Kernel.State, now: number, sample: Kernel.Sample, tokens = 10): Kernel.State => {
  const [ticket, sent] = Kernel.admit(Kernel.advance(before, now)[1], tokens, "requests", now)
  return Kernel.settle(sent, ticket, sample, now)[1]
}

const natsOf = ({ stray }: Kernel.State): number => stray.phase._tag === "Trial" ? stray.phase.nats : NaN

const shareOf = ({ stray }: Kernel.State): number => stray.phase._tag === "Watch" ? stray.phase.share : NaN

const count = (reasons: ReadonlyArray<Kernel.Decision["reason"]>, reason: Stray.Reason): number =>
  reasons.filter((one) => one === reason).length

describe("LaneStray", () => {
  it.each([[0.02, 60], [0.05, 90], [0.1, 120], [0.2, 200], [0.4, 400], [0.6, 1000]])(
    "keeps a rate where %s of all attempts are refused whatever it is",
    (share, most) => {
      // a lane that learned from each of them took 14 days where a fifth was refused
      for (const seed of [1, 2, 3]) expect(run(2000, byChance(share, seed)).now).toBeLessThan(most)
    }
  )

  it("tries twice what met the share, where the rate has fallen far below that", () => {
    // the share of a stretch belongs to what was sent in it: twice the rate at its end would be no more than met it
    const { state } = inTrial(0.05)
    expect(state.stray.phase._tag === "Trial" ? Math.round(state.stray.phase.low.requests.rate) : NaN).toBeLessThan(10)
    expect(Math.round(state.requests.rate)).toBe(40)
  })

  it("tells of what it suspects and finds", () => {
    const { reasons } = run(2000, byChance(0.4, 4))
    expect(count(reasons, "strays-suspected")).toBeGreaterThan(0)
    expect(count(reasons, "strays-confirmed")).toBeGreaterThan(0)
  })

  it.each([0.5, 3, 10, 40])("suspects next to nothing where a limit of %s per second refuses", (limit) => {
    const { reasons, refused } = run(1000, bucket(() => limit))
    expect(count(reasons, "strays-suspected")).toBeLessThan(2)
    expect(count(reasons, "strays-confirmed")).toBe(0)
    expect(refused).toBeLessThan(40)
  })

  it.each([["tokens", 40, 8], ["tokens", 10, 17], ["requests", 40, 17]] as const)(
    "believes no more requests before a first refusal of %s than went through, where the call is large: %s tokens",
    (scope, tokens, rate) => {
      // they were still doubling: a steady limit of tokens was taken for a rate that had halved, and put on trial
      let state = Kernel.make()
      for (let i = 0; i < 14; i++) state = send(state, i * 0.065, { _tag: "Success" })
      state = send(state, 0.92, { _tag: "Throttled", scope, retryAfter: 1 }, tokens)
      const { phase } = state.stray
      const before = phase._tag === "Watch" ? phase.before : undefined
      expect(Math.round(before === undefined ? NaN : LaneStrayState.rateOf(before, 10))).toBe(rate)
    }
  )

  it.each([5, 3, 1, 0.3])("is soon refuted where a limit of 10 per second fell to %s", (fallen) => {
    const { reasons, refused, state } = run(1500, bucket((now) => now < 30 ? 10 : fallen))
    expect(count(reasons, "strays-confirmed")).toBe(0)
    expect(count(reasons, "strays-suspected")).toBeLessThan(6)
    expect(state.requests.rate).toBeLessThan(1.1 * fallen)
    expect(refused).toBeLessThan(90)
  })

  it.each([0.02, 0.1])("finds a limit of 20 per second below which %s of all attempts are refused", (share) => {
    for (const seed of [1, 2]) {
      const chance = byChance(share, seed)
      const limited = bucket(() => 20)
      let strays = 0
      const { now, refused } = run(2000, (at) => {
        const isStray = !chance(at)
        if (isStray) strays++
        return !isStray && limited(at)
      })
      expect((2000 - refused) / now).toBeGreaterThan(0.8 * 20)
      expect(refused - strays).toBeLessThan(0.1 * 2000)
    }
  })

  it("needs no trial where few are refused: they come alone, at a rate that was proved", () => {
    const { reasons } = run(1000, byChance(0.02, 2))
    expect(count(reasons, "strays-suspected")).toBe(0)
    expect(count(reasons, "strays-confirmed")).toBe(1)
  })

  it("takes no share for known where large calls are refused that name nothing", () => {
    let state = Kernel.make({ requests: { initial: 20, known: true } })
    for (let i = 0; i < 400; i++) {
      const large = i % 20 === 19
      const now = i / 20
      state = Kernel.advance(state, now)[1]
      const [ticket, sent] = Kernel.admit(state, large ? 400 : 40, "requests", now)
      state = Kernel.settle(sent, ticket, large ? refusal : { _tag: "Success" }, now + 0.01)[1]
    }
    expect(shareOf(state)).toBe(0)
    expect(state.tokensPaced).toBe(true)
  })

  it("sends little in vain where a fifth is refused by chance on top of a limit of 10 per second", () => {
    for (const seed of [1, 2, 3, 4]) {
      const chance = byChance(0.2, seed)
      const limited = bucket(() => 10)
      let strays = 0
      const { now, refused } = run(2000, (at) => {
        const isStray = !chance(at)
        if (isStray) strays++
        return !isStray && limited(at)
      })
      expect((2000 - refused) / now).toBeGreaterThan(0.7 * 10)
      // a probe went on at one and a half times the limit, for what came back of it passed for chance
      expect(refused - strays).toBeLessThan(0.12 * 2000)
    }
  })

  it("takes refusals for a limit's again once there is one", () => {
    const chance = byChance(0.2, 1)
    const limited = bucket(() => 5)
    const provider: Provider = (now) => now < 40 ? chance(now) : limited(now)
    const { reasons, refused, state } = run(2400, provider, { requests: { ceiling: 20 } })
    expect(count(reasons, "strays-confirmed")).toBeGreaterThan(0)
    expect(count(reasons, "strays-ended")).toBeGreaterThan(0)
    expect(state.stray.phase._tag).toBe("Watch")
    expect(state.requests.rate).toBeLessThan(6)
    expect(refused).toBeLessThan(700)
  })

  it("goes back to the tokens that it knew, too", () => {
    const options: Kernel.Options = {
      requests: { initial: 20, known: true },
      tokens: { initial: 200, known: true }
    }
    const { now, reasons } = run(1500, byChance(0.2, 3), options)
    expect(count(reasons, "strays-confirmed")).toBeGreaterThan(0)
    expect(now).toBeLessThan(400)
  })

  it("holds to what the provider says in a trial", () => {
    const { now, state } = inTrial()
    let next = send(state, now + 0.1, { _tag: "Success", requestsPerSecond: 0.1 })
    expect(next.requests.rate).toBe(0.1)
    for (let i = 2; i < 20; i++) {
      next = send(next, now + i / 10, refusal)
      // a refuted trial went back to the rate before what was said, at a refusal
      expect(next.requests.rate).toBeLessThanOrEqual(0.1)
    }
  })

  it.each([[20, 2, 20, 3], [30, 1, 20, 5], [20, 1, 30, 1]])(
    "raises no rate at a refusal where a limit of %s fell to %s and a trial met a return",
    (limit, fallen, at, seed) => {
      const chance = byChance(0.2, seed)
      const limited = bucket((now) => now < at ? limit : fallen)
      // the return left the rate of the trial: its refusal brought that back, though the trial was refuted
      const { raised, reasons } = run(800, (now) => (now < at || chance(now)) && limited(now))
      expect(count(reasons, "strays-refuted")).toBeGreaterThan(0)
      expect(raised).toBe(0)
    }
  )

  it("is not convinced by what a limit of the low rate may have admitted", () => {
    const { now, state } = inTrial()
    let next = state
    for (let i = 1; i <= 12; i++) next = send(next, now + 100 * i, i === 12 ? refusal : { _tag: "Success" })
    expect(natsOf(next)).toBeGreaterThan(0)
  })

  it("is convinced by what it may not have", () => {
    const { now, state } = inTrial()
    let next = state
    for (let i = 1; i <= 12; i++) next = send(next, now + i / 20, i === 12 ? refusal : { _tag: "Success" })
    expect(next.stray.phase).toMatchObject({ _tag: "Due", confirmed: true })
  })

  it("takes refusals of calls in flight for no admissions", () => {
    const { now, state } = inTrial()
    let next = state
    for (let i = 1; i <= 12; i++) {
      next = send(next, now + i / 20, i === 12 ? refusal : { _tag: "Throttled", scope: "concurrency" })
    }
    expect(natsOf(next)).toBeGreaterThan(0)
  })

  it("learns again where nothing was refused for long", () => {
    const { now, state } = inTrial()
    let next = state
    for (let i = 1; i <= 400; i++) next = send(next, now + i / 20, i === 400 ? refusal : { _tag: "Success" })
    expect(next.stray.phase._tag).toBe("Watch")
  })

  it.prop(
    "never raises a rate at a refusal, and never passes a cap",
    [Arbitrary.all({ share: whole(0, 100), limit: whole(1, 40), seed: whole(1, 1000), cap: whole(1, 40) })],
    ([{ cap, limit, seed, share }]) => {
      const chance = byChance(share / 100, seed)
      const limited = bucket(() => limit)
      const { raised, state } = run(300, (now) => chance(now) && limited(now), { requests: { ceiling: cap } })
      expect(raised).toBe(0)
      expect(state.requests.rate).toBeLessThanOrEqual(cap)
    },
    { arbitrary: { ...laws.arbitrary, runs: 50 } }
  )

  it.each([["shown", true], ["few", false], ["guess", false]] as const)(
    "takes a refusal of tokens for one of the share, not of the size of calls, only where a trial has shown it: %s",
    (basis, stays) => {
      const { now, state } = run(2000, byChance(0.1, 1))
      const { phase } = state.stray
      if (phase._tag !== "Watch") throw new Error(`it is in ${phase._tag}`)
      const known = { ...state, stray: { ...state.stray, phase: { ...phase, basis } } }
      const refused = send(known, now + 1, { _tag: "Throttled", scope: "tokens" })
      expect(refused.stray.phase._tag).toBe("Watch")
      expect(shareOf(refused) > 0).toBe(stays)
    }
  )

  it("keeps what a trial has shown where the provider says a rate", () => {
    const { state } = run(2000, byChance(0.1, 1))
    expect(state.stray.phase).toMatchObject({ _tag: "Watch", share: expect.closeTo(0.1, 0.1) })
    expect(Stray.told(state.stray).phase).toMatchObject({ share: shareOf(state) })
  })
  it("takes an unknown limit of tokens for unknown in a trial too: one that is refused later is learned", () => {
    let { now, state } = inTrial()
    for (let i = 0; i < 100; i++) state = send(state, now += 1, { _tag: "Success" })
    state = send(state, now += 1, { _tag: "Throttled", scope: "tokens" })
    expect(state.tokens.rate).toBeLessThan(Infinity)
    expect(Kernel.wait(state, now, 10)[0]).toBeLessThan(60)
  })

  it("weighs nothing that was sent before the share was known", () => {
    let state = Kernel.make({ requests: { initial: 20, known: true } })
    const tickets: Array<Kernel.Ticket> = []
    for (let i = 0; i < 20; i++) {
      const [ticket, sent] = Kernel.admit(state, 10, "requests", i / 20)
      tickets.push(ticket)
      state = sent
    }
    state = { ...state, stray: { phase: LaneStrayState.watch(0.2, state.next), last: state.next - 1, failed: 0 } }
    for (const ticket of tickets) state = Kernel.settle(state, ticket, refusal, 1)[1]
    expect([shareOf(state), state.requests.rate]).toEqual([0.2, 20])
  })

  it("keeps a guess a guess where the provider says a rate", () => {
    const guess = { ...LaneStrayState.watch(0.1, 0), basis: "guess" as const }
    expect(Stray.told({ phase: guess, last: 40, failed: 0 }).phase).toMatchObject({ share: 0.1, basis: "guess" })
  })

  it("sends at the rate of a trial, however late its refusals come", () => {
    let { now, state } = inTrial()
    const until = now + 1
    const { rate } = state.requests
    const under: Array<readonly [at: number, ticket: Kernel.Ticket]> = []
    let sent = 0
    for (; now < until; now += 0.005) {
      while (under[0] !== undefined && under[0][0] <= now) {
        const [, ticket] = under.shift()!
        state = Kernel.settle(state, ticket, refusal, now)[1]
        // only how fast it sends: the trial goes on
        if (state.stray.phase._tag === "Trial") {
          state = { ...state, stray: { ...state.stray, phase: { ...state.stray.phase, nats: 0 } } }
        }
      }
      state = Kernel.advance(state, now)[1]
      if (Kernel.wait(state, now, 10)[0] > 0) continue
      const [ticket, next] = Kernel.admit(state, 10, "requests", now)
      state = next
      under.push([now + 0.2, ticket])
      sent++
    }
    expect(sent).toBeLessThan(rate + 3)
  })

  it("gives no slot back for what a trial refuses", () => {
    const { now, state } = inTrial()
    const [ticket, sent] = Kernel.admit(state, 10, "requests", now)
    const [, next] = Kernel.settle(sent, ticket, refusal, now)
    expect(next.stray.phase._tag).toBe("Trial")
    expect(next.requestDebt).toEqual(sent.requestDebt)
  })

  it("weighs nothing in a trial that was sent before it", () => {
    const { now, state } = inTrial(0.05)
    const before = { ...state, stray: LaneStrayState.initial, tokensPaced: false }
    const [ticket, sent] = Kernel.admit(before, 10, "requests", now)
    const { phase } = state.stray
    if (phase._tag !== "Trial") throw new Error("the lane is in no trial")
    const stray = { phase: { ...phase, from: sent.next }, last: sent.next - 1, failed: 0 }
    expect(Kernel.settle({ ...sent, stray }, ticket, refusal, now + 0.05)[1].stray).toEqual(stray)
  })

  it("knows after a trial what was refused in it, too", () => {
    let { now, state } = inTrial()
    const before = state.stray.phase._tag === "Trial" ? state.stray.phase.share : NaN
    for (let i = 0; i < 12; i++) state = send(state, now += 0.01, { _tag: "Success" })
    state = send(state, now += 0.01, refusal)
    expect(state.stray.phase).toMatchObject({ _tag: "Due", confirmed: true })
    expect(state.stray.phase._tag === "Due" ? state.stray.phase.share : NaN).toBeLessThan(0.7 * before)
  })

  it("believes no share that a long gap excludes", () => {
    let state = Kernel.make({ requests: { initial: 20, known: true } })
    state = { ...state, stray: { phase: { ...LaneStrayState.watch(0.6, 0), given: true }, last: -1, failed: 0 } }
    let now = 0
    for (let i = 0; i < 100; i++) state = send(state, now += 0.05, { _tag: "Success" })
    expect(shareOf(send(state, now + 0.05, refusal))).toBeCloseTo(0.046)
  })

  it("keeps what speaks for a trial where few that were known are too many", () => {
    const lane = Kernel.make({ requests: { initial: 20, known: true } })
    const before = LaneStrayState.learned(lane)
    const few = { ...LaneStrayState.watch(0.1, 0), basis: "few", given: true, before, bits: 4, refused: 6 } as const
    let state: Kernel.State = { ...lane, stray: { phase: few, last: -1, failed: 0 } }
    for (let i = 1; i <= 4; i++) state = send(state, i / 20, refusal)
    expect(state.stray.phase).toMatchObject({ share: 0, bits: 4 })
  })

  it("suspects no chance behind a limit whose refusals are heard of late", () => {
    const { reasons, refused } = run(600, bucket(() => 12), {}, 0.2)
    expect(count(reasons, "strays-suspected")).toBe(0)
    expect(refused).toBeLessThan(60)
  })
})

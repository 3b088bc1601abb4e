import { describe, expect, it } from "@effect/vitest"
import { uniform } from "../../../bench/lanes/scenarios.ts"
import * as Budget from "../../../src/policy/lane/LaneBudget.ts"
import * as Failures from "../../../src/policy/lane/LaneFailures.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as BucketMirror from "../../../src/policy/mirror/BucketMirror.ts"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import { bucket } from "../../guard/lanes.ts"

/** Sends so many, each followed by a failure where `fails` says so. */
const sent = (state: Failures.State, count: number, fails: (n: number) => boolean): Failures.State => {
  let now = state
  for (let n = 0; n < count; n++) {
    now = Failures.send(now)
    if (fails(n)) now = Failures.fail(now)
  }
  return now
}

const third = (n: number) => n % 3 === 0
const usual = sent(Failures.initial, 200, third)
const refusedAfter = (state: Failures.State, fails: (n: number) => boolean): Failures.State => {
  const then = sent(sent(state, 60, third), 10, fails)
  return Failures.refuse(then, Failures.excess(then))
}

describe("LaneFailures", () => {
  it("knows no share before thirty attempts, and doubts nothing then", () => {
    const young = sent(Failures.initial, 20, () => true)
    expect([Failures.share(young), Failures.excess(young)]).toEqual([0, 0])
    expect(Failures.refuse({ ...young, since: 100 }, 9).doubt).toBe(0)
    expect(Failures.share(usual)).toBeCloseTo(1 / 3, 1)
    expect(Failures.share(sent(Failures.initial, 100, () => true))).toBe(0.9)
  })

  it("doubts nothing where nothing fails, or where as many as usual failed before a refusal", () => {
    let clean = sent(Failures.initial, 200, () => false)
    let even = usual
    for (let n = 0; n < 50; n++) {
      clean = refusedAfter(clean, () => false)
      even = refusedAfter(even, third)
    }
    expect([clean.counted, even.counted]).toEqual([false, false])
  })

  it("takes what fails to be used up once refusals follow failures, and back once they follow none", () => {
    let state = usual
    let refusals = 0
    for (; !state.counted; refusals++) state = refusedAfter(state, () => true)
    expect(refusals).toBeLessThan(4)
    for (refusals = 0; state.counted; refusals++) state = refusedAfter(state, () => false)
    expect(refusals).toBeLessThan(8)
    expect(state.doubt).toBe(0)
  })

  it("weighs a refusal the less the closer it follows another", () => {
    const storm = sent(usual, 8, () => true)
    const once = Failures.refuse(storm, Failures.excess(storm))
    expect(once.doubt).toBeGreaterThan(1)
    expect(Failures.refuse(once, Failures.excess(storm)).doubt).toBe(once.doubt)
  })
})

/** Plays against three per second; a third fails at once, and uses up a place or not. */
const played = (counts: boolean, seconds: number) => {
  const take = bucket(3, 3)
  let state = Kernel.make({}, 0)
  let open: ReadonlyArray<{ ticket: Kernel.Ticket; endsAt: number; sample: Kernel.Sample }> = []
  const reasons: Array<string> = []
  let [successes, refusals, attempts] = [0, 0, 0]
  for (let tick = 0; tick < seconds * 50; tick++) {
    const now = tick / 50
    for (const { sample, ticket } of open.filter(({ endsAt }) => endsAt <= now)) {
      const [decisions, next] = Kernel.settle(state, ticket, sample, now)
      reasons.push(...decisions.map(({ reason }) => reason))
      state = next
    }
    open = open.filter(({ endsAt }) => endsAt > now)
    for (let i = 0; i < 20; i++) {
      state = Kernel.advance(state, now)[1]
      const [wait, by] = Kernel.wait(state, now, 1)
      if (wait > 0.001) break
      const [ticket, next] = Kernel.admit(state, 1, by ?? "requests", now)
      state = next
      const fails = uniform(5, attempts++) < 1 / 3
      const sample: Kernel.Sample = fails && !counts
        ? { _tag: "Overloaded" }
        : !take(now)
        ? { _tag: "Throttled", scope: "requests", retryAfter: 1 }
        : { _tag: fails ? "Overloaded" : "Success" }
      if (sample._tag === "Success") successes++
      if (sample._tag === "Throttled") refusals++
      open = [...open, { ticket, endsAt: now + (sample._tag === "Success" ? 1 : 0.05), sample }]
    }
  }
  return { state, reasons, successes, refusals, attempts }
}

describe("LaneKernel, where attempts fail", () => {
  it("sees that what fails uses up the limit, and gives its place to no other then", () => {
    const { reasons, refusals, successes } = played(true, 300)
    expect(reasons).toContain("failures-counted")
    // two in three of three per second
    expect(successes).toBeGreaterThan(505)
    expect(refusals).toBeLessThan(30)
  })

  it("gives the place to another where what fails is free", () => {
    const { reasons, refusals, state, successes } = played(false, 300)
    expect(reasons).not.toContain("failures-counted")
    expect(state.failures.counted).toBe(false)
    expect(successes).toBeGreaterThan(870)
    expect(refusals).toBeLessThan(20)
  })

  it("does not learn from a refusal that names concurrency, nor twice from one episode", () => {
    const at = (state: Kernel.State, now: number, scope: "requests" | "concurrency") => {
      const [ticket, next] = Kernel.admit(state, 1, "requests", now)
      const excess: Kernel.Ticket = { ...ticket, excess: 100 }
      const known = { ...next, failures: usual }
      return Kernel.settle(known, excess, { _tag: "Throttled", scope, retryAfter: 1 }, now + 0.05)[1]
    }
    const begun = Kernel.make({ requests: { initial: 10, known: true } }, 0)
    expect(at(begun, 1, "concurrency").failures.counted).toBe(false)
    const counted = at(begun, 1, "requests")
    expect(counted.failures.counted).toBe(true)
    expect(counted.requests.rate).toBeGreaterThan(12)
    const [ticket, next] = Kernel.admit(begun, 1, "requests", 1)
    const cut = { ...next, failures: usual, requests: { ...next.requests, cutAt: 2 } }
    const again = Kernel.settle(cut, { ...ticket, excess: 100 }, { _tag: "Throttled", scope: "requests" }, 2)[1]
    expect(again.failures.counted).toBe(false)
  })

  it("takes mirrored limits to be as much higher, and lower again", () => {
    const known = { known: true } as const
    const begun = Kernel.make({ requests: { initial: 10, ...known }, tokens: { initial: 1000, ...known } }, 0)
    const [ticket, next] = Kernel.admit(begun, 1, "tokens", 1)
    const refused: Kernel.Sample = { _tag: "Throttled", scope: "tokens", retryAfter: 1 }
    const doubted = (counted: boolean) =>
      Kernel.settle(
        { ...next, failures: { ...usual, counted } },
        { ...ticket, excess: counted ? -100 : 100 },
        refused,
        1.05
      )
    const plain = Kernel.settle({ ...next, failures: usual }, ticket, refused, 1.05)[1]
    const [decisions, higher] = doubted(false)
    expect(decisions.filter(({ reason }) => reason === "failures-counted").map(({ subject }) => subject)).toEqual([
      "requests",
      "tokens"
    ])
    const through = 1 - Failures.share(usual)
    expect(higher.tokens.rate).toBeCloseTo(plain.tokens.rate / through, 6)
    expect(higher.requests.rate).toBeCloseTo(plain.requests.rate / through, 1)
    const [back, lower] = doubted(true)
    expect([higher, lower].map(({ requests }) => requests.failures.areCounted)).toEqual([true, false])
    expect(back.filter(({ reason }) => reason === "failures-free")).toHaveLength(2)
    expect(lower.tokens.rate).toBeCloseTo(plain.tokens.rate * through, 6)
  })
})

describe("a limit in other units", () => {
  it("ends a probe, and begins nothing while nothing is known", () => {
    const known = AdaptiveRate.make({ initial: 10, known: true })
    const [move, next] = AdaptiveRate.rescaled({ ...known, phase: "probe", rate: 11 }, 2, "failures-counted", 1)
    expect(move).toEqual({ from: 11, to: 22, reason: "failures-counted" })
    expect([next.phase, next.limit]).toEqual(["hold", 20])
    expect(AdaptiveRate.rescaled({ ...known, phase: "settle" }, 2, "failures-counted", 1)[1].phase).toBe("settle")
    const started = AdaptiveRate.make()
    const counted = { ...started.failures, areCounted: true }
    expect(AdaptiveRate.rescaled(started, 2, "failures-counted", 1)).toEqual([undefined, {
      ...started,
      failures: counted
    }])
    const unlimited = { ...known, rate: Infinity }
    expect(AdaptiveRate.rescaled(unlimited, 2, "failures-counted", 1)).toEqual([
      undefined,
      { ...unlimited, failures: counted }
    ])
  })

  it("tells of the limits alone that are known", () => {
    const lane = Kernel.make({ tokens: { initial: 1000, known: true } })
    const [decisions, next] = Budget.rescaled(lane, 2, "failures-counted", 1)
    expect(decisions).toEqual([{ subject: "tokens", from: 1000, to: next.tokens.rate, reason: "failures-counted" }])
    expect(next.tokens.rate / 2000).toBeCloseTo(1, 2)
    expect(next.requests).toEqual({ ...lane.requests, failures: { ...lane.requests.failures, areCounted: true } })
  })

  it("moves all guesses of a mirror, and probes soon", () => {
    const mirror = BucketMirror.around({ rate: 100, lowest: 1, windowed: true }, 0)
    const next = BucketMirror.rescaled(mirror, 2)
    expect(BucketMirror.rate(next)).toBeCloseTo(2 * BucketMirror.rate(mirror), 6)
    expect(next.guesses.levels.map((level, i) => level / mirror.guesses.levels[i]!)).toEqual(
      mirror.guesses.levels.map(() => 2)
    )
    expect(next.interval).toBe(BucketMirror.defaults.eagerProbe)
  })
})

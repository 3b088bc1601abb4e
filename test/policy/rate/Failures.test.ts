import { describe, expect, it } from "@effect/vitest"
import { uniform } from "../../../bench/lanes/scenarios.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as BucketBounds from "../../../src/policy/rate/BucketBounds.ts"
import * as Failures from "../../../src/policy/rate/Failures.ts"
import { bucket } from "../../guard/lanes.ts"

/** What went out and was refused, where so many of the last refusals are explained. */
const explained = (episodes: number): BucketBounds.State => {
  let state = BucketBounds.empty
  for (let n = 0; n < episodes; n++) {
    for (let sent = 0; sent < 10; sent++) state = BucketBounds.send(state, 1, n * 10 + sent)
    state = BucketBounds.refuse(BucketBounds.send(state, 1, n * 10 + 9.5), n * 10 + 9.5, 1, 2, false)
  }
  return state
}

describe("Failures", () => {
  it("counts what fails once that alone explains two refusals more, and no more once the other does", () => {
    const two = explained(2)
    const three = explained(3)
    expect([two, three, explained(1)].map(BucketBounds.explains)).toEqual([2, 3, 1])
    const once = Failures.weigh(Failures.none, two, three)
    expect(once.areCounted).toBe(false)
    const twice = Failures.weigh(once, two, three)
    expect(twice.areCounted).toBe(true)
    expect(Failures.weigh(twice, two, two)).toEqual(twice)
    let back = twice
    let refusals = 0
    for (; back.areCounted; refusals++) back = Failures.weigh(back, three, two)
    expect(refusals).toBe(4)
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
    expect(state.requests.failures.areCounted).toBe(false)
    expect(successes).toBeGreaterThan(870)
    expect(refusals).toBeLessThan(20)
  })
})

describe("AdaptiveRate, once it knows whether what fails counts", () => {
  it.each(
    [["failures-counted", true], ["failures-free", false]] as const
  )("searches anew, and says why: %s", (reason, areCounted) => {
    const better = BucketBounds.refuse(explained(2), 30, 1, 2, false)
    const known = AdaptiveRate.make({ initial: 2, known: true })
    const [bounds, kept] = areCounted ? [BucketBounds.empty, better] : [better, BucketBounds.empty]
    const failures = { kept, score: areCounted ? 1 : -1, areCounted: !areCounted }
    const state = AdaptiveRate.send({ ...known, bounds, failures }, 1, true, 31)
    const [move, next] = AdaptiveRate.refuse(state, { at: 31, sent: 0, cost: 1 }, 31)
    expect(move).toMatchObject({ from: 2, reason, ...(areCounted ? { to: 2 } : {}) })
    expect([next.phase, next.failures.areCounted]).toEqual(["settle", areCounted])
  })
})

describe("LaneKernel, where attempts fail over limits of tokens", () => {
  /** Plays against 100 tokens per second, of which a call takes 30; a third fails at once, and uses them up or not. */
  const tokens = (countsAt: (now: number) => boolean, seconds: number) => {
    const take = bucket(100, 100)
    const known = { known: true } as const
    let state = Kernel.make({ requests: { initial: 10, ...known }, tokens: { initial: 100, ...known } }, 0)
    const reasons: Array<string> = []
    let [successes, refusals, attempts] = [0, 0, 0]
    for (let now = 0; now < seconds;) {
      state = Kernel.advance(state, now)[1]
      const [wait, by] = Kernel.wait(state, now, 30)
      now += Math.max(0.02, wait)
      if (wait > 0) continue
      const [ticket, next] = Kernel.admit(state, 30, by, now)
      const fails = uniform(7, attempts++) < 1 / 3
      const counts = countsAt(now)
      const sample: Kernel.Sample = fails && !counts
        ? { _tag: "Overloaded" }
        : !take(now, 30)
        ? { _tag: "Throttled", scope: "tokens", retryAfter: 1 }
        : fails
        ? { _tag: "Overloaded" }
        : { _tag: "Success", tokens: 30 }
      if (sample._tag === "Success") successes++
      if (sample._tag === "Throttled") refusals++
      const [decisions, ended] = Kernel.settle(next, ticket, sample, now + 0.01)
      reasons.push(...decisions.filter(({ subject }) => subject === "tokens").map(({ reason }) => reason))
      state = ended
    }
    return { state, reasons, successes, refusals }
  }

  it("sees that what fails uses them up", () => {
    const { reasons, refusals, state } = tokens(() => true, 600)
    expect(reasons).toContain("failures-counted")
    expect(state.requests.failures.areCounted).toBe(true)
    expect(refusals).toBeLessThan(40)
  })

  it("sees that what fails is free", () => {
    const { reasons, successes } = tokens(() => false, 600)
    expect(reasons.filter((reason) => reason === "failures-counted")).toEqual([])
    expect(successes).toBeGreaterThan(0.9 * 600 * 100 / 30)
  })

  it("goes on with the other mirrors once the refusals of one are explained better, whichever way that is", () => {
    const { state } = tokens(() => true, 60)
    const { requestMirror, tokenMirror } = state
    expect([requestMirror?.other, tokenMirror?.other]).not.toContain(undefined)
    if (requestMirror === undefined || tokenMirror === undefined) return
    const { areCounted } = state.requests.failures
    const beforeSuspicion = state.requests
    const doubted: Kernel.State = { ...state, beforeSuspicion, tokenMirror: { ...tokenMirror, doubt: 20 } }
    const refused: Kernel.Sample = { _tag: "Throttled", scope: "tokens", retryAfter: 1 }
    const [ticket, sent] = Kernel.admit(doubted, 30, undefined, 100)
    const [decisions, after] = Kernel.settle(sent, ticket, refused, 100.01)
    expect(decisions[0]).toMatchObject({ subject: "tokens", reason: areCounted ? "failures-free" : "failures-counted" })
    expect(after.requests.failures.areCounted).toBe(!areCounted)
    // what a cap that is found brings back has to agree with the mirrors
    expect(after.beforeSuspicion?.failures.areCounted).toBe(!areCounted)
    expect(after.requestMirror?.other?.back).toBeDefined()
    const again = { ...after, tokenMirror: after.tokenMirror && { ...after.tokenMirror, doubt: 20 } }
    const [later, then] = Kernel.admit(again, 30, undefined, 200)
    const [back] = Kernel.settle(then, later, refused, 200.01)
    expect(back[0]).toMatchObject({ subject: "tokens", reason: areCounted ? "failures-counted" : "failures-free" })
  })
})

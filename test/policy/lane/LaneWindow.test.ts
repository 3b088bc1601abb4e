import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"

/** Admits so many in each window, from one multiple of its length to the next. */
const fixed = (n: number, seconds: number) => {
  let window = -1
  let used = 0
  return (at: number): boolean => {
    const now = Math.floor((at + 0.4 * seconds) / seconds)
    used = now === window ? used : 0
    window = now
    return used < n && used++ >= 0
  }
}

/** Sends attempts as soon as the lane lets it, refusals heard of 50 ms later: when each was refused, and the last was sent. */
const run = (calls: number, provider: (at: number) => boolean, retryAfter?: number) => {
  let state = Kernel.make()
  let now = 0
  const refused: Array<number> = []
  let under: Array<readonly [at: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []
  const settle = (until: number): void => {
    for (const [at, ticket, sample] of under) if (at <= until) state = Kernel.settle(state, ticket, sample, at)[1]
    under = under.filter(([at]) => at > until)
  }
  for (let admitted = 0; admitted < calls;) {
    settle(now)
    state = Kernel.advance(state, now)[1]
    const [wait, by] = Kernel.wait(state, now, 10)
    if (wait > 0) {
      const next = Math.min(now + wait, ...under.map(([at]) => at))
      now = next > now ? next : now + 0.001
      continue
    }
    const [ticket, sent] = Kernel.admit(state, 10, by ?? "requests", now)
    state = sent
    const isIn = provider(now)
    if (isIn) admitted++
    else refused.push(now)
    const sample: Kernel.Sample = isIn
      ? { _tag: "Success", tokens: 10 }
      : { _tag: "Throttled", scope: "requests", ...(retryAfter === undefined ? {} : { retryAfter }) }
    under.push([now + (isIn ? 0.5 : 0.05), ticket, sample])
  }
  return { state, refused, seconds: now }
}

describe("LaneKernel, where requests are counted in windows", () => {
  it("finds how many ten seconds admit, and is hardly refused from then on", () => {
    const { refused, seconds, state } = run(1200, fixed(120, 10))
    expect(state.requests.windows.known).toMatchObject({ n: 120, seconds: 10 })
    expect(state.requests.rate).toBeCloseTo(12, 0)
    expect(refused.filter((at) => at > 40).length).toBeLessThan(15)
    expect(seconds).toBeLessThan(105)
  })

  it("loses few seconds to hints of a whole one", () => {
    const { refused, seconds } = run(2000, fixed(40, 1), 1)
    expect(refused.length).toBeLessThan(30)
    expect(seconds).toBeLessThan(1.2 * 50)
  })

  it("pauses no longer than a window of ten seconds would be shut", () => {
    const { requests, ...fresh } = Kernel.make()
    const paused = (since: number): number => {
      const windows = { ...requests.windows, since, refusedAt: 6 }
      const [ticket, sent] = Kernel.admit({ ...fresh, hintless: 7, requests: { ...requests, windows } }, 10, "pause", 7)
      return Kernel.settle(sent, ticket, { _tag: "Throttled", scope: "requests" }, 7.05)[1].pausedUntil - 7.05
    }
    expect(paused(-Infinity)).toBeCloseTo(12.8, 9)
    expect(paused(1)).toBeCloseTo(11.05 - 7.05, 9)
  })
})

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

/** Admits so many units in any such time, or from one multiple of it to the next; `back` are those that come back. */
const counted = (units: number, seconds: number, isFixed: boolean) => {
  let sent: Array<{ readonly at: number; cost: number }> = []
  return {
    take: (at: number, cost: number): boolean => {
      const from = isFixed ? (Math.floor(at / seconds + 0.4) - 0.4) * seconds : at - seconds
      sent = sent.filter((one) => one.at > from)
      if (sent.reduce((sum, one) => sum + one.cost, cost) > units) return false
      sent.push({ at, cost })
      return true
    },
    back: (at: number, units: number): void => {
      const one = sent.find((one) => one.at === at)
      if (one !== undefined) one.cost -= units
    }
  }
}

/** Plays calls against limits of tokens and of requests, as soon as the lane lets it: the first of two sizes; a tenth comes back. */
const play = (
  calls: number,
  seconds: number,
  most: { readonly tokens: number; readonly requests?: number },
  isFixed = false
) => {
  const tokens = counted(most.tokens, seconds, isFixed)
  const requests = counted(most.requests ?? Infinity, seconds, isFixed)
  let state = Kernel.make()
  let now = 0
  const refused: Array<number> = []
  let under: Array<readonly [at: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []
  for (let admitted = 0, n = 0; admitted < calls;) {
    for (const [at, ticket, sample] of under) {
      if (at > now) continue
      if (sample._tag === "Success") tokens.back(ticket.at, ticket.tokens / 10)
      state = Kernel.settle(state, ticket, sample, at)[1]
    }
    under = under.filter(([at]) => at > now)
    state = Kernel.advance(state, now)[1]
    const cost = n % 5 === 3 && n < 600 ? 600 : 100
    const [wait, by] = Kernel.wait(state, now, cost)
    if (wait > 0) {
      const next = Math.min(now + wait, ...under.map(([at]) => at))
      now = next > now ? next : now + 0.001
      continue
    }
    const [ticket, sent] = Kernel.admit(state, cost, by ?? "requests", now)
    state = sent
    n++
    const scope = !requests.take(now, 1) ? "requests" : !tokens.take(now, cost) ? "tokens" : undefined
    if (scope === "tokens") requests.back(now, 1)
    if (scope === undefined) admitted++
    else refused.push(now)
    const sample: Kernel.Sample = scope === undefined
      ? { _tag: "Success", tokens: 0.9 * cost }
      : { _tag: "Throttled", scope }
    under.push([now + (scope === undefined ? 0.5 : 0.05), ticket, sample])
    now += 1e-4
  }
  return { state, refused, seconds: now }
}

describe("LaneKernel, where tokens are counted in windows", () => {
  it.each([false, true])("finds how many a minute admits, fixed: %s, and is hardly refused from then on", (isFixed) => {
    const { refused, seconds, state } = play(600, 60, { tokens: 20_000 }, isFixed)
    const { known } = state.tokens.windows
    expect(known?.seconds).toBe(60)
    expect(known?.n).toBeGreaterThan(19_000)
    expect(known?.n).toBeLessThanOrEqual(20_000)
    expect(state.tokens.rate).toBeCloseTo((known?.n ?? 0) / 60, 6)
    expect(refused.filter((at) => at > 180).length).toBeLessThan(8)
    expect(seconds).toBeLessThan(1.05 * 600 * 180 / 20_000 * 60)
  })

  it("finds beside it how many requests a minute admits", () => {
    const { state } = play(1200, 60, { tokens: 20_000, requests: 150 })
    expect(state.tokens.windows.known?.seconds).toBe(60)
    expect(state.requests.windows.known?.seconds).toBe(60)
    expect(state.requests.windows.known?.n).toBe(150)
    expect(state.requests.rate).toBeCloseTo(150 / 60, 6)
  })

  it("takes back from both what failed", () => {
    const { state } = play(600, 60, { tokens: 20_000 })
    const units = (of: Kernel.State): number =>
      of.tokens.windows.known?.sent.reduce((sum, { cost }) => sum + cost, 0) ?? 0
    const [ticket, sent] = Kernel.admit(state, 500, undefined, 1e4)
    expect(units(sent)).toBe(500)
    expect(units(Kernel.settle(sent, ticket, { _tag: "Failed" }, 1e4 + 0.1)[1])).toBe(0)
    expect(units(Kernel.settle(sent, ticket, { _tag: "Success", tokens: 200 }, 1e4 + 0.1)[1])).toBe(200)
  })
})

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

import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as Return from "../../../src/policy/rate/Return.ts"
import { changed } from "../learner.ts"

/** Sends an attempt that had to wait, and tells 20 ms later whether it was refused. */
const attempt = (before: AdaptiveRate.State, at: number, refused: boolean): AdaptiveRate.State => {
  const [, state] = AdaptiveRate.advance(before, at)
  const sent = AdaptiveRate.send(state, 1, true, at)
  return refused ? AdaptiveRate.refuse(sent, { at, sent: state.traffic.sent, cost: 1 }, at + 0.02)[1] : sent
}

/** Holds at 20 per second for ten seconds, then every other attempt is refused until 19 s, and one is tried at 19.5 s. */
const closed = (options: AdaptiveRate.Options = {}): AdaptiveRate.State => {
  let state = AdaptiveRate.make({ initial: 20, known: true, ...options })
  for (let n = 0; n < 200; n++) state = attempt(state, n / 20, false)
  for (let n = 0; n < 10; n++) state = attempt(attempt(state, 10 + n, true), 10.5 + n, false)
  return state
}

describe("rate/Return", () => {
  it("tries half of what held, once nothing is refused for two seconds", () => {
    const state = closed()
    expect(state.rate).toBeLessThan(5)
    expect(AdaptiveRate.advance(state, 20.9)[1].rate).toBeLessThan(5)
    const { rate } = AdaptiveRate.advance(state, 21.1)[1]
    expect(rate).toBeGreaterThan(8)
    expect(rate).toBeLessThanOrEqual(10)
  })

  it("waits for two seconds in which a refusal could be heard", () => {
    const deaf = AdaptiveRate.deafened(closed(), 2)
    expect(AdaptiveRate.advance(deaf, 22.9)[1].returns.underWay).toBeUndefined()
    expect(AdaptiveRate.advance(deaf, 23.1)[1].returns.underWay).toBeDefined()
    const again = attempt(AdaptiveRate.deafened(closed(), 2), 20, true)
    const tried = attempt(again, 20.5, false)
    expect(AdaptiveRate.advance(tried, 22.1)[1].returns.underWay).toBeDefined()
  })

  it("takes an attempt that failed for none that was admitted", () => {
    const state = AdaptiveRate.withdraw(closed(), 1, 19.5)
    expect(AdaptiveRate.advance(state, 21.1)[1].returns.underWay).toBeUndefined()
  })

  it("goes back where that is refused, and waits twice as long", () => {
    const low = closed()
    const back = attempt(low, 21.1, true)
    expect(back.rate).toBe(AdaptiveRate.advance(low, 20.9)[1].rate)
    const tried = attempt(back, 22, false)
    expect(AdaptiveRate.advance(tried, 25)[1].returns.underWay).toBeUndefined()
    expect(AdaptiveRate.advance(tried, 25.2)[1].returns.underWay).toBeDefined()
  })

  it("takes the refused attempt of a return for none that a bucket admitted", () => {
    const low = closed()
    expect(attempt(low, 21.1, true).bounds.count).toBe(low.bounds.count)
  })

  it("learns from a refusal after five went through", () => {
    let state = closed()
    for (let n = 0; n < 6; n++) state = attempt(state, 21.1 + n / 10, false)
    expect(state.returns.underWay).toBeDefined()
    state = attempt(state, 22, true)
    expect(state.returns.underWay).toBeUndefined()
    expect(state.rate).toBeGreaterThan(8)
  })

  it("is over where the provider states a limit", () => {
    const state = AdaptiveRate.told(AdaptiveRate.advance(closed(), 21.1)[1], 1, 22, 22.1)[1]
    expect(state.returns.underWay).toBeUndefined()
    expect(attempt(state, 23, true).rate).toBeLessThanOrEqual(1)
    expect(attempt(attempt(state, 23, false), 26, false).rate).toBeLessThanOrEqual(1)
  })

  it("doubles on from what is tried, like a lane that knows nothing", () => {
    let state = attempt(closed(), 21.1, false)
    for (let n = 1; n <= 10; n++) state = attempt(state, 21.1 + n / 10, false)
    expect(state.rate).toBeGreaterThan(20)
  })

  it("takes what went through in a return for the highest rate that held", () => {
    let state = closed()
    for (let n = 0; n < 40; n++) state = attempt(state, 21.1 + n / 40, false)
    state = attempt(state, 22.1, true)
    expect(state.high.rate).toBeGreaterThan(30)
  })

  it("waits from the last return in vain, not from the last refusal", () => {
    let state = attempt(closed(), 21.1, true)
    state = attempt(attempt(state, 23, true), 24, false)
    expect(AdaptiveRate.advance(state, 25.2)[1].returns.underWay).toBeDefined()
  })
})

/** Refuses six from the first attempt on, and admits one at 4 s. */
const cold = (options: AdaptiveRate.Options = {}): AdaptiveRate.State => {
  let state = AdaptiveRate.make(options)
  for (const at of [0, 0.2, 0.5, 0.8, 1.2, 2]) state = attempt(state, at, true)
  return attempt(state, 4, false)
}

describe("rate/Return, put back by what is told otherwise", () => {
  it("forgets a trend that was measured at the rate that is void", () => {
    const to = closed()
    const now = changed(to, { rise: { count: 2, trend: 0.05 } })
    expect(Return.restored(now, to, 20)).toMatchObject({ rise: { count: 0, trend: 0 } })
  })
})

describe("rate/Return, before a rate held", () => {
  it("tries half of the first rate, and doubles on", () => {
    expect(cold().rate).toBeLessThan(1)
    const { phase, rate } = AdaptiveRate.advance(cold(), 4.3)[1]
    expect({ phase, rate: Math.round(rate) }).toEqual({ phase: "start", rate: 5 })
  })

  it("quarters that with each return in vain, and goes on with the search it left", () => {
    const low = cold()
    const back = attempt(low, 4.3, true)
    expect(back).toMatchObject({ phase: "settle", rate: low.rate, bad: low.bad, streak: { early: low.streak.early } })
    const again = AdaptiveRate.advance(attempt(back, 9, false), 9.3)[1]
    expect(again.rate).toBeGreaterThan(1)
    expect(again.rate).toBeLessThanOrEqual(1.25)
  })

  it("forgets it for a rate that five attempts proved", () => {
    let state = cold({ initial: 1000 })
    for (let n = 0; n < 8; n++) state = attempt(state, 4.3 + n / 4, false)
    state = attempt(state, 6.3, true)
    expect(state.high.proved).toBe(true)
    expect(state.high.rate).toBeLessThan(10)
  })
})

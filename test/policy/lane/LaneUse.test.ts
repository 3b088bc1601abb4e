import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Use from "../../../src/policy/lane/LaneUse.ts"

/** Learns from so many calls that are all alike. */
const learned = (calls: number, estimated: number, told: number, from = Use.initial): Use.State => {
  let state = from
  for (let i = 0; i < calls; i++) {
    state = Use.learn(state, { estimated, tokens: Use.charged(state, estimated) }, told)
  }
  return state
}

describe("LaneUse", () => {
  it("charges what calls of late used for each token estimated, once five have ended", () => {
    expect([4, 5].map((calls) => Use.charged(learned(calls, 100, 300), 50))).toEqual([50, 150])
  })

  it("charges no less than the estimate, for a provider may reserve as much", () => {
    expect(Use.charged(learned(100, 300, 100), 50)).toBe(50)
  })

  it("takes an estimate of nothing for one of a token", () => {
    expect([Use.charged(Use.initial, 0), Use.charged(learned(5, 0, 300), 0)]).toEqual([1, 300])
  })

  it("moves where it is off by a tenth, up and down", () => {
    const doubled = learned(5, 100, 200)
    expect(learned(200, 100, 215, doubled).scale).toBe(2)
    expect(learned(200, 100, 230, doubled).scale).toBeGreaterThan(2.1)
    expect(learned(1000, 100, 100, doubled).scale).toBeLessThan(1.1)
  })

  it("knows by how much charges fall short, and nothing of those that were too high", () => {
    expect(Use.deviation(learned(50, 300, 100), 8)).toBe(0)
    const short = [80, 120].reduce(
      (state, told) => Use.learn(state, { estimated: 100, tokens: 100 }, told),
      Use.initial
    )
    expect(Use.deviation(short, 8)).toBeCloseTo(Math.sqrt(2 * 200 * 8))
  })
})

describe("LaneKernel, where estimates are too low", () => {
  /** Sends calls whose estimate is `estimate` and use 300, has one of them refused for tokens, then ends the others. */
  const after = (estimate: number, options: Kernel.Options = {}): Kernel.State => {
    let state = Kernel.make(options)
    const tickets: Array<Kernel.Ticket> = []
    for (let i = 0; i < 8; i++) {
      const [ticket, next] = Kernel.admit(state, estimate, undefined, i / 10)
      tickets.push(ticket)
      state = next
    }
    const refusal: Kernel.Sample = { _tag: "Throttled", scope: "tokens" }
    state = Kernel.settle(state, tickets.pop()!, refusal, 0.8)[1]
    for (const ticket of tickets) state = Kernel.settle(state, ticket, { _tag: "Success", tokens: 300 }, 3)[1]
    return state
  }

  it("forgets a limit that was measured in units that proved too small", () => {
    const measured = after(300)
    expect([measured.tokensPaced, measured.tokenMirror === undefined]).toEqual([true, false])
    const forgotten = after(1)
    expect([forgotten.tokensPaced, forgotten.tokenMirror]).toEqual([false, undefined])
    expect(Kernel.wait(forgotten, 10, 1)[0]).toBe(0)
    expect(forgotten.meanTokens).toBeCloseTo(300)
    expect(after(250).tokenMirror?.blur).toBeCloseTo(50 * Math.sqrt(2))
  })

  it("keeps to the cap of the user meanwhile", () => {
    const capped = after(1, { tokens: { ceiling: 3000 } })
    expect([capped.tokensPaced, capped.tokens.rate]).toEqual([true, 3000])
  })
})

describe("LaneKernel, under two caps", () => {
  it("makes up for what one cap held back of the other, up to half a second", () => {
    // a large call in five uses the tokens of eight: each cap alone takes 100 s
    const cost = (i: number): number => i % 5 === 0 ? 800 : 50
    let state = Kernel.make({ requests: { ceiling: 10, initial: 10 }, tokens: { ceiling: 2000 } })
    let now = 0
    let blocker: Kernel.Blocker | undefined
    const sent: Array<number> = []
    while (sent.length < 1000) {
      state = Kernel.advance(state, now)[1]
      const [seconds, by] = Kernel.wait(state, now, cost(sent.length))
      if (seconds > 0) {
        now += seconds
        blocker = by
      } else {
        state = Kernel.admit(state, cost(sent.length), blocker, now)[1]
        blocker = undefined
        sent.push(now)
      }
    }
    // one after the other they took 130 s
    expect(now).toBeLessThan(106)
    const most = Math.max(...sent.map((at, i) => sent.slice(i).filter((one) => one < at + 60).length))
    expect(most).toBeLessThanOrEqual(606)
  })
})

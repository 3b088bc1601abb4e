import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"

/** One caller after the other, over timers that are no finer than a millisecond and fire late. */
const sequential = (answerSeconds: number, seconds: number): Kernel.State => {
  let state = Kernel.make({})
  let now = 0
  while (now < seconds) {
    state = Kernel.advance(state, now)[1]
    const [wait, by] = Kernel.wait(state, now, 10)
    if (wait > 0) {
      now += Math.ceil(wait * 1000) / 1000 + 0.0002
      state = Kernel.advance(state, now)[1]
    }
    const [ticket, admitted] = Kernel.admit(state, 10, by, now)
    now += answerSeconds
    state = Kernel.settle(admitted, ticket, { _tag: "Success", tokens: 10 }, now)[1]
  }
  return state
}

describe("a lane over coarse timers", () => {
  it("does not hold back one caller after the other, where nothing is refused", () => {
    expect(sequential(0.0005, 6).requests.rate).toBeGreaterThan(2000)
    expect(sequential(0.0001, 8).requests.rate).toBeGreaterThan(10_000)
  })

  it("grows no further than twice what is used", () => {
    expect(sequential(0.01, 20).requests.rate).toBeLessThan(200)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"

/** Sends 120 attempts at 100 per second of which the last twenty are refused, and hears of them in an order. */
const heard = (order: ReadonlyArray<number>): AdaptiveRate.State => {
  let state = AdaptiveRate.make()
  const stamps: Array<{ readonly at: number; readonly sent: number; readonly cost: number }> = []
  for (let n = 0; n < 120; n++) {
    stamps.push({ at: n / 100, sent: state.traffic.sent, cost: 1 })
    state = AdaptiveRate.send(state, 1, true, n / 100)
  }
  for (const n of order) state = AdaptiveRate.refuse(state, stamps[100 + n]!, 1.3)[1]
  return state
}

const sent = Array.from({ length: 20 }, (_, n) => n)

describe("rate/Refusal", () => {
  it("counts what was admitted by an episode as the same, in whatever order its refusals are heard of", () => {
    const { bucket } = heard(sent)
    expect(bucket.empty).toStrictEqual({ at: 1.19, admitted: 100 })
    expect(heard([7, 3, 12, 0, 1, 19, 2, 5, 4, 8, 6, 11, 9, 10, 15, 13, 14, 18, 16, 17]).bucket.empty)
      .toStrictEqual(bucket.empty)
    expect(heard(sent.toReversed()).bucket.empty).toStrictEqual(bucket.empty)
  })

  it("takes no rate to have held because refusals of one episode overtake each other", () => {
    const first = heard(sent)
    const late = heard([0, ...sent.slice(1).toReversed()])
    expect(late.high).toStrictEqual(first.high)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as InFlight from "../../../src/policy/lane/LaneInFlight.ts"

describe("LaneInFlight, caps that are not named as such", () => {
  const refuse = (state: InFlight.State, seq: number, count: number, at: number) =>
    InFlight.refuse(state, { seq, at, count }, "nothing", at + 0.05)
  const answered = (state: InFlight.State, calls: number, at: number): InFlight.State =>
    calls === 0 ? state : answered(InFlight.succeed(state, 1000 + calls, at - 3, at), calls - 1, at)

  it("takes the same count for a cap once more where requests are named", () => {
    let state = InFlight.make()
    const verdicts: Array<InFlight.Verdict> = []
    for (let n = 0; n < 4; n++) {
      const at = 1 + 3 * n
      const [verdict, next] = InFlight.refuse(state, { seq: 16 * n, at, count: 17 }, "requests", at + 0.05)
      verdicts.push(verdict)
      state = answered(next, 5, at + 2)
    }
    expect([verdicts, state.limit]).toEqual([["rate", "rate", "rate", "in-flight"], 16])
  })

  it("takes the same count for no further episode while hardly a call has ended", () => {
    let [, state] = refuse(InFlight.make(), 0, 33, 1)
    for (let n = 1; n < 9; n++) state = refuse(answered(state, n === 8 ? 0 : 1, n), n, 33, n + 0.5)[1]
    // of the seven that ended four make an episode, one in eight of those in flight
    expect([state.kind, state.episodes]).toEqual(["unknown", 2])
  })
})

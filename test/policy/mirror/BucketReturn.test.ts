import { describe, expect, it } from "@effect/vitest"
import * as Return from "../../../src/policy/mirror/BucketReturn.ts"

/** Refuses at each of these times: nothing held. */
const refusedAt = (state: Return.State, ...times: ReadonlyArray<number>): Return.State =>
  times.reduce((state, at) => Return.refuse(state, 0, at), state)

const guessed = Return.begun(100, false, false, 0)
const proved = Return.begun(100, true, false, 0)
const left: Return.Left = { guesses: { rate: 1 } as Return.Left["guesses"], before: 2, eager: 3, interval: 4 }

describe("BucketReturn.due", () => {
  it("goes back to half of the highest that held, once nothing was refused for more than two seconds", () => {
    const open = Return.admitted(refusedAt(proved, 1), 2, 10)
    expect(Return.due(open, 1, 0, 3)).toBe(0)
    expect(Return.due(open, 1, 0, 3.1)).toBeCloseTo(50 * 2 ** (-3.1 / 180))
  })

  it("only from under a quarter of it", () => {
    const open = Return.admitted(proved, 1, 10)
    expect(Return.due(open, 24, 0, 3)).toBeGreaterThan(0)
    expect(Return.due(open, 25, 0, 3)).toBe(0)
  })

  it("only after a call was admitted that was sent since the last refusal", () => {
    expect(Return.due(refusedAt(proved, 1), 1, 0, 9)).toBe(0)
    expect(Return.due(Return.admitted(refusedAt(proved, 1), 1, 10), 1, 0, 9)).toBe(0)
    expect(Return.due(Return.admitted(Return.admitted(refusedAt(proved, 1), 2, 10), 1, 10), 1, 0, 9)).toBeGreaterThan(0)
  })

  it("not beside another, and after one in vain only after 4, 8 and at most 16 seconds", () => {
    const open = Return.admitted(proved, 1, 10)
    expect(Return.due(Return.begin(open, left, 3), 1, 0, 9)).toBe(0)
    let state = open
    for (const [at, seconds] of [[10, 4], [20, 8], [40, 16], [80, 16]] as const) {
      state = Return.failed(Return.begin(state, left, at - 1), at)
      const again = Return.admitted(state, at + 1, 10)
      expect(Return.due(again, 1, 0, at + seconds)).toBe(0)
      expect(Return.due(again, 1, 0, at + seconds + 0.1)).toBeGreaterThan(0)
    }
  })
})

describe("BucketReturn.due, where no rate held", () => {
  const dueAfter = (state: Return.State, calm = 4) => Return.due(Return.admitted(state, 9, 10), 1, calm, 12) > 0

  it("not after the first refusal of a slow limit: a return unlearns what it told", () => {
    expect(dueAfter(guessed)).toBe(false)
    expect(dueAfter(refusedAt(guessed, 0.2))).toBe(false)
  })

  it("after two refusals, no call between them, in a time in which five would have gone through", () => {
    expect(dueAfter(refusedAt(guessed, 0.49))).toBe(false)
    expect(dueAfter(refusedAt(guessed, 0.5))).toBe(true)
    // what is heard late of one sent before tells nothing new
    expect(dueAfter(refusedAt(Return.admitted(Return.admitted(guessed, 0.4, 10), 0.1, 10), 0.5, 0.7))).toBe(false)
    expect(dueAfter(refusedAt(Return.admitted(guessed, 0.3, 10), 0.7))).toBe(false)
    // one refusal alone, however long after an admission
    expect(dueAfter(refusedAt(Return.admitted(guessed, 0.3, 10), 5))).toBe(false)
  })

  it("from then on, whatever is admitted and refused", () => {
    const shut = Return.admitted(refusedAt(guessed, 0.5), 1, 10)
    expect(dueAfter(refusedAt(shut, 1.5))).toBe(true)
  })

  it("after a limit that refused the first call of all", () => {
    expect(dueAfter(Return.begun(100, false, true, 0))).toBe(true)
  })

  it("after five calls in a row that waited and were not refused: somebody else may have used the limit up", () => {
    expect(dueAfter(guessed, 5)).toBe(true)
  })

  it("to a quarter of it after each in vain, and to what holds once as much does", () => {
    const shut = Return.begun(100, false, true, 0)
    const vain = Return.failed(Return.begin(shut, left, 1), 2)
    expect(vain.high).toEqual({ rate: 25, at: 0, proved: false })
    expect(Return.failed(Return.begin(proved, left, 1), 2).high).toEqual(proved.high)
    expect(Return.refuse(shut, 0, 7).high).toEqual(shut.high)
    // no more was sent: that it held proves nothing against a guess
    expect(Return.refuse(shut, 3, 7).high).toEqual(shut.high)
    expect(Return.refuse(vain, 26, 7).high).toEqual({ rate: 26, at: 7, proved: true })
  })
})

describe("BucketReturn.isShut", () => {
  it("is so after three refusals in a row, in a time in which five calls would have gone through before", () => {
    const twice = refusedAt(guessed, 1)
    const thrice = refusedAt(guessed, 0.5, 1)
    expect(Return.isShut(twice, 50, 10)).toBe(false)
    expect(Return.isShut(thrice, 50, 10)).toBe(true)
    expect(Return.isShut(thrice, 49, 10)).toBe(false)
    expect(Return.isShut(refusedAt(Return.admitted(thrice, 2, 10), 3, 4), 50, 10)).toBe(false)
  })
})

describe("BucketReturn.isVain", () => {
  it("is a refusal before five calls of a return went through", () => {
    const begun = Return.begin(proved, left, 1)
    expect(begun.under && Return.isVain(begun.under, 7)).toBe(true)
    const { under } = Return.sent(Return.sent(begun, 10), 11)
    expect(under && Return.isVain(under, 14)).toBe(true)
    expect(under && Return.isVain(under, 15)).toBe(false)
    expect(Return.sent(proved, 10)).toBe(proved)
  })

  it("keeps what it left, and forgets those in vain once one held", () => {
    const vain = Return.failed(Return.begin(proved, left, 1), 2)
    expect(vain).toMatchObject({ under: undefined, vain: 1, vainAt: 2 })
    expect(Return.begin(vain, left, 9).under).toEqual({ at: 9, from: -1, left })
    expect(Return.refuse(Return.begin(vain, left, 9), 80, 20)).toMatchObject({
      under: undefined,
      vain: 0,
      vainAt: -Infinity
    })
    expect(Return.refuse(vain, 80, 20)).toMatchObject({ vain: 1, vainAt: 2 })
  })
})

describe("BucketReturn.longest", () => {
  it("is four times what is owed at the rate that held, five minutes at most, a second at least", () => {
    expect(Return.longest(proved, 1000)).toBe(40)
    expect(Return.longest(proved, 1_000_000)).toBe(300)
    expect(Return.longest(proved, 1)).toBe(1)
  })

  it("is half of the time without an admission where that is longer, thirty seconds at most", () => {
    expect(Return.longest(refusedAt(proved, 20), 1)).toBe(10)
    expect(Return.longest(refusedAt(proved, 100), 1)).toBe(30)
    // what was waited for until the last admission may be waited for again
    expect(Return.longest(Return.admitted(refusedAt(proved, 20), 24, 10), 1)).toBe(24)
  })

  it("is half a minute where none held, until three refusals in a row", () => {
    expect(Return.longest(refusedAt(guessed, 4), 1_000_000)).toBe(30)
    expect(Return.longest(refusedAt(guessed, 4, 8), 1_000_000)).toBe(4)
  })
})

describe("BucketReturn.resumed and told", () => {
  it("end a return, and wait for what is admitted from then on", () => {
    const begun = Return.begin(Return.admitted(proved, 1, 10), left, 2)
    expect(Return.resumed(begun, 9)).toMatchObject({ under: undefined, refusedAt: 9, admitted: false })
    expect(Return.told(begun, 70, 9)).toMatchObject({ under: undefined, high: { rate: 70, at: 9, proved: true } })
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as OpenOutput from "../../src/policy/OpenOutput.ts"

const records = (tokens: ReadonlyArray<number>, from = OpenOutput.empty) =>
  tokens.reduce((state, each) => OpenOutput.record(state, each), from)

const same = (tokens: number, count: number) => Array.from({ length: count }, () => tokens)

describe("OpenOutput", () => {
  it("is cold below 20 answers", () => {
    expect([19, 20].map((count) => OpenOutput.isCold(records(same(5, count))))).toEqual([true, false])
    expect(OpenOutput.bound(OpenOutput.empty)).toBe(0)
  })

  it("forgets the largest after 129 to 256 answers", () => {
    const high = records([1000])
    expect(OpenOutput.bound(records(same(10, 255), high))).toBe(4000)
    expect(OpenOutput.bound(records(same(10, 256), high))).toBe(40)
    const late = records([...same(10, 127), 1000])
    expect(OpenOutput.bound(records(same(10, 128), late))).toBe(4000)
    expect(OpenOutput.bound(records(same(10, 129), late))).toBe(40)
  })

  it("halves with each hour of asking in vain, whatever the clock does, and keeps what has halved", () => {
    const asked = OpenOutput.ask(records(same(100, 20)), 50)
    for (const now of [0, 50, 3649]) expect(OpenOutput.ask(asked, now)).toBe(asked)
    const twice = [3650, 4000, 7249, 7250].reduce(OpenOutput.ask, asked)
    expect([asked, twice].map(OpenOutput.bound)).toEqual([400, 100])
    const answered = OpenOutput.record(twice, 10)
    expect([answered.askedAt, OpenOutput.bound(answered)]).toEqual([undefined, 100])
    const old = [0, 3600].reduce(OpenOutput.ask, records([1000, ...same(10, 128)]))
    expect(OpenOutput.bound(OpenOutput.record(old, 10))).toBe(2000)
  })

  it("halves once, not by the hours, where nobody asks after a call that was not answered", () => {
    const morning = [64_800, 115_200].reduce(OpenOutput.ask, records(same(30_000, 20)))
    expect(OpenOutput.bound(morning)).toBe(60_000)
  })
})

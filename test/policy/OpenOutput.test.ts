import { describe, expect, it } from "@effect/vitest"
import * as OpenOutput from "../../src/policy/OpenOutput.ts"

const records = (tokens: ReadonlyArray<number>, from = OpenOutput.empty) =>
  tokens.reduce((state, each) => OpenOutput.record(state, each, 0), from)

const same = (tokens: number, count: number) => Array.from({ length: count }, () => tokens)

describe("OpenOutput", () => {
  it("is cold below 20 answers", () => {
    expect([19, 20].map((count) => OpenOutput.isCold(records(same(5, count))))).toEqual([true, false])
    expect(OpenOutput.bound(OpenOutput.empty, 0)).toBe(0)
  })

  it("forgets the largest after 129 to 256 answers", () => {
    const high = records([1000])
    expect(OpenOutput.bound(records(same(10, 255), high), 0)).toBe(4000)
    expect(OpenOutput.bound(records(same(10, 256), high), 0)).toBe(40)
    const late = records([...same(10, 127), 1000])
    expect(OpenOutput.bound(records(same(10, 128), late), 0)).toBe(4000)
    expect(OpenOutput.bound(records(same(10, 129), late), 0)).toBe(40)
  })

  it("halves with each hour of asking in vain, whatever the clock does, and keeps what has halved", () => {
    const asked = OpenOutput.ask(records(same(100, 20)), 50)
    expect(OpenOutput.ask(asked, 7000)).toBe(asked)
    expect([0, 50, 3649, 3650, 7250].map((now) => OpenOutput.bound(asked, now))).toEqual([400, 400, 400, 200, 100])
    const answered = OpenOutput.record(asked, 10, 7250)
    expect([answered.askedAt, OpenOutput.bound(answered, 1e9)]).toEqual([undefined, 100])
    const old = OpenOutput.ask(records([1000, ...same(10, 128)]), 0)
    expect(OpenOutput.bound(OpenOutput.record(old, 10, 3600), 3600)).toBe(2000)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Marks from "../../../src/policy/lane/LaneMarks.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"

const mark = (at: number, empty?: Marks.Limit): Marks.Mark => ({ at, requests: at * 10, tokens: at * 3000, empty })

describe("LaneMarks", () => {
  it("keeps order, the first, the last, and as many as it may, after any list of marks", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = seeded(seed)
      let marks: Marks.Marks = [mark(0)]
      let now = 0
      for (let i = 0; i < 200; i++) {
        now += random() * random() * 5
        const empty = random() < 0.1 ? "tokens" : random() < 0.1 ? "requests" : undefined
        marks = Marks.add(marks, mark(empty === undefined ? now : now * (0.9 + random() / 10), empty))
        law(marks.map((one) => one.at)).toEqual(marks.map((one) => one.at).toSorted((a, b) => a - b))
        law(marks.length).toBeLessThanOrEqual(Marks.defaults.count)
        law(marks.filter((one) => one.empty !== undefined).length).toBeLessThanOrEqual(Marks.defaults.empties)
        law(marks[0]).toEqual(mark(0))
      }
    }
  })

  it("forgets the longer ago the more, and of moments at which a bucket was empty the oldest", () => {
    let marks: Marks.Marks = [mark(0)]
    for (let i = 1; i <= 400; i++) marks = Marks.add(marks, mark(i))
    expect(marks.slice(-6).map((one) => one.at)).toEqual([395, 396, 397, 398, 399, 400])
    expect((marks[2]?.at ?? 0) - (marks[1]?.at ?? 0)).toBeGreaterThan(5)
    const empties = [1, 2, 3, 4, 5, 6, 7].reduce(
      (all, at) => Marks.add(all, mark(at, "tokens")),
      [mark(0)] as Marks.Marks
    )
    expect(empties.filter((one) => one.empty !== undefined).map((one) => one.at)).toEqual([2, 3, 4, 5, 6, 7])
  })

  it("reads the stretches of time that end with a refusal, of one limit", () => {
    const marks = [mark(0), mark(1, "requests"), mark(2, "tokens"), mark(3)]
    expect(Marks.stretches(marks, "tokens", 7500, 2.5)).toEqual([
      { seconds: 2.5, units: 7500, empty: false },
      { seconds: 1.5, units: 4500, empty: false },
      { seconds: 0.5, units: 1500, empty: true }
    ])
    expect(Marks.stretches(marks, "requests", 5, 2.5).map((one) => [one.units, one.empty])).toEqual([
      [5, false],
      [0, true],
      [0, false]
    ])
  })

  it("takes a long standstill out, and what a bucket was before it, and leaves a short one in", () => {
    const marks = [mark(0), mark(1, "tokens"), mark(2)]
    expect(Marks.stoodStill(marks, 2)).toBe(marks)
    const night = Marks.stoodStill(marks, 28_802)
    expect(Marks.stretches(night, "tokens", 6000, 28_803)).toEqual([
      { seconds: 3, units: 6000, empty: false },
      { seconds: 2, units: 3000, empty: false },
      { seconds: 1, units: 0, empty: false }
    ])
  })

  it("finds the moment since which most was admitted, and none that lies after the refusal", () => {
    const marks = [mark(0), { ...mark(60), tokens: 0 }, { ...mark(61), tokens: 9000 }]
    expect(Marks.busiest(marks, "tokens", 9000, 61).at).toBe(60)
    expect(Marks.busiest(marks, "tokens", 100, 30).at).toBe(0)
  })
})

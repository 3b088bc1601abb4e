import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Deadlines from "../../src/guard/lane/LaneDeadlines.ts"

interface Entry extends Deadlines.Entry {
  readonly deadlineAt: number
  gone: boolean
}

const entry = (deadlineAt: number): Entry => ({ deadlineAt, gone: false })

const drain = (heap: Deadlines.LaneDeadlines<Entry>): ReadonlyArray<number> => {
  const order: Array<number> = []
  let next = Deadlines.first(heap)
  while (next !== undefined) {
    order.push(next.deadlineAt)
    Deadlines.takeFirst(heap)
    next = Deadlines.first(heap)
  }
  return order
}

describe("LaneDeadlines", () => {
  it("has nothing first where it is empty", () => {
    expect(Deadlines.first(Deadlines.make(() => 0))).toBeUndefined()
  })

  it.prop("gives the earliest first, without those that are gone", {
    given: Schema.Array(Schema.Tuple([Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 })), Schema.Boolean]))
  }, ({ given }) => {
    const heap = Deadlines.make<Entry>(({ deadlineAt }) => deadlineAt)
    const all = given.map(([deadlineAt, leaves]) => [entry(deadlineAt), leaves] as const)
    for (const [one] of all) Deadlines.add(heap, one)
    for (const [one, leaves] of all) {
      if (!leaves) continue
      one.gone = true
      Deadlines.mark(heap)
    }
    const left = all.filter(([, leaves]) => !leaves).map(([one]) => one.deadlineAt)
    expect(drain(heap)).toEqual(left.toSorted((a, b) => a - b))
    expect(heap).toMatchObject({ items: [], marked: 0 })
  })

  it("keeps no more than twice of what waits, whatever leaves", () => {
    const heap = Deadlines.make<Entry>(({ deadlineAt }) => deadlineAt)
    const all = Array.from({ length: 1000 }, (_, i) => entry((i * 7919) % 1009))
    for (const one of all) Deadlines.add(heap, one)
    all.slice(0, 900).forEach((one) => {
      one.gone = true
      Deadlines.mark(heap)
    })
    expect(heap.items.length).toBeLessThanOrEqual(200)
    const left = all.slice(900).map((one) => one.deadlineAt)
    expect(drain(heap)).toEqual(left.toSorted((a, b) => a - b))
  })

  it("looks after an eighth of the time, then each time twice as late, or halfway to the deadline", () => {
    const looks: Array<number> = []
    for (let waited = 0; looks.length < 20;) {
      waited += Deadlines.nextLook(waited, 64 - waited)
      if (waited === Infinity) break
      looks.push(waited)
    }
    expect(looks).toEqual([8, 16, 32, 48, 56, 60, 62, 63, 63.5, 63.75])
    expect(Deadlines.nextLook(0, 0.4)).toBe(Infinity)
  })
})

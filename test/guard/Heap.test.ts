import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Heap from "../../src/guard/Heap.ts"
import { nextLook } from "../../src/guard/lane/LaneExpiry.ts"

interface Entry extends Heap.Entry {
  readonly deadlineAt: number
  gone: boolean
}

const entry = (deadlineAt: number): Entry => ({ deadlineAt, gone: false })

const drain = (heap: Heap.Heap<Entry>): ReadonlyArray<number> => {
  const order: Array<number> = []
  let next = Heap.first(heap)
  while (next !== undefined) {
    order.push(next.deadlineAt)
    Heap.takeFirst(heap)
    next = Heap.first(heap)
  }
  return order
}

describe("Heap", () => {
  it("has nothing first where it is empty", () => {
    expect(Heap.first(Heap.make(() => false))).toBeUndefined()
  })

  it.prop("gives the earliest first, without those that are gone", {
    given: Schema.Array(Schema.Tuple([Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 })), Schema.Boolean]))
  }, ({ given }) => {
    const heap = Heap.make<Entry>((a, b) => a.deadlineAt < b.deadlineAt)
    const all = given.map(([deadlineAt, leaves]) => [entry(deadlineAt), leaves] as const)
    for (const [one] of all) Heap.add(heap, one)
    for (const [one, leaves] of all) {
      if (!leaves) continue
      one.gone = true
      Heap.mark(heap)
    }
    const left = all.filter(([, leaves]) => !leaves).map(([one]) => one.deadlineAt)
    expect(Heap.size(heap)).toBe(left.length)
    expect(drain(heap)).toEqual(left.toSorted((a, b) => a - b))
    expect(heap).toMatchObject({ items: [], marked: 0 })
  })

  it("keeps no more than twice of what waits, whatever leaves", () => {
    const heap = Heap.make<Entry>((a, b) => a.deadlineAt < b.deadlineAt)
    const all = Array.from({ length: 1000 }, (_, i) => entry((i * 7919) % 1009))
    for (const one of all) Heap.add(heap, one)
    all.slice(0, 900).forEach((one) => {
      one.gone = true
      Heap.mark(heap)
    })
    expect(heap.items.length).toBeLessThanOrEqual(200)
    expect(Heap.size(heap)).toBe(100)
    const left = all.slice(900).map((one) => one.deadlineAt)
    expect(drain(heap)).toEqual(left.toSorted((a, b) => a - b))
  })

  it("looks after an eighth of the time, then each time twice as late, or halfway to the deadline", () => {
    const looks: Array<number> = []
    for (let waited = 0; looks.length < 20;) {
      waited += nextLook(waited, 64 - waited)
      if (waited === Infinity) break
      looks.push(waited)
    }
    expect(looks).toEqual([8, 16, 32, 48, 56, 60, 62, 63, 63.5, 63.75])
    expect(nextLook(0, 0.4)).toBe(Infinity)
  })
})

/**
 * Keeps timers in the order of their time, and of their setting where times are equal.
 *
 * A binary heap whose entries know their place, so that removing one costs O(log n) too: most timers of a resilient
 * client are timeouts that never fire.
 */

/** Describes one timer. */
export interface Entry<A> {
  readonly at: number
  readonly order: number
  readonly value: A
  index: number
}

/** Describes the heap. */
export interface TimerHeap<A> {
  readonly size: number
  readonly add: (at: number, value: A) => Entry<A>
  readonly remove: (entry: Entry<A>) => void
  readonly earliest: () => number
  readonly pop: () => A
}

/** Makes an empty heap. */
export const make = <A>(): TimerHeap<A> => {
  const heap: Array<Entry<A>> = []
  let order = 0

  const before = (a: Entry<A>, b: Entry<A>) => a.at < b.at || (a.at === b.at && a.order < b.order)

  const place = (entry: Entry<A>, index: number) => {
    heap[index] = entry
    entry.index = index
  }

  const up = (entry: Entry<A>, from: number) => {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]!
      if (!before(entry, above)) break
      place(above, index)
      index = parent
    }
    place(entry, index)
  }

  const down = (entry: Entry<A>, from: number) => {
    let index = from
    while (true) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, entry)) break
      place(heap[child]!, index)
      index = child
    }
    place(entry, index)
  }

  const remove = (entry: Entry<A>) => {
    const index = entry.index
    if (index < 0) return
    entry.index = -1
    const last = heap.pop()!
    if (last === entry) return
    if (index > 0 && before(last, heap[(index - 1) >> 1]!)) up(last, index)
    else down(last, index)
  }

  return {
    get size() {
      return heap.length
    },
    add: (at, value) => {
      const entry: Entry<A> = { at, order: order++, value, index: -1 }
      heap.push(entry)
      up(entry, heap.length - 1)
      return entry
    },
    remove,
    earliest: () => heap.length === 0 ? Infinity : heap[0]!.at,
    pop: () => {
      const entry = heap[0]!
      remove(entry)
      return entry.value
    }
  }
}

/**
 * Holds the waiters of a lane that have a deadline, the earliest first, whatever their place in the queue.
 *
 * A binary heap: adding and taking cost O(log n), adding O(1) where deadlines come in their order. A waiter that left
 * the queue is only marked; it is dropped when it comes up, or when half of the heap is marked.
 */

/** Describes what waits. */
export interface Entry {
  /** Epoch milliseconds. */
  readonly deadlineAt: number | undefined
  /** True once it waits no more. */
  readonly gone: boolean
}

/** Holds entries as a heap by their deadlines. */
export interface LaneDeadlines<E extends Entry> {
  items: Array<E>
  marked: number
}

/** Makes an empty heap. */
export const make = <E extends Entry>(): LaneDeadlines<E> => ({ items: [], marked: 0 })

const at = (entry: Entry): number => entry.deadlineAt ?? Infinity

/** Adds an entry. */
export const add = <E extends Entry>(heap: LaneDeadlines<E>, entry: E): void => {
  const { items } = heap
  let index = items.push(entry) - 1
  while (index > 0) {
    const above = (index - 1) >>> 1
    const parent = items[above]!
    if (at(parent) <= at(entry)) break
    items[index] = parent
    index = above
  }
  items[index] = entry
}

const sink = <E extends Entry>(items: Array<E>, entry: E, from: number): void => {
  let index = from
  while (true) {
    let below = 2 * index + 1
    if (below >= items.length) break
    if (below + 1 < items.length && at(items[below + 1]!) < at(items[below]!)) below++
    const child = items[below]!
    if (at(child) >= at(entry)) break
    items[index] = child
    index = below
  }
  items[index] = entry
}

/** Takes the entry out that `first` gave. */
export const takeFirst = <E extends Entry>(heap: LaneDeadlines<E>): void => {
  const last = heap.items.pop()
  if (last !== undefined && heap.items.length > 0) sink(heap.items, last, 0)
}

/** Reads the entry whose deadline is first, or nothing. */
export const first = <E extends Entry>(heap: LaneDeadlines<E>): E | undefined => {
  while (heap.items[0]?.gone === true) {
    takeFirst(heap)
    heap.marked--
  }
  return heap.items[0]
}

/** Counts an entry that is gone before its deadline. */
export const mark = <E extends Entry>(heap: LaneDeadlines<E>): void => {
  if (++heap.marked <= 32 || heap.marked * 2 <= heap.items.length) return
  const items = heap.items.filter((item) => !item.gone)
  for (let index = (items.length >>> 1) - 1; index >= 0; index--) sink(items, items[index]!, index)
  heap.items = items
  heap.marked = 0
}

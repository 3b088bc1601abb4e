/**
 * Holds the waiters of a lane that have a deadline, ordered by a moment, the earliest first, whatever their place in
 * the queue. The moment is the deadline, or when to check whether it can be kept.
 *
 * ```
 *   joins ──1/8──1/4────1/2────────3/4───7/8──▶ deadline        looks, as shares of the time that it has
 * ```
 *
 * A binary heap: adding and taking cost O(log n), adding O(1) where deadlines come in their order. A waiter that left
 * the queue is only marked; it is dropped when it comes up, or when half of the heap is marked.
 */

/** Describes what waits. */
export interface Entry {
  /** True once it waits no more. */
  readonly gone: boolean
}

/** Holds entries as a heap by a moment of theirs, which stays while they are in it. */
export interface LaneDeadlines<E extends Entry> {
  items: Array<E>
  marked: number
  readonly at: (entry: E) => number
}

/** Makes an empty heap. */
export const make = <E extends Entry>(at: (entry: E) => number): LaneDeadlines<E> => ({ items: [], marked: 0, at })

/** Share of its time after which a call is first looked at, and the seconds before its deadline from which it is no more. */
export const defaults = { first: 0.125, last: 0.5 } as const

/** Computes the seconds until the next look at a call that has waited so long, and has so long left; `Infinity` for none. */
export const nextLook = (waited: number, left: number): number => {
  if (left < defaults.last) return Infinity
  const first = defaults.first * (waited + left)
  return waited < first ? first - waited : Math.min(waited, left / 2)
}

/** Adds an entry. */
export const add = <E extends Entry>(heap: LaneDeadlines<E>, entry: E): void => {
  const { at, items } = heap
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

const sink = <E extends Entry>({ at, items }: LaneDeadlines<E>, entry: E, from: number): void => {
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
  if (last !== undefined && heap.items.length > 0) sink(heap, last, 0)
}

/** Reads the entry whose moment is first, or nothing. */
export const first = <E extends Entry>(heap: LaneDeadlines<E>): E | undefined => {
  while (heap.items[0]?.gone === true) {
    takeFirst(heap)
    heap.marked--
  }
  return heap.items[0]
}

/** Counts an entry that is gone before its moment. */
export const mark = <E extends Entry>(heap: LaneDeadlines<E>): void => {
  if (++heap.marked <= 32 || heap.marked * 2 <= heap.items.length) return
  const items = heap.items = heap.items.filter((item) => !item.gone)
  for (let index = (items.length >>> 1) - 1; index >= 0; index--) sink(heap, items[index]!, index)
  heap.marked = 0
}

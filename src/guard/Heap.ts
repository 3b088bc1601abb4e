/**
 * Keeps what waits for a moment, the earliest first: the waiters of a lane by their deadline, the timers of a clock.
 *
 * A binary heap: adding and taking cost O(log n), adding O(1) where moments come in their order. What leaves before its
 * moment is only marked; it is dropped when it comes up, or when half of the heap is marked.
 */

/** Describes what waits. */
export interface Entry {
  /** True once it waits no more. */
  readonly gone: boolean
}

/** Holds entries as a heap by an order of theirs, which stays while they are in it. */
export interface Heap<E extends Entry> {
  items: Array<E>
  marked: number
  readonly before: (a: E, b: E) => boolean
}

/** Makes an empty heap. */
export const make = <E extends Entry>(before: (a: E, b: E) => boolean): Heap<E> => ({ items: [], marked: 0, before })

/** Counts the entries that still wait. */
export const size = <E extends Entry>({ items, marked }: Heap<E>): number => items.length - marked

/** Adds an entry. */
export const add = <E extends Entry>(heap: Heap<E>, entry: E): void => {
  const { before, items } = heap
  let index = items.push(entry) - 1
  while (index > 0) {
    const above = (index - 1) >>> 1
    const parent = items[above]!
    if (!before(entry, parent)) break
    items[index] = parent
    index = above
  }
  items[index] = entry
}

const sink = <E extends Entry>({ before, items }: Heap<E>, entry: E, from: number): void => {
  let index = from
  while (true) {
    let below = 2 * index + 1
    if (below >= items.length) break
    if (below + 1 < items.length && before(items[below + 1]!, items[below]!)) below++
    const child = items[below]!
    if (!before(child, entry)) break
    items[index] = child
    index = below
  }
  items[index] = entry
}

/** Takes the entry out that `first` gave. */
export const takeFirst = <E extends Entry>(heap: Heap<E>): void => {
  const last = heap.items.pop()
  if (last !== undefined && heap.items.length > 0) sink(heap, last, 0)
}

/** Reads the entry whose moment is first, or nothing. */
export const first = <E extends Entry>(heap: Heap<E>): E | undefined => {
  while (heap.items[0]?.gone === true) {
    takeFirst(heap)
    heap.marked--
  }
  return heap.items[0]
}

/** Counts an entry that is gone before its moment. */
export const mark = <E extends Entry>(heap: Heap<E>): void => {
  if (++heap.marked <= 32 || heap.marked * 2 <= heap.items.length) return
  const items = heap.items = heap.items.filter((item) => !item.gone)
  for (let index = (items.length >>> 1) - 1; index >= 0; index--) sink(heap, items[index]!, index)
  heap.marked = 0
}

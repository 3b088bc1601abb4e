/**
 * Holds what waits in a lane: by priority, retried work before fresh, first in first out, nobody starved.
 *
 * ```
 *   level 0    retried ▸▸   fresh ▸▸▸▸▸        smallest level first;
 *   level 200  retried ▸    fresh ▸▸▸▸▸▸▸▸     within it, retried before fresh;
 *   level 400               fresh ▸▸▸▸▸▸▸▸▸▸   every 17th admission goes to whoever waits longest of those passed over
 * ```
 *
 * A level's two lists are growing arrays with a head index, so adding and taking cost O(1) amortized, and finding the
 * next level O(levels in use). An entry that gives up is only marked; it is dropped when it comes up, or when half of
 * its list is marked. The queue is the one mutable thing in `policy/`: a million entries copied per step would not do.
 */

/** Is what waits: extend it with what the caller needs. */
export interface Entry {
  /** Level from 0 (first) to 499 (last). */
  readonly level: number
  readonly retry: boolean
  readonly tokens: number
  /** Number in order of arrival; `add` sets it. */
  order: number
  /** True once it waits no more, whether served or given up. */
  gone: boolean
}

interface List<E> {
  items: Array<E | undefined>
  head: number
  marked: number
}

interface Level<E> {
  readonly level: number
  readonly retried: List<E>
  readonly fresh: List<E>
  waiting: number
}

/** Is a queue of entries. */
export interface LaneQueue<E extends Entry> {
  size: number
  tokens: number
  /** Entries added so far. */
  added: number
  /** Admissions that passed over a worse level since the last that did not. */
  passed: number
  /** Sorted by level. */
  readonly levels: Array<Level<E>>
}

/** Bounds the admissions that may pass over a worse level in a row. */
export const fairness = 16

/** Makes an empty queue. */
export const make = <E extends Entry>(): LaneQueue<E> => ({ size: 0, tokens: 0, added: 0, passed: 0, levels: [] })

const list = <E>(): List<E> => ({ items: [], head: 0, marked: 0 })

const levelOf = <E extends Entry>(queue: LaneQueue<E>, level: number): Level<E> => {
  let low = 0
  let high = queue.levels.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (queue.levels[middle]!.level < level) low = middle + 1
    else high = middle
  }
  const found = queue.levels[low]
  if (found !== undefined && found.level === level) return found
  const made: Level<E> = { level, retried: list(), fresh: list(), waiting: 0 }
  queue.levels.splice(low, 0, made)
  return made
}

/** Adds an entry at the end of its list. */
export const add = <E extends Entry>(queue: LaneQueue<E>, entry: E): void => {
  const level = levelOf(queue, entry.level)
  ;(entry.retry ? level.retried : level.fresh).items.push(entry)
  level.waiting++
  entry.order = queue.added++
  queue.size++
  queue.tokens += entry.tokens
}

const forget = <E extends Entry>(queue: LaneQueue<E>, level: Level<E>, entry: E): void => {
  entry.gone = true
  queue.size--
  queue.tokens -= entry.tokens
  if (--level.waiting === 0 && queue.levels.length > 8) queue.levels.splice(queue.levels.indexOf(level), 1)
}

const compact = <E extends Entry>(of: List<E>): void => {
  of.items = of.items.filter((item, index) => index >= of.head && item !== undefined && !item.gone)
  of.head = 0
  of.marked = 0
}

/** Takes an entry out that gives up; does nothing where it is no longer in. */
export const remove = <E extends Entry>(queue: LaneQueue<E>, entry: E): void => {
  if (entry.gone) return
  const level = levelOf(queue, entry.level)
  const from = entry.retry ? level.retried : level.fresh
  forget(queue, level, entry)
  if (++from.marked > 32 && from.marked * 2 > from.items.length - from.head) compact(from)
}

const first = <E extends Entry>(of: List<E>): E | undefined => {
  while (of.head < of.items.length) {
    const item = of.items[of.head]
    if (item !== undefined && !item.gone) return item
    of.items[of.head++] = undefined
    if (of.marked > 0) of.marked--
  }
  if (of.head > 0) {
    of.items = []
    of.head = 0
    of.marked = 0
  }
  return undefined
}

const head = <E extends Entry>(level: Level<E>): E | undefined => first(level.retried) ?? first(level.fresh)

const nextLevel = <E extends Entry>(queue: LaneQueue<E>): Level<E> | undefined => {
  let best: Level<E> | undefined
  let oldest: Level<E> | undefined
  let order = Infinity
  for (const level of queue.levels) {
    if (level.waiting === 0) continue
    if (best === undefined) {
      best = level
      if (queue.passed < fairness) break
      continue
    }
    const waited = head(level)?.order ?? Infinity
    if (waited < order) {
      oldest = level
      order = waited
    }
  }
  return oldest ?? best
}

/** Reads the entry whose turn is next, or nothing. */
export const peek = <E extends Entry>(queue: LaneQueue<E>): E | undefined => {
  const level = nextLevel(queue)
  return level && head(level)
}

/** Takes the entry whose turn is next, or nothing. */
export const take = <E extends Entry>(queue: LaneQueue<E>): E | undefined => {
  const level = nextLevel(queue)
  if (level === undefined) return undefined
  const better = queue.levels.some((one) => one.level < level.level && one.waiting > 0)
  const worse = queue.levels.some((one) => one.level > level.level && one.waiting > 0)
  queue.passed = worse && !better ? queue.passed + 1 : 0
  const from = first(level.retried) === undefined ? level.fresh : level.retried
  const entry = first(from)
  if (entry === undefined) return undefined
  from.items[from.head++] = undefined
  if (from.head > 1024 && from.head * 2 > from.items.length) compact(from)
  forget(queue, level, entry)
  return entry
}

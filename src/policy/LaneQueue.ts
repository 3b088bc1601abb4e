/**
 * Holds what waits in a lane: by priority, retried work before fresh, first in first out, nobody starved.
 *
 * ```
 *   level 0    retried ▸▸   fresh ▸▸▸▸▸        smallest level first;
 *   level 200  retried ▸    fresh ▸▸▸▸▸▸▸▸     within it, retried before fresh;
 *   level 400               fresh ▸▸▸▸▸▸▸▸▸▸   every 17th admission goes to whoever waits longest of those passed over
 * ```
 *
 * Streams wait among the others, in the same order. While no more of them may be sent, the queue is read without them
 * (`streams` false); fairness is counted apart for such admissions, so a stream passed over keeps its turn.
 *
 * A level's lists are growing arrays with a head index, so adding and taking cost O(1) amortized, and finding the
 * next level O(levels in use). An entry that gives up is only marked; it is dropped when it comes up, or when half of
 * its list is marked. The queue is the one mutable thing in `policy/`: a million entries copied per step would not do.
 */

/** Is what waits: extend it with what the caller needs. */
export interface Entry {
  /** Level from 0 (first) to 499 (last). */
  readonly level: number
  readonly retry: boolean
  /** True for a stream: it is left out where the queue is read without streams. */
  readonly stream: boolean
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
  waiting: number
  tokens: number
}

/** Calls of one kind, in the order of their arrival; streams apart, so that they can be left out. */
interface Line<E> {
  readonly short: List<E>
  readonly streams: List<E>
}

interface Level<E> {
  readonly level: number
  readonly retried: Line<E>
  readonly fresh: Line<E>
}

/** Is a queue of entries. */
export interface LaneQueue<E extends Entry> {
  size: number
  tokens: number
  /** Streams among them. */
  streams: number
  /** Entries added so far. */
  added: number
  /** Admissions that passed over a worse level since the last that did not: with streams, and without. */
  passed: number
  passedShort: number
  /** Sorted by level. */
  readonly levels: Array<Level<E>>
}

/** Bounds the admissions that may pass over a worse level in a row. */
export const fairness = 16

/** Makes an empty queue. */
export const make = <E extends Entry>(): LaneQueue<E> => ({
  size: 0,
  tokens: 0,
  streams: 0,
  added: 0,
  passed: 0,
  passedShort: 0,
  levels: []
})

const list = <E>(): List<E> => ({ items: [], head: 0, marked: 0, waiting: 0, tokens: 0 })

const line = <E>(): Line<E> => ({ short: list(), streams: list() })

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
  const made: Level<E> = { level, retried: line(), fresh: line() }
  queue.levels.splice(low, 0, made)
  return made
}

const listOf = <E extends Entry>(level: Level<E>, entry: E): List<E> => {
  const of = entry.retry ? level.retried : level.fresh
  return entry.stream ? of.streams : of.short
}

const inLine = <E>(of: Line<E>, streams: boolean): number => of.short.waiting + (streams ? of.streams.waiting : 0)

const waiting = <E>(level: Level<E>, streams: boolean): number =>
  inLine(level.retried, streams) + inLine(level.fresh, streams)

/** Adds an entry at the end of its list. */
export const add = <E extends Entry>(queue: LaneQueue<E>, entry: E): void => {
  const to = listOf(levelOf(queue, entry.level), entry)
  to.items.push(entry)
  to.waiting++
  to.tokens += entry.tokens
  entry.order = queue.added++
  queue.size++
  queue.tokens += entry.tokens
  if (entry.stream) queue.streams++
}

const forget = <E extends Entry>(queue: LaneQueue<E>, level: Level<E>, from: List<E>, entry: E): void => {
  entry.gone = true
  queue.size--
  queue.tokens -= entry.tokens
  if (entry.stream) queue.streams--
  from.waiting--
  from.tokens -= entry.tokens
  if (queue.levels.length > 8 && waiting(level, true) === 0) queue.levels.splice(queue.levels.indexOf(level), 1)
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
  const from = listOf(level, entry)
  forget(queue, level, from, entry)
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

const firstOf = <E extends Entry>(of: Line<E>, streams: boolean): E | undefined => {
  const short = first(of.short)
  const stream = streams ? first(of.streams) : undefined
  return short === undefined || (stream !== undefined && stream.order < short.order) ? stream : short
}

const head = <E extends Entry>(level: Level<E>, streams: boolean): E | undefined =>
  firstOf(level.retried, streams) ?? firstOf(level.fresh, streams)

const passedOver = <E extends Entry>(queue: LaneQueue<E>, streams: boolean): number =>
  streams ? queue.passed : queue.passedShort

const nextLevel = <E extends Entry>(queue: LaneQueue<E>, streams: boolean): Level<E> | undefined => {
  let best: Level<E> | undefined
  let oldest: Level<E> | undefined
  let order = Infinity
  for (const level of queue.levels) {
    if (waiting(level, streams) === 0) continue
    if (best === undefined) {
      best = level
      if (passedOver(queue, streams) < fairness) break
      continue
    }
    const waited = head(level, streams)?.order ?? Infinity
    if (waited < order) {
      oldest = level
      order = waited
    }
  }
  return oldest ?? best
}

/** Reads the entry whose turn is next, or nothing. */
export const peek = <E extends Entry>(queue: LaneQueue<E>, streams = true): E | undefined => {
  const level = nextLevel(queue, streams)
  return level && head(level, streams)
}

/** Takes the entry whose turn is next, or nothing. */
export const take = <E extends Entry>(queue: LaneQueue<E>, streams = true): E | undefined => {
  const level = nextLevel(queue, streams)
  if (level === undefined) return undefined
  const better = queue.levels.some((one) => one.level < level.level && waiting(one, streams) > 0)
  const worse = queue.levels.some((one) => one.level > level.level && waiting(one, streams) > 0)
  const passed = worse && !better ? passedOver(queue, streams) + 1 : 0
  if (streams) queue.passed = passed
  else queue.passedShort = passed
  const entry = head(level, streams)
  if (entry === undefined) return undefined
  const from = listOf(level, entry)
  from.items[from.head++] = undefined
  if (from.head > 1024 && from.head * 2 > from.items.length) compact(from)
  forget(queue, level, from, entry)
  return entry
}

/** Holds what goes before a call. */
export interface Ahead {
  readonly requests: number
  readonly tokens: number
  /** Streams among the requests. */
  readonly streams: number
}

/** Reads all that waits: what goes before a call at the very end. */
export const whole = <E extends Entry>(queue: LaneQueue<E>): Ahead => ({
  requests: queue.size,
  tokens: queue.tokens,
  streams: queue.streams
})

/**
 * Computes what goes before a call that joins now, if nobody else does.
 *
 * **Details**: better levels, and its own but for fresh work where it is a retry; one in 17 of a worse level in between.
 * Where it is itself passed over it goes, at the latest, at its turn among those that are: then of the others as much
 * is taken as there are turns. O(levels in use).
 */
export const ahead = <E extends Entry>(
  queue: LaneQueue<E>,
  call: { readonly level: number; readonly retry: boolean },
  streams = true
): Ahead => {
  // in its own and better levels, of that not in the best, and in worse levels
  const before = { requests: 0, tokens: 0, streams: 0 }
  const behind = { requests: 0, tokens: 0, streams: 0 }
  let best: Level<E> | undefined
  let passedOverBefore = 0
  for (const level of queue.levels) {
    if (waiting(level, streams) === 0) continue
    best ??= level
    const requests = before.requests
    const worse = level.level > call.level
    count(worse ? behind : before, level.retried, streams)
    if (worse || level.level < call.level || !call.retry) count(worse ? behind : before, level.fresh, streams)
    if (level !== best) passedOverBefore += before.requests - requests
  }
  const passed = passedOver(queue, streams)
  const turns = Math.floor((before.requests + passed) / fairness)
  const between = share(behind, turns / (passedOverBefore + behind.requests))
  const all = {
    requests: before.requests + between.requests,
    tokens: before.tokens + between.tokens,
    streams: before.streams + between.streams
  }
  if (best === undefined || best.level >= call.level) return all
  const latest = (passedOverBefore + behind.requests + 1) * (fairness + 1) - 1 - passed
  return share(all, latest / all.requests)
}

/**
 * Counts the short calls before a call that joins now which go before any stream: whole levels and lines without
 * streams, and those that came before the first stream. O(levels in use + log of what waits).
 */
export const front = <E extends Entry>(
  queue: LaneQueue<E>,
  call: { readonly level: number; readonly retry: boolean }
): number => {
  let requests = 0
  for (const level of queue.levels) {
    if (level.level > call.level) break
    for (const of of level.level === call.level && call.retry ? [level.retried] : [level.retried, level.fresh]) {
      const stream = first(of.streams)
      if (stream !== undefined) return requests + earlier(of.short, stream.order)
      requests += of.short.waiting
    }
  }
  return requests
}

/** Counts the entries of a list that came before an order; those that gave up may be counted, at most all that wait. */
const earlier = <E extends Entry>({ head, items, waiting }: List<E>, order: number): number => {
  let low = head
  let high = items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (items[middle]!.order < order) low = middle + 1
    else high = middle
  }
  return Math.min(waiting, low - head)
}

const count = <E>(to: { requests: number; tokens: number; streams: number }, of: Line<E>, streams: boolean): void => {
  to.requests += inLine(of, streams)
  to.tokens += of.short.tokens + (streams ? of.streams.tokens : 0)
  if (streams) to.streams += of.streams.waiting
}

/** Computes what goes before a call of all that could, where no more than some streams are sent before it. */
export const atMost = (all: Ahead, short: Ahead, streams: number): Ahead => {
  const part = all.streams > streams ? streams / all.streams : 1
  return {
    requests: short.requests + (all.requests - short.requests) * part,
    tokens: short.tokens + (all.tokens - short.tokens) * part,
    streams: all.streams * part
  }
}

/** Computes a part of what goes before a call, at most all of it. */
const share = (of: Ahead, part: number): Ahead => {
  // nothing waits where the part is of nothing
  const some = part < 1 ? part : 1
  return { requests: of.requests * some, tokens: of.tokens * some, streams: of.streams * some }
}

/**
 * Holds what waits in a lane: by priority, retried work before fresh, first in first out, nobody starved.
 *
 * ```
 *   level 0    retried ▸▸
 *              fresh   ▸▸▸▸▸        the best line first: the smallest level, and of it the retried;
 *   level 200  retried ▸            every 17th admission goes to whoever waits longest in the lines passed over
 *              fresh   ▸▸▸▸▸▸▸▸
 * ```
 *
 * Retried work goes first because it has waited before. But it must not always go first: calls that fail each time
 * would block all others that might succeed. So the turns that fairness gives to lines passed over also hold against
 * retried work, and a provider that is down is probed with the newest fresh work (`probe`).
 *
 * Streams wait among the others, in the same order. While no more of them may be sent, the queue is read without them
 * (`streams` false); fairness is counted apart for such admissions, so a stream passed over keeps its turn.
 *
 * A line's lists are growing arrays with a head index, so adding and taking cost O(1) amortized, and finding the
 * next line O(lines in use). An entry that gives up is only marked; it is dropped when it comes up, or when one in 32 of
 * its list is marked. The queue is changed in place, as no other state of `policy/` is: a million entries copied per
 * step would not do.
 */

/** What waits: extend it with what the caller needs. */
export interface Entry {
  /** Level from 0 (first) to 499 (last), and -1 for what goes before all. */
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

/** Calls of one level, retried or fresh, in the order of their arrival; streams apart, so that they can be left out. */
interface Line<E> {
  readonly rank: number
  readonly retry: boolean
  readonly short: List<E>
  readonly streams: List<E>
}

/** A queue of entries. */
export interface LaneQueue<E extends Entry> {
  size: number
  tokens: number
  /** Streams among them. */
  streams: number
  /** Entries added so far. */
  added: number
  /** Admissions that passed over a worse line since the last that did not: with streams, and without. */
  passed: number
  passedShort: number
  /** Sorted, the best first. */
  readonly lines: Array<Line<E>>
}

/** Bounds the admissions that may pass over a worse line in a row. */
export const fairness = 16

/** Makes an empty queue. */
export const make = <E extends Entry>(): LaneQueue<E> => ({
  size: 0,
  tokens: 0,
  streams: 0,
  added: 0,
  passed: 0,
  passedShort: 0,
  lines: []
})

const list = <E>(): List<E> => ({ items: [], head: 0, marked: 0, waiting: 0, tokens: 0 })

/** Reads the place of a line among all, from 0. */
const rankOf = (call: { readonly level: number; readonly retry: boolean }): number =>
  2 * call.level + (call.retry ? 0 : 1)

const lineOf = <E extends Entry>(queue: LaneQueue<E>, entry: E): Line<E> => {
  const rank = rankOf(entry)
  let low = 0
  let high = queue.lines.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (queue.lines[middle]!.rank < rank) low = middle + 1
    else high = middle
  }
  const found = queue.lines[low]
  if (found !== undefined && found.rank === rank) return found
  const made: Line<E> = { rank, retry: entry.retry, short: list(), streams: list() }
  queue.lines.splice(low, 0, made)
  return made
}

const listOf = <E extends Entry>(line: Line<E>, entry: E): List<E> => entry.stream ? line.streams : line.short

const waiting = <E>(line: Line<E>, streams: boolean): number =>
  line.short.waiting + (streams ? line.streams.waiting : 0)

/** Adds an entry at the end of its list. */
export const add = <E extends Entry>(queue: LaneQueue<E>, entry: E): void => {
  const to = listOf(lineOf(queue, entry), entry)
  to.items.push(entry)
  to.waiting++
  to.tokens += entry.tokens
  entry.order = queue.added++
  queue.size++
  queue.tokens += entry.tokens
  if (entry.stream) queue.streams++
}

const forget = <E extends Entry>(queue: LaneQueue<E>, line: Line<E>, from: List<E>, entry: E): void => {
  entry.gone = true
  queue.size--
  queue.tokens -= entry.tokens
  if (entry.stream) queue.streams--
  from.waiting--
  from.tokens -= entry.tokens
  if (queue.lines.length > 16 && waiting(line, true) === 0) queue.lines.splice(queue.lines.indexOf(line), 1)
}

const compact = <E extends Entry>(of: List<E>): void => {
  of.items = of.items.filter((item, index) => index >= of.head && item !== undefined && !item.gone)
  of.head = 0
  of.marked = 0
}

/** Takes an entry out that gives up; does nothing where it is no longer in. */
export const remove = <E extends Entry>(queue: LaneQueue<E>, entry: E): void => {
  if (entry.gone) return
  const line = lineOf(queue, entry)
  const from = listOf(line, entry)
  forget(queue, line, from, entry)
  if (++from.marked > 32 && from.marked * 32 > from.items.length - from.head) compact(from)
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

const head = <E extends Entry>(line: Line<E>, streams: boolean): E | undefined => {
  const short = first(line.short)
  const stream = streams ? first(line.streams) : undefined
  return short === undefined || (stream !== undefined && stream.order < short.order) ? stream : short
}

const passedOver = <E extends Entry>(queue: LaneQueue<E>, streams: boolean): number =>
  streams ? queue.passed : queue.passedShort

/** Finds the line whose turn is next: the best, or the one that has waited longest of those passed over. */
const nextLine = <E extends Entry>(queue: LaneQueue<E>, streams: boolean): Line<E> | undefined => {
  let best: Line<E> | undefined
  let oldest: Line<E> | undefined
  let order = Infinity
  for (const line of queue.lines) {
    if (waiting(line, streams) === 0) continue
    if (best === undefined) {
      best = line
      if (passedOver(queue, streams) < fairness) break
      continue
    }
    const waited = head(line, streams)?.order ?? Infinity
    if (waited < order) {
      oldest = line
      order = waited
    }
  }
  return oldest ?? best
}

/** Reads the entry whose turn is next, or nothing. */
export const peek = <E extends Entry>(queue: LaneQueue<E>, streams = true): E | undefined => {
  const line = nextLine(queue, streams)
  return line && head(line, streams)
}

/** Takes the entry whose turn is next, or nothing. */
export const take = <E extends Entry>(queue: LaneQueue<E>, streams = true): E | undefined => {
  const line = nextLine(queue, streams)
  if (line === undefined) return undefined
  const better = queue.lines.some((one) => one.rank < line.rank && waiting(one, streams) > 0)
  const worse = queue.lines.some((one) => one.rank > line.rank && waiting(one, streams) > 0)
  const passed = worse && !better ? passedOver(queue, streams) + 1 : 0
  if (streams) queue.passed = passed
  else queue.passedShort = passed
  const entry = head(line, streams)
  if (entry === undefined) return undefined
  const from = listOf(line, entry)
  from.items[from.head++] = undefined
  if (from.head > 1024 && from.head * 2 > from.items.length) compact(from)
  forget(queue, line, from, entry)
  return entry
}

const last = <E extends Entry>(of: List<E>): E | undefined => {
  while (of.items.length > of.head) {
    const item = of.items.at(-1)
    if (item !== undefined && !item.gone) return item
    of.items.pop()
    of.marked--
  }
  return undefined
}

/**
 * Reads the entry that tells best whether a provider is up again: the newest that is fresh, else the one whose turn is
 * next. `remove` takes it.
 *
 * **Details**: what failed before, or came with what failed, may fail for itself. It is nobody's turn: O(lines in use).
 */
export const probe = <E extends Entry>(queue: LaneQueue<E>, streams = true): E | undefined => {
  let newest: E | undefined
  for (const line of queue.lines) {
    if (line.retry) continue
    for (const list of streams ? [line.short, line.streams] : [line.short]) {
      const entry = last(list)
      if (entry !== undefined && entry.order > (newest?.order ?? -1)) newest = entry
    }
  }
  return newest ?? peek(queue, streams)
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
 * Computes what goes before a call that joins now, or before one that waits, if nobody else joins.
 *
 * **Details**: better lines and its own; one in 17 of a worse line in between. Where it is itself passed over it goes, at
 * the latest, at its turn among those that are: behind the lines that are empty by then, and as much of the present best
 * one as there are turns. O(lines in use), and the logarithm of what waits for one that waits.
 *
 * @param order of a call that waits; `Infinity` for one that joins
 */
export const ahead = <E extends Entry>(
  queue: LaneQueue<E>,
  call: { readonly level: number; readonly retry: boolean },
  streams = true,
  order = Infinity
): Ahead => {
  const rank = rankOf(call)
  const passed = passedOver(queue, streams)
  // in its own and better lines, and in worse lines
  const before = { requests: 0, tokens: 0, streams: 0 }
  const behind = { requests: 0, tokens: 0, streams: 0 }
  // admissions by which its turn comes sooner than after a turn for each that waits: the most, over the better lines
  let sooner = -Infinity
  for (const line of queue.lines) {
    const here = waiting(line, streams)
    if (here === 0) continue
    if (line.rank < rank) {
      const counted = before.requests === 0 ? passed : 0
      sooner = Math.max(sooner, fairness * before.requests + (fairness + 1) * here + counted)
    }
    if (line.rank === rank && order < Infinity) countEarlier(before, line, streams, order)
    else count(line.rank > rank ? behind : before, line, streams)
  }
  const turns = Math.floor((before.requests + passed) / fairness)
  const between = turns < behind.requests ? share(behind, turns / behind.requests) : behind
  const all = {
    requests: before.requests + between.requests,
    tokens: before.tokens + between.tokens,
    streams: before.streams + between.streams
  }
  const latest = (before.requests + behind.requests + 1) * (fairness + 1) - 1 - sooner
  return share(all, latest / all.requests)
}

/**
 * Counts the short calls before a call that joins now which go before any stream: whole lines without streams, and
 * those that came before the first stream. O(lines in use + log of what waits).
 */
export const front = <E extends Entry>(
  queue: LaneQueue<E>,
  call: { readonly level: number; readonly retry: boolean }
): number => {
  const rank = rankOf(call)
  let requests = 0
  for (const line of queue.lines) {
    if (line.rank > rank) break
    const stream = first(line.streams)
    if (stream !== undefined) return requests + earlier(line.short, stream.order)
    requests += line.short.waiting
  }
  return requests
}

/** Counts the entries of a list that came before an order; those that gave up may be counted, at most all that wait. */
const earlier = <E extends Entry>(list: List<E>, order: number): number => Math.min(list.waiting, place(list, order))

/** Finds the place of an order in a list, with those that gave up. */
const place = <E extends Entry>({ head, items }: List<E>, order: number): number => {
  let low = head
  let high = items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (items[middle]!.order < order) low = middle + 1
    else high = middle
  }
  return low - head
}

const count = <E>(to: { requests: number; tokens: number; streams: number }, of: Line<E>, streams: boolean): void => {
  to.requests += waiting(of, streams)
  to.tokens += of.short.tokens + (streams ? of.streams.tokens : 0)
  if (streams) to.streams += of.streams.waiting
}

/** Counts what came before an order: those that gave up are taken off, wherever they stand, so no more than there is. */
const countEarlier = <E extends Entry>(
  to: { requests: number; tokens: number; streams: number },
  of: Line<E>,
  streams: boolean,
  order: number
): void => {
  for (const list of streams ? [of.short, of.streams] : [of.short]) {
    if (list.waiting === 0) continue
    const requests = Math.min(list.waiting, Math.max(0, place(list, order) - list.marked))
    to.requests += requests
    to.tokens += list.tokens * (requests / list.waiting)
    if (list === of.streams) to.streams += requests
  }
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

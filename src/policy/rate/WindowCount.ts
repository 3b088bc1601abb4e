/**
 * Counts what was sent within a window of time, in cells: attempts that were sent at nearly the same time are one.
 *
 * ```
 *   ──[ 3 ]─────[ 1 ][ 5 ]────[ 2 ]──▶ now        each cell counts until its last attempt is a window old
 *      └──────────── window ────────┘
 * ```
 *
 * So what is remembered is bounded, however many are sent. Plain data, in order of time, in seconds.
 */
import type { Attempt } from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Parts of a window: what is sent within one is counted at once. */
  cells: 240,
  /** Seconds that a window is taken to be longer than it is: a share, at most so many. */
  longer: 0.01,
  longerMost: 0.05
} as const

/** Is what was sent from a moment on, up to `at`. */
export interface Cell extends Attempt {
  readonly from: number
}

/** Holds what counts. */
export type WindowCount = ReadonlyArray<Cell>

/** Nothing counts. */
export const empty: WindowCount = []

/** Reads the seconds for which an attempt counts: calls are not always as long on their way. */
export const lasts = (seconds: number): number => seconds + Math.min(defaults.longerMost, defaults.longer * seconds)

/** Counts an attempt, and no more what is older than the window. */
export const add = (count: WindowCount, { at, cost }: Attempt, seconds: number): WindowCount => {
  const first = count.findIndex((one) => one.at > at - lasts(seconds))
  const left = first < 0 ? empty : first === 0 ? count : count.slice(first)
  const last = left.at(-1)
  return last !== undefined && at - last.from < seconds / defaults.cells
    ? left.with(left.length - 1, { from: last.from, at, cost: last.cost + cost })
    : [...left, { from: at, at, cost }]
}

/** Counts units of an attempt no more; one that does not count changes nothing. */
export const less = (count: WindowCount, units: number, at: number): WindowCount => {
  const index = count.findLastIndex((one) => one.from <= at && at <= one.at)
  return index < 0 ? count : reduced(count, index, units)
}

/** Takes units out of one that was sent, and leaves it out where none are left. */
export const reduced = <Sent extends Attempt>(
  sent: ReadonlyArray<Sent>,
  index: number,
  units: number
): ReadonlyArray<Sent> => {
  // the caller found it
  const one = sent[index]!
  const cost = one.cost - units
  return cost > 1e-9 ? sent.with(index, { ...one, cost }) : sent.toSpliced(index, 1)
}

/** Reads the seconds until a window that admits so many units has room for a cost: for one that is larger, none may count. */
export const wait = (count: WindowCount, seconds: number, most: number, cost: number, now: number): number => {
  const room = Math.max(0, most - cost) + 1e-6
  let units = 0
  for (let i = count.length - 1; i >= 0; i--) {
    const one = count[i]!
    units += one.cost
    if (units > room) return Math.max(0, one.at + lasts(seconds) - now)
  }
  return 0
}

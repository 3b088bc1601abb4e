/**
 * Remembers what a lane had admitted by some moments: each attempt of late, fewer the longer ago, and the last refusals.
 *
 * ```
 *   marks     ●        ●      ○    ●   ●  ○ ● ● ●●●●     ○ a bucket was empty
 *   stretches └────────┴──────┴────┴───┴──┴─┴─┴─┴┴┴┴──▶ refusal
 * ```
 *
 * A refusal measures a limit by what was admitted in the stretches of time that end with it: `BucketSuccession`.
 */
import type { Stretch } from "../mirror/BucketSuccession.ts"
import * as Use from "../rate/Use.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Marks that are kept, and those of them at which a bucket was empty. */
  count: 32,
  empties: 6
} as const

/** Names the limits that are marked. */
export type Limit = "requests" | "tokens"

/** Remembers what was admitted by a moment. */
export interface Mark {
  readonly at: number
  readonly requests: number
  readonly tokens: number
  /** The limit that refused an attempt then. */
  readonly empty?: Limit | undefined
}

/** Holds marks in order of time; never none. */
export type Marks = ReadonlyArray<Mark>

/** Adds a mark, in order of time, and forgets the one that says least. */
export const add = (marks: Marks, mark: Mark): Marks => {
  // an attempt is the latest mark; a refusal is heard of later than its attempt was sent
  if (mark.empty === undefined) return thinned([...marks, mark])
  const index = marks.findIndex((one) => one.at > mark.at)
  const all = index < 0 ? [...marks, mark] : marks.toSpliced(index, 0, mark)
  const empties = all.filter((one) => one.empty !== undefined)
  return thinned(empties.length > defaults.empties ? all.filter((one) => one !== empties[0]) : all)
}

const thinned = (marks: Array<Mark>): Marks => {
  if (marks.length <= defaults.count) return marks
  const now = marks[marks.length - 1]!.at
  let least = 1
  let share = Infinity
  for (let i = 1; i < marks.length - 1; i++) {
    const mark = marks[i]!
    const gap = (marks[i + 1]!.at - marks[i - 1]!.at) / (now - mark.at + 1e-9)
    if (gap < share && mark.empty === undefined) {
      share = gap
      least = i
    }
  }
  marks.splice(least, 1)
  return marks
}

/**
 * Takes out of the stretches seconds in which the program stood still: a bucket was full before long, and what more would
 * have refilled it is lost. Nor does its being empty before that measure anything.
 */
export const stoodStill = (marks: Marks, seconds: number): Marks => {
  const lost = seconds - Use.defaults.restSeconds
  return lost > 0 ? marks.map(({ at, requests, tokens }) => ({ at: at + lost, requests, tokens })) : marks
}

/** Reads the stretches of time that end at a refusal, the longest first; `admitted` is what had been admitted by then. */
export const stretches = (marks: Marks, of: Limit, admitted: number, at: number): ReadonlyArray<Stretch> =>
  marks.filter((mark) => mark.at < at).map((mark) => ({
    seconds: at - mark.at,
    units: Math.max(0, admitted - mark[of]),
    empty: mark.empty === of
  }))

/** Picks the mark since which most was admitted per second, were a second's worth saved by then. */
export const busiest = (marks: Marks, of: Limit, admitted: number, at: number): Mark =>
  marks.reduce((best, mark) => {
    const share = (one: Mark): number => (admitted - one[of]) / (1 + Math.max(0, at - one.at))
    return mark.at <= at && share(mark) > share(best) ? mark : best
  })

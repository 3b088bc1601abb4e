/**
 * What is known about a limit of calls in flight: its constants, the state as plain data, and how it begins.
 *
 * `LaneInFlight` moves it, and exports what others need.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Places from "./LanePlaces.ts"
import * as Timeouts from "./LaneTimeouts.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Episodes at the same count that make a limit; below `smallCount`, one more. */
  episodes: 3,
  smallCount: 8,
  /** Episodes more where the provider names its limit of requests, for that may be what it names whatever it refuses for. */
  episodesNamed: 1,
  /** Calls that must end between two episodes, as a share of the count, and at least. */
  turned: 0.125,
  turnedLeast: 2,
  /** Episodes more for each learned cap that proved wrong, and caps that count. */
  episodesWrong: 2,
  wrongMost: 3,
  /** Refusals that were no cap's, remembered at most. */
  doubtsMost: 4,
  /** Refusals of late that are remembered at most. */
  refusedMost: 64,
  /** Share that is tried when many calls time out, and the share up to which the limit then doubles with each round. */
  timeoutCut: 0.25,
  doubling: 0.7,
  /** Times that a timeout takes for which the limit stays as it was cut, so that what is sent under it can tell. */
  timeoutTrial: 1.1,
  /** Seconds until the first probe above a learned limit, above one that proved wrong or doubtful, and at most between two. */
  probeSeconds: 10,
  probeSoon: 1,
  probeSecondsMax: 240,
  /** Times that a place is held back for which no call may have been answered before a probe, and seconds that it waits for that. */
  probeHolds: 4,
  probePatience: 2,
  /** Seconds since the last answer in which a place may be late. */
  recent: 1,
  /** Raises in a row by one call each, and the share by which the limit is raised after them. */
  raisesOne: 2,
  raiseShare: 0.125
} as const

/** Holds what is known about the limit: plain data. */
export interface State {
  /** The user's cap. */
  readonly max: number
  /** Calls that may be in flight; `Infinity` while unknown. */
  readonly limit: number
  /** How the limit was learned: from a cap of the provider, or from timeouts. */
  readonly kind: "unknown" | "cap" | "timeouts"
  /** Suspected cap, -1 for none, and the episodes that speak for it. */
  readonly suspect: number
  readonly episodes: number
  /** Learned caps that an admission above them disproved: the next one takes the more to be believed. */
  readonly wrong: number
  /** Times in a row that the cap was raised. */
  readonly raises: number
  /** The cap before it was last raised, -1 if it was learned since; and the seconds between its probes then. */
  readonly raisedFrom: number
  readonly raisedEvery: number
  /** When a call was sent above the suspected or learned cap, -1 if none is under way; and its number. */
  readonly aboveAt: number
  readonly aboveSeq: number
  /** The call sent as the highest in flight since the last refusal that named concurrency; 0 for none. */
  readonly most: number
  readonly mostAt: number
  readonly mostSeq: number
  /** Refusals that named concurrency though as many had been admitted: each but the first discounts one that may be true. */
  readonly doubts: number
  readonly probeAt: number
  readonly probeEvery: number
  /** When a call was last sent under a cap, and the smoothed seconds that one takes to be answered; 0 before the first. */
  readonly sentAt: number
  readonly answerSeconds: number
  /** Attempts sent before this moment teach nothing. */
  readonly cutAt: number
  /** Refusals of late: which attempt, and when it was heard of. */
  readonly refused: ReadonlyArray<{ readonly seq: number; readonly heardAt: number }>
  /** Successes since the last change, or the last episode that speaks for a cap. */
  readonly clean: number
  /** How late places are free, and when a call was last answered under a cap. */
  readonly late: Places.State
  readonly answeredAt: number
  /** What timeouts tell. */
  readonly timeouts: Timeouts.State
  /** Calls in flight before timeouts last shrank the limit, and what is restored where it helped nothing. */
  readonly cutFrom: number
  readonly uncut: Pick<State, "limit" | "kind"> | undefined
  /** True once it is known to have helped nothing: the next success restores it, for no timeout raises a limit. */
  readonly acquitted: boolean
  /** Until when the limit stays as it was cut. */
  readonly trialUntil: number
  /** Smoothed seconds that a refusal takes to come back. */
  readonly refusalSeconds: number
}

/**
 * Makes a limit that is unknown, or the given one, below the user's cap; the first probe above it is due in `probeSeconds`.
 *
 * **Errors**: throws `RangeError` for a count that is not whole.
 */
export const make = (
  options: { readonly max?: number | undefined; readonly limit?: number | undefined } = {},
  now = 0
): State => {
  const max = OptionCheck.integerOrInfinity("LaneInFlight.make", "max", options.max ?? Infinity, 1)
  const limit = OptionCheck.integerOrInfinity("LaneInFlight.make", "limit", options.limit ?? Infinity, 1)
  return {
    max,
    limit,
    kind: limit === Infinity ? "unknown" : "cap",
    suspect: -1,
    episodes: 0,
    wrong: 0,
    raises: 0,
    raisedFrom: -1,
    raisedEvery: defaults.probeSeconds,
    aboveAt: -1,
    aboveSeq: -1,
    most: 0,
    mostAt: 0,
    mostSeq: -1,
    doubts: 0,
    probeAt: now + defaults.probeSeconds,
    probeEvery: defaults.probeSeconds,
    sentAt: -Infinity,
    answerSeconds: 0,
    cutAt: -Infinity,
    refused: [],
    clean: 0,
    late: Places.initial,
    answeredAt: -Infinity,
    timeouts: Timeouts.initial,
    cutFrom: 0,
    uncut: undefined,
    acquitted: false,
    trialUntil: -Infinity,
    refusalSeconds: 0.05
  }
}

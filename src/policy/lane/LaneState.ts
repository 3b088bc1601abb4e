/**
 * What a lane knows, as plain data: the state that `LaneKernel` moves, and the words it is moved with.
 *
 * `LaneKernel` exports all of it. Rates are per second, times are seconds.
 */
import type { RateLimitScope } from "../../domain/TogetherError.ts"
import * as AdaptiveRate from "../rate/AdaptiveRate.ts"
import * as BucketMirror from "../mirror/BucketMirror.ts"
import * as InFlight from "./LaneInFlight.ts"
import type * as Marks from "./LaneMarks.ts"
import * as Outage from "./LaneOutage.ts"
import * as Overdue from "./LaneOverdue.ts"
import * as Spacing from "./LaneSpacing.ts"
import * as Use from "./LaneUse.ts"
import * as Stray from "./LaneStray.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Says how an attempt ended, as far as limits are concerned; times in seconds. */
export type Sample =
  | {
    readonly _tag: "Success"
    /** Tokens really used. */
    readonly tokens?: number | undefined
    readonly requestsPerSecond?: number | undefined
    readonly tokensPerSecond?: number | undefined
  }
  | { readonly _tag: "Throttled"; readonly scope: RateLimitScope; readonly retryAfter?: number | undefined }
  | { readonly _tag: "Overloaded"; readonly retryAfter?: number | undefined }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "TimedOut" }
  | { readonly _tag: "Ignored"; readonly sent: boolean; readonly unread?: boolean | undefined }

/** Names what the next attempt waits for. */
export type Blocker = "pause" | "outage" | "in-flight" | "requests" | "tokens"

/** Says that a limit moved, or that the lane stopped or went on, and why. */
export interface Decision {
  readonly subject: "requests" | "tokens" | "in-flight" | "pause" | "outage"
  readonly reason:
    | AdaptiveRate.Reason
    | InFlightReason
    | Stray.Reason
    | "hint"
    | "hint-too-long"
    | "no-hint"
    | "began"
    | "ended"
  /** Units per second, calls in flight, or seconds of the pause. */
  readonly from: number
  readonly to: number
  /** Seconds that the provider asked for, where the pause is shorter: with `hint-too-long`. */
  readonly hintSeconds?: number | undefined
}

/** Names why the limit of calls in flight moved. */
export type InFlightReason = "cap-found" | "cap-raised" | "timed-out" | "recovered"

/** Configures a lane's sums. Rates are per second. */
export interface Options {
  /** What is known of the limit of requests. Default nothing. */
  readonly requests?: AdaptiveRate.Options | undefined
  /** What is known of the limit of tokens. Default nothing: tokens are counted, and paced once they were refused. */
  readonly tokens?: AdaptiveRate.Options | undefined
  /** The user's cap of calls in flight: an integer of at least 1. Default none. */
  readonly maxInFlight?: number | undefined
  /** Calls that are known to be let in flight: an integer of at least 1. Default unknown. */
  readonly inFlight?: number | undefined
  /** Longest pause that a hint can cause, in seconds, above 0. Default 60. */
  readonly maxPause?: number | undefined
}

/** Holds the constants of a lane. */
export const defaults = {
  /** Longest pause a hint can cause, in seconds. */
  maxPause: 60,
  /** Pause where a refusal says nothing, in seconds: it doubles with each in a row, and is a slot of the new rate at least. */
  pause: 0.1,
  /** Attempts after a pause without a hint, none of them refused, that make it long enough. */
  through: 5,
  /** Seconds by which a late timer is made up for. */
  lag: 0.02,
  /** Seconds by which attempts may follow each other too soon for a bucket that holds no more than one. */
  tick: 0.002,
  /** Seconds of a cap of the user that are made up for, where the other limit held the lane back. */
  capSpare: 0.5,
  /** Share by which the lane is faster while it makes up for a pause, and of a known burst that is made up for. */
  makeUp: 0.2,
  makeUpBurst: 0.8,
  /** Times the learned rate at which what a mirrored bucket saved is drawn down. */
  surge: 3,
  /** Seconds in which a long window is used up. */
  usedUp: 6,
  /** Requests that may be sent at once because others were given back. */
  returned: 4,
  /** Attempts under way at most before anything was heard, and seconds after the last of them in which it must be. */
  unheard: 200,
  unheardSeconds: 10,
  /** What each end leaves of the count of those before it, and how many that nobody can read may come on one that is read. */
  endsKept: 0.98,
  unreadMost: 3,
  /** Failed attempts that may be sent again at once, and times the learned rate at which others may follow. */
  resent: 8,
  resentPace: 3,
  /** Weight of guesses that speak for tokens, from which a refusal that names nothing is about them. */
  tokensExpected: 0.05,
  /** Refusals that must agree on the highest rate of mirrored requests, and the share of it above which none is believed. */
  boundEpisodes: 3,
  boundShare: 1.1,
  /** Times a guessed rate up to which rates are looked at that may explain its refusals. */
  boundsMost: 4
} as const

/** Holds what is owed to a limit before the next attempt. */
export interface Debt {
  readonly units: number
  readonly at: number
}

/** Holds what a lane knows: plain data. */
export interface State {
  readonly requests: AdaptiveRate.State
  readonly tokens: AdaptiveRate.State
  /** The provider's buckets: from the start where both limits are known, else from the first refusals of tokens on. */
  readonly requestMirror: BucketMirror.State | undefined
  readonly tokenMirror: BucketMirror.State | undefined
  readonly marks: Marks.Marks
  readonly requestDebt: Debt
  /** How far the provider's bucket of requests is from full, as far as its rate is known. */
  readonly spacing: Spacing.State
  readonly tokenDebt: Debt
  /** What is owed to the user's caps: they count whatever was sent, also what the provider did not count. */
  readonly requestCap: Debt
  readonly tokenCap: Debt
  /** When an attempt last had to wait for each limit. */
  readonly requestsHeldAt: number
  readonly tokensHeldAt: number
  /** Requests that the last pause held back and the provider's bucket has saved: they are made up for gently. */
  readonly requestsOwed: number
  /** Places that failures gave back and that were sent again at once, paid off at a multiple of the learned rate. */
  readonly resent: Debt
  /** False until the provider first refused tokens, or a limit of tokens was given: tokens are counted, not paced. */
  readonly tokensPaced: boolean
  /** What calls use for each token that was estimated. */
  readonly use: Use.State
  readonly inFlight: InFlight.State
  /** The requests learner before the first refusal that turned out to be about calls in flight. */
  readonly beforeSuspicion: AdaptiveRate.State | undefined
  /** Whether refusals come at any rate. */
  readonly stray: Stray.State
  readonly outage: Outage.State
  /** Attempts that ended of late: in a way that is known, and in one that nobody can read. */
  readonly read: number
  readonly unread: number
  /** Whether answers are overdue. */
  readonly overdue: Overdue.State
  /** Attempts under way. */
  readonly count: number
  /** Number of the next attempt. */
  readonly next: number
  readonly pausedUntil: number
  /** False from a pause until the next attempt. */
  readonly resumed: boolean
  /** Number of the first attempt after the last pause. */
  readonly resumedWith: number
  readonly maxPause: number
  /** Refusals in a row without a hint. */
  readonly hintless: number
  /** Smoothed tokens of an attempt, and how much larger refused ones were (sum of logarithms). */
  readonly meanTokens: number
  readonly tokenEvidence: number
}

/** Holds what an attempt took, to give it back. */
export interface Ticket extends InFlight.Taken {
  readonly seq: number
  readonly at: number
  /** Tokens that it was charged, and its estimate. */
  readonly tokens: number
  readonly estimated: number
  /** Attempts in flight with it. */
  readonly count: number
  /** Its number among the first attempts of calls, whose answers are awaited; -1 for a later one. */
  readonly awaited: number
  /** Units sent before it. */
  readonly requestsBefore: number
  readonly tokensBefore: number
}

/** Makes the state of a lane. */
export const make = (options: Options = {}, now = 0): State => {
  const maxPause = OptionCheck.above("LaneKernel.make", "maxPause", options.maxPause ?? defaults.maxPause, 0, Infinity)
  const given = options.tokens?.known === true || Number.isFinite(options.tokens?.ceiling ?? Infinity)
  const max = OptionCheck.integerOrInfinity("LaneKernel.make", "maxInFlight", options.maxInFlight ?? Infinity, 1)
  const limit = OptionCheck.integerOrInfinity("LaneKernel.make", "inFlight", options.inFlight ?? Infinity, 1)
  const requests = AdaptiveRate.make(options.requests, now)
  const tokens = AdaptiveRate.make(
    { ...options.tokens, initial: options.tokens?.initial ?? options.tokens?.ceiling ?? Infinity },
    now
  )
  const tokensKnown = options.tokens?.known === true
  return {
    requests,
    tokens,
    requestMirror: tokensKnown && options.requests?.known === true ? BucketMirror.around(requests, now) : undefined,
    tokenMirror: tokensKnown ? BucketMirror.around({ ...tokens, windowed: true }, now) : undefined,
    marks: [{ at: now, requests: 0, tokens: 0 }],
    requestDebt: { units: 0, at: now },
    spacing: Spacing.begin(now),
    tokenDebt: { units: 0, at: now },
    requestCap: { units: 0, at: now },
    tokenCap: { units: 0, at: now },
    requestsHeldAt: -Infinity,
    tokensHeldAt: -Infinity,
    requestsOwed: 0,
    resent: { units: 0, at: now },
    tokensPaced: given,
    use: Use.initial,
    inFlight: InFlight.make({ max, limit }, now),
    beforeSuspicion: undefined,
    stray: Stray.initial,
    outage: Outage.initial,
    read: 0,
    unread: 0,
    overdue: Overdue.initial,
    count: 0,
    next: 0,
    pausedUntil: -Infinity,
    resumed: true,
    resumedWith: 0,
    maxPause,
    hintless: 0,
    meanTokens: 0,
    tokenEvidence: 0
  }
}

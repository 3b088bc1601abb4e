/**
 * Decides, for one lane, whether the next attempt may be sent now, and learns from how attempts end.
 *
 * ```
 *               pause   outage   in flight   requests/s   tokens/s
 *   wait(now) = max  of what each of the five asks for            (0: send now)
 *   admit     : takes from all five at once, or from none
 *   settle    : gives back, corrects, and lets the matching one learn
 * ```
 *
 * | sample | pause | rate of requests | rate of tokens | in flight | outage |
 * | --- | --- | --- | --- | --- | --- |
 * | Success | | | real usage replaces the estimate | grows after timeouts | ends it |
 * | Throttled requests, model | by the hint | learns | given back | | |
 * | Throttled tokens | by the hint | given back | learns | | |
 * | Throttled concurrency | by the hint | given back | given back | learns | |
 * | Throttled unknown | by the hint | learns, unless the cap explains it | learns, where larger calls are refused | may learn | |
 * | Overloaded, Failed | | given back | given back | | counts |
 * | TimedOut | | | kept | shrinks | counts |
 * | Ignored, sent | | | kept | | |
 * | Ignored, not sent | | given back | given back | | |
 *
 * Rates are paced without bursts: a debt is paid off at the learned rate, and the next attempt leaves when it is paid.
 * So a call larger than a second's worth of tokens goes out in its turn and those after it pay, the token budget never
 * lies idle behind it, and no call waits forever. A timer that fires late leaves up to 20 ms of credit, so no slot is
 * lost to the timer. What a pause or an empty queue leaves unused is gone, with one
 * exception: where calls differ in size, a bucket of tokens whose depth was seen is drawn down to a large call and some.
 *
 * Everything is plain data, `now` is seconds.
 *
 * **Source**: joint admission without partial debits, one pause per lane, one cut per episode: algorithms of Finagle,
 * failsafe-go and the AWS SDKs, put together.
 */
import * as AdaptiveRate from "./AdaptiveRate.ts"
import * as InFlight from "./LaneInFlight.ts"
import * as Outage from "./LaneOutage.ts"

/** Names what a 429 was about. */
export type Scope = "requests" | "tokens" | "model" | "concurrency" | "unknown"

/** Says how an attempt ended, as far as limits are concerned; times in seconds. */
export type Sample =
  | {
    readonly _tag: "Success"
    /** Tokens really used. */
    readonly tokens?: number | undefined
    readonly requestsPerSecond?: number | undefined
    readonly tokensPerSecond?: number | undefined
  }
  | { readonly _tag: "Throttled"; readonly scope: Scope; readonly retryAfter?: number | undefined }
  | { readonly _tag: "Overloaded"; readonly retryAfter?: number | undefined }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "TimedOut" }
  | { readonly _tag: "Ignored"; readonly sent: boolean }

/** Names what the next attempt waits for. */
export type Blocker = "pause" | "outage" | "in-flight" | "requests" | "tokens"

/** Says that a limit moved, or that the lane stopped or went on, and why. */
export interface Decision {
  readonly subject: "requests" | "tokens" | "in-flight" | "pause" | "outage"
  readonly reason: AdaptiveRate.Reason | InFlightReason | "hint" | "no-hint" | "began" | "ended"
  /** Units per second, calls in flight, or seconds of the pause. */
  readonly from: number
  readonly to: number
}

/** Names why the limit of calls in flight moved. */
export type InFlightReason = "cap-found" | "cap-raised" | "timed-out" | "recovered"

/** Configures a lane's sums. Rates are per second. */
export interface Options {
  readonly requests?: AdaptiveRate.Options | undefined
  readonly tokens?: AdaptiveRate.Options | undefined
  readonly maxInFlight?: number | undefined
  readonly inFlight?: number | undefined
  readonly maxPause?: number | undefined
}

/** Holds the constants of this module. */
export const defaults = {
  /** Longest pause a hint can cause, in seconds. */
  maxPause: 60,
  /** Pause where a refusal says nothing, in seconds: it doubles with each in a row, and is a slot of the new rate at least. */
  pause: 0.1,
  /** Seconds by which a late timer is made up for. */
  lag: 0.02,
  /** Share by which the lane is faster while it makes up for a pause, and of a known burst that is made up for. */
  makeUp: 0.2,
  makeUpBurst: 0.8,
  /** Tokens of mixed sizes: share of what the bucket saved in a pause, and of what it can hold, that may go at once. */
  saved: 0.8,
  credit: 0.5,
  /** Share of the largest call that is owed after tokens were refused. */
  tokenMargin: 0.2,
  /** Requests that may be sent at once because others were given back. */
  returned: 4
} as const

interface Debt {
  readonly units: number
  readonly at: number
}

/** Holds what a lane knows: plain data. */
export interface State {
  readonly requests: AdaptiveRate.State
  readonly tokens: AdaptiveRate.State
  readonly requestDebt: Debt
  readonly tokenDebt: Debt
  /** Units that the last pause held back and the provider's bucket has saved: they are made up for gently. */
  readonly requestsOwed: number
  readonly tokensOwed: number
  /** False until the provider first refused tokens, or a limit of tokens was given: tokens are counted, not paced. */
  readonly tokensPaced: boolean
  readonly inFlight: InFlight.State
  /** The requests learner before the first refusal that turned out to be about calls in flight. */
  readonly beforeSuspicion: AdaptiveRate.State | undefined
  readonly outage: Outage.State
  /** Attempts under way. */
  readonly count: number
  /** Number of the next attempt. */
  readonly next: number
  readonly pausedUntil: number
  /** False from a pause until the next attempt. */
  readonly resumed: boolean
  readonly maxPause: number
  /** Refusals in a row without a hint. */
  readonly hintless: number
  /** Smoothed tokens of an attempt, and how much larger refused ones were (sum of logarithms). */
  readonly meanTokens: number
  readonly tokenEvidence: number
}

/** Holds what an attempt took, to give it back. */
export interface Ticket {
  readonly seq: number
  readonly at: number
  readonly tokens: number
  /** Attempts in flight with it. */
  readonly count: number
  /** Units sent before it. */
  readonly requestsBefore: number
  readonly tokensBefore: number
}

/** Makes the state of a lane. */
export const make = (options: Options = {}, now = 0): State => {
  const maxPause = options.maxPause ?? defaults.maxPause
  if (!(maxPause > 0)) throw new RangeError(`LaneKernel.make: maxPause must be above 0, got ${maxPause}`)
  const given = options.tokens?.known === true || Number.isFinite(options.tokens?.ceiling ?? Infinity)
  return {
    requests: AdaptiveRate.make(options.requests, now),
    tokens: AdaptiveRate.make({ initial: Infinity, ...options.tokens }, now),
    requestDebt: { units: 0, at: now },
    tokenDebt: { units: 0, at: now },
    requestsOwed: 0,
    tokensOwed: 0,
    tokensPaced: given,
    inFlight: InFlight.make({ max: options.maxInFlight, limit: options.inFlight }),
    beforeSuspicion: undefined,
    outage: Outage.initial,
    count: 0,
    next: 0,
    pausedUntil: -Infinity,
    resumed: true,
    maxPause,
    hintless: 0,
    meanTokens: 0,
    tokenEvidence: 0
  }
}

const epsilon = 1e-9

const unpaid = (debt: Debt, rate: number, now: number): number =>
  rate === Infinity ? 0 : debt.units - Math.max(0, now - debt.at) * rate

/** Reads the debt now: time pays it off, and earns no credit but that of a late timer (`late`) and what was given back. */
const rebased = (debt: Debt, rate: number, now: number, late: boolean, credit = 0): number =>
  Math.max(
    Math.min(late ? -Math.max(credit, defaults.lag * Math.min(rate, 1e9)) : -credit, debt.units),
    unpaid(debt, rate, now)
  )

/** Reads the debt of tokens; the bucket's room is credit where something else held the lane back. */
const tokenDebtAt = (state: State, now: number, late: boolean): number =>
  rebased(state.tokenDebt, state.tokens.rate, now, late, defaults.credit * AdaptiveRate.room(state.tokens))

const requestRate = (state: State, now: number): number => state.requests.rate * Outage.ramp(state.outage, now)

/** Reads the seconds until the next attempt may be sent, 0 for now, and what it waits for. `Infinity`: until one ends. */
export const wait = (state: State, now: number): readonly [seconds: number, by: Blocker | undefined] => {
  if (state.count >= InFlight.capacity(state.inFlight, now)) return [Infinity, "in-flight"]
  let seconds = 0
  let by: Blocker | undefined
  const requests = unpaid(state.requestDebt, requestRate(state, now), now) / requestRate(state, now)
  if (requests > epsilon) {
    seconds = requests
    by = "requests"
  }
  if (state.tokensPaced) {
    const tokens = unpaid(state.tokenDebt, state.tokens.rate, now) / state.tokens.rate
    if (tokens > Math.max(epsilon, seconds)) {
      seconds = tokens
      by = "tokens"
    }
  }
  const outage = Outage.wait(state.outage, now)
  if (outage > seconds) {
    seconds = outage
    by = "outage"
  }
  const pause = state.pausedUntil - now
  if (pause > Math.max(epsilon, seconds)) {
    seconds = pause
    by = "pause"
  }
  return by === undefined ? nothing : [Math.max(seconds, 0.001), by]
}

const nothing: readonly [number, undefined] = [0, undefined]

const moved = (subject: "requests" | "tokens", move: AdaptiveRate.Move): Decision => ({ subject, ...move })

/** Lets time teach: rates that met no resistance grow, probes that are silent were admitted. Call it before `wait`. */
export const advance = (state: State, now: number): readonly [ReadonlyArray<Decision>, State] => {
  const [request, requests] = AdaptiveRate.advance(state.requests, now)
  const [token, tokens] = state.tokensPaced ? AdaptiveRate.advance(state.tokens, now) : [undefined, state.tokens]
  const inFlight = InFlight.advance(state.inFlight, now)
  const outage = Outage.advance(state.outage, now)
  if (
    requests === state.requests && tokens === state.tokens && inFlight === state.inFlight && outage === state.outage
  ) return unchanged(state)
  const decisions: Array<Decision> = []
  if (request !== undefined) decisions.push(moved("requests", request))
  if (token !== undefined) decisions.push(moved("tokens", token))
  if (inFlight.limit !== state.inFlight.limit) {
    decisions.push({ subject: "in-flight", reason: "cap-raised", from: state.inFlight.limit, to: inFlight.limit })
  }
  const up = state.outage.down && !outage.down
  if (up) decisions.push({ subject: "outage", reason: "ended", from: 1, to: 0 })
  return [decisions, {
    ...state,
    requests,
    tokens,
    requestDebt: { units: rebased(state.requestDebt, state.requests.rate, now, true, state.requests.sprint), at: now },
    tokenDebt: { units: tokenDebtAt(state, now, true), at: now },
    inFlight,
    outage
  }]
}

const none: ReadonlyArray<Decision> = []
const unchanged = (state: State): readonly [ReadonlyArray<Decision>, State] => [none, state]

/**
 * Takes what an attempt needs, from all limits at once.
 *
 * @param blocker what the attempt had to wait for last, if it waited: growth needs use
 */
export const admit = (
  state: State,
  tokens: number,
  blocker: Blocker | undefined,
  now: number
): readonly [Ticket, State] => {
  const seq = state.next
  const count = state.count + 1
  const ticket: Ticket = {
    seq,
    at: now,
    tokens,
    count,
    requestsBefore: state.requests.sent,
    tokensBefore: state.tokens.sent
  }
  const held = blocker === "pause" || blocker === "outage"
  const rate = requestRate(state, now)
  const made = state.requestsOwed > 0 ? defaults.makeUp : 0
  const madeTokens = state.tokensOwed > 0 ? defaults.makeUp * tokens : 0
  const resumed = state.resumed ? state.tokens : AdaptiveRate.resume(state.tokens, now)
  const saved = state.resumed || !state.tokensPaced ? 0 : defaults.saved * AdaptiveRate.spare(resumed, now)
  return [ticket, {
    ...state,
    resumed: true,
    requestsOwed: Math.max(0, state.requestsOwed - made),
    tokensOwed: Math.max(0, state.tokensOwed - madeTokens),
    requests: AdaptiveRate.send(state.requests, 1, held || blocker === "requests", now),
    tokens: AdaptiveRate.send(resumed, tokens, held || blocker === "tokens", now),
    requestDebt: {
      units: (state.resumed
        ? rebased(state.requestDebt, rate, now, blocker === "requests", state.requests.sprint)
        : Math.max(0, unpaid(state.requestDebt, rate, now))) + 1 - made,
      at: now
    },
    tokenDebt: state.tokensPaced
      ? {
        units:
          (state.resumed || !AdaptiveRate.mixed(resumed) ? tokenDebtAt(state, now, blocker === "tokens") : -saved) +
          tokens - madeTokens,
        at: now
      }
      : { units: 0, at: now },
    inFlight: InFlight.send(state.inFlight, seq, count, now),
    outage: Outage.send(state.outage, seq, now),
    count,
    next: seq + 1,
    meanTokens: seq === 0 ? tokens : state.meanTokens * 0.98 + tokens * 0.02
  }]
}

/** Gives requests back that the provider did not count: the slot may be used at once. */
const returnRequest = (state: State, now: number): State => ({
  ...state,
  requests: AdaptiveRate.correct(state.requests, -1),
  requestDebt: {
    units: Math.max(-defaults.returned, rebased(state.requestDebt, requestRate(state, now), now, false) - 1),
    at: now
  }
})

/** Gives tokens back, or takes more; a second's worth of credit at the most. */
const returnTokens = (state: State, tokens: number, now: number): State => {
  if (tokens === 0) return state
  const counted = { ...state, tokens: AdaptiveRate.correct(state.tokens, -tokens) }
  if (!state.tokensPaced) return counted
  const rate = state.tokens.rate
  const debt = tokenDebtAt(state, now, false)
  return { ...counted, tokenDebt: { units: Math.max(Math.min(debt, -rate), debt - tokens), at: now } }
}

/** Learns from the end of an attempt. */
export const settle = (
  before: State,
  ticket: Ticket,
  sample: Sample,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const state: State = { ...before, count: before.count - 1 }
  switch (sample._tag) {
    case "Success":
      return succeeded(state, ticket, sample, now)
    case "Throttled":
      return throttled(state, ticket, sample, now)
    case "Overloaded":
      return failed(returnTokens(returnRequest(state, now), ticket.tokens, now), ticket, now, sample.retryAfter)
    case "Failed":
      return failed(returnTokens(returnRequest(state, now), ticket.tokens, now), ticket, now, undefined)
    case "TimedOut": {
      const inFlight = InFlight.timeOut(state.inFlight, ticket.at, state.count + 1, now)
      const [decisions, next] = failed({ ...state, inFlight }, ticket, now, undefined)
      return inFlight.limit === state.inFlight.limit ? [decisions, next] : [[...decisions, {
        subject: "in-flight",
        reason: "timed-out",
        from: state.inFlight.limit,
        to: inFlight.limit
      }], next]
    }
    case "Ignored":
      return unchanged(sample.sent ? state : returnTokens(returnRequest(state, now), ticket.tokens, now))
  }
}

const failed = (
  state: State,
  ticket: Ticket,
  now: number,
  hint: number | undefined
): readonly [ReadonlyArray<Decision>, State] => {
  const outage = Outage.fail(state.outage, ticket.seq, ticket.at, now, Math.min(hint ?? 0, state.maxPause))
  const began = outage.down && !state.outage.down
  return [began ? [{ subject: "outage", reason: "began", from: 0, to: 1 }] : none, { ...state, outage }]
}

const succeeded = (
  before: State,
  ticket: Ticket,
  sample: Extract<Sample, { readonly _tag: "Success" }>,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const returned = sample.tokens === undefined ? before : returnTokens(before, ticket.tokens - sample.tokens, now)
  const outage = Outage.succeed(returned.outage, ticket.at, now)
  const inFlight = InFlight.succeed(returned.inFlight, ticket.seq, now)
  const hintless = ticket.at > returned.pausedUntil ? 0 : returned.hintless
  const decisions: Array<Decision> = []
  let { requests, tokens, tokensPaced } = returned
  if (sample.requestsPerSecond !== undefined) {
    const [move, told] = AdaptiveRate.told(requests, sample.requestsPerSecond, ticket.at, now)
    if (move !== undefined) decisions.push(moved("requests", move))
    requests = told
  }
  if (sample.tokensPerSecond !== undefined) {
    const [move, told] = AdaptiveRate.told(tokens, sample.tokensPerSecond, ticket.at, now)
    if (move !== undefined) decisions.push(moved("tokens", move))
    tokens = told
    tokensPaced = true
  }
  if (returned.outage.down && !outage.down) decisions.push({ subject: "outage", reason: "ended", from: 1, to: 0 })
  if (inFlight.limit !== returned.inFlight.limit) {
    decisions.push({
      subject: "in-flight",
      reason: inFlight.kind === "timeouts" ? "recovered" : "cap-raised",
      from: returned.inFlight.limit,
      to: inFlight.limit
    })
  }
  return [decisions, { ...returned, requests, tokens, tokensPaced, outage, inFlight, hintless }]
}

const throttled = (
  before: State,
  ticket: Ticket,
  sample: Extract<Sample, { readonly _tag: "Throttled" }>,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const { scope } = sample
  const decisions: Array<Decision> = []
  let state = before
  let about: "requests" | "tokens" | "in-flight" = scope === "tokens" ? "tokens" : "requests"
  if (scope === "concurrency" || scope === "unknown") {
    const [verdict, inFlight] = InFlight.refuse(state.inFlight, ticket, scope === "concurrency", now)
    if (inFlight.limit < state.inFlight.limit) {
      decisions.push({ subject: "in-flight", reason: "cap-found", from: state.inFlight.limit, to: inFlight.limit })
    }
    if (verdict === "in-flight") about = "in-flight"
    else if (inFlight.suspect >= 0 && inFlight.episodes === 1 && state.inFlight.suspect !== inFlight.suspect) {
      state = { ...state, beforeSuspicion: state.requests }
    }
    state = { ...state, inFlight }
  }
  if (scope === "unknown" && about === "requests") {
    const size = state.meanTokens > 0 && ticket.tokens > 0 ? Math.log(ticket.tokens / state.meanTokens) : 0
    const tokenEvidence = Math.max(-3, Math.min(6, state.tokenEvidence + size))
    if (tokenEvidence > 2) about = "tokens"
    state = { ...state, tokenEvidence }
  }
  if (about === "in-flight") {
    const saved = state.beforeSuspicion
    const restored = saved === undefined || decisions.length === 0
      ? state.requests
      : {
        ...saved,
        sent: state.requests.sent,
        refused: state.requests.refused,
        stepSent: state.requests.sent,
        stepSends: 0,
        stepPaced: 0,
        stepAt: now
      }
    state = returnTokens(returnRequest({ ...state, requests: restored }, now), ticket.tokens, now)
  } else if (about === "tokens") {
    const paced = state.tokensPaced
      ? state.tokens
      : { ...state.tokens, rate: Math.max(state.tokens.lowest, state.requests.rate * state.meanTokens) }
    const stamp = { at: ticket.at, sent: ticket.tokensBefore, cost: ticket.tokens }
    const [move, tokens] = AdaptiveRate.refuse(paced, stamp, now)
    if (move !== undefined) decisions.push(moved("tokens", move))
    const debt = tokenDebtAt(state, now, false)
    // a bucket that just refused a call of this size should hold more than one when the lane goes on
    const margin = Math.min(sample.retryAfter ?? 0, state.maxPause) * tokens.rate +
      defaults.tokenMargin * tokens.largest
    state = returnRequest({
      ...state,
      tokens,
      tokensPaced: true,
      tokenDebt: { units: Math.max(0, debt, margin), at: now }
    }, now)
  } else {
    const stamp = { at: ticket.at, sent: ticket.requestsBefore, cost: 1 }
    const debt = rebased(state.requestDebt, requestRate(state, now), now, false)
    const [move, requests] = AdaptiveRate.refuse(state.requests, stamp, now)
    if (move !== undefined) decisions.push(moved("requests", move))
    state = returnTokens({ ...state, requests, requestDebt: { units: Math.max(0, debt), at: now } }, ticket.tokens, now)
  }
  return paused(state, ticket, sample.retryAfter, decisions, now)
}

const paused = (
  state: State,
  ticket: Ticket,
  hint: number | undefined,
  decisions: ReadonlyArray<Decision>,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const fresh = ticket.at > state.pausedUntil
  const guess = Math.max(1 / state.requests.rate, defaults.pause * 2 ** Math.min(state.hintless, 10))
  const seconds = Math.min(state.maxPause, hint ?? guess)
  const until = now + seconds
  if (until <= state.pausedUntil || (hint === undefined && !fresh)) return [decisions, state]
  const hintless = hint === undefined ? state.hintless + 1 : 0
  const owed = (rate: AdaptiveRate.State): number =>
    rate.phase === "hold"
      ? Math.max(0, Math.min(seconds * rate.rate, defaults.makeUpBurst * (rate.burst - rate.largest - rate.mean)))
      : 0
  return [
    fresh
      ? [...decisions, { subject: "pause", reason: hint === undefined ? "no-hint" : "hint", from: 0, to: seconds }]
      : decisions,
    {
      ...state,
      pausedUntil: until,
      resumed: false,
      hintless,
      requestsOwed: owed(state.requests),
      tokensOwed: state.tokensPaced && !AdaptiveRate.mixed(state.tokens) ? owed(state.tokens) : 0
    }
  ]
}

/** Estimates the seconds until an attempt would be sent that has the given work before it. */
export const estimate = (state: State, requests: number, tokens: number, now: number): number => {
  const [seconds] = wait(state, now)
  const start = seconds === Infinity ? 0 : seconds
  const byRequests = requests / state.requests.rate
  const byTokens = state.tokensPaced ? tokens / state.tokens.rate : 0
  return start + Math.max(byRequests, byTokens)
}

/**
 * What a refusal for a limit teaches a lane: which limit it was about, what that limit is, whether what fails
 * uses it up, and how long to pause.
 */
import * as AdaptiveRate from "../rate/AdaptiveRate.ts"
import * as Return from "../rate/Return.ts"
import { stepped } from "../rate/State.ts"
import * as Traffic from "../rate/Traffic.ts"
import * as Use from "../rate/Use.ts"
import * as BucketBounds from "../rate/BucketBounds.ts"
import * as WindowBounds from "../rate/WindowBounds.ts"
import type * as Guesses from "../mirror/BucketGuesses.ts"
import * as BucketMirror from "../mirror/BucketMirror.ts"
import * as Budget from "./LaneBudget.ts"
import * as InFlight from "./LaneInFlight.ts"
import * as Marks from "./LaneMarks.ts"
import * as Stray from "./LaneStray.ts"
import { type Decision, defaults, type Sample, type State, type Ticket } from "./LaneState.ts"

type Throttled = Extract<Sample, { readonly _tag: "Throttled" }>
type Limit = Marks.Limit

/** Learns from a refusal. */
export const refuse = (
  before: State,
  ticket: Ticket,
  sample: Throttled,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const { scope } = sample
  const decisions: Array<Decision> = []
  let state: State = { ...before, inFlight: InFlight.heard(before.inFlight, now - ticket.at) }
  if (scope !== "concurrency") {
    const ofTokens = scope === "tokens" || (scope === "unknown" && areLarge(state.tokenEvidence))
    const judged = Stray.refuse(state, ticket, ofTokens, now)
    if (judged.decision !== undefined) decisions.push(judged.decision)
    state = judged.lane
    if (judged.verdict !== "learn") {
      // chance does not ask for the size of a call
      if (scope === "unknown") state = { ...state, tokenEvidence: evidenceOf(state, ticket) }
      const ended = { ...state, inFlight: InFlight.ended(state.inFlight, ticket.seq) }
      const returned = Budget.returnAll(ended, ticket, now)
      // a trial sends at its rate: what comes back late would send ever more
      const { requestDebt, requestMirror, tokenDebt, tokenMirror } = ended
      const back = state.stray.phase._tag === "Watch"
        ? returned
        : { ...returned, requestDebt, requestMirror, tokenDebt, tokenMirror }
      return judged.verdict === "pause" ? paused(back, ticket, sample.retryAfter, decisions, now) : [decisions, back]
    }
  }
  let about: Limit | "in-flight" = scope === "tokens" ? "tokens" : "requests"
  if (scope !== "tokens") {
    const [verdict, inFlight] = filled(state, ticket, scope)
      ? ["rate" as const, InFlight.ended(state.inFlight, ticket.seq)]
      : InFlight.refuse(state.inFlight, ticket, named[scope], now)
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
    const [limit, weighed] = guessed(state, ticket)
    about = limit
    state = weighed
  }
  if (about === "in-flight") {
    const saved = state.beforeSuspicion
    // a cap that was wrong before may be so again: then what was learned of the rate is kept
    const requests = saved === undefined || decisions.length === 0 || state.inFlight.wrong > 0
      ? state.requests
      : restored(saved, state.requests, now)
    state = Budget.returnAll({ ...state, requests }, ticket, now)
    // a place is free as soon as a call ends: no pause is needed
    if (scope === "concurrency" && state.inFlight.kind === "cap") return [decisions, state]
  } else {
    const asked = Math.min(state.maxPause, sample.retryAfter ?? 0)
    const [move, learned] = about === "tokens"
      ? refusedTokens(state, ticket, asked, now)
      : refusedRequests(state, ticket, asked, now)
    if (move !== undefined) decisions.push({ subject: about, ...move })
    state = learned
  }
  return paused(state, ticket, sample.retryAfter, decisions, now)
}

/** What a scope names, as far as calls in flight are concerned: a limit of a model is one of its requests. */
const named = { concurrency: "concurrency", requests: "requests", model: "requests", unknown: "nothing" } as const

/**
 * Says whether a pause may have filled the bucket, and all that was sent since is in flight: then the bucket refuses at
 * the same count each time, as a cap does.
 */
const filled = (state: State, ticket: Ticket, scope: Throttled["scope"]): boolean =>
  scope !== "concurrency" && state.inFlight.kind !== "cap" && AdaptiveRate.lostSeconds(state.requests) > 0 &&
  ticket.seq - state.resumedWith + 1 >= ticket.count

/** Puts the learner of requests back to where it was before refusals that were about calls in flight. */
const restored = (saved: AdaptiveRate.State, now: AdaptiveRate.State, at: number): AdaptiveRate.State =>
  stepped({ ...saved, traffic: { ...saved.traffic, sent: now.traffic.sent, refused: now.traffic.refused } }, at)

/** Guesses which limit a refusal is about that names none: the mirrors know, and before them the sizes tell. */
const guessed = (state: State, ticket: Ticket): [Limit, State] => {
  if (state.tokenMirror !== undefined) {
    const tokens = BucketMirror.expected(state.tokenMirror, ticket.seq)
    const requests = state.requestMirror === undefined
      ? defaults.tokensExpected
      : BucketMirror.expected(state.requestMirror, ticket.seq)
    return [tokens >= requests ? "tokens" : "requests", state]
  }
  const tokenEvidence = evidenceOf(state, ticket)
  return [areLarge(tokenEvidence) ? "tokens" : "requests", { ...state, tokenEvidence }]
}

/** Computes how much larger refused calls were than others, with one more of them: the sum of the logarithms. */
const evidenceOf = ({ meanTokens, tokenEvidence }: State, { tokens }: Ticket): number =>
  Math.max(-3, Math.min(6, tokenEvidence + Math.log(tokens / meanTokens)))

/** Says whether calls are refused for their tokens. */
const areLarge = (tokenEvidence: number): boolean => tokenEvidence > 2

const refusedTokens = (
  state: State,
  ticket: Ticket,
  asked: number,
  now: number
): [AdaptiveRate.Move | undefined, State] => {
  const [move, learned] = mirrored(state, "tokens", ticket, asked, now)
  const debt = Budget.tokensOwed(state, now, false)
  return [
    move,
    Budget.returnRequest(
      { ...learned, tokensPaced: true, tokenDebt: { units: Math.max(0, debt), at: now } },
      ticket,
      now
    )
  ]
}

const refusedRequests = (
  state: State,
  ticket: Ticket,
  asked: number,
  now: number
): [AdaptiveRate.Move | undefined, State] => {
  const requestDebt = { units: Math.max(0, Budget.requestsOwed(state, now, false)), at: now }
  if (state.tokenMirror === undefined) {
    const stamp = { at: ticket.at, sent: ticket.requestsBefore, cost: 1, asked }
    const [move, requests] = AdaptiveRate.refuse(state.requests, stamp, now)
    return [move, Budget.returnTokens({ ...state, requests, requestDebt }, ticket, ticket.tokens, now)]
  }
  const [move, learned] = mirrored(state, "requests", ticket, asked, now)
  return [move, Budget.returnTokens({ ...learned, requestDebt }, ticket, ticket.tokens, now)]
}

/** Lets the mirror of a limit learn, or makes it; an attempt that was sent before the last cut teaches nothing. */
const mirrored = (
  state: State,
  of: Limit,
  ticket: Ticket,
  asked: number,
  now: number
): [AdaptiveRate.Move | undefined, State] => {
  const rate = state[of]
  const mirror = of === "tokens" ? state.tokenMirror : state.requestMirror
  const cost = of === "tokens" ? ticket.tokens : 1
  const taught = ticket.at > rate.cutAt
  const traffic = Traffic.refuse(rate.traffic, cost)
  if (!taught) {
    const counted = {
      ...rate,
      traffic,
      bounds: BucketBounds.withdraw(rate.bounds, ticket.at),
      windows: WindowBounds.refuseAgain(rate.windows, cost, ticket.at)
    }
    return [undefined, put(state, of, counted, mirror && BucketMirror.credit(mirror, ticket.seq, cost, cost, now))]
  }
  const before = BucketMirror.asks(mirror ?? opened(state, of, ticket, cost), asked)
  const guessed = BucketMirror.rate(before)
  // a guess, which the limit may lie above, and no rate that was refused
  const bounds = BucketBounds.refuse(rate.bounds, ticket.at, cost, guessed, false, defaults.boundsMost * guessed)
  const stamp = { at: ticket.at, sent: 0, cost, asked }
  // before the first refusal nobody counted tokens
  const lost = of === "tokens" && mirror === undefined
  const other = state[of === "tokens" ? "requests" : "tokens"].windows.known?.seconds
  const windows = AdaptiveRate.windowsAfter(rate, stamp, bounds, lost, other)
  const counted = { ...rate, bounds, windows, traffic }
  const admitted = admittedBefore(state, ticket)
  const [reason, next] = mirror === undefined
    ? ["start-refused" as const, before]
    : BucketMirror.refuse(
      before,
      ticket.seq,
      cost,
      Marks.stretches(state.marks, of, admitted[of], ticket.at),
      lowestOf(state, of),
      of === "requests" || BucketMirror.isDear(before) ? highestOf(bounds) : Infinity
    )
  // a refusal never raises a rate, whatever the guesses make of it
  const to = Math.min(rate.rate, Math.max(lowestOf(state, of), Budget.rateFound(windows, next)))
  const from = Number.isFinite(rate.rate) ? rate.rate : Math.max(to, state.requests.rate * state.meanTokens)
  const move = from === to ? undefined : { from, to, reason }
  const marks = Marks.add(state.marks, { at: ticket.at, ...admitted, empty: of })
  const steady = windows.known === undefined || mirror === undefined ? next : BucketMirror.steadied(next, mirror)
  const learned = put({ ...state, marks }, of, { ...counted, phase: "hold", rate: to, limit: to, cutAt: now }, steady)
  if (!BucketMirror.isDoubted(next)) return [move, learned]
  const swapped = Budget.swapped(learned)
  const told = swapped.requests.failures.areCounted ? "failures-counted" : "failures-free"
  return [{ from, to: swapped[of].rate, reason: told }, swapped]
}

/** Reads the highest rate that explains the last refusals, where enough of them agree. */
const highestOf = (seen: BucketBounds.State): number => {
  const bounds = BucketBounds.bounds(seen)
  return bounds !== undefined && bounds.episodes >= defaults.boundEpisodes
    ? defaults.boundShare * bounds.highest
    : Infinity
}

/** Reads the lowest rate that is learned: of tokens, that of requests times the tokens of one. */
const lowestOf = (state: State, of: Limit): number => {
  const { ceiling, lowest } = state[of]
  return of === "requests" ? lowest : Math.min(ceiling, Math.max(lowest, state.requests.lowest * state.meanTokens))
}

const put = (
  state: State,
  of: Limit,
  rate: AdaptiveRate.State,
  mirror: BucketMirror.State | undefined
): State =>
  of === "tokens"
    ? { ...state, tokens: rate, tokenMirror: mirror }
    : { ...state, requests: rate, requestMirror: mirror }

const admittedBefore = (state: State, ticket: Ticket): { readonly requests: number; readonly tokens: number } => ({
  requests: ticket.requestsBefore - state.requests.traffic.refused,
  tokens: ticket.tokensBefore - state.tokens.traffic.refused
})

const opened = (state: State, of: Limit, ticket: Ticket, cost: number): BucketMirror.State => {
  const rate = state[of]
  const sent = of === "tokens" ? ticket.tokensBefore : ticket.requestsBefore
  const admitted = sent - rate.traffic.refused
  const since = Marks.busiest(state.marks, of, admitted, ticket.at)
  return BucketMirror.make({
    admitted: Math.max(0, admitted - since[of]),
    seconds: ticket.at - since.at,
    cost,
    // all requests are alike: a window of a second and a bucket that holds one are the same to them
    windowed: of === "tokens",
    later: Math.max(0, rate.traffic.sent - sent - cost),
    lowest: lowestOf(state, of),
    // a rate that was told or loaded, and never refused yet
    rate: rate.phase === "hold" && rate.bucket.empty === undefined
      ? rate.limit
      : ofTrickle(state, of, ticket, admitted - since[of]),
    mean: of === "tokens" ? state.meanTokens : 1,
    held: Return.held(rate, { at: ticket.at, sent, cost }),
    sent: Math.min(rate.rate, AdaptiveRate.defaults.initial * (sent + cost) / (ticket.requestsBefore + 1)),
    depth: depthOf(state),
    // a bucket that is full takes the first call, however small it is
    shut: admitted <= 0
  }, ticket.at)
}

/** Reads how deep the bucket of tokens is, where that is known, for a provider counts requests as it counts tokens. */
const depthOf = ({ tokenMirror, tokens: { windows: { known } } }: State): Guesses.Depth | undefined =>
  known !== undefined ? { seconds: known.seconds, spread: 0 } : tokenMirror && BucketMirror.depth(tokenMirror)

/**
 * Reads what to take a limit for that is first met out of a trickle, half of what the lane would send: what went through
 * proves nothing there, and nothing would raise it again.
 */
const ofTrickle = (state: State, of: Limit, ticket: Ticket, admitted: number): number | undefined => {
  const { requests, requestsHeldAt } = state
  const sent = of === "tokens" ? requests.rate * state.meanTokens : requests.rate
  const idle = ticket.at - requestsHeldAt
  return ticket.requestsBefore - requests.traffic.refused >= Use.defaults.idleUnits &&
      idle > Use.defaults.restSeconds && admitted < Use.defaults.idleShare * sent * idle
    ? Use.defaults.idleTo * sent
    : undefined
}

const paused = (
  state: State,
  ticket: Ticket,
  hint: number | undefined,
  decisions: ReadonlyArray<Decision>,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const fresh = ticket.at > state.pausedUntil
  // where some went through since, the last pause was long enough, though their answers may be far off
  const hintless = fresh && ticket.seq >= state.resumedWith + defaults.through ? 0 : state.hintless
  const opens = Math.min(
    WindowBounds.opens(state.requests.windows, now),
    WindowBounds.opens(state.tokens.windows, now)
  )
  const guess = Math.max(1 / state.requests.rate, Math.min(opens, defaults.pause * 2 ** Math.min(hintless, 10)))
  const seconds = Math.min(state.maxPause, hint ?? guess)
  const until = now + seconds
  if (until <= state.pausedUntil || (hint === undefined && !fresh)) return [decisions, state]
  const pause: Decision = hint !== undefined && hint > seconds
    ? { subject: "pause", reason: "hint-too-long", from: 0, to: seconds, hintSeconds: hint }
    : { subject: "pause", reason: hint === undefined ? "no-hint" : "hint", from: 0, to: seconds }
  return [
    fresh ? [...decisions, pause] : decisions,
    {
      ...state,
      pausedUntil: until,
      resumed: false,
      hintless: hint === undefined ? hintless + 1 : 0,
      requestsOwed: Budget.saved(state, seconds)
    }
  ]
}

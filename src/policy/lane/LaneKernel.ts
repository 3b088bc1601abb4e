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
 * Where answers are overdue (`LaneOverdue`), no rate grows, and then an outage begins. Before the first of them there are
 * 200 attempts under way at most. What fails is given back until the refusals tell that it is used up (`rate/Failures`,
 * and once limits are mirrored `BucketMirror`).
 *
 * | sample | pause | request rate | token rate | in flight | outage |
 * | --- | --- | --- | --- | --- | --- |
 * | Success | | | real usage replaces the estimate | grows back after timeouts | ends it |
 * | Throttled, requests or model | by the hint | learns, unless a cap explains it | given back | learns, where a cap explains it | |
 * | Throttled, tokens | by the hint | given back | learns | | |
 * | Throttled, concurrency | by the hint, while in doubt | given back | given back | learns | |
 * | Throttled, unknown | by the hint | learns, unless one of the next two explains it | learns, where its mirror expected the refusal or, before there is a mirror, larger calls are refused | learns, where a cap explains it | |
 * | Overloaded, Failed | | given back, unless it is used up | the same | | counts |
 * | TimedOut | | | kept | shrinks, where many do and fewer at once helps | counts |
 * | Ignored, sent | | | kept | | |
 * | Ignored, not sent | | given back | given back | | |
 *
 * While three in four attempts end in a way that cannot be read, no rate grows, since these may be refusals.
 *
 * A refusal by chance, which comes at any rate (`LaneStray`), is given back like an Overloaded, and teaches nothing.
 *
 * Rates are paced without bursts: a debt is paid off at the learned rate, and the next attempt leaves when it is paid.
 * A timer that fires late leaves up to 20 ms of credit, so no slot is lost to the timer. Where tokens were refused the
 * provider's buckets are mirrored (`LaneBudget`, `BucketMirror`): then an attempt leaves when the bucket holds its cost,
 * or is full, so a call larger than the bucket goes out in its turn and those after it pay; no call waits forever.
 *
 * Everything is plain data, `now` is seconds.
 *
 * **Source**: joint admission without partial debits, one pause per lane, one cut per episode: algorithms of Finagle,
 * failsafe-go and the AWS SDKs, put together.
 */
import * as AdaptiveRate from "../rate/AdaptiveRate.ts"
import * as BucketMirror from "../mirror/BucketMirror.ts"
import { epsilon, quantumSeconds } from "../ClockTick.ts"
import * as Budget from "./LaneBudget.ts"
import * as InFlight from "./LaneInFlight.ts"
import * as Marks from "./LaneMarks.ts"
import * as Outage from "./LaneOutage.ts"
import * as Overdue from "./LaneOverdue.ts"
import * as Refusal from "./LaneRefusal.ts"
import * as Stray from "./LaneStray.ts"
import { type Blocker, type Decision, defaults, type Sample, type State, type Ticket } from "./LaneState.ts"
import * as Use from "./LaneUse.ts"

export {
  type Blocker,
  type Decision,
  defaults,
  type InFlightReason,
  make,
  type Options,
  type Sample,
  type State,
  type Ticket
} from "./LaneState.ts"

/**
 * Reads the seconds until an attempt of `tokens` may be sent, 0 if it may at once, and what it waits for; a call of the mean size
 * where none is named. `Infinity`: until one ends.
 */
export const wait = (
  state: State,
  now: number,
  tokens?: number
): readonly [seconds: number, by: Blocker | undefined] => {
  const full = InFlight.wait(state.inFlight, state.count, now)
  if (full > 0) return [Math.max(full, quantumSeconds), "in-flight"]
  if (isUnheard(state)) return [Math.max(unheardUntil(state) - now, quantumSeconds), "in-flight"]
  let seconds = 0
  let by: Blocker | undefined
  const requests = Budget.requestWait(state, now)
  if (requests > epsilon) {
    seconds = requests
    by = "requests"
  }
  const cost = tokens === undefined ? state.meanTokens : Use.charged(state.use, tokens)
  const forTokens = Budget.tokenWait(state, cost, now)
  if (forTokens > Math.max(epsilon, seconds)) {
    seconds = forTokens
    by = "tokens"
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
  return by === undefined ? nothing : [Math.max(seconds, quantumSeconds), by]
}

/**
 * Says whether enough is under way for a provider of which nothing was heard yet: where it hangs, a rate that doubles sends
 * everything before any answer could be overdue. Streams may be silent for long, and do not count.
 */
const isUnheard = ({ count, outage, overdue, read, requests, unread }: State): boolean =>
  Overdue.inRow(overdue, count) >= defaults.unheard && read + unread === 0 && requests.phase === "start" &&
  requests.rate < requests.ceiling && !outage.down

/** Reads until when answers may just take long. */
const unheardUntil = ({ requests }: State): number => requests.traffic.at + defaults.unheardSeconds

const nothing: readonly [number, undefined] = [0, undefined]

/**
 * Takes seconds in which the program itself stood still out of what silence tells of the rates: a refusal that came in them
 * is not read yet. Pauses and outages end all the same.
 */
export const stoodStill = (state: State, seconds: number): State => ({
  ...state,
  requests: AdaptiveRate.deafened(state.requests, seconds),
  tokens: AdaptiveRate.deafened(state.tokens, seconds),
  marks: Marks.stoodStill(state.marks, seconds),
  overdue: Overdue.deaf(state.overdue, seconds)
})

const moved = (subject: "requests" | "tokens", move: AdaptiveRate.Move): Decision => ({ subject, ...move })

const outageEnded: Decision = { subject: "outage", reason: "ended", from: 1, to: 0 }

/** Says whether the outage of a state is over with what is known of it now. */
const isOver = (state: State, outage: Outage.State): boolean => state.outage.down && !outage.down

/** Reads the requests to make up for: what the bucket saved in an outage that is over, else what it did before. */
const owedAfter = (state: State, outage: Outage.State, requests: AdaptiveRate.State, now: number): number =>
  isOver(state, outage)
    ? Budget.saved({ requests, requestMirror: state.requestMirror }, now - state.outage.since)
    : state.requestsOwed

/** Lets time teach: rates that met no resistance grow, probes that are silent were admitted. Call it before `wait`. */
export const advance = (before: State, now: number): readonly [ReadonlyArray<Decision>, State] => {
  const isHung = isUnheard(before) && now >= unheardUntil(before)
  if (!before.outage.down && (isHung || Overdue.is(before.overdue, now))) {
    return broken(before, Outage.hush(before.outage, now), now)
  }
  // silence says nothing about a rate in an outage, and where answers are overdue
  const hushed = before.outage.down || Overdue.quiet(before.overdue, now) > 0
  const [trial, begun] = Stray.advance(before, now)
  const state = hushed ? begun : Budget.advance(begun, now)
  const outage = Outage.advance(state.outage, now)
  // nor where nobody can read what ends
  const grows = !hushed && state.unread <= defaults.unreadMost * state.read
  const [request, requests] = state.requestMirror === undefined && grows
    ? AdaptiveRate.advance(state.requests, now)
    : [undefined, state.requests]
  const [token, tokens] = state.tokensPaced && state.tokenMirror === undefined && grows
    ? AdaptiveRate.advance(state.tokens, now)
    : [undefined, state.tokens]
  const inFlight = InFlight.advance(state.inFlight, now)
  if (
    requests === before.requests && tokens === before.tokens && inFlight === state.inFlight &&
    outage === state.outage && state === before
  ) return unchanged(state)
  const decisions: Array<Decision> = trial === undefined ? [] : [trial]
  if (request !== undefined) decisions.push(moved("requests", request))
  if (token !== undefined) decisions.push(moved("tokens", token))
  if (inFlight.limit !== state.inFlight.limit) {
    decisions.push({ subject: "in-flight", reason: "cap-raised", from: state.inFlight.limit, to: inFlight.limit })
  }
  if (isOver(state, outage)) decisions.push(outageEnded)
  return [decisions, {
    ...state,
    requests,
    tokens,
    requestDebt: { units: Budget.requestsOwed(state, now, true), at: now },
    tokenDebt: { units: Budget.tokensOwed(state, now, true), at: now },
    inFlight,
    outage,
    requestsOwed: owedAfter(state, outage, requests, now)
  }]
}

/** Reads how answers and timeouts have been so far. */
const usualOf = (state: State): Overdue.Usual => state.inFlight.timeouts

const none: ReadonlyArray<Decision> = []
const unchanged = (state: State): readonly [ReadonlyArray<Decision>, State] => [none, state]

/**
 * Takes what an attempt needs, from all limits at once.
 *
 * @param blocker what the attempt had to wait for last, if it waited: growth needs use
 * @param awaited whether its answer is awaited: not where the call has failed before, nor where it is a stream
 */
export const admit = (
  state: State,
  estimated: number,
  blocker: Blocker | undefined,
  now: number,
  awaited = true
): readonly [Ticket, State] => {
  const tokens = Use.charged(state.use, estimated)
  const seq = state.next
  const count = state.count + 1
  const overdue = awaited ? Overdue.send(state.overdue, count, usualOf(state), now) : state.overdue
  const [taken, inFlight] = InFlight.take(state.inFlight, now)
  const ticket: Ticket = {
    seq,
    at: now,
    tokens,
    estimated,
    count,
    awaited: awaited ? overdue.head : -1,
    ...taken,
    requestsBefore: state.requests.traffic.sent,
    tokensBefore: state.tokens.traffic.sent
  }
  const late = { requests: blocker === "requests", tokens: blocker === "tokens" }
  const both = blocker === "pause" || blocker === "outage"
  const held = { requests: both || late.requests, tokens: both || late.tokens }
  return [ticket, {
    ...Budget.take(state, tokens, held, late, now),
    marks: Marks.add(state.marks, {
      at: now,
      requests: AdaptiveRate.admitted(state.requests),
      tokens: AdaptiveRate.admitted(state.tokens)
    }),
    resumed: true,
    resumedWith: state.resumed ? state.resumedWith : seq,
    inFlight: InFlight.send(inFlight, seq, count, now),
    outage: Outage.send(state.outage, seq, now),
    overdue,
    count,
    next: seq + 1,
    meanTokens: seq === 0 ? tokens : state.meanTokens * 0.98 + tokens * 0.02
  }]
}

/** Learns from the end of an attempt. */
export const settle = (
  earlier: State,
  ticket: Ticket,
  sample: Sample,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const overdue = noted(earlier, ticket, sample, now)
  const before = resumed(earlier, overdue, now)
  if (sample._tag === "Success") return succeeded(before, ticket, sample, overdue, now)
  const says = sample._tag === "Throttled" && sample.scope !== "concurrency"
  const stray = says ? before.stray : Stray.fail(before.stray, ticket)
  const isUnread = sample._tag === "Ignored" && sample.unread === true
  const state: State = {
    ...before,
    stray,
    overdue,
    count: before.count - 1,
    read: counted(before.read, !isUnread),
    unread: counted(before.unread, isUnread)
  }
  if (sample._tag === "Throttled") {
    const outage = isHeard(earlier, ticket) ? Outage.heard(state.outage, now) : state.outage
    const [decisions, next] = Refusal.refuse({ ...state, outage }, ticket, sample, now)
    return isOver(state, outage) ? [[outageEnded, ...decisions], forgiven(next, now)] : [decisions, next]
  }
  const ended: State = { ...state, inFlight: InFlight.ended(state.inFlight, ticket.seq) }
  switch (sample._tag) {
    case "Overloaded":
      return failed(Budget.fail(ended, ticket, now), ticket, now, sample.retryAfter)
    case "Failed":
      return failed(Budget.fail(ended, ticket, now), ticket, now, undefined)
    case "TimedOut": {
      // a provider that is down says nothing of how many it bears, but for what was sent before it fell silent
      const { down, silent, since } = state.outage
      if (down && !(silent && ticket.at < since)) return failed(ended, ticket, now, undefined, true)
      const [decisions, next] = failed(state, ticket, now, undefined, true)
      // what brought it down may have been their number
      const attempt = { seq: ticket.seq, at: ticket.at, count: state.count + 1, next: state.next }
      const inFlight = InFlight.timeOut(state.inFlight, attempt, next.outage.down, now)
      const learned = { ...next, inFlight }
      return inFlight.limit === state.inFlight.limit ? [decisions, learned] : [[...decisions, {
        subject: "in-flight",
        reason: "timed-out",
        from: state.inFlight.limit,
        to: inFlight.limit
      }], learned]
    }
    case "Ignored": {
      const outage = Outage.ended(state.outage, ticket.seq)
      const inFlight = InFlight.ended(state.inFlight, ticket.seq, now - ticket.at)
      return unchanged(
        sample.sent ? { ...state, inFlight, outage } : Budget.neverSent({ ...ended, outage }, ticket, now)
      )
    }
  }
}

/** Counts an end if it is one of those counted; with each end those before it count the less. */
const counted = (ends: number, isOne: boolean): number => defaults.endsKept * ends + (isOne ? 1 : 0)

/** Says whether an answer of an attempt ends a silence: it was sent since that began, or its answer was overdue. */
const isHeard = ({ outage, overdue }: State, { at, awaited }: Ticket): boolean =>
  outage.silent && (at >= outage.since || Overdue.isNews(overdue, awaited))

/** Notes whether an end is an answer. */
const noted = (state: State, { awaited }: Ticket, sample: Sample, now: number): Overdue.State => {
  const note = sample._tag === "TimedOut" || sample._tag === "Ignored" ? Overdue.ended : Overdue.answer
  return note(state.overdue, awaited, state.count - 1, usualOf(state), now)
}

/** Takes the seconds for which an answer was awaited too long out of a probe of the rate, once it has come. */
const resumed = (state: State, overdue: Overdue.State, now: number): State => {
  const quiet = overdue.at === now && state.requests.phase === "probe" ? Overdue.quiet(state.overdue, now) : 0
  return quiet > 0 ? { ...state, requests: AdaptiveRate.deafened(state.requests, quiet) } : state
}

/** Forgives what was sent before the end of a silence: that it times out says nothing of the calls in flight. */
const forgiven = (state: State, now: number): State => ({ ...state, inFlight: { ...state.inFlight, cutAt: now } })

const failed = (
  state: State,
  ticket: Ticket,
  now: number,
  hint: number | undefined,
  silent = false
): readonly [ReadonlyArray<Decision>, State] => {
  const asked = Math.min(hint ?? 0, state.maxPause)
  const outage = Outage.fail(state.outage, ticket.seq, ticket.at, now, asked, silent)
  // an answer to what was sent before a run of failures does not end the outage
  return outage.down && !state.outage.down
    ? broken({ ...state, overdue: Overdue.waive(state.overdue) }, outage, now)
    : [none, { ...state, outage }]
}

/** Begins an outage: a probe of a rate would tell nothing. */
const broken = (
  state: State,
  outage: Outage.State,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const [request, requests] = AdaptiveRate.unprobed(state.requests, now)
  const [token, tokens] = AdaptiveRate.unprobed(state.tokens, now)
  const decisions: Array<Decision> = [{ subject: "outage", reason: "began", from: 0, to: 1 }]
  if (request !== undefined) decisions.push(moved("requests", request))
  if (token !== undefined) decisions.push(moved("tokens", token))
  return [decisions, { ...state, outage, requests, tokens }]
}

const succeeded = (
  before: State,
  ticket: Ticket,
  sample: Extract<Sample, { readonly _tag: "Success" }>,
  overdue: Overdue.State,
  now: number
): readonly [ReadonlyArray<Decision>, State] => {
  const returned = sample.tokens === undefined
    ? before
    : Budget.used(Budget.learned(before, ticket, sample.tokens, now), ticket, sample.tokens, now)
  const heard = isHeard(before, ticket)
  const outage = heard ? Outage.heard(returned.outage, now) : Outage.succeed(returned.outage, ticket.at, now)
  const inFlight = InFlight.succeed(returned.inFlight, ticket.seq, ticket.at, now, ticket.place)
  const hintless = ticket.at > returned.pausedUntil ? 0 : returned.hintless
  const decisions: Array<Decision> = []
  let { requestMirror, requests, tokenMirror, tokens, tokensPaced } = returned
  if (sample.requestsPerSecond !== undefined) {
    const [move, told] = AdaptiveRate.told(requests, sample.requestsPerSecond, ticket.at, now)
    if (move !== undefined) {
      decisions.push(moved("requests", move))
      requestMirror &&= BucketMirror.told(requestMirror, told.rate)
    }
    requests = told
  }
  if (sample.tokensPerSecond !== undefined) {
    const [move, told] = AdaptiveRate.told(tokens, sample.tokensPerSecond, ticket.at, now)
    if (move !== undefined) {
      decisions.push(moved("tokens", move))
      tokenMirror = tokenMirror === undefined
        ? BucketMirror.around({ ...told, windowed: true }, now)
        : BucketMirror.told(tokenMirror, told.rate)
    }
    tokens = told
    tokensPaced = true
  }
  const stray = decisions.length > 0 ? Stray.told(returned.stray) : returned.stray
  if (isOver(returned, outage)) decisions.push(outageEnded)
  if (inFlight.limit !== returned.inFlight.limit) {
    decisions.push({
      subject: "in-flight",
      reason: [inFlight.kind, returned.inFlight.kind].includes("timeouts") ? "recovered" : "cap-raised",
      from: returned.inFlight.limit,
      to: inFlight.limit
    })
  }
  const next: State = {
    ...returned,
    count: returned.count - 1,
    read: counted(returned.read, true),
    unread: counted(returned.unread, false),
    requestMirror,
    requests,
    tokenMirror,
    tokens,
    tokensPaced,
    stray,
    outage,
    overdue: heard ? Overdue.proved(overdue, now - ticket.at) : overdue,
    inFlight,
    hintless,
    requestsOwed: owedAfter(returned, outage, returned.requests, now)
  }
  return [decisions, heard ? forgiven(next, now) : next]
}

/**
 * Tells refusals that come at any rate from those of a limit.
 *
 * A limit refuses nothing below it. A provider that sheds load at random, or a test that injects errors, refuses at any
 * rate. Each such refusal would cut the rate again, until next to nothing is sent. Two things tell these refusals
 * apart: if they are many, a trial; if they are few, a rate that was proved.
 *
 * ```
 *   watch ──slower, and as many refused──▶ trial at twice the rate ──half refused──▶ watch, slow again
 *    │  ▲                                     │
 *    │  └─── a share is known to be stray ◀───┴── as few refused as before
 *    └── refused at a rate that was proved, alone, three times ──▶ a share is known to be stray
 * ```
 *
 * - **watch**: refusals are learned from. Many of them: a stretch ends with a gap that their share does not explain. Until
 *   then each that several admissions came before, and a wait, is evidence, in bits: by how often the rate was halved since
 *   it began.
 * - **doubt**: few of them fall between long gaps, and what was admitted in a gap proves a rate. A refusal at that rate, or
 *   below it, is the limit's only if that fell, and then more follow at once: so it is not learned from before they do. And
 *   then the share of all refusals is a guess at what comes by chance, which the next that stands alone proves, and the
 *   next few that follow each other refute.
 * - **trial**: nothing is learned, nothing pauses, for a pause would fill a bucket again. One that has just refused is
 *   empty: at twice what met the share, or twice the rate where that is more, it refuses half of what it admitted before.
 *   Refusals by chance stay as few as they were. What is refused gives no slot back: where refusals are heard of late the
 *   trial would send ever more.
 * - **known share**: refusals are given back, and the call alone waits as long as it was told, as after a 503. The lane goes
 *   on growing. Where more are refused than chance explains, one of them is a limit's, and is learned from; the share
 *   stays known. So a limit is found below which a share is refused by chance. It is halved in a gap that it does not
 *   explain, and ends where no refusal stands alone, from the first or for long: then they are all a limit's.
 *
 * Evidence is weighed in nats, in the order of sending: with the share `p`, a refusal counts `ln((1 + p) / 2p)` for a
 * limit, and an admission `ln 2` against it.
 *
 * **Source**: a sequential probability ratio test (Wald 1945) for the trial, and a CUSUM (Page 1954) for doubts and for what
 * is more than the known share.
 */
import * as Probe from "../rate/Probe.ts"
import { refusedRate } from "../rate/Refusal.ts"
import * as Return from "../rate/Return.ts"
import * as Rate from "../rate/State.ts"
import * as BucketMirror from "../mirror/BucketMirror.ts"
import * as Marks from "./LaneMarks.ts"
import type { Decision, State as Lane, Ticket } from "./LaneState.ts"
import {
  defaults,
  type Due,
  type Learned,
  learned,
  rateOf,
  type Reason,
  type State,
  type Trial,
  type Watch,
  watch
} from "./LaneStrayState.ts"

export { initial, type Reason, type State } from "./LaneStrayState.ts"

/** Notes an attempt that ended neither answered nor refused. */
export const fail = (state: State, ticket: Ticket): State =>
  ticket.seq > state.last ? { ...state, failed: state.failed + 1 } : state

/** Notes that the provider said a rate: no refusal may then bring those of before back. */
export const told = (state: State): State => {
  const { phase } = state
  return {
    ...state,
    phase: phase._tag === "Watch"
      ? { ...watch(phase.share, state.last), basis: phase.basis }
      : watch(phase.known, state.last)
  }
}

/** What a refusal was judged to be. */
export interface Judged {
  readonly lane: Lane
  readonly decision: Decision | undefined
  /** What to do: only `learn` takes it for a measurement of a limit; to `go-on` is to take it for none. */
  readonly verdict: "learn" | "pause" | "go-on"
}

/** Judges a refusal of the attempt of a ticket; `ofTokens` says that the provider named them, or that large calls are refused. */
export const refuse = (before: Lane, ticket: Ticket, ofTokens: boolean, now: number): Judged => {
  const { failed, last, phase } = before.stray
  const lane = { ...before, stray: { phase, last: Math.max(last, ticket.seq), failed: 0 } }
  const admitted = Math.max(0, ticket.seq - last - 1 - failed)
  switch (phase._tag) {
    case "Watch":
      return (phase.share > 0 ? known : doubted)(lane, phase, { ticket, ofTokens, last, admitted, now })
    case "Due":
      return judged(lane, phase, "go-on")
    case "Trial": {
      // sent before it
      if (ticket.seq < phase.from) return judged(before, phase, "go-on")
      // none were refused for so long that this one is of another limit
      if (admitted * phase.share > defaults.gap) return judged(lane, watch(0, ticket.seq), "learn")
      const refused = phase.refused + 1
      const nats = phase.nats - tested(lane, phase, ticket, admitted) * Math.LN2
      if (nats <= -defaults.confirmed) {
        const share = pooled(phase, refused, ticket.seq - phase.from + 1)
        return judged(lane, { ...phase, _tag: "Due", confirmed: true, at: now, share, sends: 0 }, "go-on")
      }
      const then = nats + weight(phase.share)
      return then < defaults.refuted
        ? judged(lane, { ...phase, at: Math.max(phase.at, ticket.at), nats: then, refused }, "go-on")
        : decided("strays-refuted", lane, back(lane, phase.low, now), watch(phase.known, ticket.seq), "pause")
    }
  }
}

const judged = (lane: Lane, phase: State["phase"], verdict: Judged["verdict"]): Judged => ({
  lane: { ...lane, stray: { ...lane.stray, phase } },
  decision: undefined,
  verdict
})

const decided = (reason: Reason, from: Lane, to: Lane, phase: State["phase"], verdict: Judged["verdict"]): Judged => ({
  ...judged(to, phase, verdict),
  decision: moved(reason, from, to)
})

const moved = (reason: Reason, from: Lane, to: Lane): Decision => ({
  subject: "requests",
  reason,
  from: from.requests.rate,
  to: to.requests.rate
})

/**
 * Counts the admissions that speak against a limit: all of them at the rate of the trial, none where calls were so few, or
 * so long held up by other limits, that this one may have admitted them all.
 */
const tested = (lane: Lane, phase: Trial, ticket: Ticket, admitted: number): number => {
  const explained = rateOf(phase.low, lane.meanTokens) * Math.max(0, ticket.at - phase.at)
  return Math.max(0, Math.min(admitted, 2 * (admitted - explained) + 1))
}

/** Computes the share that is known after a trial that confirmed it: what was met before weighs as so many attempts. */
const pooled = ({ share }: Trial, refused: number, sent: number): number =>
  Math.min(
    defaults.shareMost,
    Math.max(defaults.shareLeast, (defaults.priorSent * share + refused) / (defaults.priorSent + sent))
  )

/** Computes the nats by which a refusal speaks for a limit that is half the rate, or less, and not for chance. */
const weight = (share: number): number => Math.log((1 + share) / (2 * share))

/** A refusal while nothing is tried: the ticket, the refusal before it, and the admissions since. */
interface Seen {
  readonly ticket: Ticket
  readonly ofTokens: boolean
  readonly last: number
  readonly admitted: number
  readonly now: number
}

/** Computes the nats that speak for a limit after a refusal by which a share is met, and the refusals since there were none. */
const evidence = (phase: Watch, share: number, admitted: number): Pick<Watch, "nats" | "rising"> => {
  const left = Math.max(0, phase.nats - admitted * Math.LN2)
  return { nats: left + weight(share), rising: left > 0 ? phase.rising + 1 : 1 }
}

/** Learns from refusals again: what spoke for chance is over. */
const learning = { rising: 0, nats: 0, proved: 0, doubts: 0, given: false } as const

/** Judges a refusal by the share that is known; what is more than chance is learned from. */
const known = (lane: Lane, before: Watch, seen: Seen): Judged => {
  const { admitted, ofTokens, ticket } = seen
  // sent before the share was known: what made it known has told of it already
  if (ticket.seq < before.knownFrom) return judged(lane, before, "go-on")
  const aloneAt = before.given && admitted * before.share >= defaults.alone ? ticket.seq : before.aloneAt
  // no trial has shown the share, and large calls are refused: their size is why
  const isSize = ofTokens && before.basis !== "shown"
  if (isSize || (ticket.seq - aloneAt) * before.share > defaults.gone) return ended(lane, before, ticket, isSize)
  // a gap that the share does not explain: it was taken for more than it is
  const share = admitted * before.share > defaults.gap
    ? Math.max(defaults.shareLeast, Math.min(before.share / 2, defaults.gap / admitted))
    : before.share
  const phase: Watch = { ...before, share, aloneAt }
  const { nats, rising } = evidence(phase, share, admitted)
  if (nats >= defaults.excess) {
    // none stood alone since it is known: they are all a limit's
    if (aloneAt === before.knownFrom) return ended(lane, before, ticket, false)
    // those that are too many were a limit's
    const fewer: Watch = { ...phase, ...learning, refused: Math.max(1, phase.refused + 1 - rising) }
    return watched(
      lane,
      before.basis === "few"
        // few were known: many are a limit's, unless one stands alone again
        ? { ...fewer, knownFrom: aloneAt }
        // more than was known come by chance, perhaps: the next are a limit's, unless one stands alone
        : { ...fewer, share: Math.max(share, metSince(fewer, ticket)) },
      seen
    )
  }
  const given: Watch = { ...phase, nats, rising, given: true, refused: phase.refused + 1 }
  // one stood alone: the guess was right
  return before.basis === "guess" && aloneAt !== before.knownFrom
    ? decided("strays-confirmed", lane, lane, { ...given, basis: "shown" }, "go-on")
    : judged(lane, given, "go-on")
}

/** Judges a refusal by the rate that was proved: at it, or below, few are doubtful. */
const doubted = (lane: Lane, before: Watch, seen: Seen): Judged => {
  const { admitted, ofTokens, ticket } = seen
  const { requests } = lane
  // calls differ in tokens: what went through of them says less, and a mirror weighs it itself
  const tells = !ofTokens && lane.tokenMirror === undefined && ticket.at > requests.cutAt
  const rate = tells ? Return.held(requests, { at: ticket.at, sent: ticket.requestsBefore, cost: 1 }) : 0
  const phase: Watch = { ...before, proved: Math.max(before.proved, rate) }
  if (!tells || requests.phase === "start" || requests.rate > before.proved) return watched(lane, phase, seen)
  const { nats, rising } = evidence(phase, defaults.shareLeast, admitted)
  if (nats >= defaults.excess) return watched(lane, { ...phase, ...learning, share: metSince(phase, ticket) }, seen)
  const doubts = phase.doubts + 1
  const doubtedFrom = phase.doubts === 0 ? ticket.seq : phase.doubtedFrom
  if (doubts < defaults.doubts) return judged(lane, { ...phase, nats, rising, doubts, doubtedFrom }, "go-on")
  const met = Math.max(defaults.shareLeast, (doubts - 1) / (ticket.seq - doubtedFrom + 1))
  const few: Watch = {
    ...phase,
    share: met,
    nats: weight(met),
    given: true,
    aloneAt: ticket.seq,
    knownFrom: ticket.seq,
    basis: "few"
  }
  return decided("strays-confirmed", lane, searching(lane), few, "go-on")
}

/** Reads the share that was refused since the share was last known, as far as the present stretch goes. */
const metSince = ({ knownFrom, refused }: Watch, ticket: Ticket): number =>
  Math.min(defaults.shareMost, refused / (ticket.seq - knownFrom + 1))

/** Forgets the share that was known; what was only guessed was not told either. A trial may show what few that were known are not. */
const ended = (lane: Lane, phase: Watch, ticket: Ticket, isSize: boolean): Judged => {
  const { basis, before, bits, from, refused } = phase
  const none = watch(0, ticket.seq)
  const over: Watch = basis === "few" && !isSize ? { ...none, before, bits, from, refused: refused + 1 } : none
  return basis === "guess" ? judged(lane, over, "learn") : decided("strays-ended", lane, lane, over, "learn")
}

/** Lets the next probes come soon: what was taken for a limit may be none. */
const searching = (lane: Lane): Lane => ({
  ...lane,
  requests: { ...lane.requests, probe: Probe.eagerly(lane.requests.probe, Probe.defaults.eagerAfterFall) }
})

/** Judges a refusal while each is learned from. */
const watched = (lane: Lane, phase: Watch, { admitted, last, now, ofTokens, ticket }: Seen): Judged => {
  // where a share is known the lane goes on growing in a stretch
  const grew = phase.share > 0 && phase.before !== undefined &&
    rateOf(lane, lane.meanTokens) > rateOf(phase.before, lane.meanTokens)
  const before = grew ? learned(lane) : phase.before
  const fall = before === undefined ? 1 : rateOf(lane, lane.meanTokens) / rateOf(before, lane.meanTokens)
  const share = (phase.refused + defaults.priorRefused) / (last - phase.from + 1 + defaults.priorSent)
  if (before === undefined || admitted * share > defaults.gap) {
    // a rate that has not come back is still a fallen one, unless it was only tried when nothing was known
    const kept = before !== undefined && before.requests.phase !== "start" && fall <= defaults.fallen
      ? before
      : sentAt(lane, ticket, ofTokens, now)
    return judged(lane, { ...phase, before: kept, ...began(ticket), refused: 1, bits: 0 }, "learn")
  }
  const fresh = ticket.at > lane.requests.cutAt && ticket.at > lane.tokens.cutAt && admitted > 0
  // where no call has to wait, the rate does no harm, and a trial would show nothing
  const waited = Math.max(lane.requestsHeldAt, lane.tokensHeldAt) >= ticket.at
  const telling = fresh && waited && fall <= defaults.lower
  const single = admitted === 1 && phase.share === 0
  const bits = phase.bits + (telling ? bitsOf(fall) * (single ? defaults.afterOne : 1) : 0)
  const refused = phase.refused + 1
  const met = refused / (lane.stray.last - phase.from + 1)
  if (bits < (phase.share > 0 ? defaults.bitsAgain : defaults.bits) || met > defaults.shareMost) {
    return judged(lane, { ...phase, before, refused, bits }, "learn")
  }
  const found = Math.max(defaults.shareLeast, met)
  // a trial that is refuted leaves what one has shown, and no guess
  const known = phase.basis === "shown" ? phase.share : 0
  // what was sent in the stretch met this share: it is told apart at twice that, not at twice the rate it has fallen to.
  // what failed for other reasons was given back, and is sent again in the trial as well
  const sends = (ticket.requestsBefore - phase.fromSent) / Math.max(ticket.at - phase.fromAt, 1e-3)
  return judged(lane, { _tag: "Due", known, confirmed: false, at: now, before, share: found, sends }, "go-on")
}

/** Begins a stretch of refusals. */
const began = ({ at, requestsBefore, seq }: Ticket): Pick<Watch, "from" | "fromAt" | "fromSent"> => ({
  from: seq,
  fromAt: at,
  fromSent: requestsBefore
})

/**
 * Reads what was learned when an attempt was sent that is refused now: while the rate doubles, that is less. Where a large
 * call is refused for its tokens, nothing measured the requests, and no more of them is believed than what went through.
 */
const sentAt = (lane: Lane, ticket: Ticket, ofTokens: boolean, now: number): Learned => {
  const { meanTokens, requests } = lane
  const doubled = refusedRate(requests, now - ticket.at)
  const unmeasured = ofTokens && requests.phase === "start" && ticket.tokens > meanTokens
  const rate = unmeasured ? Math.min(doubled, admittedRate(lane, ticket) / Rate.defaults.firstCut) : doubled
  return { ...learned(lane), requests: { ...requests, rate } }
}

/** Computes the attempts per second that went through with one more, of a bucket that had saved those of a second. */
const admittedRate = ({ marks, requests }: Lane, { at, requestsBefore }: Ticket): number => {
  const admitted = requestsBefore - requests.traffic.refused
  const since = Marks.busiest(marks, "requests", admitted, at)
  return (admitted - since.requests + 1) / (1 + at - since.at)
}

/** Computes the bits that a refusal is worth. */
const bitsOf = (fall: number): number => Math.min(defaults.bitsMost, -Math.log2(fall))

/** Raises the rate where that is due: for a trial, or to where it was before. */
export const advance = (lane: Lane, now: number): readonly [Decision | undefined, Lane] => {
  const { phase } = lane.stray
  if (phase._tag !== "Due" || now <= phase.at) return [undefined, lane]
  const { before, confirmed, known, share } = phase
  const begun = { from: lane.next, share, nats: 0, refused: 0 }
  const last = lane.next - 1
  if (confirmed) {
    const raised = back(lane, before, now)
    const stray: State = { phase: watch(share, lane.next), last, failed: 0 }
    return [moved("strays-confirmed", lane, raised), { ...searching(raised), stray }]
  }
  const raised = tried(lane, phase, now)
  const stray: State = {
    phase: { _tag: "Trial", known, before, low: learned(lane), at: now, ...begun },
    last,
    failed: 0
  }
  return [moved("strays-suspected", lane, raised), { ...raised, stray }]
}

/** Sends twice what met the share, and at twice the rate at least. */
const tried = (lane: Lane, { before, sends }: Due, now: number): Lane => {
  const twice = (rate: Rate.State, earlier: Rate.State, unit: number): Rate.State => {
    // a limit that is unknown stays so
    if (rate.rate === Infinity) return rate
    const least = Math.min(Rate.believed(earlier), defaults.trialLeast * unit)
    return {
      ...rate,
      phase: "hold",
      rate: Math.max(defaults.trial * Math.max(Rate.believed(rate), sends * unit), least)
    }
  }
  const raised = back(lane, {
    ...learned(lane),
    requests: twice(lane.requests, before.requests, 1),
    tokens: twice(lane.tokens, before.tokens, lane.meanTokens)
  }, now)
  return {
    ...raised,
    requestMirror: lane.requestMirror && BucketMirror.around(raised.requests, now),
    tokenMirror: lane.tokenMirror && BucketMirror.around({ ...raised.tokens, windowed: true }, now)
  }
}

/** Goes back to what was learned before; the bucket is empty by now, for it has just refused. */
const back = (lane: Lane, to: Learned, now: number): Lane => ({
  ...lane,
  requests: Return.restored(lane.requests, to.requests, now),
  tokens: Return.restored(lane.tokens, to.tokens, now),
  tokensPaced: to.tokensPaced,
  requestMirror: to.requestMirror && BucketMirror.resume(to.requestMirror, now),
  tokenMirror: to.tokenMirror && BucketMirror.resume(to.tokenMirror, now)
})

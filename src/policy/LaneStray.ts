/**
 * Tells refusals that come at any rate from those of a limit.
 *
 * A limit refuses nothing below it. A provider that sheds load at random, or an error that is injected, refuses at any
 * rate: each such refusal would cut the rate again, until next to nothing is sent. Two things give them away.
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
 *   below it, is the limit's only if that fell, and then more follow at once: so it is not learned from before they do.
 * - **trial**: nothing is learned, nothing pauses, for a pause would fill a bucket again. One that has just refused is
 *   empty: at twice its rate it refuses half of what follows. Refusals by chance stay as few as they were.
 * - **known share**: refusals are given back, and the call alone waits as long as it was told, as after a 503. The lane goes
 *   on growing. Where more are refused than chance explains, one of them is a limit's, and is learned from; the share
 *   stays known. So a limit is found below which a share is refused by chance. It is halved in a gap that it does not
 *   explain, and ends where no refusal stands alone, from the first or for long: then they are all a limit's.
 *
 * What was refused is weighed in nats, in the order of sending: with the share `p`, a refusal by `ln((1 + p) / 2p)` for a
 * limit, an admission by `ln 2` against it.
 *
 * **Source**: a sequential probability ratio test (Wald 1945) for the trial, and a CUSUM (Page 1954) for doubts and for what
 * is more than the known share.
 */
import * as Return from "./AdaptiveRateReturn.ts"
import * as Rate from "./AdaptiveRateState.ts"
import * as BucketBounds from "./BucketBounds.ts"
import * as BucketMirror from "./BucketMirror.ts"
import type { Decision, State as Lane, Ticket } from "./LaneState.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Nats against a gap between two refusals, from which it ends a stretch of them. */
  gap: 4.6,
  /** What is known of the share before a stretch: refusals among attempts. */
  priorRefused: 0.3,
  priorSent: 10,
  /** Share of the rate before at which the rate is still a fallen one where a stretch ends. */
  fallen: 0.5,
  /** Share of the rate before at which a refusal is evidence, and bits that it is worth at most. */
  lower: 0.7,
  bitsMost: 2,
  /** Share of its bits that one is worth before which a single attempt was admitted: a bucket may hold it after each pause. */
  afterOne: 0.25,
  /** Bits for a trial, and where one has shown stray refusals before. */
  bits: 6,
  bitsAgain: 2,
  /** Times the rate that is tried, and attempts per second at least, where as much was sent before. */
  trial: 2,
  trialLeast: 2,
  /** Share of refusals above which there is no trial, and the lowest that is told apart. */
  shareMost: 0.75,
  shareLeast: 0.02,
  /** Nats that confirm and refute a trial, and from which a refusal is more than chance explains. */
  confirmed: 3,
  refuted: 3.5,
  excess: 6,
  /** Refusals at a proved rate that make a share of them known. */
  doubts: 3,
  /** Refusals to expect, by the known share, in a gap after which the one before it stood alone; and without such a one. */
  alone: 0.5,
  gone: 12
} as const

/** What a lane has learned of its rates. */
type Learned = Pick<Lane, "requests" | "tokens" | "tokensPaced" | "requestMirror" | "tokenMirror">

interface Watch {
  readonly _tag: "Watch"
  /** Share of attempts that is known to be refused by chance; 0 for none. */
  readonly share: number
  /** Nats that speak for a limit, since refusals were last learned from. */
  readonly nats: number
  /** The highest rate that was proved since then. */
  readonly proved: number
  /** Refusals at such a rate that were not learned from, and the first of them. */
  readonly doubts: number
  readonly doubtedFrom: number
  /** True where the last refusal was given back; and the last attempt by which one stood alone. */
  readonly given: boolean
  readonly aloneAt: number
  /** The first attempt since a trial found the share; -1 where refusals that stood alone did. */
  readonly knownFrom: number
  /** What was learned before the present stretch of refusals; nothing before the first. */
  readonly before: Learned | undefined
  /** The first attempt of the stretch, and the refusals since. */
  readonly from: number
  readonly refused: number
  /** Bits that speak for a trial. */
  readonly bits: number
}

/** A rate is to be raised: later than the refusal, for no refusal raises a rate. */
interface Due {
  readonly _tag: "Due"
  /** The share that was known before. */
  readonly known: number
  /** True after a trial that confirmed them, false before one. */
  readonly confirmed: boolean
  readonly at: number
  readonly before: Learned
  readonly share: number
}

interface Trial {
  readonly _tag: "Trial"
  /** The share that was known before. */
  readonly known: number
  readonly before: Learned
  /** What was learned at the low rate: it holds again where the trial fails. */
  readonly low: Learned
  /** The first attempt of the trial. */
  readonly from: number
  /** When the last one that was refused was sent, or the trial began. */
  readonly at: number
  readonly share: number
  readonly nats: number
}

/** Holds what is known of the refusals: plain data. */
export interface State {
  readonly phase: Watch | Due | Trial
  /** The last attempt that was refused, and those after it that failed for other reasons: they say nothing. */
  readonly last: number
  readonly failed: number
}

/** Names why a lane takes refusals for stray ones, or no longer does. */
export type Reason = "strays-suspected" | "strays-refuted" | "strays-confirmed" | "strays-ended"

/** Watches from an attempt on. */
const watch = (share: number, from: number): Watch => ({
  _tag: "Watch",
  share,
  nats: 0,
  proved: 0,
  doubts: 0,
  doubtedFrom: 0,
  given: false,
  aloneAt: from,
  knownFrom: from,
  before: undefined,
  from: 0,
  refused: 0,
  bits: 0
})

/** Begins where nothing was refused. */
export const initial: State = { phase: watch(0, 0), last: -1, failed: 0 }

const learned = ({ requestMirror, requests, tokenMirror, tokens, tokensPaced }: Lane): Learned => ({
  requests,
  tokens,
  tokensPaced,
  requestMirror,
  tokenMirror
})

/** Reads the attempts per second that were believed in; where the rate was still doubling, it had gone too far. */
const rateOf = ({ requests, tokens, tokensPaced }: Learned, meanTokens: number): number => {
  const rate = requests.phase === "start" ? requests.rate * Rate.defaults.firstCut : Rate.believed(requests)
  return Math.min(rate, tokensPaced && meanTokens > 0 ? tokens.rate / meanTokens : Infinity)
}

/** Notes an attempt that ended neither answered nor refused. */
export const fail = (state: State, ticket: Ticket): State =>
  ticket.seq > state.last ? { ...state, failed: state.failed + 1 } : state

/** Notes that the provider said a rate: no refusal may then bring those of before back. */
export const told = (state: State): State => {
  const { phase } = state
  return { ...state, phase: watch(phase._tag === "Watch" ? phase.share : phase.known, state.last) }
}

/** What a refusal was judged to be. */
export interface Judged {
  readonly lane: Lane
  readonly decision: Decision | undefined
  /** What to do: only `learn` takes it for a measurement of a limit; to `go-on` is to take it for none. */
  readonly verdict: "learn" | "pause" | "go-on"
}

/** Judges a refusal of the attempt of a ticket; `ofTokens` says that the provider named them. */
export const refuse = (before: Lane, ticket: Ticket, ofTokens: boolean, now: number): Judged => {
  const { failed, last, phase } = before.stray
  const lane = { ...before, stray: { phase, last: Math.max(last, ticket.seq), failed: 0 } }
  const admitted = Math.max(0, ticket.seq - last - 1 - failed)
  switch (phase._tag) {
    case "Watch":
      return weighed(lane, phase, ticket, ofTokens, last, admitted, now)
    case "Due":
      return judged(lane, phase, "go-on")
    case "Trial": {
      // sent before it
      if (ticket.seq < phase.from) return judged(before, phase, "go-on")
      // none were refused for so long that this one is of another limit
      if (admitted * phase.share > defaults.gap) return judged(lane, watch(0, ticket.seq), "learn")
      const nats = phase.nats - tested(lane, phase, ticket, admitted) * Math.LN2
      if (nats <= -defaults.confirmed) return judged(lane, { ...phase, _tag: "Due", confirmed: true, at: now }, "go-on")
      const then = nats + weight(phase.share)
      return then < defaults.refuted
        ? judged(lane, { ...phase, at: Math.max(phase.at, ticket.at), nats: then }, "go-on")
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

/** Computes the nats by which a refusal speaks for a limit that is half the rate, or less, and not for chance. */
const weight = (share: number): number => Math.log((1 + share) / (2 * share))

/** Judges a refusal by the share that is known, or by the rate that was proved; what is more than chance is learned from. */
const weighed = (
  lane: Lane,
  before: Watch,
  ticket: Ticket,
  ofTokens: boolean,
  last: number,
  admitted: number,
  now: number
): Judged => {
  const { requests } = lane
  const aloneAt = before.given && admitted * before.share >= defaults.alone ? ticket.seq : before.aloneAt
  if (before.share > 0 && (ticket.seq - aloneAt) * before.share > defaults.gone) {
    return ended(lane, ticket)
  }
  // calls differ in tokens: what went through of them says less, and a mirror weighs it itself
  const tells = !ofTokens && lane.tokenMirror === undefined && ticket.at > requests.cutAt
  const rate = tells ? Return.held(requests, { at: ticket.at, sent: ticket.requestsBefore, cost: 1 }) : 0
  const doubtful = tells && requests.phase !== "start" && requests.rate <= before.proved
  // a gap that the share does not explain: it was taken for more than it is
  const lower = admitted * before.share > defaults.gap ? Math.max(defaults.shareLeast, before.share / 2) : before.share
  const phase = { ...before, share: lower, aloneAt, proved: Math.max(before.proved, rate) }
  const share = before.share > 0 ? lower : doubtful ? defaults.shareLeast : 0
  if (share === 0) return watched(lane, phase, ticket, last, admitted, now)
  const nats = Math.max(0, phase.nats - admitted * Math.LN2) + weight(share)
  if (nats >= defaults.excess) {
    // none stood alone since the trial: they are all a limit's
    if (before.share > 0 && aloneAt === before.knownFrom) return ended(lane, ticket)
    return watched(lane, { ...phase, nats: 0, proved: 0, doubts: 0, given: false }, ticket, last, admitted, now)
  }
  if (before.share > 0) return judged(lane, { ...phase, nats, given: true, refused: phase.refused + 1 }, "go-on")
  const doubts = phase.doubts + 1
  const doubtedFrom = phase.doubts === 0 ? ticket.seq : phase.doubtedFrom
  if (doubts < defaults.doubts) return judged(lane, { ...phase, nats, doubts, doubtedFrom }, "go-on")
  const met = Math.max(defaults.shareLeast, (doubts - 1) / (ticket.seq - doubtedFrom + 1))
  const known: Watch = { ...phase, share: met, nats, given: true, aloneAt: ticket.seq, knownFrom: -1, bits: 0 }
  return decided("strays-confirmed", lane, searching(lane), known, "go-on")
}

/** Forgets the share that was known. */
const ended = (lane: Lane, ticket: Ticket): Judged => decided("strays-ended", lane, lane, watch(0, ticket.seq), "learn")

/** Lets the next probes come soon: what was taken for a limit may be none. */
const searching = (lane: Lane): Lane => ({
  ...lane,
  requests: { ...lane.requests, interval: Rate.defaults.eagerSends, eager: Rate.defaults.eagerAfterFall }
})

/** Judges a refusal while each is learned from; `last` was the one before, and `admitted` went through since. */
const watched = (lane: Lane, phase: Watch, ticket: Ticket, last: number, admitted: number, now: number): Judged => {
  const { before } = phase
  const fall = before === undefined ? 1 : rateOf(lane, lane.meanTokens) / rateOf(before, lane.meanTokens)
  const share = (phase.refused + defaults.priorRefused) / (last - phase.from + 1 + defaults.priorSent)
  if (before === undefined || admitted * share > defaults.gap) {
    // a rate that has not come back is still a fallen one
    const kept = fall <= defaults.fallen ? before : learned(lane)
    return judged(lane, { ...phase, before: kept, from: ticket.seq, refused: 1, bits: 0 }, "learn")
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
    return judged(lane, { ...phase, refused, bits }, "learn")
  }
  const found = Math.max(defaults.shareLeast, met)
  return judged(lane, { _tag: "Due", known: phase.share, confirmed: false, at: now, before, share: found }, "go-on")
}

/** Computes the bits that a refusal is worth. */
const bitsOf = (fall: number): number => Math.min(defaults.bitsMost, -Math.log2(fall))

/** Raises the rate where that is due: for a trial, or to where it was before. */
export const advance = (lane: Lane, now: number): readonly [Decision | undefined, Lane] => {
  const { phase } = lane.stray
  if (phase._tag !== "Due" || now <= phase.at) return [undefined, lane]
  const { before, confirmed, known, share } = phase
  const begun = { from: lane.next, share, nats: 0 }
  const last = lane.next - 1
  if (confirmed) {
    const raised = back(lane, before, now)
    const stray: State = { phase: watch(share, lane.next), last, failed: 0 }
    return [moved("strays-confirmed", lane, raised), { ...searching(raised), stray }]
  }
  const raised = tried(lane, before, now)
  const stray: State = {
    phase: { _tag: "Trial", known, before, low: learned(lane), at: now, ...begun },
    last,
    failed: 0
  }
  return [moved("strays-suspected", lane, raised), { ...raised, stray }]
}

/** Sends at twice the rate. */
const tried = (lane: Lane, before: Learned, now: number): Lane => {
  const twice = (rate: Rate.State, earlier: Rate.State, unit: number): Rate.State => {
    const least = Math.min(Rate.believed(earlier), defaults.trialLeast * unit)
    return { ...rate, phase: "hold", rate: Math.max(defaults.trial * Rate.believed(rate), least) }
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
  requests: returned(lane.requests, to.requests, now),
  tokens: returned(lane.tokens, to.tokens, now),
  tokensPaced: to.tokensPaced,
  requestMirror: to.requestMirror && BucketMirror.resume(to.requestMirror, now),
  tokenMirror: to.tokenMirror && BucketMirror.resume(to.tokenMirror, now)
})

/** Puts a learner back to an earlier rate; what it counts goes on. */
const returned = (now: Rate.State, to: Rate.State, at: number): Rate.State => {
  const { bad, eager, good, interval, phase } = to
  const rate = Rate.believed(to)
  const [, state] = Rate.move(now, at, "settled", {
    phase: phase === "probe" ? "hold" : phase,
    rate,
    limit: phase === "start" ? to.limit : rate,
    good,
    bad,
    interval,
    eager,
    early: 0,
    inVain: 0,
    idleFrom: 0,
    // a return to what held is over, for the rate that it left no longer holds; the next waits anew
    returning: undefined,
    refusedAt: at,
    triedAt: Infinity,
    rises: 0,
    trend: 0,
    bucket: BucketBounds.empty
  })
  return state
}

/**
 * Learns how many calls a provider lets be in flight at once.
 *
 * Two signals move the limit: refusals and timeouts. A refusal that names concurrency is a measurement: the calls that
 * were in flight before it were fine, but for those that were refused as well. But if as many had been admitted since
 * the last such refusal, it came at random, or the cap fell, and the next one decides. A refusal that names nothing is
 * ambiguous, since a limit of the rate would look the same. So it becomes a suspicion: a cap refuses at exactly the
 * same count every time, and never admits above it. Three such episodes, with calls that end between them, make a
 * limit; four if the count is small, since small counts coincide easily; and one more if the provider names requests,
 * since many providers use one name for all refusals. One admission above the count clears the suspicion. A learned cap
 * is probed with one more call, seldom, at doubling intervals. So a wrong or raised cap is found, and the more often it
 * was raised in a row, the faster it is followed; one that falls back to where it was raised from is probed twice as
 * late. A refusal soon after an answer may have come before the provider freed the place, which is then held back
 * (`LanePlaces`). After a wrong cap, the next one takes more episodes. A refusal that came at random makes the cap itself
 * doubtful, so it is probed within a second. A call that was alone in flight exceeded no cap. If more than a quarter of
 * the calls time out, or so many in a row that the provider is taken to be down, a quarter of the calls in flight is
 * tried, until those sent then have had the time to time out. If as large a share of them does, their number is not to
 * blame, and the limit becomes what it was (`LaneTimeouts`). Otherwise it grows back: by one for each success at first,
 * then by one for each round (AIMD), and faster once it is more than it was.
 *
 * ```
 *   unknown ──refused at n+1──▶ suspected n ──twice more──▶ learned n ──probe admitted──▶ learned n+1 …
 *      ▲                             │                            │
 *      └──────admitted above n───────┘                            └──probe refused: next probe twice as late
 * ```
 *
 * **Source**: AIMD as in Netflix concurrency-limits and TCP; the inference of a hard cap from exact repetition is ours.
 * Latency is no signal here: the latency of a language model follows the length of its answer.
 */

import { defaults, type State } from "./LaneInFlightState.ts"
import * as Places from "./LanePlaces.ts"
import * as Timeouts from "./LaneTimeouts.ts"
import * as Silence from "../Silence.ts"

export { defaults, make, type State } from "./LaneInFlightState.ts"

/** Reads how many calls may be in flight now: one more than the learned cap where a probe is due. */
export const capacity = (state: State, now: number): number =>
  Math.min(state.max, state.limit + (probeIn(state, now) <= 0 ? 1 : 0))

/**
 * Reads the seconds until a probe above a learned cap may be sent; not at the heels of another call, or a limit of the
 * rate would refuse it, and pass for the cap; nor soon after an answer where places are free late.
 */
const probeIn = (state: State, now: number): number =>
  state.kind === "cap" && state.aboveSeq < 0 && now >= state.probeAt
    ? Math.max(
      state.sentAt + state.answerSeconds / (2 * state.limit),
      Math.min(state.answeredAt + defaults.probeHolds * state.late.hold, state.probeAt + defaults.probePatience)
    ) - now
    : Infinity

/** Reads the seconds until one more than `count` may be in flight, where time alone brings it. */
export const wait = (state: State, count: number, now: number): number => {
  const held = Places.held(state.late, now)
  if (held > 0) return count + held < Math.min(state.max, state.limit) ? 0 : Places.wait(state.late, now)
  return count < capacity(state, now) ? 0 : count === state.limit && count < state.max ? probeIn(state, now) : Infinity
}

/** Notes a call that is sent as the `count`-th in flight. */
export const send = (before: State, seq: number, count: number, now: number): State => {
  const state = count > before.most ? { ...before, most: count, mostAt: now, mostSeq: seq } : before
  if (state.kind === "cap") {
    const above = state.aboveSeq < 0 && count > state.limit
    return { ...state, sentAt: now, ...(above ? { aboveAt: now, aboveSeq: seq } : {}) }
  }
  const drained = now > state.cutAt + silence(state)
  return state.aboveSeq < 0 && state.suspect >= 0 && count > state.suspect && drained
    ? { ...state, aboveAt: now, aboveSeq: seq }
    : state
}

/** Holds what a call takes that is sent. */
export interface Taken {
  /** The place that it takes, where that was answered of late. */
  readonly place: Places.Place | undefined
  /** How many places are held back: to the provider there may be a call in each. */
  readonly held: number
}

const nothing: Taken = { place: undefined, held: 0 }

/** Takes the place of the next call, where places are free late. */
export const take = (state: State, now: number): readonly [Taken, State] => {
  if (state.late.places.length === 0) return [nothing, state]
  const [place, late] = Places.take(state.late, now)
  return [{ place, held: Places.held(state.late, now) }, { ...state, late }]
}

const silence = (state: State): number => Silence.seconds(state.refusalSeconds)

const share = (limit: number): number => Math.ceil(limit * defaults.raiseShare)

const raised = (state: State, now: number): State =>
  state.kind === "cap"
    ? {
      ...state,
      limit: state.limit + (state.raises < defaults.raisesOne ? 1 : share(state.limit)),
      raises: state.raises + 1,
      raisedFrom: state.limit,
      raisedEvery: state.probeEvery,
      wrong: Math.min(defaults.wrongMost, state.wrong + 1),
      aboveAt: -1,
      aboveSeq: -1,
      probeAt: now + defaults.probeSoon,
      probeEvery: defaults.probeSeconds
    }
    : { ...state, suspect: -1, episodes: 0, aboveAt: -1, aboveSeq: -1 }

/** Takes the silence about a call sent above the cap for its admission, once it has lasted. */
export const advance = (state: State, now: number): State =>
  state.aboveSeq >= 0 && now > state.aboveAt + silence(state) ? raised(state, now) : state

/** Learns from the success of a call that was sent at `at`, and took a place that was answered of late. */
export const succeed = (before: State, seq: number, at: number, now: number, took?: Places.Place): State => {
  const seconds = now - at
  const answerSeconds = before.answerSeconds === 0 ? seconds : before.answerSeconds * 0.9 + seconds * 0.1
  const timeouts = Timeouts.answer(before.timeouts, seconds)
  const known = before.kind === "cap"
    ? {
      ...before,
      timeouts,
      answerSeconds,
      late: Places.answer(before.late, took, at, answerSeconds, now),
      answeredAt: now
    }
    : { ...before, timeouts }
  const state = known.acquitted && known.uncut !== undefined
    ? { ...known, ...known.uncut, uncut: undefined, acquitted: false }
    : known
  if (seq === state.aboveSeq) return raised(state, now)
  if (state.kind === "cap" && state.episodes > 0) {
    return state.clean > state.limit * 4
      ? { ...state, episodes: 0, clean: 0 }
      : { ...state, clean: state.clean + 1 }
  }
  if (state.kind === "unknown") return state.suspect < 0 ? state : { ...state, clean: state.clean + 1 }
  if (state.kind !== "timeouts" || now < state.trialUntil) return state
  if (state.limit + 1 <= state.cutFrom * defaults.doubling) return { ...state, limit: state.limit + 1 }
  if (state.clean + 1 < state.limit) return { ...state, clean: state.clean + 1 }
  // one by one to where it was, and faster from there: it may have been far under what the provider bears
  const one = state.limit < state.cutFrom + defaults.raisesOne
  return { ...state, clean: 0, limit: state.limit + (one ? 1 : share(state.limit)) }
}

/**
 * Notes the end of an attempt that says nothing of the calls in flight: a probe above the cap is to be sent again.
 *
 * @param seconds after which its caller gave it up; 0 where it was refused or failed
 */
export const ended = (before: State, seq: number, seconds = 0): State => {
  const own = { ...before, timeouts: Timeouts.ended(before.timeouts, seconds) }
  const state = seq === before.mostSeq ? { ...own, most: 0 } : own
  return seq === state.aboveSeq ? { ...state, aboveAt: -1, aboveSeq: -1 } : state
}

/** Notes after how many seconds a refusal was heard of, whatever it was about. */
export const heard = (state: State, seconds: number): State => ({
  ...state,
  refusalSeconds: state.refusalSeconds * 0.8 + seconds * 0.2
})

/** Says what the provider named as it refused. */
export type About = "concurrency" | "requests" | "nothing"

/** Says what a refusal was about. */
export type Verdict = "in-flight" | "rate"

/** Holds what a refusal is judged by: the attempt's number, when it was sent, and as which of the calls in flight. */
export interface Attempt extends Partial<Taken> {
  readonly seq: number
  readonly at: number
  readonly count: number
}

/** Learns from a refusal of the `count`-th call in flight, and says whether it was about the calls in flight. */
export const refuse = (
  before: State,
  attempt: Attempt,
  about: About,
  now: number
): [Verdict, State] => {
  const named = about === "concurrency"
  const noting = noted(ended(before, attempt.seq), attempt, now)
  const sure = named && attempt.at > before.cutAt && bore(noting, attempt, now)
  const tookLate = named ? lateOf(before, attempt) : undefined
  const [isLate, late] = tookLate === undefined
    ? [false, before.late]
    : Places.refuse(before.late, tookLate, { at: attempt.at, limit: before.limit, sure }, before.answerSeconds, now)
  const own = { ...noting, late }
  if (isLate) {
    const first = !Places.isKnown(before.late)
    return ["in-flight", {
      ...own,
      most: sure ? 0 : own.most,
      clean: 0,
      cutAt: sure || first ? now : own.cutAt,
      // before this was known places that were not free yet made the cap look lower
      probeAt: first ? Math.min(own.probeAt, now + defaults.probeSoon) : own.probeAt
    }]
  }
  return refused(before, own, attempt, about, sure, now)
}

/** Learns from a refusal that no late place explains; `sure` where as many were admitted before. */
const refused = (
  before: State,
  own: State,
  attempt: Attempt,
  about: About,
  sure: boolean,
  now: number
): [Verdict, State] => {
  const named = about === "concurrency"
  const fresh = named && attempt.at > before.cutAt
  // it comes at random, or the cap has fallen: then the next one is believed
  if (sure) {
    const doubts = Math.min(defaults.doubtsMost, own.doubts + 1)
    const probeAt = Math.min(own.probeAt, now + defaults.probeSoon)
    return ["in-flight", { ...own, most: 0, doubts, cutAt: now, probeAt, probeEvery: defaults.probeSeconds }]
  }
  const state: State = { ...own, raises: 0, most: fresh ? 0 : own.most }
  // a call that was alone in flight and is not told that it was one too many exceeded no cap
  const alone = !named && attempt.count <= 1
  if (alone && attempt.at > state.cutAt) return ["rate", { ...state, cutAt: now, clean: 0, suspect: -1, episodes: 0 }]
  const taken = attempt.count + (attempt.held ?? 0)
  const count = Math.max(1, taken - 1 - (named ? inVain(before, attempt) : 0))
  if (state.kind === "cap" && count >= state.limit) {
    const probeEvery = attempt.seq === before.aboveSeq
      ? Math.min(defaults.probeSecondsMax, state.probeEvery * 2)
      : state.probeEvery
    return ["in-flight", { ...state, cutAt: now, probeEvery, probeAt: now + probeEvery }]
  }
  if (state.kind === "cap" && count === state.limit - 1 && state.episodes === 0) {
    // one below the cap, once: the provider had not yet counted the end of a call that the lane saw end
    return ["in-flight", { ...state, cutAt: now, clean: 0, episodes: 1 }]
  }
  if (attempt.at <= state.cutAt) return [named || state.kind === "cap" ? "in-flight" : "rate", state]
  // hardly any has ended since: a bucket that is as empty as it was refuses at the same count
  const turned = state.clean >= Math.max(defaults.turnedLeast, count * defaults.turned)
  if (!named && state.suspect === count && !turned) return ["rate", { ...state, cutAt: now }]
  const cut: State = { ...state, cutAt: now, clean: 0 }
  if (named && state.doubts > 1) return ["in-flight", { ...cut, doubts: state.doubts - 1 }]
  if (named) return ["in-flight", learned(cut, count, now)]
  if (state.suspect !== count) return ["rate", { ...cut, suspect: count, episodes: 1 }]
  const enough = defaults.episodes + (count < defaults.smallCount ? 1 : 0) +
    (about === "requests" ? defaults.episodesNamed : 0) + defaults.episodesWrong * state.wrong
  return state.episodes + 1 >= enough
    ? ["in-flight", learned(cut, count, now)]
    : ["rate", { ...cut, episodes: state.episodes + 1 }]
}

/** Reads the place of a refused attempt that may not have been free yet. */
const lateOf = (state: State, attempt: Attempt): Places.Place | undefined => {
  const { aboveSeq, answeredAt, kind, late, limit, raisedFrom } = state
  if (kind !== "cap" || attempt.count > limit || attempt.seq === aboveSeq) return undefined
  const known = Places.isKnown(late)
  if (known && attempt.at > late.since) return attempt.place
  // a cap that was just raised is more likely to be too high
  return attempt.at - answeredAt < defaults.recent && (known || raisedFrom < 0)
    ? { at: Math.min(attempt.at, answeredAt), tried: -1, readyAt: 0 }
    : undefined
}

/** Notes a refusal, and forgets those that no attempt under way can have met. */
const noted = (state: State, { seq }: { readonly seq: number }, now: number): State => {
  const since = now - silence(state)
  const late = state.refused.filter((one) => one.heardAt > since)
  return { ...state, refused: [...late, { seq, heardAt: now }].slice(-defaults.refusedMost) }
}

/** Reads how many of the calls in flight before a refused attempt were refused as well, and took no place. */
const inVain = (state: State, attempt: { readonly seq: number; readonly at: number }): number =>
  state.refused.filter((one) => one.seq < attempt.seq && one.heardAt > attempt.at).length

/** Says whether as many calls were in flight before a refused attempt, and admitted: no cap refuses so. */
const bore = (state: State, attempt: { readonly at: number; readonly count: number }, now: number): boolean =>
  state.most >= attempt.count && state.mostAt < attempt.at && now > state.mostAt + silence(state)

const learned = (state: State, limit: number, now: number): State => {
  // one more was admitted by chance: the provider may free a place a moment after the answer, which is taken at once
  const probeEvery = limit === state.raisedFrom
    ? Math.min(defaults.probeSecondsMax, state.raisedEvery * 2)
    : defaults.probeSeconds
  return {
    ...state,
    kind: "cap",
    limit: Math.min(state.limit, limit),
    suspect: -1,
    episodes: 0,
    uncut: undefined,
    acquitted: false,
    doubts: 0,
    late: { ...Places.initial, misfit: state.late.misfit },
    raisedFrom: -1,
    aboveAt: -1,
    aboveSeq: -1,
    probeAt: now + probeEvery,
    probeEvery
  }
}

/**
 * Learns from a call that timed out while `count` were in flight; `next` is the number of the next call.
 *
 * **Details**: one that was alone was not too many, and one among others that are answered takes too long for itself.
 *
 * @param down true where the provider is taken to be down from now on
 */
export const timeOut = (
  state: State,
  attempt: { readonly seq: number; readonly at: number; readonly count: number; readonly next: number },
  down: boolean,
  now: number
): State => {
  const { at, count, next, seq } = attempt
  if (at <= state.cutAt) return state
  if (count <= 1) return ended(state, seq)
  const tried = state.uncut !== undefined && at <= state.trialUntil
  const [verdict, timeouts] = Timeouts.add(state.timeouts, seq, tried)
  if (verdict === "acquitted") return { ...state, timeouts, acquitted: true }
  const until = now + (now - at) * defaults.timeoutTrial
  // as long as the trial seems to help nothing it goes on
  const trialUntil = tried && timeouts.bits > 0 ? until : state.trialUntil
  if (verdict === "own" && !down) return { ...state, timeouts, trialUntil }
  const { kind, limit } = state
  const cutFrom = Math.min(limit, count)
  return {
    ...state,
    kind: kind === "cap" ? "cap" : "timeouts",
    limit: Math.max(1, Math.floor(cutFrom * defaults.timeoutCut)),
    timeouts: Timeouts.tryFewer(timeouts, next),
    uncut: { limit, kind },
    acquitted: false,
    cutFrom,
    clean: 0,
    cutAt: now,
    trialUntil: until
  }
}

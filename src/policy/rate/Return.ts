/**
 * Returns the learner of a rate to where it was, once what refused it is over.
 *
 * A limit that closes now and then, because of a neighbour or a storm of traffic, is measured as a low limit each time.
 * Probes come after so many attempts, and at a low rate the limit has closed again before the first. So the highest
 * rate that held is remembered, and counts for half as much after three minutes. If the rate has fallen under a quarter
 * of it, an attempt was admitted, and none was refused for two seconds, the search begins again at half of it, as in
 * `start`: the rates that were refused while the limit was closed are no upper bound.
 *
 * ```
 *   fallen ──one admitted, none refused for 2 s──▶ start, at half of the highest ──5 admitted, then a refusal──▶ settle
 *     ▲                                                   │
 *     └──refused before: not again for 4 s, 8 s, 16 s─────┘
 * ```
 *
 * A limit that is stated far above what was refused is tried in the same way, from twice what is believed on.
 *
 * Until a rate has held, the first rate stands in for it as a guess. Each return in vain leaves a quarter of the guess,
 * so at a limit that is low from the first attempt on, a return is tried once or twice.
 */
import * as Failures from "./Failures.ts"
import { defaults, doubted, faded, failed, held as through, highest, refused, wait } from "./ReturnState.ts"
import * as Rise from "./Rise.ts"
import { believed, defaults as rates, floorOf, found, heard, type Move, move, type Stamp, type State } from "./State.ts"
import * as Traffic from "./Traffic.ts"
import * as BucketBounds from "./BucketBounds.ts"
import * as WindowBounds from "./WindowBounds.ts"

export { deaf } from "./ReturnState.ts"

/**
 * Reads the rate that held until a refusal that is not learned from yet, as what was admitted since the last one proves
 * it.
 */
export const held = (state: State, stamp: Stamp): number => {
  const admitted = stamp.sent - state.traffic.refused
  const seconds = stamp.at - state.traffic.since
  const rate = state.bucket.empty !== undefined
    ? floorOf(state, admitted, stamp.cost, stamp.at)
    : seconds < defaults.startSeconds
    ? 0
    : admitted / seconds
  return Math.min(rate, believed(state))
}

/** Reads the units that prove a rate. */
const proof = (state: State): number => defaults.proof * Math.max(1, state.traffic.mean)

/** Begins a return where one is due. */
export const begin = (state: State, now: number): [Move, State] | undefined => {
  const { returns } = state
  const silentAt = now - returns.deaf
  const isDue = state.phase !== "start" && state.windows.known === undefined && returns.underWay === undefined &&
    silentAt - returns.triedAt > heard(state) && silentAt - returns.refusedAt > defaults.least &&
    now - returns.vainAt > wait(returns.inVain)
  const high = isDue ? faded(state.high, now) : 0
  const from = believed(state)
  if (from >= defaults.fallen * high) return undefined
  return begun(state, defaults.tried * high, Infinity, now)
}

const begun = (state: State, rate: number, to: number, now: number): [Move, State] => {
  const from = believed(state)
  const left = state.phase === "settle"
    ? { phase: state.phase, rate: from, limit: state.limit }
    : { phase: "hold" as const, rate: from, limit: from }
  const underWay = { at: now, sent: state.traffic.sent, to, left }
  return move(
    { ...state, phase: "start", limit: rate, returns: { ...state.returns, underWay } },
    now,
    "probe-began",
    rate
  )
}

/**
 * Tries a limit that is stated far above what was refused, from twice that on or the first rate of all, as in `start`. It may
 * be true, or it may be another limit that refuses, of which nothing is said: then all that is sent at once comes back.
 */
export const toward = (state: State, stated: number, now: number): [Move, State] | undefined => {
  const refused = state.phase !== "start" && state.returns.refusedAt > -Infinity
  if (!refused || believed(state) >= defaults.fallen * stated) return undefined
  const rate = Math.max(2 * believed(state), rates.initial * Math.max(1, state.traffic.mean))
  return rate < stated ? begun(state, rate, stated, now) : undefined
}

/** Notes a refusal: what held until then, and the move back from a return in vain, of which nothing else is learned. */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.traffic.refused
  const { bucket, high, returns, streak } = before
  const { underWay } = returns
  const measured = bucket.empty === undefined || admitted - bucket.empty.admitted >= proof(before)
  const state: State = {
    ...before,
    // those of one episode overtake each other: between two of them nothing held
    high: underWay === undefined && stamp.at > before.cutAt
      ? highest(high, held(before, stamp), measured, now)
      : high,
    returns: refused(returns, now)
  }
  if (underWay === undefined || stamp.at <= before.cutAt) return [undefined, state]
  const units = stamp.sent - underWay.sent
  if (units >= proof(before)) {
    const rate = Math.min(believed(before), units / (stamp.at - underWay.at))
    return [undefined, {
      ...state,
      high: highest(high, rate, true, now),
      returns: through(state.returns),
      streak: { ...streak, early: 0, inVain: 0 }
    }]
  }
  const { left } = underWay
  const back: State = {
    ...state,
    phase: left.phase,
    limit: left.limit,
    cutAt: now,
    traffic: Traffic.refuse(state.traffic, stamp.cost),
    bucket: { ...bucket, empty: { at: stamp.at, admitted } },
    ...Failures.withdraw(state, stamp.at),
    high: doubted(high),
    returns: failed(state.returns, now)
  }
  return found(back, left.limit, now, "probe-confirmed", left.rate)
}

/** Puts a learner back to an earlier rate, since what was learned after it is void; its counts go on. */
export const restored = (now: State, to: State, at: number): State => {
  const { bad, phase, probe } = to
  const rate = believed(to)
  const back: State = {
    ...now,
    phase: phase === "probe" ? "hold" : phase,
    limit: phase === "start" ? to.limit : rate,
    bad,
    streak: { ...now.streak, early: 0, inVain: 0 },
    bounds: BucketBounds.empty,
    windows: WindowBounds.empty,
    failures: { ...now.failures, kept: undefined },
    probe: { ...now.probe, interval: probe.interval, eager: probe.eager },
    rise: Rise.over(now.rise),
    // a return to what held is over, for the rate that it left no longer holds; the next waits anew
    returns: { ...refused(now.returns, at), underWay: undefined }
  }
  return move(back, at, "settled", rate)[1]
}

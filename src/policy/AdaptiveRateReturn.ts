/**
 * Returns the learner of a rate to where it was, once what refused it is over.
 *
 * A limit that closes now and then, for a neighbour's sake or in a storm of refusals, is measured as a low limit each time,
 * and probes come by attempts: at a low rate the limit has closed again before the first. So the highest rate that held is
 * remembered, and counts for half as much after three minutes. Where the rate has fallen under a quarter of it, an attempt
 * was admitted and none refused for two seconds, the search begins anew at half of it, as in `start`: what was refused
 * while the limit was closed is no upper bound.
 *
 * ```
 *   fallen ──one admitted, none refused for 2 s──▶ start, at half of the highest ──5 admitted, then a refusal──▶ settle
 *     ▲                                                   │
 *     └──refused before: not again for 4 s, 8 s, 16 s─────┘
 * ```
 *
 * Until a rate held, the first one stands for it, as a guess: each return in vain leaves a quarter of it, so a limit
 * that is low from the first attempt on is asked once or twice.
 */
import { believed, floorOf, heard, type Move, move, type Stamp, type State } from "./AdaptiveRateState.ts"
import * as BucketBounds from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Seconds in which the highest rate is forgotten by half. */
  halfLife: 180,
  /** Share of it under which the rate has fallen, and share that is tried. */
  fallen: 0.25,
  tried: 0.5,
  /** Attempts that prove it; seconds without a refusal before a try. */
  proof: 5,
  least: 2,
  /** Seconds after a try in vain before the next, at most: they double from `least` with each. */
  most: 16,
  /** Seconds of use that prove a rate before the first refusal. */
  startSeconds: 5
} as const

/** Reads what is left of the highest rate that held. */
const faded = ({ high }: State, now: number): number => high.rate * 2 ** ((high.at - now) / defaults.halfLife)

/** Reads the rate that held until a refusal that is not learned from yet: what was admitted since the last proves it. */
export const held = (state: State, stamp: Stamp): number => {
  const admitted = stamp.sent - state.refused
  const seconds = stamp.at - state.madeAt
  const rate = state.emptyAt >= 0
    ? floorOf(state, admitted, stamp.cost, stamp.at)
    : seconds < defaults.startSeconds
    ? 0
    : admitted / seconds
  return Math.min(rate, believed(state))
}

/** Reads the units that prove a rate. */
const proof = (state: State): number => defaults.proof * Math.max(1, state.mean)

/** Takes a rate that held for the highest, where it is; a guess gives way to any that is proved. */
const highest = (state: State, rate: number, proved: boolean, now: number): State["high"] =>
  rate > (proved && !state.high.proved ? 0 : faded(state, now)) ? { rate, at: now, proved: true } : state.high

/** Begins a return where one is due. */
export const begin = (state: State, now: number): [Move, State] | undefined => {
  const seconds = Math.min(defaults.most, defaults.least * 2 ** state.returnsInVain)
  const isDue = state.phase !== "start" && state.returning === undefined && now - state.triedAt > heard(state) &&
    now - state.refusedAt > defaults.least && now - state.vainAt > seconds
  const high = isDue ? faded(state, now) : 0
  const from = believed(state)
  if (from >= defaults.fallen * high) return undefined
  const rate = defaults.tried * high
  const left = state.phase === "settle"
    ? { phase: state.phase, rate: from, limit: state.limit }
    : { phase: "hold" as const, rate: from, limit: from }
  return move(state, now, "probe-began", {
    phase: "start",
    rate,
    limit: rate,
    returning: { at: now, sent: state.sent, left }
  })
}

/** Notes a refusal: what held until then, and the move back from a return in vain, of which nothing else is learned. */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.refused
  const { high, returning } = before
  const measured = before.emptyAt < 0 || admitted - before.emptyAdmitted >= proof(before)
  const state: State = {
    ...before,
    high: returning === undefined ? highest(before, held(before, stamp), measured, now) : high,
    refusedAt: now,
    triedAt: Infinity
  }
  if (returning === undefined || stamp.at <= before.cutAt) return [undefined, state]
  const through = stamp.sent - returning.sent
  if (through >= proof(before)) {
    const rate = Math.min(believed(before), through / (stamp.at - returning.at))
    return [undefined, {
      ...state,
      high: highest(before, rate, true, now),
      returning: undefined,
      returnsInVain: 0,
      vainAt: -Infinity,
      early: 0,
      inVain: 0
    }]
  }
  return move(state, now, "probe-confirmed", {
    ...returning.left,
    returning: undefined,
    returnsInVain: state.returnsInVain + 1,
    vainAt: now,
    high: high.proved ? high : { ...high, rate: high.rate * defaults.fallen },
    refused: state.refused + stamp.cost,
    bucket: BucketBounds.withdraw(state.bucket, stamp.at),
    cutAt: now,
    emptyAt: stamp.at,
    emptyAdmitted: admitted
  })
}

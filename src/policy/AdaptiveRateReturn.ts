/**
 * Returns the learner of a rate to where it was, once what refused it is over.
 *
 * A limit that closes now and then, for a neighbour's sake or in a storm of refusals, is measured as a low limit each time,
 * and probes come by attempts: at a low rate the limit has closed again before the first. So the highest rate that held is
 * remembered, and counts for half as much after three minutes. Where the rate has fallen under a quarter of it and nothing is refused
 * any more, half of it is tried.
 *
 * ```
 *   fallen ──nothing refused for 2 s, 4 s, … 30 s, one admitted──▶ half of the highest ──5 admitted──▶ held
 *     ▲                                                                  │
 *     └────────────────refused before: twice as late─────────────────────┘
 * ```
 */
import {
  believed,
  defaults as rates,
  floorOf,
  heard,
  type Move,
  move,
  type Stamp,
  type State
} from "./AdaptiveRateState.ts"
import * as BucketBounds from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Seconds in which the highest rate is forgotten by half. */
  halfLife: 180,
  /** Share of it under which the rate has fallen, and share that is tried. */
  fallen: 0.25,
  tried: 0.5,
  /** Attempts that prove it, and seconds without a refusal before a try, which double with each in vain, up to the most. */
  proof: 5,
  least: 2,
  most: 30,
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

/** Begins a return where one is due. */
export const begin = (state: State, now: number): [Move, State] | undefined => {
  const seconds = Math.min(defaults.most, defaults.least * 2 ** state.returnsInVain)
  const isDue = state.phase !== "start" && state.returning === undefined &&
    now - state.triedAt > heard(state) && now - state.refusedAt > seconds
  const high = isDue ? faded(state, now) : 0
  if (believed(state) >= defaults.fallen * high) return undefined
  const rate = defaults.tried * high
  return move(state, now, "probe-began", {
    phase: "hold",
    rate,
    limit: rate,
    returning: { from: believed(state), sent: state.sent },
    early: 0,
    inVain: 0,
    eager: rates.eagerAfterFall,
    interval: rates.eagerSends
  })
}

/** Notes a refusal: what held until then, and the move back from a return in vain, of which nothing else is learned. */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.refused
  const { returning } = before
  const rate = returning === undefined ? held(before, stamp) : 0
  const state: State = {
    ...before,
    high: rate > faded(before, now) ? { rate, at: now } : before.high,
    refusedAt: now,
    triedAt: Infinity
  }
  if (returning === undefined || stamp.at <= before.cutAt) return [undefined, state]
  const through = stamp.sent - returning.sent
  if (through >= defaults.proof * Math.max(1, before.mean)) {
    return [undefined, { ...state, returning: undefined, returnsInVain: 0 }]
  }
  return move(state, now, "probe-confirmed", {
    phase: "hold",
    rate: returning.from,
    limit: returning.from,
    returning: undefined,
    returnsInVain: state.returnsInVain + 1,
    refused: state.refused + stamp.cost,
    bucket: BucketBounds.withdraw(state.bucket, stamp.at),
    cutAt: now,
    emptyAt: stamp.at,
    emptyAdmitted: admitted
  })
}

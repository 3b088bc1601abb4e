/**
 * What a lane knows of refusals that come at any rate: phases, reasons, constants, the state as plain data.
 *
 * `LaneStray` moves it, and exports what others need.
 */
import * as Rate from "../rate/State.ts"
import type { State as Lane } from "./LaneState.ts"

/** Holds the constants of `LaneStray`. */
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

/** Holds what a lane has learned of its rates. */
export type Learned = Pick<Lane, "requests" | "tokens" | "tokensPaced" | "requestMirror" | "tokenMirror">

/** Names how a share is known: guessed from all that were refused, by few that came alone, or shown by a trial or since. */
export type Basis = "guess" | "few" | "shown"

/** Watches what is refused, with the share that is known. */
export interface Watch {
  readonly _tag: "Watch"
  /** Share of attempts that is known to be refused by chance; 0 for none. */
  readonly share: number
  /** Nats that speak for a limit, since refusals were last learned from. */
  readonly nats: number
  /** The refusals since nothing spoke for a limit. */
  readonly rising: number
  /** The highest rate that was proved since then. */
  readonly proved: number
  /** Refusals at such a rate that were not learned from, and the first of them. */
  readonly doubts: number
  readonly doubtedFrom: number
  /** True where the last refusal was given back; and the last attempt by which one stood alone. */
  readonly given: boolean
  readonly aloneAt: number
  /** The first attempt since the share is known, or since too many were refused beside few that were known. */
  readonly knownFrom: number
  /** How the share is known. */
  readonly basis: Basis
  /** What was learned before the present stretch of refusals; nothing before the first. */
  readonly before: Learned | undefined
  /** The first attempt of the stretch, and the refusals since. */
  readonly from: number
  readonly refused: number
  /** When that attempt was sent, and what was sent before it that no failure gave back. */
  readonly fromAt: number
  readonly fromSent: number
  /** Bits that speak for a trial. */
  readonly bits: number
}

/** A rate is to be raised: later than the refusal, for no refusal raises a rate. */
export interface Due {
  readonly _tag: "Due"
  /** The share that was known before. */
  readonly known: number
  /** True after a trial that confirmed them, false before one. */
  readonly confirmed: boolean
  readonly at: number
  readonly before: Learned
  readonly share: number
  /** Attempts per second that met the share. */
  readonly sends: number
}

/** Tries twice the rate, or twice what met the share. */
export interface Trial {
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
  /** Those that were refused in it. */
  readonly refused: number
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
export const watch = (share: number, from: number): Watch => ({
  _tag: "Watch",
  share,
  nats: 0,
  rising: 0,
  proved: 0,
  doubts: 0,
  doubtedFrom: 0,
  given: false,
  aloneAt: from,
  knownFrom: from,
  basis: share > 0 ? "shown" : "guess",
  before: undefined,
  from: 0,
  fromAt: 0,
  fromSent: 0,
  refused: 0,
  bits: 0
})

/** Begins where nothing was refused. */
export const initial: State = { phase: watch(0, 0), last: -1, failed: 0 }

/** Reads what a lane has learned. */
export const learned = ({ requestMirror, requests, tokenMirror, tokens, tokensPaced }: Lane): Learned => ({
  requests,
  tokens,
  tokensPaced,
  requestMirror,
  tokenMirror
})

/** Reads the attempts per second that were believed in; where the rate was still doubling, it had gone too far. */
export const rateOf = ({ requests, tokens, tokensPaced }: Learned, meanTokens: number): number => {
  const rate = requests.phase === "start" ? requests.rate * Rate.defaults.firstCut : Rate.believed(requests)
  return Math.min(rate, tokensPaced && meanTokens > 0 ? tokens.rate / meanTokens : Infinity)
}

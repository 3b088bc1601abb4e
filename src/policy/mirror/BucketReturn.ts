/**
 * Returns a mirror to where it was, once what refused it is over, and bounds the wait for what is not proved.
 *
 * A limit that closes now and then, or that is closed from the first attempt on, refuses whatever is sent: the guesses take
 * that for a low rate, and at a low rate no evidence against it comes. So the highest rate that held is remembered, as
 * `rate/Return` does it. Where the rate has fallen under a quarter of it, a call that had to wait was admitted and
 * none refused for two seconds, guesses begin anew between that quarter and twice the highest, each factor as likely, with
 * one call in the bucket.
 *
 * ```
 *   fallen ──one admitted, none refused for 2 s──▶ guesses from a quarter of the highest to twice it ──5 admitted──▶ held
 *     ▲                                                      │
 *     └──refused before: not again for 4 s, 8 s, 16 s────────┘
 * ```
 *
 * Until a rate as high held, ten calls per second stand for it, as a guess: each return in vain leaves a quarter of it. The
 * first refusals of a slow limit look the same as those of one that is shut, and a return there unlearns what they told. So a
 * guess counts only once the limit was shut: it refused the first call of all, which a full bucket takes, or twice in a row
 * in a time in which five calls would have gone through. It also counts once five calls in a row had to wait and were
 * admitted: of a limit that somebody else used up, no refusal may tell that.
 *
 * **No wait is longer than what proves it.** That a call must wait at a low rate is known from how long nothing was
 * admitted: after a refusal half as long is waited at most, after an admission as long as that one took to come, from 1 to
 * 30 s. Where a rate held, a wait may also be as long as a quarter of the highest needs, up to five minutes.
 *
 * Everything is plain data, `now` is seconds.
 */
import * as Rate from "../rate/ReturnState.ts"
import type { Guesses } from "./BucketGuesses.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Attempts that prove a rate. */
  proof: Rate.defaults.proof,
  /** Seconds that a wait may always be long, share of those without an admission that a refusal adds to them at most. */
  waitLeast: 1,
  waitShare: 0.5,
  /** Refusals in a row from which a limit may be shut, and from which a wait is so short where no rate held. */
  stuck: 3,
  /** The same from which a guess of what holds counts, where no rate held. */
  again: 2,
  /** Seconds that a wait is at most where no rate held, and in any case. */
  waitUnproved: 30,
  waitMost: 300
} as const

/** Holds what a return leaves: one in vain goes back to that. */
export interface Left {
  readonly guesses: Guesses
  readonly before: number
  readonly eager: number
  readonly interval: number
}

/** Holds a return under way: since when, from which attempt on (-1: none yet), and what it left. */
export interface Under {
  readonly at: number
  readonly from: number
  readonly left: Left
}

/** Holds what is known of the rates that held: plain data. */
export interface State {
  /** The highest rate that held, and when it was last proved; until one did, a guess, quartered by each return in vain. */
  readonly high: Rate.High
  /** When an attempt was last refused, and whether one was admitted that was sent since. */
  readonly refusedAt: number
  readonly admitted: boolean
  /** When an attempt was last admitted, the refusals since, and the seconds that the next may be waited for. */
  readonly admittedAt: number
  readonly stuck: number
  readonly patience: number
  /** Whether the limit was shut: until a rate held, that makes a return due sooner. */
  readonly shut: boolean
  /** The return under way. */
  readonly under: Under | undefined
  /** Returns in vain since one held, and when the last of them was refused. */
  readonly vain: number
  readonly vainAt: number
}

/** Begins with a rate that held, or with a guess; `shut` where the limit refused the first call of all. */
export const begun = (rate: number, proved: boolean, shut: boolean, now: number): State => ({
  high: { rate, at: now, proved },
  refusedAt: now,
  admitted: false,
  admittedAt: now,
  stuck: 1,
  patience: 0,
  shut,
  under: undefined,
  vain: 0,
  vainAt: -Infinity
})

/** Reads what is left at a time of the highest rate that held. */
export const faded = ({ high }: State, now: number): number => Rate.faded(high, now)

/** Says whether so many units as prove a rate would have been admitted at `rate` before the last refusal, and none were. */
const isUnmet = ({ admittedAt, refusedAt }: State, rate: number, mean: number): boolean =>
  (refusedAt - admittedAt) * rate >= defaults.proof * mean

/**
 * Says whether a limit was shut, or used up by somebody else, and not slow: in the seconds before the last refusal nothing
 * was admitted, though as many units would have been as prove a rate, at the one before.
 */
export const isShut = (state: State, before: number, mean: number): boolean =>
  state.stuck >= defaults.stuck && isUnmet(state, before, mean)

/** Notes that an attempt was admitted that was sent at `at`; `mean` is the cost of a call. */
export const admitted = (state: State, at: number, mean: number): State => ({
  ...state,
  admitted: state.admitted || at > state.refusedAt,
  admittedAt: Math.max(state.admittedAt, at),
  stuck: 0,
  patience: Math.max(0, at - state.admittedAt),
  shut: state.shut || state.stuck >= defaults.again && isUnmet(state, state.high.rate, mean)
})

/** Reads the rate to return to, where a return is due after `calm` calls that waited and were not refused; else 0. */
export const due = (state: State, rate: number, calm: number, now: number): number => {
  const { admitted, high: { proved }, refusedAt, shut, under, vain, vainAt } = state
  if (
    !(proved || shut || calm >= defaults.proof) || !admitted || under !== undefined ||
    now - refusedAt <= Rate.defaults.least
  ) return 0
  if (now - vainAt <= Rate.wait(vain)) return 0
  const high = faded(state, now)
  return rate < Rate.defaults.fallen * high ? Rate.defaults.tried * high : 0
}

/** Begins a return. */
export const begin = (state: State, { before, eager, guesses, interval }: Left, now: number): State => ({
  ...state,
  under: { at: now, from: -1, left: { before, eager, guesses, interval } }
})

/** Notes the first attempt of a return. */
export const sent = (state: State, seq: number): State =>
  state.under?.from === -1 ? { ...state, under: { ...state.under, from: seq } } : state

/** Says whether a refusal ends a return in vain: of too few attempts that were admitted, if any. */
export const isVain = ({ from }: Under, seq: number): boolean => from < 0 || seq - from < Rate.defaults.proof

/** Notes a refusal of an attempt that was sent at `at`. */
const refused = (state: State, at: number): State => ({
  ...state,
  refusedAt: at,
  admitted: false,
  stuck: state.stuck + 1,
  patience: defaults.waitShare * Math.max(0, at - state.admittedAt)
})

/** Ends a return in vain. */
export const failed = (state: State, at: number): State => ({
  ...refused(state, at),
  high: Rate.doubted(state.high),
  under: undefined,
  vain: state.vain + 1,
  vainAt: at
})

/** Learns from a refusal what held until then: `rate`, 0 for none. */
export const refuse = (state: State, rate: number, at: number): State => {
  // a low rate that held is no proof against a guess: no more was sent
  const next = refused({ ...state, high: Rate.highest(state.high, rate, false, at) }, at)
  return state.under === undefined ? next : { ...next, under: undefined, vain: 0, vainAt: -Infinity }
}

/** Reads the seconds that may be waited after the last event, where so many units are owed. */
export const longest = ({ high, patience, stuck }: State, owed: number): number => {
  const patient = Math.max(defaults.waitLeast, Math.min(defaults.waitUnproved, patience))
  return high.proved
    ? Math.max(patient, Math.min(defaults.waitMost, owed / (Rate.defaults.fallen * high.rate)))
    : stuck < defaults.stuck
    ? defaults.waitUnproved
    : patient
}

/** Ends a return that something else overtook. */
export const resumed = (state: State, now: number): State => ({
  ...state,
  under: undefined,
  refusedAt: now,
  admitted: false
})

/** Takes a rate that the provider states for one that held. */
export const told = (state: State, rate: number, now: number): State => ({
  ...state,
  high: { rate, at: now, proved: true },
  under: undefined
})

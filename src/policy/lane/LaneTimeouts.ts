/**
 * Tells timeouts that come from too many calls in flight from those that come whatever their number is.
 *
 * If a provider gets more calls than it can take, a run of them times out, and fewer at once would be answered. If one
 * of two replicas is dead, half of the calls hang, however many there are, and sending fewer at once only slows things
 * down. So when many time out, a trial is made with a quarter of the calls in flight: the share of timeouts then falls
 * to a quarter, or it stays.
 *
 * ```
 *   watch ──more than tolerated──▶ trial with a quarter in flight ──a smaller share──▶ watch
 *     ▲                                      │
 *     └──── tolerates the share, as before ──┴── the same share
 * ```
 *
 * Attempts are weighed in the order of sending: answers come in a second and timeouts in minutes, so in the order of
 * answering each burst begins with answers alone and ends with timeouts alone.
 *
 * **Source**: a CUSUM (Page 1954) for too many, a sequential probability ratio test (Wald 1945) for the trial.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Share of timeouts that is harmless: most calls that time out take too long for themselves. */
  harmless: 0.1,
  /** Bits for half of what was answered being lost, above which chance does not explain it. */
  chance: 18,
  /** Attempts that the share is smoothed over. */
  memory: 32,
  /** Part of the share, or less, that a trial leaves where the calls in flight were too many. */
  relief: 0.25,
  /** Bounds of a share that is put to the trial. */
  shareLeast: 0.25,
  shareMost: 0.9,
  /** Times an answer's duration after which a call that is given up would have timed out. */
  silence: 4,
  /** Bits that acquit the calls in flight. */
  bits: 6
} as const

/** Holds what is known: plain data. */
export interface State {
  /** The last attempt, in the order of sending, that timed out, and ends since then that say nothing. */
  readonly last: number
  readonly voids: number
  /** Those of them that were given up after longer than an answer takes. */
  readonly hung: number
  /** Share of timeouts that is harmless: more than the default where a trial has shown it, and bits for there being more. */
  readonly harmless: number
  readonly excess: number
  /** Smoothed share of timeouts, and the attempts that it is known from, as far as they count. */
  readonly share: number
  readonly tries: number
  /** Share before the last trial, and bits for its being the same in it. */
  readonly before: number
  readonly bits: number
  /** Smoothed seconds that an answer takes; 0 before the first. */
  readonly answerSeconds: number
}

/** Says what a timeout tells: the call's own, too many in flight, or that their number does not matter. */
export type Verdict = "own" | "crowd" | "acquitted"

/** Begins where nothing has timed out. */
export const initial: State = {
  last: -1,
  voids: 0,
  hung: 0,
  harmless: defaults.harmless,
  excess: 0,
  share: 0,
  tries: 0,
  before: 0,
  bits: 0,
  answerSeconds: 0
}

/** Notes how long an answer took. */
export const answer = (state: State, seconds: number): State => ({
  ...state,
  answerSeconds: state.answerSeconds === 0 ? seconds : state.answerSeconds * 0.9 + seconds * 0.1
})

/**
 * Notes the end of an attempt that was neither answered nor timed out: refused, failed, or given up by its caller after
 * `seconds`. Where an answer takes no longer, one that was given up would have timed out: no reason to blame anyone, but it
 * counts in a share.
 */
export const ended = (state: State, seconds: number): State => {
  const hung = state.answerSeconds > 0 && seconds > defaults.silence * state.answerSeconds
  return { ...state, voids: state.voids + 1, hung: state.hung + (hung ? 1 : 0) }
}

/**
 * Learns from a timeout of attempt `seq`.
 *
 * @param tried true where it was sent in a trial
 */
export const add = (state: State, seq: number, tried: boolean): readonly [Verdict, State] => {
  const passed = Math.max(0, seq - state.last - 1)
  const answered = Math.max(0, passed - state.voids)
  const lost = 1 + state.hung
  const tries = Math.min(defaults.memory, state.tries + answered + lost)
  const weight = Math.min(1, (answered + lost) / tries)
  const share = state.share * (1 - weight) + lost / (answered + lost) * weight
  const bits = tried ? state.bits + evidence(state.before, lost, answered) : state.bits
  const next: State = {
    ...state,
    last: Math.max(state.last, seq),
    voids: state.voids - (passed - answered),
    hung: 0,
    tries,
    share,
    bits
  }
  if (bits >= defaults.bits) {
    return ["acquitted", { ...next, bits: 0, excess: 0, harmless: bounded(Math.max(state.before, share)) }]
  }
  // what was harmless is over
  const harmless = share < state.harmless * defaults.relief ? defaults.harmless : state.harmless
  const excess = Math.max(0, state.excess - answered) + Math.log2((1 + harmless) / (2 * harmless))
  return [excess > defaults.chance ? "crowd" : "own", { ...next, harmless, excess }]
}

const bounded = (share: number): number => Math.min(defaults.shareMost, Math.max(defaults.shareLeast, share))

/** Computes the bits that attempts in a trial are for a share that is the same, against one that is a quarter of it. */
const evidence = (before: number, lost: number, answered: number): number => {
  const same = bounded(before)
  const relieved = same * defaults.relief
  return lost * Math.log2(same / relieved) + answered * Math.log2((1 - same) / (1 - relieved))
}

/** Begins a trial with fewer in flight; `next` is the first attempt that is sent in it. */
export const tryFewer = (state: State, next: number): State => ({
  ...state,
  last: next - 1,
  voids: 0,
  hung: 0,
  harmless: defaults.harmless,
  excess: 0,
  before: state.share,
  bits: 0
})

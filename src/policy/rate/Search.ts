/**
 * The search of a learner of a rate, between a rate known good and a rate known bad.
 *
 * ```
 *   ├───────── rate ──▶┼────── gap ──────┤ bad       each step covers two fifths of the gap, once what went through
 *                                                    proves the rate; it ends at a gap of 3 %, or where it took long
 * ```
 *
 * A limit may grow meanwhile, and the rate that was refused does not show that. So if a step took long, or the limit
 * rose before, what went through in the last step is counted towards the next probe.
 *
 * Refusals close the bracket from above: `rate/Refusal`.
 */
import * as Episode from "./Episode.ts"
import * as Pause from "./Pause.ts"
import * as Probe from "./Probe.ts"
import { afterVain, floorOf, heard, type Move, move, type State } from "./State.ts"
import * as Traffic from "./Traffic.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Width of the bracket, as a share, at which searching ends, and the share of it that a step covers. */
  precision: 0.03,
  covered: 0.4,
  /** Attempts of a step that prove nothing yet. */
  least: 4,
  /** Seconds and attempts after which searching ends without it. */
  seconds: 4,
  sends: 20,
  /** Seconds, and width of the bracket, at which searching ends where calls are slow: an eager probe measures sooner. */
  slow: 5,
  slowGap: 0.25
} as const

/** Reads the attempts of a step after which a search is long: it costs no more than the refusal that would end it. */
const longSends = (state: State): number => defaults.sends + Pause.lostAttempts(state)

/** Says whether the last step counts towards the next probe: not after a fall, when so many come early already. */
const isCounted = ({ probe, rise }: State, elapsed: number): boolean =>
  probe.eager > 0 && probe.eager <= Probe.defaults.eagerAfterRise && (rise.count > 0 || elapsed >= defaults.slow)

/** Raises the rate in a search: as soon as what went through proves it, or the search took long enough. */
export const advance = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  const { bucket, episode, probe, rate, returns, step, streak, traffic } = state
  if (streak.inVain >= Episode.defaults.emptied && now - step.deaf - returns.triedAt > heard(state)) {
    const probing: State = { ...state, phase: "probe", limit: rate, streak: { ...streak, early: 0, inVain: 0 } }
    return move(probing, now, "probe-began", Math.max(rate, afterVain(state)))
  }
  const gap = (state.bad - rate) / rate
  // what was sent since may still be refused
  if (step.sends < defaults.least || elapsed < episode.lag) return [undefined, state]
  const good = floorOf(state, Traffic.admitted(traffic), traffic.mean, now)
  const slow = probe.eager > 0 && elapsed > defaults.slow && gap < defaults.slowGap
  const long = slow || (elapsed > defaults.seconds && step.sends > longSends(state))
  if (gap < defaults.precision || long) {
    const burst = Math.max(bucket.burst, bucket.met.units - rate * bucket.met.seconds)
    const [moved, held] = move(
      { ...state, phase: "hold", limit: rate, bucket: { ...bucket, burst } },
      now,
      "settled",
      rate
    )
    return [moved, isCounted(state, elapsed) ? { ...held, step } : held]
  }
  if (good < rate / (1 + gap / 2)) return [undefined, state]
  const raised: State = { ...state, streak: { ...streak, early: 0 } }
  return move(raised, now, "bracket-raised", rate * (1 + gap * defaults.covered))
}

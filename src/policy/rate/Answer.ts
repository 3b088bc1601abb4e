/**
 * What a learner of a rate does about a refusal that begins an episode: which rate it goes on with, and in which phase.
 *
 * ```
 *   a window is known     it admits so many, and no more: that is held
 *   after a lost pause    few rates explain it: one of them is held
 *   probe                 far above the limit, more than a bucket explains: it rose; else it is confirmed
 *   hold                  far from the last refusal: the limit drifted; twice close to it: it fell
 *   settle                the bracket closes between what was proved and what was refused
 * ```
 *
 * `rate/Refusal` measures it first.
 */
import * as Bucket from "./Bucket.ts"
import * as Episode from "./Episode.ts"
import { lostSeconds } from "./Pause.ts"
import * as Probe from "./Probe.ts"
import * as Rise from "./Rise.ts"
import * as Search from "./Search.ts"
import { believed, found, isClose, type Move, move, type Stamp, type State } from "./State.ts"
import * as Step from "./Step.ts"
import * as Told from "./Told.ts"
import * as BucketBounds from "./BucketBounds.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Attempts admitted since the bucket was last empty, under which they measure badly, or the limit fell, not drifted. */
  few: 5,
  fellWithin: 30,
  /** Where between the rates that explain the refusals the limit is taken to be. */
  inside: 0.3,
  /** Refusals that must agree that the rate was too low to explain them. */
  tooClose: 3,
  /** Share of the last limit under which the limit fell, so that its return is looked for. */
  fellBelow: 0.75
} as const

/** Describes one refusal that begins an episode, and what it measures. */
export interface Refusal {
  readonly state: State
  /** What is known after it, whatever the answer. */
  readonly next: State
  readonly stamp: Stamp
  readonly now: number
  /** The rate that was refused. */
  readonly bad: number
  readonly admitted: number
  /** Attempts admitted since the bucket was last empty, and the rate that proves. */
  readonly units: number
  readonly floor: number
  /** The rates that explain the last refusals, and the depth of the bucket then, where that is known. */
  readonly bounds: BucketBounds.Bounds | undefined
}

/** Answers a refusal that begins an episode, in `start` where a window is known, and in each other phase. */
export const answer = (refusal: Refusal): [Move, State] => {
  const { phase } = refusal.state
  const held = inWindow(refusal) ?? explainedOtherwise(refusal) ?? refusedDearly(refusal) ?? refusedTooClose(refusal)
  if (held !== undefined) return held
  if (phase === "probe") return refusedInProbe(refusal)
  return (phase === "hold" ? refusedInHold(refusal) : undefined) ?? bracketed(refusal)
}

/** Holds what a window admits; a refusal raises no rate, so where that is more the next step does. */
const inWindow = ({ bad, next, now, stamp, state }: Refusal): [Move, State] | undefined => {
  const { known } = next.windows
  if (known === undefined) return undefined
  const limit = known.n * stamp.cost / known.seconds
  const held: State = {
    ...next,
    phase: "hold",
    limit,
    // one more is too many
    bad: limit * (1 + 1 / known.n),
    streak: Episode.noStreak,
    bucket: { ...next.bucket, burst: 0 },
    probe: Probe.rarer(state.probe),
    rise: Rise.over(state.rise)
  }
  const reason = state.phase === "probe" ? "probe-confirmed" : "settled"
  return found(held, believed(state), now, reason, Math.min(bad, limit))
}

/** Holds from now on, at a limit that lies elsewhere than it was taken to. */
const drifted = ({ next, now }: Refusal, limit: number, more: Partial<State>): [Move, State] => {
  const streak = { ...next.streak, early: 0 }
  return move({ ...next, phase: "hold", limit, streak, ...more }, now, "limit-drifted", limit)
}

/**
 * Answers a refusal after a pause that was lost, once few rates explain the refusals: one near the lowest of them is held,
 * for each refusal more would cost another such pause.
 */
const refusedDearly = (refusal: Refusal): [Move, State] | undefined => {
  const { bad, bounds, state, units } = refusal
  if (lostSeconds(state) === 0 || units < defaults.few || bounds === undefined || bounds.lowest > bad) return undefined
  const highest = Math.min(bad, bounds.highest)
  if (highest > bounds.lowest * (1 + Search.defaults.slowGap)) return undefined
  const limit = bounds.lowest + defaults.inside * (highest - bounds.lowest)
  // of a bucket that deep nothing was lost: it explains refusals of another limit, such as a window of a minute beside it
  if (bounds.depth >= limit * state.episode.asked) return undefined
  return drifted(refusal, limit, { bad: highest, probe: Probe.rarer(state.probe) })
}

/** Searches anew between the rates that explain the refusals, once they prove that what fails counts, or does not. */
const explainedOtherwise = ({ bounds, next, now, state }: Refusal): [Move, State] | undefined => {
  const { areCounted } = next.failures
  if (areCounted === state.failures.areCounted) return undefined
  return move(
    {
      ...next,
      phase: "settle",
      bad: bounds?.highest ?? next.bad,
      streak: Episode.noStreak,
      bucket: { ...next.bucket, since: next.bucket.empty, single: "unknown" },
      probe: Probe.eagerly(next.probe, Probe.defaults.eagerAfterRise)
    },
    now,
    areCounted ? "failures-counted" : "failures-free",
    bounds?.lowest ?? state.rate
  )
}

/**
 * Answers a refusal at a rate that is too low to explain the last ones, whatever the bucket holds: attempts came too close to
 * each other, in place of others that failed. The rate stays, and the search goes on above it.
 */
const refusedTooClose = ({ bad, bounds, next, now }: Refusal): [Move, State] | undefined => {
  if (next.failures.kept === undefined || bounds === undefined || bounds.episodes < defaults.tooClose) return undefined
  if (bounds.lowest <= bad * BucketBounds.defaults.step) return undefined
  const above = Math.min(bounds.highest, bad + (bounds.lowest - bad) / Search.defaults.covered)
  return move(
    { ...next, phase: "settle", bad: above, streak: { ...next.streak, early: 0 } },
    now,
    "bracket-closed",
    bad
  )
}

/** Reads the rate that a close look proved: half of its excess went through before. */
const foundClose = ({ limit, step }: State, bad: number): number =>
  step.sends > Probe.defaults.doublingSendsClose ? (limit + bad) / 2 : limit

/** Reads what the bucket may have saved before a probe: the rate was held under the highest that explains the refusals. */
const filledBefore = ({ bucket, limit, step }: State, bounds: BucketBounds.Bounds | undefined): number =>
  bounds === undefined || bucket.empty === undefined
    ? 0
    : Math.min(bucket.depth, Math.max(0, bounds.highest - limit) * (step.at - bucket.empty.at))

const refusedInProbe = ({ admitted, bad, bounds, floor, next, now, stamp, state }: Refusal): [Move, State] => {
  const { bucket, limit: before, probe, rise, step, traffic } = state
  const excess = admitted - (step.sent - traffic.refused) - before * (stamp.at - step.at)
  const unsure = Rise.unsure(before, traffic.mean) * Math.max(stamp.cost, traffic.mean)
  // a limit that is stated still has not risen: then its bucket may hold a second of it
  const stated = Told.stands(state.told, before) ? before * Told.defaults.burstSeconds : 0
  const held = Math.max(bucket.burst, stated, filledBefore(state, bounds))
  const explained = held * Bucket.defaults.explains + unsure
  const streak = { ...next.streak, early: 0 }
  if (bad > before * (1 + Rise.defaults.at) && excess > explained) {
    const proved = Math.max(floor, bad * Rise.defaults.to)
    // where a bucket overflows in each pause that proves no rise: then the probe itself tells how much more there is
    const risen = proved > before ? proved : before + (excess - explained) / (stamp.at - step.at)
    const rate = Math.min(bad, risen)
    const rose: State = {
      ...next,
      phase: rise.count > 0 ? "hold" : "settle",
      limit: rise.count > 0 ? rate : before,
      bad,
      streak,
      probe: { ...Probe.eagerly(probe, Probe.defaults.eagerAfterRise), creep: Probe.defaults.creep },
      rise: Rise.rose(rise, now, rate)
    }
    return found(rose, before, now, "limit-rose", rate)
  }
  const limit = Math.min(bad, isClose(state) ? foundClose(state, bad) : Math.max(before * (1 + probe.creep), floor))
  const confirmed: State = {
    ...next,
    phase: "hold",
    limit,
    bad,
    streak,
    bucket: Bucket.probed(next.bucket, excess, bounds?.depth ?? Infinity),
    probe: Probe.rarer(probe),
    rise: Rise.over(rise)
  }
  return found(confirmed, before, now, "probe-confirmed", limit)
}

/** Answers a refusal in `hold`, or leaves it to the search: the second in a row that came early. */
const refusedInHold = (refusal: Refusal): [Move, State] | undefined => {
  const { bad, floor, next, state: { bucket, limit: before, probe, rise, streak, traffic }, units } = refusal
  if (rise.trend > 0) {
    const limit = Math.min(bad * 0.97, Math.max(floor, bad * 0.9))
    return drifted(refusal, limit, { bad, rise: { ...rise, trend: rise.trend / 2 } })
  }
  if (units >= defaults.fellWithin) {
    // a bucket that holds a burst loses nothing to pauses: what went through is the limit itself
    const measured = bucket.burst > 3 * traffic.largest ? floor * 1.005 : Math.max(floor, bad * (1 - 1 / units))
    const limit = Math.min(bad * 0.999, Math.max(measured, bad * 0.9))
    const driftsFrom = streak.driftsFrom || before
    // drift upon drift is a fall
    const fell = limit < driftsFrom * defaults.fellBelow
    return drifted(refusal, limit, {
      bad,
      streak: { ...next.streak, early: 0, driftsFrom: fell ? limit : driftsFrom },
      probe: fell ? Probe.eagerly(probe, Probe.defaults.eagerAfterFall) : Probe.gentler(Probe.rarer(probe))
    })
  }
  if (streak.early > 0) return undefined
  return drifted(refusal, bad * 0.97, {
    bad,
    streak: { ...next.streak, early: 1 },
    probe: Probe.gentler(probe),
    bucket: {
      ...next.bucket,
      // a close look proved too much: there is more in the bucket
      single: bucket.single === "yes" ? "no" : bucket.single,
      // it was made up for a pause with more than the bucket had saved
      burst: bucket.burst / 2
    }
  })
}

/** Closes the bracket: between what was proved and what was refused, or far below where next to nothing was proved. */
const bracketed = (refusal: Refusal): [Move, State] => {
  const { bad, floor, next, now, state: { limit, probe, step }, units } = refusal
  if (units < defaults.few) return cut(refusal)
  const low = Math.min(floor, bad * 0.995)
  // where another limit held the lane back, what went through says less about this one
  const rate = low + (Step.isMine(step) ? 0.15 : 0.4) * (bad - low)
  const fell = rate < limit * defaults.fellBelow
  const closed: State = {
    ...next,
    phase: "settle",
    limit: fell ? rate : limit,
    bad,
    streak: { ...next.streak, early: 0 },
    probe: fell ? Probe.eagerly(probe, Probe.defaults.eagerAfterFall) : probe
  }
  return move(closed, now, "bracket-closed", rate)
}

/** Cuts the rate after an early refusal, the deeper the more of them came in a row. */
const cut = ({ bad, floor, next, now, state: { phase, probe, streak } }: Refusal): [Move, State] => {
  // never under what was proved
  const rate = Math.max(bad * Episode.earlyCut(streak), Math.min(floor * 0.95, bad * 0.97))
  const fell = phase === "hold"
  const bold = { ...probe, creep: Probe.defaults.creep }
  const slower: State = {
    ...next,
    phase: "settle",
    bad,
    streak: { ...next.streak, early: streak.early + 1 },
    bucket: fell ? { ...next.bucket, single: "unknown" } : next.bucket,
    probe: fell ? Probe.eagerly(bold, Probe.defaults.eagerAfterFall) : bold
  }
  return move(slower, now, fell ? "limit-fell" : "bracket-closed", rate)
}

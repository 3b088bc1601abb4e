/**
 * Reads what a refusal costs, by the pause that the provider asks for.
 *
 * A bucket fills up during a pause, and what would refill it after that is lost. So the rest of the pause is lost, and
 * measures nothing:
 *
 * ```
 * lost = asked − max(patience, depth / rate)        seconds; patience stands in while no depth is known
 * lost = asked − depth / rate                       where a known depth fills in less than half of the pause
 * ```
 *
 * Where the provider counts in windows, half a window passes anyway until the next begins:
 *
 * ```
 * lost = max(asked / 2, asked − seconds / 2)
 * ```
 *
 * A pause that the lane chose itself costs nothing here, since the lane may choose a shorter one. If the bucket holds
 * all that the pause saves, as a window seems to at its end, the depth that explains the refusals shows it, and nothing
 * is lost.
 */
import { believed, patience, type State } from "./State.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Share of a pause within which a bucket must fill, for the rest to be lost where the pause is short: depths are rough. */
  shallow: 0.5,
  /** Share of the limit by which a probe may hope to raise it, at least and at most. */
  gainLeast: 0.01,
  gainMost: 0.25
} as const

/** Reads the seconds of a pause that are lost. */
export const lostSeconds = (state: State): number => {
  const { bucket: { depth }, episode: { asked }, windows: { known } } = state
  if (known !== undefined) return Math.max(asked / 2, asked - known.seconds / 2)
  if (depth === Infinity) return Math.max(0, asked - patience(state))
  const filling = depth / believed(state)
  return Math.max(0, asked - (filling < defaults.shallow * asked ? filling : Math.max(patience(state), filling)))
}

/** Reads the attempts that the limit would have admitted in those seconds. */
export const lostAttempts = (state: State): number =>
  state.traffic.mean > 0 ? lostSeconds(state) * believed(state) / state.traffic.mean : 0

/** Reads the attempts by which a probe earns a refusal that costs so many, if it raises the limit by a share of it. */
export const earned = (lost: number, gain: number): number =>
  lost / Math.min(defaults.gainMost, Math.max(defaults.gainLeast, gain))

/** Reads the attempts by which a probe earns its refusal, if it raises the limit half-way to what was refused. */
export const earning = (state: State): number => earned(lostAttempts(state), (state.bad / state.limit - 1) / 2)

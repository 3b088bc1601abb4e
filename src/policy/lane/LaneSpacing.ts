/**
 * How far the provider's bucket of requests is from full, were it filled at the learned rate: what is given back late may
 * be lost by then.
 *
 * ```
 *   owed     ╱╲╱╲  ╱╲          one unit more per attempt, time pays it off; at 0 the bucket is full
 *   ────────╱────╲╱──╲──▶      and turns units away: what an attempt before that gives back is gone
 * ```
 *
 * So of a unit that is given back counts as much as was owed at every moment since it was taken.
 */

/** What was owed is remembered in steps of this part of a unit, rounded down: so few moments are remembered. */
const step = 1 / 256

/** Remembers what was owed when an attempt was sent, up to one unit, where no later attempt met less. */
interface Low {
  readonly seq: number
  readonly units: number
  readonly before: Low | undefined
}

/** Holds what is owed: plain data. */
export interface State {
  readonly units: number
  readonly at: number
  readonly lows: Low | undefined
}

/** Begins with a full bucket. */
export const begin = (at: number): State => ({ units: 0, at, lows: undefined })

/** Reads what is owed now. */
export const owed = ({ at, units }: State, rate: number, now: number): number =>
  rate === Infinity ? 0 : Math.max(0, units - Math.max(0, now - at) * rate)

/** Counts an attempt that takes so many units. */
export const send = (state: State, seq: number, cost: number, rate: number, now: number): State => {
  const units = owed(state, rate, now)
  const low = step * Math.floor(Math.min(1, units) / step)
  let { lows } = state
  while (lows !== undefined && lows.units >= low) lows = lows.before
  return { units: units + cost, at: now, lows: { seq, units: low, before: lows } }
}

/** Gives back the unit of an attempt, as far as the bucket had room for it ever since. */
export const giveBack = (state: State, seq: number, rate: number, now: number): State => {
  const units = owed(state, rate, now)
  let least = Math.min(1, units)
  for (let low = state.lows; low !== undefined && low.seq > seq; low = low.before) least = Math.min(least, low.units)
  return { units: units - least, at: now, lows: state.lows }
}

/**
 * Learns how many tokens calls really use for each that was estimated, and charges by it.
 *
 * If estimates are too low, because they are only the prompt or a constant, a limit of tokens would look lower by the
 * same factor: the provider refuses calls that look small. So estimates are raised by what calls used of late for each
 * estimated token. Estimates that are too high stay as they are: they are corrected when the call ends, and a provider
 * may well reserve as much.
 *
 * ```
 * scale = max(1, tokens used ÷ tokens estimated)     moved where it is off by a tenth
 * ```
 *
 * Everything is plain data.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Ended calls before anything is charged by them, and the least weight of each after that. */
  calls: 5,
  weight: 0.02,
  /** Ratio by which the scale must be off before it moves. */
  moves: 1.1,
  /** Growth of the scale after which a limit that was measured in smaller units says nothing. */
  outgrown: 1.5
} as const

/** Holds what is known: plain data. */
export interface State {
  /** Ended calls whose use was told, and the smoothed tokens of one, estimated and used. */
  readonly calls: number
  readonly estimated: number
  readonly used: number
  /** Tokens that are charged for each that is estimated, at least 1. */
  readonly scale: number
  /** Smoothed square of what a charge was off by. */
  readonly error: number
}

/** What is known before the first call has ended. */
export const initial: State = { calls: 0, estimated: 0, used: 0, scale: 1, error: 0 }

/** An estimate of 0 counts as one token: no factor could raise a 0. */
const least = (tokens: number): number => Math.max(1, tokens)

/** Reads the tokens to charge for an estimate. */
export const charged = ({ scale }: State, tokens: number): number => scale * least(tokens)

/** Reads how many tokens calls use for each that was estimated; where no answer told, one. */
export const share = ({ calls, estimated, used }: State): number => calls === 0 ? 1 : used / estimated

/** Reads by how many tokens the charges of so many calls under way are off, as a standard deviation. */
export const deviation = ({ error }: State, count: number): number => Math.sqrt(2 * error * count)

/** Learns from a call that ended: what it was estimated at and charged, and what it used. */
export const learn = (
  before: State,
  call: { readonly estimated: number; readonly tokens: number },
  told: number
): State => {
  const calls = before.calls + 1
  const weight = Math.max(defaults.weight, 1 / calls)
  const smoothed = (value: number, by: number): number => value + weight * (by - value)
  const estimated = smoothed(before.estimated, least(call.estimated))
  const used = smoothed(before.used, told)
  const scale = Math.max(1, used / estimated)
  const isOff = scale > before.scale * defaults.moves || scale * defaults.moves < before.scale
  return {
    calls,
    estimated,
    used,
    scale: calls >= defaults.calls && isOff ? scale : before.scale,
    error: smoothed(before.error, Math.max(0, told - call.tokens) ** 2)
  }
}

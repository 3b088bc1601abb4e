/**
 * What calls of each kind have generated so far, so that the next one reserves about what it will take.
 *
 * The shell around `policy/OutputEstimate`: one state per lane and one per label
 * in a lane, in memory. A label is a kind of prompt: its own answers are asked once
 * it has seen enough of them, those of its lane before. A refusal for tokens is one
 * of the lane, whichever label met it, and raises what all its labels reserve.
 *
 * A choice that sets no `max_tokens` has no bound of its own. Once its kind is
 * known, its largest answer is taken to be at most {@link openFactor} times the
 * largest of the last 129 to 256, and never less than is assumed of a kind that
 * is not known: a budget then need not reserve the model's whole context.
 */
import type { Call, TokenEstimate } from "../domain/Call.ts"
import * as OutputEstimate from "../policy/OutputEstimate.ts"

/** Says of what kind a call is: calls of one kind generate alike. */
export type Kind = Pick<Call, "lane" | "label">

/** Learns how much is generated, kind by kind. */
export interface OutputHistory {
  /** Replaces what is expected of a generation, and at the most of an open one, by what its kind has learned. */
  readonly expect: (kind: Kind, estimate: TokenEstimate, nowSeconds: number) => TokenEstimate
  readonly record: (kind: Kind, outputTokens: number) => void
  /** Books a refusal for tokens: what follows in the lane reserves more. */
  readonly refused: (kind: Pick<Kind, "lane">, nowSeconds: number) => void
}

/**
 * Bounds the states that are kept: of lanes, of labels that are known, and of labels that are not. A label of its own for
 * each call must not fill the memory, and not drive out what is known.
 */
export const statesKept = 1000

/** Multiplies the largest answer of a kind, for the most that one without `max_tokens` is taken to generate. */
export const openFactor = 4

const keyOf = (lane: string, label: string): string => `${lane}\n${label}`

/** Keeps the states that learned last: they stand at the end. */
const keep = (states: Map<string, OutputEstimate.State>, key: string, state: OutputEstimate.State): void => {
  states.delete(key)
  states.set(key, state)
  const [oldest] = states.keys()
  if (states.size > statesKept && oldest !== undefined) states.delete(oldest)
}

/** Makes an empty memory. */
export const make = (options?: OutputEstimate.Options): OutputHistory => {
  const fresh = OutputEstimate.make(options)
  const lanes = new Map<string, OutputEstimate.State>()
  const known = new Map<string, OutputEstimate.State>()
  const cold = new Map<string, OutputEstimate.State>()
  const laneOf = ({ lane }: Pick<Kind, "lane">) => lanes.get(lane) ?? fresh
  const stateOf = (kind: Kind): OutputEstimate.State => {
    const lane = laneOf(kind)
    const own = kind.label === undefined ? undefined : known.get(keyOf(kind.lane, kind.label))
    return own === undefined ? lane : { ...own, safety: lane.safety, safetyAt: lane.safetyAt }
  }
  const bounded = (state: OutputEstimate.State, estimate: TokenEstimate): TokenEstimate => {
    if ((estimate.openChoices ?? 0) === 0 || OutputEstimate.isCold(state)) return estimate
    const most = Math.max(estimate.maxOutputTokens, Math.ceil(openFactor * OutputEstimate.largest(state)))
    // what is priced is a whole number, whatever an answer said of itself
    return { ...estimate, maxOutputTokens: Math.min(most, Number.MAX_SAFE_INTEGER), learned: true }
  }
  return {
    expect: (kind, estimate, nowSeconds) => {
      if (estimate.maxOutputTokens === 0) return estimate
      const state = stateOf(kind)
      const call = bounded(state, estimate)
      return { ...call, outputTokens: OutputEstimate.estimate(state, call, nowSeconds).outputTokens }
    },
    record: (kind, outputTokens) => {
      keep(lanes, kind.lane, OutputEstimate.record(laneOf(kind), outputTokens))
      if (kind.label === undefined) return
      const key = keyOf(kind.lane, kind.label)
      const next = OutputEstimate.record(known.get(key) ?? cold.get(key) ?? fresh, outputTokens)
      if (OutputEstimate.isCold(next)) return keep(cold, key, next)
      cold.delete(key)
      keep(known, key, next)
    },
    refused: (kind, nowSeconds) => keep(lanes, kind.lane, OutputEstimate.refuse(laneOf(kind), nowSeconds))
  }
}

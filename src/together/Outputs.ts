/**
 * What calls of each kind have generated so far, so that the next one reserves about what it will take.
 *
 * The shell around `policy/OutputEstimate`: one state per lane and one per label
 * in a lane, in memory. A label is a kind of prompt: its own state is asked once
 * it has seen enough answers, that of the lane before. The states of the
 * {@link labelsKept} labels that learned last are kept.
 */
import type { Call, Estimate } from "../domain/Call.ts"
import * as OutputEstimate from "../policy/OutputEstimate.ts"

/** Says of what kind a call is: calls of one kind generate alike. */
export type Kind = Pick<Call, "lane" | "label">

/** Learns how much is generated, kind by kind. */
export interface Outputs {
  /** Replaces the expected output of a generation by what its kind has learned, within what the call allows. */
  readonly expect: (kind: Kind, estimate: Estimate, nowSeconds: number) => Estimate
  readonly record: (kind: Kind, outputTokens: number) => void
  /** Books a refusal for tokens: what follows reserves more. */
  readonly refused: (kind: Kind, nowSeconds: number) => void
}

/** Bounds the labels whose states are kept: a label of its own for each call must not fill the memory. */
export const labelsKept = 1000

const keyOf = (lane: string, label: string): string => `${lane}\n${label}`

/** Makes an empty memory. */
export const make = (options?: OutputEstimate.Options): Outputs => {
  const fresh = OutputEstimate.make(options)
  const lanes = new Map<string, OutputEstimate.State>()
  // the one that learned last stands at the end
  const labels = new Map<string, OutputEstimate.State>()
  const stateOf = ({ label, lane }: Kind): OutputEstimate.State => {
    const own = label === undefined ? undefined : labels.get(keyOf(lane, label))
    return own === undefined || OutputEstimate.isCold(own) ? lanes.get(lane) ?? fresh : own
  }
  const learn = ({ label, lane }: Kind, step: (state: OutputEstimate.State) => OutputEstimate.State): void => {
    lanes.set(lane, step(lanes.get(lane) ?? fresh))
    if (label === undefined) return
    const key = keyOf(lane, label)
    const next = step(labels.get(key) ?? fresh)
    labels.delete(key)
    labels.set(key, next)
    const [oldest] = labels.keys()
    if (labels.size > labelsKept && oldest !== undefined) labels.delete(oldest)
  }
  return {
    expect: (kind, estimate, nowSeconds) =>
      estimate.maxOutputTokens === 0
        ? estimate
        : { ...estimate, outputTokens: OutputEstimate.estimate(stateOf(kind), estimate, nowSeconds).outputTokens },
    record: (kind, outputTokens) => learn(kind, (state) => OutputEstimate.record(state, outputTokens)),
    refused: (kind, nowSeconds) => learn(kind, (state) => OutputEstimate.refuse(state, nowSeconds))
  }
}

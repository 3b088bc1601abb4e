/**
 * What calls of each lane have generated so far, so that the next one reserves about what it will take.
 *
 * The shell around `policy/OutputEstimate`: one state per lane, in memory.
 */
import type { Estimate } from "../domain/Call.ts"
import * as OutputEstimate from "../policy/OutputEstimate.ts"

/** Learns how much is generated, lane by lane. */
export interface Outputs {
  /** Replaces the expected output of a generation by what its lane has learned, within what the call allows. */
  readonly expect: (lane: string, estimate: Estimate, nowSeconds: number) => Estimate
  readonly record: (lane: string, outputTokens: number) => void
  /** Books a refusal for tokens: what follows reserves more. */
  readonly refused: (lane: string, nowSeconds: number) => void
}

/** Makes an empty memory. */
export const make = (options?: OutputEstimate.Options): Outputs => {
  const fresh = OutputEstimate.make(options)
  const states = new Map<string, OutputEstimate.State>()
  const stateOf = (lane: string) => states.get(lane) ?? fresh
  return {
    expect: (lane, estimate, nowSeconds) =>
      estimate.maxOutputTokens === 0
        ? estimate
        : { ...estimate, outputTokens: OutputEstimate.estimate(stateOf(lane), estimate, nowSeconds).outputTokens },
    record: (lane, outputTokens) => void states.set(lane, OutputEstimate.record(stateOf(lane), outputTokens)),
    refused: (lane, nowSeconds) => void states.set(lane, OutputEstimate.refuse(stateOf(lane), nowSeconds))
  }
}

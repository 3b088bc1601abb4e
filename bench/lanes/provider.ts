/**
 * The simulated provider as a plain object, and its count of what clients sent.
 */
import * as Simulation from "../../src/testing/Simulation.ts"
import { modelName, type Scenario, type Work } from "./scenarios.ts"

/** Is a provider under test. */
export interface Provider {
  /** Answers a call that arrives at `at`, in seconds since the start. */
  readonly arrive: (work: Work, at: number) => Simulation.Reply
  readonly counters: () => Simulation.Counters
  readonly oracle: (work: Work, at: number) => Simulation.Oracle
}

/** Makes a provider. */
export const make = (scenario: Scenario, seed: number): Provider => {
  let state = Simulation.make({ ...scenario.options, unknownModels: "accept" }, seed)
  return {
    arrive: (work, at) => {
      const [reply, next] = Simulation.arrive(state, {
        at,
        key: "k",
        operation: "chat",
        model: modelName,
        inputTokens: work.inputTokens,
        maxTokens: work.maxTokens,
        promptHash: work.id
      })
      state = next
      return reply
    },
    counters: () => state.counters,
    oracle: (work, at) => {
      state = Simulation.advance(state, at)
      return Simulation.oracle(state, { model: modelName, at, tokens: work.inputTokens + work.maxTokens })
    }
  }
}

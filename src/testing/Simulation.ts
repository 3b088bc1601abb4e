/**
 * The provider as a pure function: what arrives and when goes in; what it answers and what it will do later comes out.
 *
 * ```text
 * make(options, seed) ─► State ─ arrive(state, call) ─► [Reply, State] ─ … ─ cancel, advance, topUp, configure ─► State
 * ```
 *
 * A state is an immutable value. Keep one, and it is a snapshot; continue from it twice, and both futures happen.
 * Nothing here waits, reads a clock or draws from a generator: times come with the events, and every random number
 * depends on the seed, the prompt and its number of tries only. So the same calls meet the same answers in any order,
 * in process or over HTTP.
 *
 * The end of an admitted call is an event of its own, at arrival + latency: it
 * frees the place in flight, corrects the tokens, counts for the dynamic limit and sends the cost to the account.
 * Events that are due happen in the order of time, before anything later does, so nobody has to report an end. Only a
 * caller who leaves early has to be reported, by `cancel`.
 *
 * The model's formulas and the table of options stand in docs/simulation.md.
 * `SimulatedProvider` puts a simulation behind Effect's `HttpClient`,
 * `Emulator` behind a port.
 *
 * **Example**
 *
 * ```ts
 * import { Simulation } from "effect-together/testing"
 *
 * const calm = Simulation.make({ limits: { requestsPerSecond: 1 } }, 42)
 * const call = { at: 0, key: "k", operation: "chat", model: "openai/gpt-oss-20b", inputTokens: 9, promptHash: 7 }
 * const [first, busy] = Simulation.arrive(calm, call)
 * const [second] = Simulation.arrive(busy, { ...call, at: 0.5 })
 * console.log(first._tag) // => Answer
 * console.log(second._tag === "Refusal" && second.status) // => 429
 * ```
 */
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Limit from "./SimulationLimit.ts"
import { advance, type State, type Tag } from "./SimulationState.ts"

export { arrive, visit } from "./SimulationArrival.ts"
export { type Bound, makespan, type Scenario } from "./SimulationBound.ts"
export { type Changes, Config, defaults, type Distribution, type FaultKind, type Options } from "./SimulationConfig.ts"
export { hash } from "./SimulationRandom.ts"
export type { Answer, Arrival, Denial, Dropped, Reason, Refusal, Reply } from "./SimulationReply.ts"
export {
  advance,
  cancel,
  configure,
  costNanoUsd,
  type Counters,
  finish,
  make,
  organization,
  setBalance,
  spend,
  type State,
  type Tag,
  topUp
} from "./SimulationState.ts"

/** Holds what a client who could see into the provider would know about one lane. */
export interface Oracle {
  readonly requests: number
  readonly tokens: number
  readonly requestsPerSecond: number
  readonly tokensPerSecond: number
  readonly inFlight: number
  readonly maxInFlight: number
  /** Seconds until the lane would admit the given tokens, if nobody else calls. */
  readonly waitSeconds: number
}

/**
 * Reads one lane of the provider: what no real client can see.
 *
 * **When to use**: as the omniscient client of a benchmark, who sends exactly
 * when a call will be admitted.
 *
 * @param of `tokens` is what the next call would be charged at its admission
 */
export const oracle = (
  state: State,
  of: { readonly org?: string | undefined; readonly model: string; readonly at: number; readonly tokens?: number }
): Oracle => {
  const { config, lanes } = advance(state, of.at)
  const found = HashMap.get(lanes, `${of.org ?? "default"}/serverless/${of.model}`)
  const lane = Option.isNone(found)
    ? Limit.open(config, of.model, of.at)
    : Limit.refill(config, found.value, of.at)
  const rates = Limit.rates(config, lane)
  return {
    requests: lane.requests,
    tokens: lane.tokens,
    requestsPerSecond: rates.requestsPerSecond,
    tokensPerSecond: rates.tokensPerSecond,
    inFlight: lane.inFlight,
    maxInFlight: rates.maxInFlight,
    waitSeconds: Limit.waitFor(config, lane, of.tokens ?? 0)
  }
}

/** Lists what has happened to each tag: arrivals, successes, and what was billed. */
export const tags = (state: State): ReadonlyMap<string, Tag> => new Map(state.tags)

/** Reads one tag, or nothing where no call bore it. */
export const tag = (state: State, name: string): Tag | undefined => Option.getOrUndefined(HashMap.get(state.tags, name))

/** Reads the balance of an organization: what is metered, and what is owed on top but not metered yet. */
export const balance = (
  state: State,
  org = "default"
): { readonly nanoUsd: bigint; readonly unmeteredNanoUsd: bigint; readonly orderedNanoUsd: bigint } | undefined => {
  const account = state.accounts[org]
  return account && {
    nanoUsd: account.balanceNanoUsd,
    unmeteredNanoUsd: account.unmeteredNanoUsd,
    orderedNanoUsd: account.orderedNanoUsd
  }
}

/**
 * One meeting of a call and the simulated provider: who calls, at which try, with which random numbers, and what faults
 * it meets.
 *
 * Two sources of numbers decide: that of the prompt, the same at every try (how long the answer is), and that of the
 * try (how long it takes, whether a fault hits). So a call that is repeated meets the same model in another moment.
 */
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import type { Config, FaultKind } from "./SimulationConfig.ts"
import * as Random from "./SimulationRandom.ts"
import * as Reply from "./SimulationReply.ts"
import * as State from "./SimulationState.ts"

/** Describes one meeting of a call and the provider. */
export interface Meeting {
  readonly state: State.State
  readonly config: Config
  readonly call: Reply.Arrival
  readonly id: number
  readonly requestId: string
  /** The numbers of this try. */
  readonly chance: Random.Source
  /** The numbers of the prompt, the same at every try. */
  readonly prompt: Random.Source
  readonly repeated: boolean
  readonly fault: Fault | undefined
}

/** Describes trouble that a call meets instead of an answer, or in it. */
export interface Fault {
  readonly kind: FaultKind
  readonly reason: "outage" | "fault"
  readonly engine: boolean
  readonly retryAfterSeconds: number | undefined
}

/** Numbers the draws of one try; faults take theirs from 16 on. */
export const draws = {
  firstToken: 1,
  tokensPerSecond: 2,
  latency: 3,
  outputTokens: 4,
  breakAt: 5,
  failAt: 6,
  faults: 16
}

/** Lets everything happen that is due, and counts the call in. */
export const meet = (before: State.State, call: Reply.Arrival): Meeting => {
  const now = State.advance(before, call.at)
  const { config } = now
  const attempt = Option.getOrElse(HashMap.get(now.tries, call.promptHash), () => 0) + 1
  const prompt = Random.derive(now.source, call.promptHash)
  const chance = Random.derive(prompt, attempt)
  const tag = call.tag ?? String(call.promptHash)
  const seen = Option.getOrElse(HashMap.get(now.tags, tag), () => State.unseen)
  return {
    state: {
      ...now,
      nextId: now.nextId + 1,
      tries: HashMap.set(now.tries, call.promptHash, attempt),
      tags: HashMap.set(now.tags, tag, { ...seen, arrivals: seen.arrivals + 1 }),
      counters: { ...now.counters, arrivals: now.counters.arrivals + 1 }
    },
    config,
    call,
    id: now.nextId,
    requestId: Reply.requestId(chance),
    chance,
    prompt,
    repeated: attempt > 1,
    fault: chosenFault(config, call, now.now, chance)
  }
}

const active = (
  window: { readonly from: number; readonly to?: number | undefined; readonly model?: string | undefined },
  model: string,
  at: number
): boolean =>
  window.from <= at && at < (window.to ?? Infinity) && (window.model === undefined || window.model === model)

const chosenFault = (config: Config, call: Reply.Arrival, at: number, chance: Random.Source): Fault | undefined => {
  for (const outage of config.outages) {
    if (active(outage, call.model, at)) {
      return { kind: outage.kind, reason: "outage", engine: false, retryAfterSeconds: undefined }
    }
  }
  for (const [index, fault] of config.faults.entries()) {
    const due = active(fault, call.model, at) && (fault.operation ?? call.operation) === call.operation
    if (due && Random.uniform(chance, draws.faults + index) < fault.probability) {
      return {
        kind: fault.kind,
        reason: "fault",
        engine: fault.stage === "engine",
        retryAfterSeconds: fault.retryAfterSeconds
      }
    }
  }
  return undefined
}

/** Tells whether a fault breaks an answer that has begun. */
export const breaks = (kind: FaultKind): kind is Reply.Break["kind"] =>
  kind === "cut" || kind === "stall" || kind === "error-frame"

/**
 * What a call meets when it reaches the simulated provider.
 *
 * The first check that fails answers:
 *
 * 1. outage, or a fault at the edge (a status, a dropped connection)
 * 2. key (401); model unknown (404) or not serverless (400); context exceeded (400, 403 or 422)
 * 3. credits (402)
 * 4. provisioned pool, where bought and not exhausted; else places in flight, requests, tokens (429)
 * 5. admitted: the limits are charged; a fault in the engine, or the answer
 */
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import { within } from "../policy/OptionCheck.ts"
import * as Argument from "./internal/argument.ts"
import type { Config } from "./SimulationConfig.ts"
import * as Credit from "./SimulationCredit.ts"
import * as Limit from "./SimulationLimit.ts"
import { breaks, draws, meet, type Meeting } from "./SimulationMeeting.ts"
import * as Random from "./SimulationRandom.ts"
import * as Refusal from "./SimulationRefusal.ts"
import * as Reply from "./SimulationReply.ts"
import * as State from "./SimulationState.ts"

const laneOf = ({ state, config, call }: Meeting, org: string, provisioned: boolean): readonly [string, Limit.Lane] => {
  const key = `${org}/${provisioned ? "provisioned" : "serverless"}/${call.model}`
  const lane = HashMap.get(state.lanes, key)
  return [
    key,
    Option.isNone(lane)
      ? Limit.open(config, call.model, state.now, provisioned)
      : Limit.refill(config, lane.value, state.now)
  ]
}

/** Bounds the amounts of an arrival, as it does the numbers of the options. */
const largest = 1e12

const check = (call: Reply.Arrival): void => {
  const where = "Simulation.arrive"
  Argument.finite(where, "at", call.at)
  within(where, "inputTokens", call.inputTokens, 0, largest)
  for (const field of ["maxTokens", "outputTokens", "choices"] as const) {
    within(where, field, call[field] ?? 0, 0, largest)
  }
}

const tokensAtAdmission = (config: Config, call: Reply.Arrival): number => {
  if (config.tokenCharge === "completion") return 0
  if (config.tokenCharge === "prompt") return call.inputTokens
  const most = call.outputTokens ?? call.maxTokens ?? config.defaultMaxTokens
  return call.inputTokens + most * (call.choices ?? 1)
}

interface Course {
  readonly firstTokenSeconds: number
  readonly latencySeconds: number
  /** Of one choice. */
  readonly outputTokens: number
  readonly finishReason: "stop" | "length"
}

/** Draws how long the answer is and how long it takes. */
const course = ({ config, call, chance, prompt }: Meeting, lane: Limit.Lane): Course => {
  const most = call.maxTokens ?? Infinity
  const drawn = call.outputTokens ??
    Math.max(1, Math.round(Random.draw(config.outputTokens, prompt, draws.outputTokens)))
  const outputTokens = Math.min(drawn, most)
  const busy = config.slowdown === undefined
    ? 1
    : 1 + config.slowdown.perCall * Math.max(0, lane.inFlight - config.slowdown.from)
  const first = Random.draw(config.firstToken, chance, draws.firstToken) * busy
  const speed = Random.draw(config.tokensPerSecond, chance, draws.tokensPerSecond)
  const whole = config.latency === undefined
    ? first + (speed > 0 ? outputTokens / speed * busy : 0)
    : Random.draw(config.latency, chance, draws.latency) * busy
  return {
    firstTokenSeconds: Math.min(first, whole),
    latencySeconds: whole,
    outputTokens,
    finishReason: drawn > most ? "length" : "stop"
  }
}

const brokenAt = (
  meeting: Meeting,
  kind: Reply.Break["kind"],
  plan: Course
): Reply.Break & { readonly seconds: number } => {
  const afterTokens = Math.floor(Random.uniform(meeting.chance, draws.breakAt) * plan.outputTokens)
  const share = plan.outputTokens === 0 ? 0 : afterTokens / plan.outputTokens
  const seconds = plan.firstTokenSeconds + (plan.latencySeconds - plan.firstTokenSeconds) * share
  return { kind, afterTokens, seconds }
}

/** Lets a call in: charges the limits, enters its end, and answers. */
const admitted = (
  meeting: Meeting,
  org: string,
  [key, lane]: readonly [string, Limit.Lane],
  chargedTokens: number
): readonly [Reply.Reply, State.State] => {
  const { state, config, call, id, requestId, chance, fault } = meeting
  const plan = course(meeting, lane)
  const choices = call.choices ?? 1
  const broken = fault !== undefined && breaks(fault.kind) ? brokenAt(meeting, fault.kind, plan) : undefined
  const fails = fault !== undefined && broken === undefined
  const engineSeconds = fails
    ? plan.latencySeconds * Random.uniform(chance, draws.failAt)
    : broken?.seconds ?? plan.latencySeconds
  const cachedTokens = meeting.repeated && config.models[call.model]?.cachedInputUsd !== undefined
    ? call.inputTokens - call.inputTokens % 16
    : 0
  const outputTokens = (broken?.afterTokens ?? plan.outputTokens) * choices
  const after = Limit.admit(lane, chargedTokens)
  const inFlight = state.counters.inFlight + 1
  const next = State.schedule(
    {
      ...state,
      lanes: HashMap.set(state.lanes, key, after),
      inFlight: HashMap.set(state.inFlight, id, {
        lane: key,
        org,
        tag: call.tag ?? String(call.promptHash),
        model: call.model,
        admittedAt: state.now,
        endsAt: state.now + engineSeconds,
        firstTokenSeconds: plan.firstTokenSeconds,
        chargedTokens,
        inputTokens: call.inputTokens,
        cachedTokens,
        outputTokens,
        fault: fails ? "engine" : broken && "break",
        prepaid: lane.provisioned
      }),
      counters: {
        ...state.counters,
        admitted: state.counters.admitted + 1,
        inFlight,
        peakInFlight: Math.max(state.counters.peakInFlight, inFlight)
      }
    },
    state.now + engineSeconds,
    { _tag: "End", id }
  )
  if (fails) return Refusal.faulty({ ...meeting, state: next }, fault, engineSeconds)
  return [
    {
      _tag: "Answer",
      id,
      requestId,
      status: 200,
      headers: { "x-request-id": requestId, ...Reply.limitHeaders(config, after, undefined) },
      latencySeconds: broken?.kind === "stall" ? Infinity : engineSeconds,
      firstTokenSeconds: plan.firstTokenSeconds,
      inputTokens: call.inputTokens,
      cachedTokens,
      outputTokens: plan.outputTokens,
      choices,
      finishReason: plan.finishReason,
      costNanoUsd: lane.provisioned
        ? 0n
        : State.costNanoUsd(config, call.model, {
          input: call.inputTokens,
          cached: cachedTokens,
          output: outputTokens
        }),
      pool: after.provisioned ? "provisioned" : "serverless",
      secondsPerToken: (plan.latencySeconds - plan.firstTokenSeconds) / Math.max(1, plan.outputTokens - 1),
      textSeed: Random.word(meeting.prompt, draws.outputTokens),
      broken: broken && { kind: broken.kind, afterTokens: broken.afterTokens }
    },
    next
  ]
}

/**
 * Lets a call arrive: decides what it is answered, and what that does to the provider.
 *
 * **Details**: everything that is due until then happens first. The reply is
 * known at once; it is for the caller to let `latencySeconds` pass. Takes time
 * logarithmic in the calls in flight.
 *
 * **Errors**: throws a `RangeError` that names the field, for a time that is none and for an amount that cannot be.
 */
export const arrive = (before: State.State, call: Reply.Arrival): readonly [Reply.Reply, State.State] => {
  check(call)
  const meeting = meet(before, call)
  const { state, config, fault } = meeting
  if (fault !== undefined && !fault.engine && !breaks(fault.kind)) {
    return Refusal.faulty(meeting, fault, config.refusalSeconds)
  }
  const org = State.organization(config, call.key)
  if (org === undefined) return Refusal.unauthorized(meeting)
  const wrong = Refusal.invalid(meeting)
  if (wrong !== undefined) return wrong
  if (!Credit.active(config.credits, state.accounts[org], state.now)) return Refusal.outOfCredits(meeting)
  const cost = tokensAtAdmission(config, call)
  if (call.pool !== "serverless" && config.models[call.model]?.provisioned !== undefined) {
    const bought = laneOf(meeting, org, true)
    if (Limit.shortage(config, bought[1], cost) === undefined) return admitted(meeting, org, bought, cost)
  }
  const common = laneOf(meeting, org, false)
  const shortage = Limit.shortage(config, common[1], cost)
  return shortage === undefined
    ? admitted(meeting, org, common, cost)
    : Refusal.limited(meeting, common[0], common[1], cost, shortage)
}

/**
 * Lets a request arrive that calls no model: files, jobs, lists. It meets outages, faults and the check of its key,
 * but no limit; no reply is returned if it is let through.
 */
export const visit = (
  before: State.State,
  request: Pick<Reply.Arrival, "at" | "key" | "operation" | "promptHash">
): readonly [Reply.Denial | undefined, State.State] => {
  const meeting = meet(before, { ...request, model: "", inputTokens: 0 })
  const { counters } = before
  const state = {
    ...meeting.state,
    tags: before.tags,
    counters: { ...meeting.state.counters, arrivals: counters.arrivals, visits: counters.visits + 1 }
  }
  const met = { ...meeting, state }
  if (meeting.fault !== undefined && !breaks(meeting.fault.kind)) {
    return Refusal.faulty(met, meeting.fault, meeting.config.refusalSeconds)
  }
  return State.organization(meeting.config, request.key) === undefined ? Refusal.unauthorized(met) : [undefined, state]
}

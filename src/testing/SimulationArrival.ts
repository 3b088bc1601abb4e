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
import type { Config, FaultKind } from "./SimulationConfig.ts"
import * as Credit from "./SimulationCredit.ts"
import * as Limit from "./SimulationLimit.ts"
import * as Random from "./SimulationRandom.ts"
import * as Reply from "./SimulationReply.ts"
import * as State from "./SimulationState.ts"

/** Is one meeting of a call and the provider. */
interface Meeting {
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

interface Fault {
  readonly kind: FaultKind
  readonly reason: "outage" | "fault"
  readonly engine: boolean
  readonly retryAfterSeconds: number | undefined
}

/** Numbers the draws of one try; faults take theirs from 16 on. */
const draws = { firstToken: 1, tokensPerSecond: 2, latency: 3, outputTokens: 4, breakAt: 5, failAt: 6, faults: 16 }

const refused = (state: State.State, reason: Reply.Reason): State.State => ({
  ...state,
  counters: {
    ...state.counters,
    refused: { ...state.counters.refused, [reason]: state.counters.refused[reason] + 1 }
  }
})

interface Refused {
  readonly status: number
  readonly contentType?: string | undefined
  readonly body: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly waitSeconds?: number | undefined
  readonly latencySeconds?: number | undefined
}

const refuse = (
  { state, config, id, requestId }: Meeting,
  reason: Reply.Reason,
  { status, contentType, body, headers, waitSeconds, latencySeconds }: Refused
): readonly [Reply.Reply, State.State] => [
  {
    _tag: "Refusal",
    id,
    requestId,
    status,
    reason,
    contentType: contentType ?? "application/json",
    body,
    headers: { "x-request-id": requestId, ...headers },
    latencySeconds: latencySeconds ?? config.refusalSeconds,
    waitSeconds
  },
  refused(state, reason)
]

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

const breaks = (kind: FaultKind): kind is Reply.Break["kind"] =>
  kind === "cut" || kind === "stall" || kind === "error-frame"

const laneOf = ({ state, config, call }: Meeting, org: string, provisioned: boolean): readonly [string, Limit.Lane] => {
  const key = `${org}/${provisioned ? "provisioned" : "serverless"}/${call.model}`
  const lane = state.lanes[key]
  return [
    key,
    lane === undefined
      ? Limit.open(config, call.model, state.now, provisioned)
      : Limit.refill(config, lane, state.now)
  ]
}

/** Answers with a fault: at the edge at once, in the engine after the time `latencySeconds`. */
const faulty = (meeting: Meeting, fault: Fault, latencySeconds: number): readonly [Reply.Reply, State.State] => {
  const { config, requestId } = meeting
  const retryAfter: Readonly<Record<string, string>> = fault.retryAfterSeconds === undefined
    ? {}
    : { "retry-after": String(fault.retryAfterSeconds) }
  if (typeof fault.kind === "number") {
    const reset: Readonly<Record<string, string>> = fault.kind === 429 && config.headers !== "none" &&
        fault.retryAfterSeconds === undefined
      ? { "x-ratelimit-reset": "1" }
      : {}
    return refuse(meeting, fault.reason, {
      status: fault.kind,
      ...Reply.faultBody(fault.kind, requestId),
      headers: { ...reset, ...retryAfter },
      latencySeconds
    })
  }
  const kind = fault.kind === "refused" || fault.kind === "reset" ? fault.kind : "hang"
  return [
    {
      _tag: "Dropped",
      id: meeting.id,
      requestId,
      kind,
      reason: fault.reason,
      headers: {},
      latencySeconds: kind === "hang" ? Infinity : latencySeconds
    },
    refused(meeting.state, fault.reason)
  ]
}

const unauthorized = (meeting: Meeting): readonly [Reply.Reply, State.State] =>
  refuse(meeting, "key", {
    status: 401,
    body: Reply.errorBody(meeting.requestId, {
      message: "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys.",
      type: "invalid_request_error",
      code: "invalid_api_key"
    })
  })

/** Answers what no retry can mend: a wrong model or length. */
const invalid = (meeting: Meeting): readonly [Reply.Reply, State.State] | undefined => {
  const { config, call, requestId } = meeting
  const model = Object.hasOwn(config.models, call.model) ? config.models[call.model] : undefined
  if (model === undefined && config.unknownModels === "reject") {
    return refuse(meeting, "model-unknown", {
      status: 404,
      body: Reply.errorBody(requestId, {
        message: `The model ${call.model} was not found. See https://docs.together.ai/docs/serverless-models`,
        type: "invalid_request_error",
        param: "model",
        code: "model_not_found"
      })
    })
  }
  if (model?.availability === "dedicated") {
    return refuse(meeting, "model-unavailable", {
      status: 400,
      body: Reply.errorBody(requestId, {
        message: `Unable to access non-serverless model ${call.model}. Please visit https://api.together.ai/models/` +
          `${call.model} to create and start a new dedicated endpoint for the model.`,
        type: "invalid_request_error",
        code: "model_not_available"
      })
    })
  }
  const generates = call.operation === "chat" || call.operation === "completions"
  const context = model?.contextLength ?? Infinity
  if (generates && call.inputTokens + (call.maxTokens ?? 0) > context) {
    return refuse(meeting, "context", {
      status: config.contextStatus,
      body: Reply.errorBody(requestId, {
        message: `Input validation error: \`inputs\` tokens + \`max_new_tokens\` must be <= ${context}. Given: ` +
          `${call.inputTokens} \`inputs\` tokens and ${call.maxTokens ?? 0} \`max_new_tokens\``,
        type: "invalid_request_error",
        param: "max_tokens"
      })
    })
  }
  return undefined
}

const tokensAtAdmission = (config: Config, call: Reply.Arrival): number => {
  if (config.tokenCharge === "completion") return 0
  if (config.tokenCharge === "prompt") return call.inputTokens
  const most = call.outputTokens ?? call.maxTokens ?? config.defaultMaxTokens
  return call.inputTokens + most * (call.choices ?? 1)
}

/** Refuses for a limit of the common pool. */
const limited = (
  meeting: Meeting,
  key: string,
  lane: Limit.Lane,
  cost: number,
  shortage: Limit.Shortage
): readonly [Reply.Reply, State.State] => {
  const { config, requestId } = meeting
  const counted = config.refusedCounts && shortage !== "in-flight" ? { ...lane, requests: lane.requests - 1 } : lane
  const state = { ...meeting.state, lanes: { ...meeting.state.lanes, [key]: counted } }
  const met = { ...meeting, state }
  if (shortage === "in-flight" && config.inFlightStatus === 503) {
    return refuse(met, "in-flight", { status: 503, ...Reply.faultBody(503, requestId) })
  }
  const wait = shortage === "in-flight" ? undefined : Limit.waitFor(config, counted, cost)
  return refuse(met, shortage, {
    status: 429,
    body: Reply.errorBody(requestId, Reply.rateError(config, counted, shortage)),
    headers: Reply.limitHeaders(config, counted, wait ?? 1),
    waitSeconds: wait
  })
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
      lanes: { ...state.lanes, [key]: after },
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
        fails,
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
  if (fails) {
    const [reply, noted] = faulty({ ...meeting, state: next }, fault, engineSeconds)
    return [reply, noted]
  }
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

const meet = (before: State.State, call: Reply.Arrival): Meeting => {
  const now = State.advance(before, call.at)
  const { config } = now
  const tries = HashMap.get(now.tries, call.promptHash)
  const attempt = tries._tag === "None" ? 1 : tries.value + 1
  const prompt = Random.derive(now.source, call.promptHash)
  const chance = Random.derive(prompt, attempt)
  const tag = call.tag ?? String(call.promptHash)
  const seen = HashMap.get(now.tags, tag)
  return {
    state: {
      ...now,
      nextId: now.nextId + 1,
      tries: HashMap.set(now.tries, call.promptHash, attempt),
      tags: HashMap.set(
        now.tags,
        tag,
        seen._tag === "None"
          ? { arrivals: 1, succeeded: 0, billedNanoUsd: 0n }
          : { ...seen.value, arrivals: seen.value.arrivals + 1 }
      ),
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

/**
 * Lets a call arrive: decides what it is answered, and what that does to the provider.
 *
 * **Details**: everything that is due until then happens first. The reply is
 * known at once; it is for the caller to let `latencySeconds` pass. Takes time
 * logarithmic in the calls in flight.
 */
export const arrive = (before: State.State, call: Reply.Arrival): readonly [Reply.Reply, State.State] => {
  const meeting = meet(before, call)
  const { state, config, fault } = meeting
  if (fault !== undefined && !fault.engine && !breaks(fault.kind)) return faulty(meeting, fault, config.refusalSeconds)
  const org = State.organization(config, call.key)
  if (org === undefined) return unauthorized(meeting)
  const wrong = invalid(meeting)
  if (wrong !== undefined) return wrong
  if (!Credit.active(config.credits, state.accounts[org], state.now)) {
    return refuse(meeting, "credits", {
      status: 402,
      body: Reply.errorBody(meeting.requestId, {
        message:
          "Credit limit exceeded. Please navigate to https://api.together.xyz/settings/billing to add credit or " +
          "upgrade your plan.",
        type: "credit_limit"
      })
    })
  }
  const cost = tokensAtAdmission(config, call)
  if (call.pool !== "serverless" && config.models[call.model]?.provisioned !== undefined) {
    const bought = laneOf(meeting, org, true)
    if (Limit.shortage(config, bought[1], cost) === undefined) return admitted(meeting, org, bought, cost)
  }
  const common = laneOf(meeting, org, false)
  const shortage = Limit.shortage(config, common[1], cost)
  return shortage === undefined
    ? admitted(meeting, org, common, cost)
    : limited(meeting, common[0], common[1], cost, shortage)
}

/**
 * Lets a request arrive that calls no model: files, jobs, lists. It meets outages, faults and the check of its key,
 * but no limit; nothing is returned as its reply where it is let through.
 */
export const visit = (
  before: State.State,
  request: Pick<Reply.Arrival, "at" | "key" | "operation" | "promptHash">
): readonly [Reply.Reply | undefined, State.State] => {
  const meeting = meet(before, { ...request, model: "", inputTokens: 0 })
  const { counters } = before
  const state = {
    ...meeting.state,
    tags: before.tags,
    counters: { ...meeting.state.counters, arrivals: counters.arrivals, visits: counters.visits + 1 }
  }
  const met = { ...meeting, state }
  if (meeting.fault !== undefined && !breaks(meeting.fault.kind)) {
    return faulty(met, meeting.fault, meeting.config.refusalSeconds)
  }
  return State.organization(meeting.config, request.key) === undefined ? unauthorized(met) : [undefined, state]
}

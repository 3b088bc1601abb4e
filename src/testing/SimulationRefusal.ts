/**
 * Every way in which the simulated provider says no: faults, keys, models, lengths, credit and limits.
 *
 * A refusal is counted under its reason and answered after `refusalSeconds`, in the words and headers that the provider
 * uses for it; a connection that breaks instead of an answer is one too.
 */
import * as HashMap from "effect/HashMap"
import type * as ProviderError from "./internal/providerError.ts"
import * as Limit from "./SimulationLimit.ts"
import type { Fault, Meeting } from "./SimulationMeeting.ts"
import * as Reply from "./SimulationReply.ts"
import type * as State from "./SimulationState.ts"

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

/** Refuses a call, and counts it. */
const refuse = (
  { state, config, id, requestId }: Meeting,
  reason: Reply.Reason,
  { status, contentType, body, headers, waitSeconds, latencySeconds }: Refused
): readonly [Reply.Denial, State.State] => [
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

/** Refuses a call with an error of the usual shape. */
const tell = (
  meeting: Meeting,
  reason: Reply.Reason,
  status: number,
  error: ProviderError.Description,
  more?: Pick<Refused, "headers" | "waitSeconds">
): readonly [Reply.Denial, State.State] =>
  refuse(meeting, reason, { status, body: Reply.errorBody(meeting.requestId, error), ...more })

/** Answers with a fault: at the edge at once, in the engine after the time `latencySeconds`. */
export const faulty = (
  meeting: Meeting,
  fault: Fault,
  latencySeconds: number
): readonly [Reply.Denial, State.State] => {
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

/** Refuses a key that nobody has. */
export const unauthorized = (meeting: Meeting): readonly [Reply.Denial, State.State] =>
  tell(meeting, "key", 401, {
    message: "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys.",
    code: "invalid_api_key"
  })

const generating = ["chat", "language", "code", "moderation"]

/** Lists the types of models that serve an operation; types that stand nowhere here may serve any. */
const servedBy: Readonly<Record<string, ReadonlyArray<string>>> = {
  chat: generating,
  completions: generating,
  embeddings: ["embedding"],
  rerank: ["rerank"],
  images: ["image"],
  speech: ["audio"],
  transcriptions: ["transcribe"],
  translations: ["transcribe"]
}
const knownTypes = new Set([...Object.values(servedBy).flat(), "video"])

/** Answers what no retry can mend: a wrong model or length. */
export const invalid = (meeting: Meeting): readonly [Reply.Denial, State.State] | undefined => {
  const { config, call } = meeting
  const model = config.models[call.model]
  if (model === undefined && config.unknownModels === "reject") {
    return tell(meeting, "model-unknown", 404, {
      message: `The model ${call.model} was not found. See https://docs.together.ai/docs/serverless-models`,
      param: "model",
      code: "model_not_found"
    })
  }
  if (model?.availability === "dedicated") {
    return tell(meeting, "model-unavailable", 400, {
      message: `Unable to access non-serverless model ${call.model}. Please visit https://api.together.ai/models/` +
        `${call.model} to create and start a new dedicated endpoint for the model.`,
      code: "model_not_available"
    })
  }
  const types = model === undefined ? undefined : servedBy[call.operation]
  if (model !== undefined && types !== undefined && knownTypes.has(model.type) && !types.includes(model.type)) {
    return tell(meeting, "model-unavailable", 400, {
      message: `The model ${call.model} is of the type ${model.type}, which does not serve ${call.operation}`,
      param: "model"
    })
  }
  const generates = call.operation === "chat" || call.operation === "completions"
  const context = model?.contextLength ?? Infinity
  if (generates && call.inputTokens + (call.maxTokens ?? 0) > context) {
    return tell(meeting, "context", config.contextStatus, {
      message: `Input validation error: \`inputs\` tokens + \`max_new_tokens\` must be <= ${context}. Given: ` +
        `${call.inputTokens} \`inputs\` tokens and ${call.maxTokens ?? 0} \`max_new_tokens\``,
      param: "max_tokens"
    })
  }
  return undefined
}

/** Refuses for want of credit. */
export const outOfCredits = (meeting: Meeting): readonly [Reply.Denial, State.State] =>
  tell(meeting, "credits", 402, Reply.outOfCredits)

/** Refuses for a limit of the common pool. */
export const limited = (
  meeting: Meeting,
  key: string,
  lane: Limit.Lane,
  cost: number,
  shortage: Limit.Shortage
): readonly [Reply.Denial, State.State] => {
  const { config, requestId } = meeting
  const counted = config.refusedCounts && shortage !== "in-flight" ? Limit.take(lane, 1, 0) : lane
  const state = { ...meeting.state, lanes: HashMap.set(meeting.state.lanes, key, counted) }
  const met = { ...meeting, state }
  if (shortage === "in-flight" && config.inFlightStatus === 503) {
    return refuse(met, "in-flight", { status: 503, ...Reply.faultBody(503, requestId) })
  }
  const wait = shortage === "in-flight" ? undefined : Limit.waitFor(config, counted, cost)
  return tell(met, shortage, 429, Reply.rateError(config, counted, shortage), {
    headers: Reply.limitHeaders(config, counted, wait ?? 1),
    waitSeconds: wait
  })
}

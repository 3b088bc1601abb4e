/**
 * Evaluations: jobs that classify, score or compare a model's answers.
 *
 * **Source**: Together's API reference, `/evaluation`.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { TogetherError } from "../domain/TogetherError.ts"
import type { CreationOptions } from "./CallOptions.ts"
import type { Client } from "./Client.ts"
import { one, posting } from "./ObjectCalls.ts"
import { lenient, maybe, open, request } from "./Wire.ts"

/** Asks for an evaluation. `type`: `classify`, `score`, `compare`. */
export const EvaluationRequest = request({ type: Schema.String, parameters: Schema.Unknown })
/** Asks for an evaluation. */
export interface EvaluationRequest extends Schema.Schema.Type<typeof EvaluationRequest> {}

/** Describes an evaluation. `status`: `pending`, `queued`, `running`, `completed`, `error`, `user_error`. */
export const Evaluation = open({
  workflow_id: maybe(Schema.String),
  status: maybe(Schema.String),
  type: lenient(Schema.String),
  owner_id: lenient(Schema.String),
  created_at: lenient(Schema.String),
  updated_at: lenient(Schema.String),
  status_updates: lenient(Schema.Array(open({
    status: lenient(Schema.String),
    message: lenient(Schema.String),
    timestamp: lenient(Schema.String)
  }))),
  /** What was asked for: any object. */
  parameters: Schema.optional(Schema.Unknown),
  /** Numbers of the evaluation, by its type. */
  results: Schema.optional(Schema.Unknown)
})
/** Describes an evaluation. */
export interface Evaluation extends Schema.Schema.Type<typeof Evaluation> {}

/** Answers the creation of an evaluation. Without its id it is no answer: it runs, and nobody could find it. */
export const EvaluationCreated = open({ workflow_id: Schema.NonEmptyString, status: maybe(Schema.String) })
/** Answers the creation of an evaluation. */
export interface EvaluationCreated extends Schema.Schema.Type<typeof EvaluationCreated> {}

/** Makes calls about evaluations. */
export interface EvaluationsApi {
  /** Starts an evaluation. Sent once: a creation whose answer was lost is not repeated. */
  readonly create: (
    request: EvaluationRequest,
    options?: CreationOptions
  ) => Effect.Effect<EvaluationCreated, TogetherError>
  /** Reads an evaluation, with its results once it is done. */
  readonly get: (id: string) => Effect.Effect<Evaluation, TogetherError>
  /** Reads the state of an evaluation. */
  readonly status: (id: string) => Effect.Effect<Evaluation, TogetherError>
}

/**
 * Makes calls about evaluations, over a client.
 *
 * @internal
 */
export const make = (client: Client): EvaluationsApi => ({
  create: posting(client, "evaluations.create", "/evaluation", EvaluationRequest, EvaluationCreated),
  get: one(client, "evaluations.get", (id) => `/evaluation/${id}`, Evaluation),
  status: one(client, "evaluations.status", (id) => `/evaluation/${id}/status`, Evaluation)
})

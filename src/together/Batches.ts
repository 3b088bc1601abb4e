/**
 * Batches: jobs that Together runs within a day, from a separate pool of limits.
 *
 * **Gotchas**: creation accepts a bad file and fails the job later. Read both
 * output files of a completed job, and match rows by `custom_id`.
 *
 * **Source**: Together's API reference and batch guide, `/batches`.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { TogetherError } from "../domain/TogetherError.ts"
import type { CreationOptions } from "./CallOptions.ts"
import type { Client } from "./Client.ts"
import { cancelling, one, posting } from "./ObjectCalls.ts"
import { lenient, maybe, open, request } from "./Wire.ts"

/** Asks for a batch over an uploaded file. */
export const BatchRequest = request({
  endpoint: Schema.String,
  input_file_id: Schema.String,
  completion_window: Schema.optional(Schema.String),
  priority: Schema.optional(Schema.Int),
  model_id: Schema.optional(Schema.String)
})
/** Asks for a batch over an uploaded file. */
export interface BatchRequest extends Schema.Schema.Type<typeof BatchRequest> {}

const fields = {
  id: maybe(Schema.String),
  status: maybe(Schema.String),
  user_id: lenient(Schema.String),
  input_file_id: lenient(Schema.String),
  file_size_bytes: lenient(Schema.Finite),
  output_file_id: maybe(Schema.String),
  error_file_id: maybe(Schema.String),
  error: lenient(Schema.String),
  /** Percent. */
  progress: lenient(Schema.Finite),
  created_at: lenient(Schema.String),
  job_deadline: lenient(Schema.String),
  completed_at: lenient(Schema.String),
  endpoint: lenient(Schema.String),
  model_id: lenient(Schema.String)
} as const

/**
 * Describes a batch job. `status`: `VALIDATING`, `IN_PROGRESS`, `CANCELING`, and the
 * terminal `COMPLETED`, `FAILED`, `EXPIRED`, `CANCELLED`.
 */
export const BatchJob = open(fields)
/** Describes a batch job. */
export interface BatchJob extends Schema.Schema.Type<typeof BatchJob> {}

/** Answers the creation of a batch. Without the id of its job it is no answer: the batch runs, and nobody could find it. */
export const BatchCreated = open({
  job: open({ ...fields, id: Schema.NonEmptyString }),
  warning: lenient(Schema.String)
})
/** Answers the creation of a batch. */
export interface BatchCreated extends Schema.Schema.Type<typeof BatchCreated> {}

/** Lists batches: a bare array. */
export const BatchList = Schema.Array(BatchJob)

/** Tells whether a status is final. */
export const isTerminal = (status: string | null | undefined): boolean =>
  status === "COMPLETED" || status === "FAILED" || status === "EXPIRED" || status === "CANCELLED"

/** Makes calls about batches. */
export interface BatchesApi {
  /**
   * Creates a batch. Sent once: a creation whose answer was lost is not repeated.
   *
   * **Errors**: `DecodeError` for a success without the id of a job. There may be a batch then: look for its input file in
   * {@link list}.
   */
  readonly create: (request: BatchRequest, options?: CreationOptions) => Effect.Effect<BatchCreated, TogetherError>
  /** Lists the batches of the account. An effect, not a function. */
  readonly list: Effect.Effect<ReadonlyArray<BatchJob>, TogetherError>
  /** Reads the state of a batch: status, progress, the ids of its output files. */
  readonly get: (id: string) => Effect.Effect<BatchJob, TogetherError>
  /**
   * Cancels a batch.
   *
   * **Errors**: `ConflictError` for a batch that has ended, also by a cancellation whose answer was lost: {@link get} tells.
   */
  readonly cancel: (id: string) => Effect.Effect<BatchJob, TogetherError>
}

/**
 * Makes calls about batches, over a client.
 *
 * @internal
 */
export const make = (client: Client): BatchesApi => ({
  create: posting(client, "batches.create", "/batches", BatchRequest, BatchCreated),
  list: client.request({ operation: "batches.list", path: "/batches", response: BatchList }),
  get: one(client, "batches.get", (id) => `/batches/${id}`, BatchJob),
  cancel: one(client, "batches.cancel", (id) => `/batches/${id}/cancel`, BatchJob, cancelling)
})

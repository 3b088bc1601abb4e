/**
 * Fine-tunes: jobs that train a model, and their price before they start.
 *
 * **Gotchas**: creation needs the whole price in the balance. `total_price` counts nano-dollars.
 *
 * **Source**: Together's API reference, `/fine-tunes`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { TogetherError } from "../domain/TogetherError.ts"
import type { CreationOptions } from "./CallOptions.ts"
import type { Client } from "./Client.ts"
import { cancelling, one, posting } from "./ObjectCalls.ts"
import { lenient, maybe, open, request } from "./Wire.ts"

/** Asks for a fine-tune. Further training options are passed through. */
export const FineTuneRequest = request({
  model: Schema.NonEmptyString,
  training_file: Schema.NonEmptyString,
  validation_file: Schema.optional(Schema.String),
  n_epochs: Schema.optional(Schema.Int),
  n_checkpoints: Schema.optional(Schema.Int),
  learning_rate: Schema.optional(Schema.Finite),
  suffix: Schema.optional(Schema.String.check(Schema.isMaxLength(64)))
})
/** Asks for a fine-tune. */
export interface FineTuneRequest extends Schema.Schema.Type<typeof FineTuneRequest> {}

/** Asks what a fine-tune would cost. A {@link FineTuneRequest} is one too. */
export const PriceRequest = request({
  /** May be left out where the training goes on `from_checkpoint`. */
  model: Schema.optional(Schema.NonEmptyString),
  training_file: Schema.NonEmptyString,
  validation_file: Schema.optional(Schema.String),
  n_epochs: Schema.optional(Schema.Int)
})
/** Asks what a fine-tune would cost. */
export interface PriceRequest extends Schema.Schema.Type<typeof PriceRequest> {}

/** Tells of a step of a fine-tune. */
export const FineTuneEvent = open({
  created_at: lenient(Schema.String),
  level: lenient(Schema.String),
  message: lenient(Schema.String),
  type: lenient(Schema.String),
  step: lenient(Schema.Finite),
  total_steps: lenient(Schema.Finite),
  token_count: lenient(Schema.Finite),
  checkpoint_path: lenient(Schema.String),
  model_path: lenient(Schema.String),
  wandb_url: lenient(Schema.String)
})

/** Describes a fine-tune. */
export const FineTune = open({
  id: Schema.String,
  status: maybe(Schema.String),
  user_id: lenient(Schema.String),
  job_id: lenient(Schema.String),
  created_at: lenient(Schema.String),
  updated_at: lenient(Schema.String),
  started_at: lenient(Schema.String),
  model: lenient(Schema.String),
  suffix: lenient(Schema.String),
  model_output_name: lenient(Schema.String),
  model_output_path: lenient(Schema.String),
  training_file: lenient(Schema.String),
  validation_file: lenient(Schema.String),
  from_checkpoint: lenient(Schema.String),
  from_hf_model: lenient(Schema.String),
  hf_model_revision: lenient(Schema.String),
  n_epochs: lenient(Schema.Finite),
  n_checkpoints: lenient(Schema.Finite),
  n_evals: lenient(Schema.Finite),
  /** A number, or `max`. */
  batch_size: lenient(Schema.Union([Schema.Finite, Schema.String])),
  max_seq_length: lenient(Schema.Finite),
  packing: lenient(Schema.Boolean),
  learning_rate: lenient(Schema.Finite),
  warmup_ratio: lenient(Schema.Finite),
  max_grad_norm: lenient(Schema.Finite),
  weight_decay: lenient(Schema.Finite),
  random_seed: lenient(Schema.Finite),
  lr_scheduler: lenient(open({ lr_scheduler_type: lenient(Schema.String) })),
  training_type: lenient(open({
    type: lenient(Schema.String),
    lora_r: lenient(Schema.Finite),
    lora_alpha: lenient(Schema.Finite),
    lora_dropout: lenient(Schema.Finite)
  })),
  training_method: lenient(open({ method: lenient(Schema.String) })),
  progress: lenient(open({
    estimate_available: lenient(Schema.Boolean),
    seconds_remaining: lenient(Schema.Finite)
  })),
  epochs_completed: lenient(Schema.Finite),
  queue_depth: lenient(Schema.Finite),
  early_stopped: lenient(Schema.Boolean),
  early_stopping_best_step: lenient(Schema.Finite),
  early_stopping_best_metric: lenient(Schema.Finite),
  wandb_project_name: lenient(Schema.String),
  wandb_name: lenient(Schema.String),
  wandb_url: lenient(Schema.String),
  events: lenient(Schema.Array(FineTuneEvent)),
  /** Nano-dollars. */
  total_price: lenient(Schema.Finite),
  token_count: lenient(Schema.Finite),
  param_count: lenient(Schema.Finite)
})
/** Describes a fine-tune. */
export interface FineTune extends Schema.Schema.Type<typeof FineTune> {}

/** Lists fine-tunes. */
export const FineTuneList = open({ data: Schema.Array(FineTune) })

/** Answers what a fine-tune would cost, and whether the credit limit allows it. Amounts in USD. */
export const PriceEstimate = open({
  estimation_available: maybe(Schema.Boolean),
  estimated_total_price: maybe(Schema.Finite),
  user_limit: maybe(Schema.Finite),
  allowed_to_proceed: maybe(Schema.Boolean),
  estimated_train_token_count: lenient(Schema.Finite),
  estimated_eval_token_count: lenient(Schema.Finite),
  unavailable_reason: lenient(Schema.String)
})
/** Answers what a fine-tune would cost, and whether the credit limit allows it. */
export interface PriceEstimate extends Schema.Schema.Type<typeof PriceEstimate> {}

/** Makes calls about fine-tunes. */
export interface FineTunesApi {
  /**
   * Starts a fine-tune. Sent once: a creation whose answer was lost is not repeated.
   *
   * **Details**: `Price.ofFineTune` makes its `cost` of an answer of {@link estimatePrice}.
   */
  readonly create: (request: FineTuneRequest, options?: CreationOptions) => Effect.Effect<FineTune, TogetherError>
  /** Lists the fine-tunes of the account. An effect, not a function. */
  readonly list: Effect.Effect<ReadonlyArray<FineTune>, TogetherError>
  /** Reads the state of a fine-tune. */
  readonly get: (id: string) => Effect.Effect<FineTune, TogetherError>
  /** Cancels a fine-tune. */
  readonly cancel: (id: string) => Effect.Effect<FineTune, TogetherError>
  /** Says what a fine-tune would cost. Free of charge. */
  readonly estimatePrice: (request: PriceRequest) => Effect.Effect<PriceEstimate, TogetherError>
}

/**
 * Makes calls about fine-tunes, over a client.
 *
 * @internal
 */
export const make = (client: Client): FineTunesApi => ({
  create: posting(client, "fineTunes.create", "/fine-tunes", FineTuneRequest, FineTune),
  list: Effect.map(
    client.request({ operation: "fineTunes.list", path: "/fine-tunes", response: FineTuneList }),
    (answer) => answer.data
  ),
  get: one(client, "fineTunes.get", (id) => `/fine-tunes/${id}`, FineTune),
  cancel: one(client, "fineTunes.cancel", (id) => `/fine-tunes/${id}/cancel`, FineTune, cancelling),
  estimatePrice: posting(
    client,
    "fineTunes.estimatePrice",
    "/fine-tunes/estimate-price",
    PriceRequest,
    PriceEstimate,
    { idempotent: true, cost: "free" }
  )
})

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
import { maybe, open, ornament, request } from "./Wire.ts"

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

/** Tells of a step of a fine-tune. */
export const FineTuneEvent = open({
  created_at: ornament(Schema.String),
  level: ornament(Schema.String),
  message: ornament(Schema.String),
  type: ornament(Schema.String),
  step: ornament(Schema.Finite),
  total_steps: ornament(Schema.Finite),
  token_count: ornament(Schema.Finite),
  checkpoint_path: ornament(Schema.String),
  model_path: ornament(Schema.String),
  wandb_url: ornament(Schema.String)
})

/** Describes a fine-tune. */
export const FineTune = open({
  id: Schema.String,
  status: maybe(Schema.String),
  user_id: ornament(Schema.String),
  job_id: ornament(Schema.String),
  created_at: ornament(Schema.String),
  updated_at: ornament(Schema.String),
  started_at: ornament(Schema.String),
  model: ornament(Schema.String),
  suffix: ornament(Schema.String),
  model_output_name: ornament(Schema.String),
  model_output_path: ornament(Schema.String),
  training_file: ornament(Schema.String),
  validation_file: ornament(Schema.String),
  from_checkpoint: ornament(Schema.String),
  from_hf_model: ornament(Schema.String),
  hf_model_revision: ornament(Schema.String),
  n_epochs: ornament(Schema.Finite),
  n_checkpoints: ornament(Schema.Finite),
  n_evals: ornament(Schema.Finite),
  /** A number, or `max`. */
  batch_size: ornament(Schema.Union([Schema.Finite, Schema.String])),
  max_seq_length: ornament(Schema.Finite),
  packing: ornament(Schema.Boolean),
  learning_rate: ornament(Schema.Finite),
  warmup_ratio: ornament(Schema.Finite),
  max_grad_norm: ornament(Schema.Finite),
  weight_decay: ornament(Schema.Finite),
  random_seed: ornament(Schema.Finite),
  lr_scheduler: ornament(open({ lr_scheduler_type: ornament(Schema.String) })),
  training_type: ornament(open({
    type: ornament(Schema.String),
    lora_r: ornament(Schema.Finite),
    lora_alpha: ornament(Schema.Finite),
    lora_dropout: ornament(Schema.Finite)
  })),
  training_method: ornament(open({ method: ornament(Schema.String) })),
  progress: ornament(open({
    estimate_available: ornament(Schema.Boolean),
    seconds_remaining: ornament(Schema.Finite)
  })),
  epochs_completed: ornament(Schema.Finite),
  queue_depth: ornament(Schema.Finite),
  early_stopped: ornament(Schema.Boolean),
  early_stopping_best_step: ornament(Schema.Finite),
  early_stopping_best_metric: ornament(Schema.Finite),
  wandb_project_name: ornament(Schema.String),
  wandb_name: ornament(Schema.String),
  wandb_url: ornament(Schema.String),
  events: ornament(Schema.Array(FineTuneEvent)),
  /** Nano-dollars. */
  total_price: ornament(Schema.Finite),
  token_count: ornament(Schema.Finite),
  param_count: ornament(Schema.Finite)
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
  estimated_train_token_count: ornament(Schema.Finite),
  estimated_eval_token_count: ornament(Schema.Finite),
  unavailable_reason: ornament(Schema.String)
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
  readonly list: Effect.Effect<ReadonlyArray<FineTune>, TogetherError>
  readonly get: (id: string) => Effect.Effect<FineTune, TogetherError>
  readonly cancel: (id: string) => Effect.Effect<FineTune, TogetherError>
  /** Says what a fine-tune would cost. Free of charge. */
  readonly estimatePrice: (request: FineTuneRequest) => Effect.Effect<PriceEstimate, TogetherError>
}

/**
 * Makes calls about fine-tunes, over a client.
 *
 * @internal
 */
export const make = (client: Client): FineTunesApi => ({
  create: (request, options) =>
    client.request(
      {
        operation: "fineTunes.create",
        path: "/fine-tunes",
        body: request,
        cost: options?.cost,
        response: FineTune
      },
      options
    ),
  list: Effect.map(
    client.request({ operation: "fineTunes.list", path: "/fine-tunes", response: FineTuneList }),
    (answer) => answer.data
  ),
  get: (id) =>
    client.request({ operation: "fineTunes.get", path: `/fine-tunes/${encodeURIComponent(id)}`, response: FineTune }),
  cancel: (id) =>
    client.request({
      operation: "fineTunes.cancel",
      method: "POST",
      path: `/fine-tunes/${encodeURIComponent(id)}/cancel`,
      idempotent: true,
      cost: "free",
      response: FineTune
    }),
  estimatePrice: (request) =>
    client.request({
      operation: "fineTunes.estimatePrice",
      path: "/fine-tunes/estimate-price",
      body: request,
      idempotent: true,
      cost: "free",
      response: PriceEstimate
    })
})

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
import { maybe, open } from "./Wire.ts"

/** Asks for a fine-tune. Further training options are passed through. */
export const FineTuneRequest = open({
  model: Schema.NonEmptyString,
  training_file: Schema.NonEmptyString,
  validation_file: Schema.optional(Schema.String),
  n_epochs: Schema.optional(Schema.Int),
  n_checkpoints: Schema.optional(Schema.Int),
  learning_rate: Schema.optional(Schema.Finite),
  suffix: Schema.optional(Schema.String.check(Schema.isMaxLength(64)))
})
/** Asks for a fine-tune. */
export type FineTuneRequest = typeof FineTuneRequest.Type

/** Describes a fine-tune. */
export const FineTune = open({
  id: Schema.String,
  status: maybe(Schema.String),
  created_at: maybe(Schema.String),
  updated_at: maybe(Schema.String),
  model: maybe(Schema.String),
  model_output_name: maybe(Schema.String),
  training_file: maybe(Schema.String),
  /** Nano-dollars. */
  total_price: maybe(Schema.Finite),
  token_count: maybe(Schema.Finite)
})
/** Describes a fine-tune. */
export type FineTune = typeof FineTune.Type

/** Lists fine-tunes. */
export const FineTuneList = open({ data: Schema.Array(FineTune) })

/** Answers what a fine-tune would cost, and whether the credit limit allows it. Amounts in USD. */
export const PriceEstimate = open({
  estimation_available: maybe(Schema.Boolean),
  estimated_total_price: maybe(Schema.Finite),
  user_limit: maybe(Schema.Finite),
  allowed_to_proceed: maybe(Schema.Boolean),
  unavailable_reason: maybe(Schema.String)
})
/** Answers what a fine-tune would cost, and whether the credit limit allows it. */
export type PriceEstimate = typeof PriceEstimate.Type

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

/** Makes calls about fine-tunes, over a client. */
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

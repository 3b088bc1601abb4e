/**
 * Models and identity: what `GET /models` and `GET /whoami` answer.
 *
 * **Gotchas**: a listed model need not be callable; a zero price does not mean free.
 *
 * **Source**: Together's API reference, `GET /models`, `GET /whoami`.
 */
import * as Schema from "effect/Schema"
import { maybe, open } from "./Wire.ts"

/** Prices a model, in USD per million tokens (`hourly`: USD per hour of a dedicated endpoint). */
export const Pricing = open({
  base: maybe(Schema.Finite),
  finetune: maybe(Schema.Finite),
  hourly: maybe(Schema.Finite),
  input: maybe(Schema.Finite),
  output: maybe(Schema.Finite),
  cached_input: maybe(Schema.Finite)
})

/** Describes a model. `type`: `chat`, `language`, `code`, `image`, `embedding`, `moderation`, `rerank`, … */
export const Model = open({
  id: Schema.String,
  object: Schema.optional(Schema.String),
  created: Schema.optional(Schema.Finite),
  type: Schema.optional(Schema.String),
  display_name: maybe(Schema.String),
  organization: maybe(Schema.String),
  link: maybe(Schema.String),
  license: maybe(Schema.String),
  context_length: maybe(Schema.Finite),
  pricing: maybe(Pricing)
})
/** Describes a model. */
export type Model = typeof Model.Type

/** Lists models: a bare array. */
export const ModelList = Schema.Array(Model)

/** Says whose key this is. `organization_id` is what limits and credits belong to. */
export const Whoami = open({
  api_key_id: maybe(Schema.String),
  project_id: maybe(Schema.String),
  organization_id: maybe(Schema.String),
  user_id: maybe(Schema.String)
})
/** Says whose key this is. */
export type Whoami = typeof Whoami.Type

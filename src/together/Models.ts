/**
 * Models and identity: what `GET /models` and `GET /whoami` answer.
 *
 * **Gotchas**: a listed model need not be callable; a zero price does not mean free.
 *
 * **Source**: Together's API reference, `GET /models`, `GET /whoami`.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { lenient, maybe, omitNull, open } from "./Wire.ts"

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
  object: omitNull(Schema.String),
  created: omitNull(Schema.Finite),
  type: omitNull(Schema.String),
  display_name: lenient(Schema.String),
  organization: lenient(Schema.String),
  link: lenient(Schema.String),
  license: lenient(Schema.String),
  context_length: lenient(Schema.Finite),
  /** Left out as a whole if one of its prices is not a number, since half a price misleads. */
  pricing: lenient(Pricing)
})
/** Describes a model. */
export interface Model extends Schema.Schema.Type<typeof Model> {}

const readModel = Schema.decodeUnknownOption(Model)

const readModels = SchemaParser.decodeUnknownEffect(Schema.Array(Model))

/** Lists models: a bare array. An entry that is not a model is left out; a list without any model fails. */
export const ModelList = Schema.Array(Schema.Unknown).pipe(
  Schema.decodeTo(
    Schema.Array(Schema.toType(Model)),
    SchemaTransformation.transformEffect({
      decode: (entries: ReadonlyArray<unknown>) => {
        const models = Arr.getSomes(entries.map((entry) => readModel(entry)))
        return models.length > 0 ? Effect.succeed(models) : readModels(entries)
      },
      encode: (models: ReadonlyArray<Model>) => Effect.succeed(models)
    })
  )
)

/** Says whose key this is. `organization_id` is what limits and credits belong to. */
export const Whoami = open({
  api_key_id: maybe(Schema.String),
  project_id: maybe(Schema.String),
  project_name: lenient(Schema.String),
  project_slug: lenient(Schema.String),
  organization_id: maybe(Schema.String),
  organization_name: lenient(Schema.String),
  user_id: maybe(Schema.String)
})
/** Says whose key this is. */
export interface Whoami extends Schema.Schema.Type<typeof Whoami> {}

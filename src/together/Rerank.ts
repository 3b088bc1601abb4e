/**
 * Rerank: request and answer, as on the wire.
 *
 * **Source**: Together's API reference, `POST /rerank`.
 */
import * as Schema from "effect/Schema"
import { maybe, open } from "./Wire.ts"

/** Asks for documents in the order of their relevance to a query. */
export const RerankRequest = open({
  model: Schema.NonEmptyString,
  query: Schema.String,
  documents: Schema.Union([Schema.Array(Schema.String), Schema.Array(Schema.Record(Schema.String, Schema.Unknown))]),
  top_n: Schema.optional(Schema.Int.check(Schema.isGreaterThan(0))),
  return_documents: Schema.optional(Schema.Boolean),
  rank_fields: Schema.optional(Schema.Array(Schema.String))
})
/** Asks for documents in the order of their relevance to a query. */
export type RerankRequest = typeof RerankRequest.Type

/** Answers with documents, the most relevant first; `index` says which of the request. */
export const RerankResponse = open({
  id: Schema.optional(Schema.String),
  object: Schema.optional(Schema.String),
  model: Schema.optional(Schema.String),
  results: Schema.Array(open({
    index: Schema.Int,
    relevance_score: Schema.Finite,
    document: maybe(open({ text: maybe(Schema.String) }))
  })),
  usage: maybe(open({}))
})
/** Answers with documents, the most relevant first. */
export type RerankResponse = typeof RerankResponse.Type

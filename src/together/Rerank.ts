/**
 * Rerank: request and answer, as on the wire.
 *
 * **Source**: Together's API reference, `POST /rerank`.
 */
import * as Schema from "effect/Schema"
import { lenient, omitNull, open, request, Usage } from "./Wire.ts"

/** Asks for documents in the order of their relevance to a query. */
export const RerankRequest = request({
  model: Schema.NonEmptyString,
  query: Schema.String,
  documents: Schema.Union([Schema.Array(Schema.String), Schema.Array(request({}))]),
  top_n: Schema.optional(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  return_documents: Schema.optional(Schema.Boolean),
  rank_fields: Schema.optional(Schema.Array(Schema.String))
})
/** Asks for documents in the order of their relevance to a query. */
export interface RerankRequest extends Schema.Schema.Type<typeof RerankRequest> {}

/** Answers with documents, the most relevant first; `index` says which of the request. */
export const RerankResponse = open({
  id: omitNull(Schema.String),
  object: omitNull(Schema.String),
  model: omitNull(Schema.String),
  results: Schema.Array(open({
    index: Schema.Int,
    relevance_score: Schema.Finite,
    document: lenient(open({ text: lenient(Schema.String) }))
  })),
  usage: lenient(Usage)
})
/** Answers with documents, the most relevant first. */
export interface RerankResponse extends Schema.Schema.Type<typeof RerankResponse> {}

/**
 * Embeddings: request and answer, as on the wire.
 *
 * **Source**: Together's API reference, `POST /embeddings`.
 */
import * as Schema from "effect/Schema"
import * as Enumeration from "../domain/Enumeration.ts"
import { lenient, omitNull, open, request, Usage } from "./Wire.ts"

/** Asks for the embedding of one text or of several. */
export const EmbeddingsRequest = request({
  model: Schema.NonEmptyString,
  input: Schema.Union([Schema.String, Schema.Array(Schema.String)])
})
/** Asks for the embedding of one text or of several. */
export interface EmbeddingsRequest extends Schema.Schema.Type<typeof EmbeddingsRequest> {}

/** Answers with one vector per text; `index` says which. */
export const EmbeddingsResponse = open({
  object: omitNull(Schema.String),
  model: omitNull(Schema.String),
  data: Schema.Array(open({
    object: omitNull(Schema.String),
    embedding: Schema.Array(Schema.Finite),
    index: Schema.Int
  })),
  usage: lenient(Usage)
})
/** Answers with one vector per text; `index` says which. */
export interface EmbeddingsResponse extends Schema.Schema.Type<typeof EmbeddingsResponse> {}

/**
 * Says what is wrong with an answer that has not one vector for each text; nothing where it has.
 *
 * @internal
 */
export const complaint = ({ input }: EmbeddingsRequest, { data }: EmbeddingsResponse): string | undefined => {
  const texts = typeof input === "string" ? 1 : input.length
  return data.length === texts
    ? undefined
    : `holds ${Enumeration.counted(data.length, "vector")} for ${Enumeration.counted(texts, "text")}`
}

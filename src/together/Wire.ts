/**
 * The schema vocabulary of Together's wire: objects that keep what they do not know.
 *
 * Together adds fields and enum values without notice. A response is therefore
 * decoded by `open` objects, whose unknown fields pass through, and by plain
 * strings where the documentation lists values. Nothing new in an answer fails a
 * decode.
 *
 * | field of an answer | `null` | of another type than documented |
 * | --- | --- | --- |
 * | `maybe`: what the call was made for | `null` | fails the decode |
 * | `lenient`: what only goes with it | `null` | left out: a paid answer is not thrown away for it |
 * | `omitNull`: the same | left out | left out |
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { utf8Bytes } from "../domain/Call.ts"

/** An object schema that keeps fields it does not list. */
export type Open<Fields extends Schema.Struct.Fields> = Schema.StructWithRest<
  Schema.Struct<Fields>,
  readonly [Schema.$Record<Schema.String, Schema.Unknown>]
>

/** Builds an object schema that keeps fields it does not list. */
export const open = <const Fields extends Schema.Struct.Fields>(fields: Fields): Open<Fields> =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)])

/** The schema of a request's object, which takes fields that it does not list. */
export type Request<Fields extends Schema.Struct.Fields> = Schema.StructWithRest<
  Schema.Struct<Fields>,
  readonly [Schema.$Record<Schema.String, Schema.Any>]
>

/**
 * Builds the schema of a request's object, which takes fields that it does not list.
 *
 * **Details**: unlisted fields are `any`, since a caller's `interface` and the types of an SDK have no index signature
 * and would not fit otherwise. The listed fields are checked all the same.
 */
export const request = <const Fields extends Schema.Struct.Fields>(fields: Fields): Request<Fields> =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Any)])

/** Accepts a value, `null`, or absence: the wire uses the last two alike. */
export const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

/** Accepts a value, `null`, or absence, and reads whatever else comes as absence. */
export const lenient = <S extends Schema.Constraint>(schema: S) =>
  Schema.catchDecoding<Schema.optional<Schema.NullOr<S>>>(() => Effect.succeedNone)(maybe(schema))

/** Accepts a value or absence, and reads whatever else comes as absence, `null` included. */
export const omitNull = <S extends Schema.Constraint>(schema: S) =>
  Schema.catchDecoding<Schema.optional<S>>(() => Effect.succeedNone)(Schema.optional(schema))

/** Reads what should be text; empty text counts as absent. */
export const textOf = (u: unknown): string | undefined => typeof u === "string" && u !== "" ? u : undefined

/** Counts the UTF-8 bytes of what should be text; a stream's chunks are not decoded and may hold anything in its place. */
export const bytesOf = (u: unknown): number => typeof u === "string" ? utf8Bytes(u) : 0

/** Holds a warning that came with an answer. */
export const Warning = open({ message: Schema.String })

/** Says what a call consumed, as on the wire; `Usage.fromWire` reads it in all its forms. */
export const Usage = open({
  prompt_tokens: lenient(Schema.Finite),
  completion_tokens: lenient(Schema.Finite),
  total_tokens: lenient(Schema.Finite)
})

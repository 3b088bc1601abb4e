/**
 * The schema vocabulary of Together's wire: objects that keep what they do not know.
 *
 * Together adds fields and enum values without notice. A response is therefore
 * decoded by `open` objects, whose unknown fields pass through, and by plain
 * strings where the documentation lists values. Nothing that an answer carries
 * is lost, and nothing new in it fails a decode.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** Is an object schema that keeps fields it does not list. */
export type Open<Fields extends Schema.Struct.Fields> = Schema.StructWithRest<
  Schema.Struct<Fields>,
  readonly [Schema.$Record<Schema.String, Schema.Unknown>]
>

/** Builds an object schema that keeps fields it does not list. */
export const open = <const Fields extends Schema.Struct.Fields>(fields: Fields): Open<Fields> =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)])

/** Accepts a value, `null`, or absence: the wire uses the last two alike. */
export const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

/** Accepts a value, `null`, or absence, and reads `null` as absence. */
export const omitNull = <A>(schema: Schema.Codec<A>) =>
  Schema.optional(Schema.NullOr(schema)).pipe(
    Schema.decodeTo(
      Schema.optional(schema),
      SchemaTransformation.transformOptional<A | undefined, A | null | undefined>({
        decode: Option.filter((value) => value !== null),
        encode: (value) => value
      })
    )
  )

/** Counts the characters of what should be text; a stream's chunks are not decoded and may hold anything in its place. */
export const lengthOf = (u: unknown): number => typeof u === "string" ? u.length : 0

/** Holds a warning that came with an answer. */
export const Warning = open({ message: Schema.String })

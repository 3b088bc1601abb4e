/**
 * The nulls that a model writes for what it does not mean, most often for an optional field: a schema that takes none there
 * would refuse the whole answer.
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const withoutNulls = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(withoutNulls)
    : Predicate.isObject(value)
    ? Object.fromEntries(Object.entries(value).flatMap(([key, one]) => one === null ? [] : [[key, withoutNulls(one)]]))
    : value

/** Leaves the fields that are `null` out of a value where it fits a schema without them, and not with them. */
export const fitting = (schema: Schema.Constraint): (value: unknown) => unknown => {
  const fits = Schema.is(Schema.toEncoded(schema))
  return (value) => {
    if (fits(value)) return value
    const without = withoutNulls(value)
    return fits(without) ? without : value
  }
}

/**
 * The nulls that a model writes for an absent value, most often for an optional field. A schema that does not accept
 * `null` there would refuse the whole answer.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

type Path = ReadonlyArray<PropertyKey>

const withoutNulls = (value: unknown, isRefused: (path: Path) => boolean, path: Path = []): unknown =>
  Array.isArray(value)
    ? value.map((one, index) => withoutNulls(one, isRefused, [...path, index]))
    : Predicate.isObject(value)
    ? Object.fromEntries(
      Object.entries(value).flatMap(([key, one]) => {
        const at = [...path, key]
        return one === null && isRefused(at) ? [] : [[key, withoutNulls(one, isRefused, at)]]
      })
    )
    : value

const listed = SchemaIssue.makeFormatterStandardSchemaV1()

/** Leaves out of a value the fields that are `null` where a schema takes none, if the value fits it then. */
export const fitting = (schema: Schema.Constraint): (value: unknown) => unknown => {
  const read = Schema.decodeUnknownResult(Schema.toEncoded(schema), { errors: "all" })
  return (value) => {
    const problem = read(value)
    if (Result.isSuccess(problem)) return value
    const refused = new Set(listed(problem.failure.issue).issues.map(({ path }) => JSON.stringify(path)))
    const without = withoutNulls(value, (path) => refused.has(JSON.stringify(path)))
    return Result.isSuccess(read(without)) ? without : value
  }
}

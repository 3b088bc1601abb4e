/**
 * Ids in paths: each is exactly one segment, and never empty.
 *
 * Without its id, the path of an object is that of all of them: a deletion would go to every file, and the content of a file
 * would be the list. `.` and `..` lead to another path.
 */
import * as Effect from "effect/Effect"
import { InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"

const elsewhere: ReadonlySet<string> = new Set(["", ".", ".."])

/**
 * Makes a request about one object, with its id as a segment of the path. An id that cannot be a segment is refused,
 * and nothing is sent.
 */
export const ask = <A>(
  operation: string,
  id: string,
  asking: (operation: string, segment: string) => Effect.Effect<A, TogetherError>
): Effect.Effect<A, TogetherError> => {
  if (!elsewhere.has(id)) return asking(operation, encodeURIComponent(id))
  const message = `The request was not sent: ${operation} needs an id, got ${JSON.stringify(id)}. Correct the request.`
  return Effect.fail(new InvalidRequestError({ operation, sent: false, message }))
}

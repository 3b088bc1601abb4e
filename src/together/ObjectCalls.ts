/**
 * Calls about the objects of an account: files, batches, and jobs of other kinds.
 *
 * An id in a path is exactly one segment, and never empty. Without its id, the path of an object is that of all of them: a
 * deletion would go to every file, and the content of a file would be the list. `.` and `..` lead to another path.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import type { CreationOptions, RawRequest } from "./CallOptions.ts"
import type { Client } from "./Client.ts"
import * as RequestCheck from "./RequestCheck.ts"

const elsewhere: ReadonlySet<string> = new Set(["", ".", ".."])

/**
 * Makes a request about one object, with its id as a segment of the path. An id that cannot be a segment is refused,
 * and nothing is sent.
 */
export const about = <A>(
  operation: string,
  id: string,
  asking: (operation: string, segment: string) => Effect.Effect<A, TogetherError>
): Effect.Effect<A, TogetherError> => {
  if (!elsewhere.has(id)) return asking(operation, encodeURIComponent(id))
  const message = `The request was not sent: ${operation} needs an id, got ${JSON.stringify(id)}. Correct the request.`
  return Effect.fail(new InvalidRequestError({ operation, sent: false, message }))
}

/** Says what a request is besides its path: a reading one where nothing is said. */
type Kind = Pick<RawRequest, "cost" | "idempotent" | "method">

/** The kind of a request that cancels an object: it costs nothing, and may be repeated. */
export const cancelling: Kind = { method: "POST", idempotent: true, cost: "free" }

/** Makes calls about one object, by its id. */
export const one = <A>(
  client: Client,
  operation: string,
  path: (id: string) => string,
  response: Schema.Codec<A, unknown>,
  kind?: Kind
) =>
(id: string): Effect.Effect<A, TogetherError> =>
  about(operation, id, (operation, segment) => client.request({ ...kind, operation, path: path(segment), response }))

/** Makes calls that send a request in their body, which is checked before. */
export const posting = <Req, A>(
  client: Client,
  operation: string,
  path: string,
  request: Schema.Codec<Req, unknown>,
  response: Schema.Codec<A, unknown>,
  kind?: Kind
) => {
  const check = RequestCheck.make({ operation, request })
  return (body: Req, options?: CreationOptions): Effect.Effect<A, TogetherError> =>
    Effect.suspend(() => {
      const refusal = check(body)
      if (refusal !== undefined) return Effect.fail(refusal)
      return client.request({ cost: options?.cost, ...kind, operation, path, body, response }, options)
    })
}

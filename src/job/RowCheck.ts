/**
 * Checks rows by the schema of their endpoint, as the client does before it sends a call: whatever else sends rows
 * refuses the same.
 */
import type { InvalidRequestError } from "../domain/TogetherError.ts"
import * as RequestCheck from "../together/RequestCheck.ts"
import * as Routes from "../together/Routes.ts"
import type * as Row from "./Row.ts"

const checks: { readonly [operation in Row.Operation]: RequestCheck.RequestCheck } = {
  chat: RequestCheck.make(Routes.chat),
  completions: RequestCheck.make(Routes.completions),
  embeddings: RequestCheck.make(Routes.embeddings),
  rerank: RequestCheck.make(Routes.rerank),
  images: RequestCheck.make(Routes.images)
}

/** Makes the error that a call of the row would fail with before it is sent; nothing where it would be sent. */
export const refusal = ({ body, operation }: Row.Row): InvalidRequestError | undefined => checks[operation](body)

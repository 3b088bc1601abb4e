/**
 * Checks rows by the schema of their endpoint, as the client does before it sends a call: whatever else sends rows
 * refuses the same.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { InvalidRequestError } from "../domain/TogetherError.ts"
import * as AnswerDecoder from "../together/AnswerDecoder.ts"
import { promptsOf } from "../together/Redact.ts"
import * as Routes from "../together/Routes.ts"
import type * as Row from "./Row.ts"

const checkOf = <Req>({ recognize, request }: Routes.Route<Req, unknown>): AnswerDecoder.Decode<unknown> =>
  AnswerDecoder.recognizing(recognize?.request, Schema.decodeUnknownResult(request))

const checks: { readonly [operation in Row.Operation]: AnswerDecoder.Decode<unknown> } = {
  chat: checkOf(Routes.chat),
  completions: checkOf(Routes.completions),
  embeddings: checkOf(Routes.embeddings),
  rerank: checkOf(Routes.rerank),
  images: checkOf(Routes.images)
}

/** Makes the error that a call of the row would fail with before it is sent; nothing where it would be sent. */
export const refusal = ({ body, operation }: Row.Row): InvalidRequestError | undefined => {
  const checked = checks[operation](body)
  if (Result.isSuccess(checked)) return undefined
  const issue = AnswerDecoder.issueOf(checked.failure, { prompts: promptsOf(body) })
  return new InvalidRequestError({
    operation,
    sent: false,
    message: `The request was not sent, it does not fit ${operation}: ${issue}. Correct the request.`
  })
}

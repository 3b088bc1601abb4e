/** Checks requests by the schema of their operation: one that does not fit is not sent. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { InvalidRequestError } from "../domain/TogetherError.ts"
import * as AnswerDecoder from "./AnswerDecoder.ts"
import { promptsOf } from "./redact/Redact.ts"
import type { Route } from "./Routes.ts"

/** Makes the error of a request that does not fit; nothing where it does. */
export type RequestCheck = (request: unknown) => InvalidRequestError | undefined

/** Makes the check of a route. */
export const make = <Req>(
  { recognize, request, ...route }: Pick<Route<Req, unknown>, "operation" | "recognize" | "request">,
  operation: string = route.operation
): RequestCheck => {
  const check = Schema.decodeUnknownResult(request)
  return (request) => {
    if (recognize?.request(request)) return undefined
    const checked = check(request)
    if (Result.isSuccess(checked)) return undefined
    const issue = AnswerDecoder.issueOf(checked.failure, { prompts: promptsOf(request) })
    return new InvalidRequestError({
      operation,
      sent: false,
      message: `The request was not sent, it does not fit ${operation}: ${issue}. Correct the request.`
    })
  }
}

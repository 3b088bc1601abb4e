/**
 * The tokens of a row: how many it may take and what it may cost, before it is sent, and how many it took, by its answer.
 */
import type { TokenEstimate } from "../domain/Call.ts"
import type * as Usage from "../domain/Usage.ts"
import type * as Price from "../policy/Price.ts"
import * as AnswerError from "../together/error/AnswerError.ts"
import * as Routes from "../together/Routes.ts"
import type * as Row from "./Row.ts"

/** Estimates the tokens of a row. */
export const estimate = (row: Row.Row): TokenEstimate =>
  // the routes only read the fields of their own requests, which the row was checked for
  Routes.inference[row.operation].estimate(row.body as never)

/** Prices a row before it is sent, as its call is priced: by its tokens, an image by its size. */
export const cost = (row: Row.Row, tokens: TokenEstimate, lookup: Price.Lookup): Price.Estimate =>
  // as above; all of these operations cost something
  Routes.inference[row.operation].money!.before(lookup(row.model), row.body as never, tokens)

/** Reads what the answer to a row used; where it counts the output alone, the input is that of the estimate. */
export const used = (row: Row.Row, body: unknown): Usage.Usage | undefined =>
  AnswerError.usageOf(body) ?? AnswerError.usageOf(body, { estimatedInput: estimate(row).inputTokens })

/**
 * The guards that a context brings.
 *
 * A client asks two contexts: that of the fiber that calls, whose guards come first, and the one it was made in. So a guard
 * that reaches only one of the two, such as a layer merged beside the client's, guards all the same.
 */
import * as Context from "effect/Context"
import * as Breaker from "../guard/Breaker.ts"
import * as Credits from "../guard/Credits.ts"
import * as Lanes from "../guard/Lanes.ts"
import { RetryBudget } from "../guard/RetryBudget.ts"

/** Holds the guards of one context, as far as it has them. */
export interface ContextGuards {
  readonly lanes: Lanes.Lanes["Service"] | undefined
  readonly credits: Credits.Service | undefined
  readonly breaker: Breaker.Breaker | undefined
  readonly retryBudget: RetryBudget | undefined
}

/** Reads the guards of a context. */
export const of = (context: Context.Context<never>): ContextGuards => ({
  lanes: Context.getOrUndefined(context, Lanes.Lanes),
  credits: Context.getOrUndefined(context, Credits.Credits),
  breaker: Context.getOrUndefined(context, Breaker.Breaker),
  retryBudget: Context.getOrUndefined(context, RetryBudget)
})

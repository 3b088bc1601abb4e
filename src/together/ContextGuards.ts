/**
 * The guards that a context brings.
 *
 * A client looks in two contexts: first in the one it was made in, and then, for what that lacks, in that of the
 * calling fiber. So a guard that is in only one of the two, such as a layer merged beside the client's, still guards;
 * and a guard that the client was given stays in force, whatever others of its kind the program has.
 */
import * as Context from "effect/Context"
import * as Breaker from "../guard/Breaker.ts"
import * as Credits from "../guard/credits/Credits.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import { RetryBudget } from "../guard/retry/RetryBudget.ts"

/** Holds guards, as far as there are any. */
export interface ContextGuards {
  readonly lanes: Lanes.Service | undefined
  readonly credits: Credits.Service | undefined
  readonly breaker: Breaker.Breaker | undefined
  readonly retryBudget: RetryBudget | undefined
}

const none: Partial<ContextGuards> = {}

/** Reads the guards of a context, except those that are given. */
export const of = (context: Context.Context<never>, given: Partial<ContextGuards> = none): ContextGuards => ({
  lanes: given.lanes ?? Context.getOrUndefined(context, Lanes.Lanes),
  credits: given.credits ?? Context.getOrUndefined(context, Credits.Credits),
  breaker: given.breaker ?? Context.getOrUndefined(context, Breaker.Breaker),
  retryBudget: given.retryBudget ?? Context.getOrUndefined(context, RetryBudget)
})

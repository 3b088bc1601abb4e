/**
 * Reads how an attempt ended, as far as its lane is concerned.
 *
 * | the attempt ended with | sample |
 * | --- | --- |
 * | a value | `Success` |
 * | `RateLimitError` | `Throttled` |
 * | `OverloadedError` | `Overloaded` |
 * | `ServerError`, `ConnectionError`, `StreamError` | `Failed` |
 * | `RequestTimeoutError` | `TimedOut` |
 * | an error of another library | what its shape says (`domain/ForeignError`): its tag, its status, the code of its transport |
 * | a shape that says nothing | `Ignored`, `unread` |
 * | anything else | `Ignored`, as not sent where it cannot have arrived |
 */
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ForeignError from "../../domain/ForeignError.ts"
import * as TogetherError from "../../domain/TogetherError.ts"
import type { Usage } from "../../domain/Usage.ts"
import type { Sample } from "./LaneContract.ts"

/** Configures {@link sampleOf}. */
export interface SampleOptions<in A> {
  /** Reads what an answer consumed; `Usage.fromAnswer` knows the usual shapes. Default: the estimate stands. */
  readonly usage?: ((answer: A) => Usage | undefined) | undefined
}

/** Reads the sample of a failure, from what the one who sent it knows besides. */
export const ofFailure = (error: TogetherError.TogetherError | undefined, sent: boolean): Sample => {
  const meaning = ForeignError.read(error)
  if (meaning === undefined || meaning._tag === "Ignored") return { _tag: "Ignored", sent }
  // a wait without end is none that another library means; one of ours pauses as long as a pause may be
  return "retryAfter" in meaning ? { ...meaning, retryAfter: error?.retryAfter } : meaning
}

const unread: Sample = { _tag: "Ignored", sent: true, unread: true }

const ofError = (error: unknown): Sample =>
  TogetherError.isTogetherError(error)
    ? ofFailure(error, TogetherError.mayHaveArrived(error))
    : ForeignError.read(error) ?? unread

/**
 * Reads what an attempt's exit means for its lane: the `classify` of `run` where none is given.
 *
 * **Details**: a `TogetherError` by its class, an error of any other kind by its shape: a `_tag` of ours (`RateLimitError`
 * with its `scope` and its `retryAfter`), else an HTTP status (`status`, `statusCode`, `response.status`) and the wait that
 * `headers` ask for, else the code or the name of a timeout or a broken connection; its own, or of its `reason` or `cause`.
 * An error that says none of this is `Ignored` and `unread`, and its tokens count as used.
 *
 * **Gotchas**: a status alone does not say which limit was met. `Together.errorFromResponse` reads the body too.
 *
 * **Example**
 *
 * ```ts
 * import { Duration, Exit } from "effect"
 * import { Lane, TogetherError, Usage } from "effect-together"
 *
 * const refused = new TogetherError.RateLimitError({
 *   message: "429",
 *   scope: "requests",
 *   retryAfter: Duration.seconds(2)
 * })
 * const sample = Lane.sampleOf(Exit.fail(refused))
 * console.log(sample._tag) // => Throttled
 *
 * const answer = { usage: { prompt_tokens: 20, completion_tokens: 30 } }
 * Lane.sampleOf(Exit.succeed(answer), { usage: Usage.fromAnswer }) // => { _tag: "Success", tokens: 50 }
 * ```
 */
export const sampleOf = <A>(exit: Exit.Exit<A, unknown>, options?: SampleOptions<A>): Sample => {
  if (Exit.isSuccess(exit)) {
    const usage = options?.usage?.(exit.value)
    return usage === undefined
      ? { _tag: "Success" }
      : { _tag: "Success", tokens: usage.inputTokens + usage.outputTokens }
  }
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return { _tag: "Ignored", sent: true }
  // an error that cannot be read, such as a proxy that throws, says nothing
  return Result.getOrElse(Result.try(() => ofError(error.value)), () => unread)
}

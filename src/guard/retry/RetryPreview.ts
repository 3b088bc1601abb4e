/**
 * Lists the delays that a schedule would give, without waiting for them.
 *
 * For tests ("does this document do what I mean"), docs and plots. Attempts
 * take no time; waits pass on a simulated clock, so limits by elapsed time
 * hold. Chance comes from the seed: same seed, same delays.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { ServerError } from "../../domain/TogetherError.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as Deadline from "../Deadline.ts"
import * as RetryDocument from "./RetryDocument.ts"
import { CallStart, decisionOf } from "./RetrySchedule.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Attempts of the simulated call where no inputs say otherwise. */
  attempts: 10
} as const

/** Configures {@link preview}. */
export interface PreviewOptions<out I> {
  /** The error of each failed attempt; the last repeats. Default: a `ServerError` without a hint. */
  readonly inputs?: readonly [I, ...Array<I>] | undefined
  /** Attempts of the simulated call, the first included: one more than delays. Default 10, or `inputs` and one more. */
  readonly attempts?: number | undefined
  /** Seed of the chance. Default: the `Random` of the context, so that a program's own seed holds. */
  readonly seed?: string | number | undefined
}

const sample = new ServerError({ message: "The provider failed (500): a sample error of Retry.preview.", status: 500 })

/**
 * Lists the delays of a schedule or of a document, up to where it stops.
 *
 * **Errors**: throws `RangeError` for a bad document or number of attempts; fails with the errors of the schedule.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Retry } from "effect-together"
 *
 * const delays = Retry.preview({ type: "exponential", base: "1 second", cap: "5 seconds" }, { attempts: 5 })
 *
 * await Effect.runPromise(Effect.map(delays, (all) => all.map(String)))
 * // => ["1000 millis", "2000 millis", "4000 millis", "5000 millis"]
 * ```
 */
export const preview = <I = unknown, E = never, R = never>(
  schedule: Schedule.Schedule<unknown, I, E, R> | RetryDocument.RetryDocumentJson,
  options: PreviewOptions<I> = {}
): Effect.Effect<ReadonlyArray<Duration.Duration>, E, R> => {
  const attempts = OptionCheck.integer(
    "Retry.preview",
    "attempts",
    options.attempts ?? (options.inputs === undefined ? defaults.attempts : options.inputs.length + 1),
    1
  )
  const given: Schedule.Schedule<unknown, I, E, R> = "type" in schedule
    ? RetryDocument.fromDocument(schedule)
    : schedule
  const inputs = options.inputs
  // without inputs I is what the schedule accepts: `unknown`, or errors of the provider, of which the sample is one
  const inputAt = (index: number): I =>
    (inputs === undefined ? sample : inputs[Math.min(index, inputs.length - 1)]) as I
  const program = simulate(given, inputAt, attempts - 1)
  return options.seed === undefined ? program : Random.withSeed(program, options.seed)
}

const simulate = Effect.fnUntraced(
  function*<I, E, R>(
    schedule: Schedule.Schedule<unknown, I, E, R>,
    inputAt: (index: number) => I,
    waits: number
  ): Effect.fn.Return<ReadonlyArray<Duration.Duration>, E, R> {
    const step = yield* Schedule.toStep(schedule)
    const all: Array<Duration.Duration> = []
    let now = 0
    while (all.length < waits) {
      const decision = yield* decisionOf(step(now, inputAt(all.length)))
      if (decision === undefined) break
      const [, delay] = decision
      all.push(delay)
      now += Duration.toMillis(delay)
    }
    return all
  },
  // the start and the deadline of a real call have no meaning on the simulated clock
  Effect.provideService(CallStart, undefined),
  Effect.provideService(Deadline.CurrentDeadline, undefined)
)

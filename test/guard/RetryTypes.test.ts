/**
 * What the compiler infers of retry schedules where Effect takes any schedule, and of schedules by tag.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import {
  isRetryable,
  type RateLimitError,
  type ServerError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Together from "../../src/together/Together.ts"
import * as TogetherLanguageModel from "../../src/together/ai/TogetherLanguageModel.ts"

const ask: Effect.Effect<string, ServerError> = Effect.succeed("done")
const twice = Schedule.recurs(2)

describe("Retry.policy", () => {
  it("is what it is wherever any schedule is taken", () => {
    expectTypeOf(Retry.policy()).toEqualTypeOf<Schedule.Schedule<Duration.Duration>>()
    expectTypeOf(Schedule.max([Retry.policy(), twice])).toEqualTypeOf<Schedule.Schedule<Duration.Duration>>()
    expectTypeOf(Schedule.min([Retry.policy(), twice])).toEqualTypeOf<Schedule.Schedule<Duration.Duration>>()
    expectTypeOf(Together.layerConfig({ retry: Schedule.max([Retry.policy(), twice]) })).not.toBeAny()
    expectTypeOf(Retry.layer(Schedule.min([Retry.policy(), twice]))).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Effect.retry(ask, Schedule.max([Retry.policy(), twice]))).toEqualTypeOf<typeof ask>()
    expectTypeOf(Effect.retry(ask, { schedule: Retry.policy() })).toEqualTypeOf<typeof ask>()
    expectTypeOf(ask.pipe(Effect.retry({ schedule: Retry.policy() }))).toEqualTypeOf<typeof ask>()
  })

  it("asks nothing more of an execution plan", () => {
    const provide = TogetherLanguageModel.model("m")
    const plan = ExecutionPlan.make({ provide, attempts: 2, schedule: Retry.policy() })
    expectTypeOf(plan).toEqualTypeOf(ExecutionPlan.make({ provide, attempts: 2, schedule: twice }))
  })
})

describe("the combinators", () => {
  it("add nothing where any schedule is taken", () => {
    const all = Schedule.max([
      Retry.fullJitter(twice),
      Retry.retryAfter(twice),
      twice.pipe(Retry.retryAfter()),
      Retry.whileRetryable(twice),
      Retry.maxAttempts(twice, 2),
      Retry.maxElapsed(twice, 2),
      Retry.when(twice, () => true, twice),
      Retry.byTag(twice, { ServerError: twice }),
      twice.pipe(Retry.byTag({ ServerError: twice }))
    ])
    expectTypeOf(all).toEqualTypeOf<Schedule.Schedule<Duration.Duration>>()
  })
})

describe("schedules by tag", () => {
  const onLimit = twice.pipe(
    Schedule.setInputType<RateLimitError>(),
    Schedule.while(({ input }) => input.scope !== "model")
  )
  const onAny = twice.pipe(Schedule.setInputType<TogetherError>())
  class Busy extends Data.TaggedError("Busy")<{ readonly seconds: number }> {}
  const onBusy = twice.pipe(Schedule.setInputType<Busy>())

  it("may read the errors of their own tag", () => {
    type Ours = Schedule.Schedule<unknown, TogetherError>
    expectTypeOf(twice.pipe(Retry.byTag({ RateLimitError: onLimit }))).toEqualTypeOf<Ours>()
    expectTypeOf(Retry.byTag(twice, { RateLimitError: onLimit, AuthError: twice })).toEqualTypeOf<Ours>()
    expectTypeOf(Retry.byTag(onAny, { RateLimitError: onLimit })).toEqualTypeOf<Ours>()
    expectTypeOf(Retry.run(ask, twice.pipe(Retry.byTag({ RateLimitError: onLimit })))).toEqualTypeOf<typeof ask>()
  })

  it("may all read the same errors, ours or others'", () => {
    expectTypeOf(twice.pipe(Retry.byTag({ RateLimitError: onAny, ServerError: onAny }))).toEqualTypeOf<
      Schedule.Schedule<unknown, TogetherError>
    >()
    expectTypeOf(twice.pipe(Retry.byTag({ Busy: onBusy }))).toEqualTypeOf<Schedule.Schedule<unknown, Busy>>()
    expectTypeOf(Retry.policy({ tags: { Busy: onBusy } })).toEqualTypeOf<Schedule.Schedule<Duration.Duration, Busy>>()
    const busy: Effect.Effect<string, Busy> = Effect.succeed("done")
    const again = Retry.run(busy, Retry.byTag(twice, { Busy: onBusy }), { isRetryable: () => true })
    expectTypeOf(again).toEqualTypeOf<typeof busy>()
  })

  it("read nothing of an error with another tag", () => {
    type OfLimits = Schedule.Schedule<unknown, RateLimitError>
    expectTypeOf<OfLimits>().not.toExtend<Schedule.Schedule<unknown, TogetherError>>()
    expectTypeOf(twice.pipe(Retry.byTag({ RatelimitError: onLimit }))).toEqualTypeOf<OfLimits>()
    expectTypeOf(Retry.byTag(twice, { ServerError: onLimit })).toEqualTypeOf<OfLimits>()
  })

  it("may fail and ask for services", () => {
    const failing = Schedule.tap(twice, () => Effect.fail("broke" as const))
    expectTypeOf(Retry.byTag(twice, { ServerError: failing })).toEqualTypeOf<
      Schedule.Schedule<unknown, unknown, "broke">
    >()
    expectTypeOf(twice.pipe(Retry.byTag({ ServerError: failing, RateLimitError: onLimit }))).toEqualTypeOf<
      Schedule.Schedule<unknown, TogetherError, "broke">
    >()
  })
})

describe("Retry.run", () => {
  class Busy extends Data.TaggedError("Busy")<{ readonly seconds: number }> {}
  const vendor: Effect.Effect<string, Busy> = Effect.succeed("done")
  const always = (error: unknown): boolean => error !== undefined
  const log = ({ attempt }: Retry.RetryEvent<unknown>) => Effect.log(attempt)

  it("keeps the errors of the effect in a pipe, also with functions that take any", () => {
    expectTypeOf(vendor.pipe(Retry.run({ isRetryable: always }))).toEqualTypeOf<typeof vendor>()
    expectTypeOf(vendor.pipe(Retry.run(twice, { isRetryable: always, onRetry: log }))).toEqualTypeOf<typeof vendor>()
    expectTypeOf(vendor.pipe(Retry.run({ isRetryable: (error) => error.seconds < 9, onStop: ({ error }) => error })))
      .toEqualTypeOf<typeof vendor>()
    expectTypeOf(ask.pipe(Retry.run(twice, { onRetry: log }))).toEqualTypeOf<typeof ask>()
    expectTypeOf(ask.pipe(Retry.run({ isRetryable }))).toEqualTypeOf<typeof ask>()
    expectTypeOf(ask.pipe(Retry.run())).toEqualTypeOf<typeof ask>()
  })

  it("reads them from its functions where it is made before the effect", () => {
    const again = Retry.run({ isRetryable: ({ seconds }: Busy) => seconds < 9 })
    expectTypeOf(again(vendor)).toEqualTypeOf<typeof vendor>()
  })
})

/**
 * What the compiler infers of guards in a pipe, in a flow and by themselves, with functions written in place and not.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { flow, pipe } from "effect/Function"
import * as Stream from "effect/Stream"
import type * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Fallback from "../../src/guard/Fallback.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import type * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Price from "../../src/policy/Price.ts"

class VendorError extends Data.TaggedError("VendorError")<{ readonly status: number }> {}

interface Answer {
  readonly text: string
  readonly tokens: number
}
const vendor: Effect.Effect<Answer, VendorError> = Effect.succeed({ text: "hello", tokens: 2 })

describe("Lane.run", () => {
  type Paced = Effect.Effect<Answer, VendorError | TogetherError.LaneOverflowError, Lanes.Lanes>
  const sample = (exit: Exit.Exit<unknown, VendorError>): Lane.Sample => ({
    _tag: exit._tag === "Success" ? "Success" : "Failed"
  })

  it("keeps the types of the effect in a pipe", () => {
    expectTypeOf(vendor.pipe(Lane.run("k", { tokens: 1 }))).toEqualTypeOf<Paced>()
    expectTypeOf(vendor.pipe(Lane.run("k", { tokens: 1, classify: Lane.sampleOf }))).toEqualTypeOf<Paced>()
    expectTypeOf(vendor.pipe(Lane.run("k", { tokens: 1, classify: sample }))).toEqualTypeOf<Paced>()
    expectTypeOf(Lane.run(vendor, "k", { tokens: 1, classify: sample })).toEqualTypeOf<Paced>()
    expectTypeOf(
      vendor.pipe(Lane.run("k", {
        tokens: 1,
        classify: (exit) => Exit.isSuccess(exit) ? { _tag: "Success", tokens: exit.value.tokens } : { _tag: "Failed" }
      }))
    ).toEqualTypeOf<Paced>()
  })

  it("keeps them where the guard is made before the effect", () => {
    expectTypeOf(Lane.run("k", { tokens: 1 })(vendor)).toEqualTypeOf<Paced>()
    expectTypeOf(Lane.run("k", { tokens: 1, classify: sample })(vendor)).toEqualTypeOf<Paced>()
    expectTypeOf(flow(Lane.run("k", { tokens: 1, classify: sample }), Effect.withSpan("s"))(vendor)).toEqualTypeOf<
      Paced
    >()
  })

  it("takes no effect with an error that its classify does not know", () => {
    const guard = Lane.run("k", { tokens: 1, classify: sample })
    expectTypeOf(guard).parameter(0).toEqualTypeOf<Effect.Effect<unknown, VendorError, unknown>>()
  })
})

describe("Breaker.run", () => {
  type Guarded = Effect.Effect<Answer, VendorError | TogetherError.CircuitOpenError, Breaker.Breaker>
  const health = (exit: Exit.Exit<unknown, VendorError>): Breaker.Outcome => ({ _tag: exit._tag })

  it("keeps the types of the effect", () => {
    expectTypeOf(vendor.pipe(Breaker.run({ key: "k" }))).toEqualTypeOf<Guarded>()
    expectTypeOf(vendor.pipe(Breaker.run({ key: "k", classify: health }))).toEqualTypeOf<Guarded>()
    expectTypeOf(
      vendor.pipe(Breaker.run({
        key: "k",
        classify: (exit) => Exit.isSuccess(exit) && exit.value.tokens > 0 ? { _tag: "Success" } : { _tag: "Failure" }
      }))
    ).toEqualTypeOf<Guarded>()
    expectTypeOf(Breaker.run({ key: "k" })(vendor)).toEqualTypeOf<Guarded>()
    expectTypeOf(flow(Breaker.run({ key: "k", classify: health }), Effect.withSpan("s"))(vendor)).toEqualTypeOf<
      Guarded
    >()
  })

  it("keeps them as a method, too", () => {
    const guarded = Effect.map(Breaker.Breaker, (breaker) => breaker.run({ key: "k", classify: health })(vendor))
    expectTypeOf<Effect.Success<typeof guarded>>()
      .toEqualTypeOf<Effect.Effect<Answer, VendorError | TogetherError.CircuitOpenError>>()
  })
})

const estimate = Price.exactly(1n)
const costOf = ({ tokens }: { readonly tokens: number }) => Price.known(BigInt(tokens))

type Refused = VendorError | TogetherError.BudgetExceededError | TogetherError.InsufficientCreditsError

describe("Credits.run", () => {
  type Paid = Effect.Effect<Answer, Refused, Credits.Credits>

  it("keeps the types of the effect", () => {
    expectTypeOf(vendor.pipe(Credits.run({ estimate, cost: costOf }))).toEqualTypeOf<Paid>()
    expectTypeOf(vendor.pipe(Credits.run({ estimate, cost: ({ text }) => Price.known(BigInt(text.length)) })))
      .toEqualTypeOf<Paid>()
    expectTypeOf(Credits.run({ estimate, cost: costOf })(vendor)).toEqualTypeOf<Paid>()
    expectTypeOf(flow(Credits.run({ estimate, cost: costOf }), Effect.withSpan("s"))(vendor)).toEqualTypeOf<Paid>()
  })
})

describe("Credits.stream", () => {
  type Paid = Stream.Stream<Answer, Refused, Credits.Credits>
  const answers = Stream.fromEffect(vendor)

  it("keeps the types of the stream", () => {
    expectTypeOf(answers.pipe(Credits.stream({ estimate, cost: costOf }))).toEqualTypeOf<Paid>()
    expectTypeOf(answers.pipe(Credits.stream({ estimate, cost: ({ text }) => Price.known(BigInt(text.length)) })))
      .toEqualTypeOf<Paid>()
    expectTypeOf(Credits.stream({ estimate, cost: costOf })(answers)).toEqualTypeOf<Paid>()
  })
})

describe("Fallback.run", () => {
  type Answered = Effect.Effect<"big" | "small", VendorError>
  const ask = <M>(model: M): Effect.Effect<M, VendorError> => Effect.as(vendor, model)

  it("knows its targets in a pipe, and before there are any by its function", () => {
    const targets = ["big", "small"] as const
    expectTypeOf(pipe(targets, Fallback.run((model) => ask(model)))).toEqualTypeOf<Answered>()
    expectTypeOf(pipe(targets, Fallback.run(ask, { when: (error) => error.status === 503 }))).toEqualTypeOf<Answered>()
    expectTypeOf(pipe(targets, Fallback.stream((model) => Stream.fromEffect(ask(model)))))
      .toEqualTypeOf<Stream.Stream<"big" | "small", VendorError>>()
    expectTypeOf(Fallback.run((model: string) => ask(model)))
      .toEqualTypeOf<(targets: readonly [string, ...Array<string>]) => Effect.Effect<string, VendorError>>()
    expectTypeOf(Fallback.run(targets, (model) => ask(model))).toEqualTypeOf<Answered>()
  })
})

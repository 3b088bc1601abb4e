import { Effect, Layer, Schema } from "effect"
import { LanguageModel, type Model, type Prompt, Tool, Toolkit } from "effect/ai"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import * as TogetherLanguageModel from "../../src/together/ai/TogetherLanguageModel.ts"

export const name = "openai/gpt-oss-20b"

type Needs = LanguageModel.LanguageModel | TogetherTest.TogetherTest

export const run = <A, E, R extends Needs | Model.ModelName | Model.ProviderName>(
  program: Effect.Effect<A, E, R>,
  config?: TogetherLanguageModel.Config
) =>
  VirtualClock.wrap(
    program.pipe(
      Effect.provide(Layer.provideMerge(TogetherLanguageModel.model(name, config), TogetherTest.layer()))
    )
  )

export const bodies = Effect.map(TogetherTest.sent, (sent) => sent.map((one) => one.body))

export const bodyFor = (prompt: Prompt.RawInput, config?: TogetherLanguageModel.Config) =>
  run(
    Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.chat("ok"))
      yield* LanguageModel.generateText({ prompt })
      return (yield* bodies)[0]
    }),
    config
  )

const Weather = Tool.make("weather", {
  description: "Says the weather.",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ celsius: Schema.Finite })
})
const Clock = Tool.make("clock", { success: Schema.String })
const Day = Tool.make("day", {
  parameters: Schema.Struct({ on: Schema.Date, zone: Schema.optional(Schema.String) }),
  success: Schema.String
})
const Careful = Tool.make("careful", {
  parameters: Schema.Struct({ n: Schema.Int }),
  success: Schema.String,
  failureMode: "return"
})
export const toolkit = Toolkit.make(Weather, Clock, Day, Careful)
export const handlers = toolkit.toLayer({
  weather: ({ city }) => Effect.succeed({ celsius: city.length }),
  clock: () => Effect.succeed("noon"),
  day: ({ on, zone }) => Effect.succeed(`${on.getUTCFullYear()} ${zone ?? "UTC"}`),
  careful: ({ n }) => Effect.succeed(`${n}`)
})

export const call = (name: string | undefined, args: string | null, id: string | null = "call-1", index = 0) => ({
  index,
  ...(id === null ? undefined : { id }),
  type: "function",
  function: { ...(name === undefined ? undefined : { name }), arguments: args }
})

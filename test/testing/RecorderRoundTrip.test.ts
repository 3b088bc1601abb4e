import { describe, expect, it } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Recorder from "../../src/testing/Recorder.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import * as TogetherLanguageModel from "../../src/together/ai/TogetherLanguageModel.ts"

const model = "openai/gpt-oss-20b"

/** Texts that a user writes, and that a schema may hold as well. */
const texts = [
  "strongly_positive",
  "San Francisco",
  "barometric-pressure",
  "temperature_celsius",
  "Which of {\"city\":\"San Francisco\"} is it?",
  "How is the weather out west?"
] as const
const names = ["key", "token", "sort_key", "api_key", "secret_word", "temperature_celsius", "city"] as const
const tools = ["look_up", "get_weather_forecast", "temperature_celsius"] as const

const Step = Schema.Struct({
  kind: Schema.Literals(["chat", "chatStream", "left", "object", "embeddings"]),
  form: Schema.Literals(["text", "tool", "schema"]),
  text: Schema.Literals(texts),
  name: Schema.Literals(names),
  value: Schema.Literals(texts),
  tool: Schema.Literals(tools)
})
type Step = typeof Step.Type

const schemaOf = ({ name, value }: Step) => ({
  type: "object",
  properties: {
    [name]: { type: "string", enum: [value, "another one of them"] },
    said: { type: "string", description: "What a model finds out" },
    kind: { const: "weather_report" },
    private_note: { type: "string", default: "temperature_celsius" }
  },
  required: [name, "said", "private_note"]
})

const requestOf = (step: Step) => ({
  model,
  messages: [{ role: "user", content: step.text }],
  metadata: { [step.name]: "descending" },
  ...(step.form === "tool"
    ? {
      tools: [{ type: "function", function: { name: step.tool, parameters: schemaOf(step) } }],
      tool_choice: "required" as const
    }
    : step.form === "schema"
    ? { response_format: { type: "json_schema" as const, json_schema: { name: "report", schema: schemaOf(step) } } }
    : undefined)
})

/** Runs one step, and tells all that a program may know of it. */
const run = (step: Step): Effect.Effect<unknown, unknown, Together.Together | LanguageModel.LanguageModel> =>
  Effect.gen(function*() {
    const together = yield* Together.Together
    const request = requestOf(step)
    switch (step.kind) {
      case "chat":
        return yield* together.chat(request)
      case "chatStream":
        return yield* Stream.runCollect(together.chatStream(request))
      case "left": {
        const seen: Array<unknown> = []
        const reading = Stream.runForEach(together.chatStream(request), (event) => Effect.sync(() => seen.push(event)))
        return [(yield* Effect.timeoutOption(reading, "1225 millis"))._tag, seen]
      }
      case "object": {
        const schema = Schema.Struct({
          [step.name]: Schema.Literals([step.value, "another one of them"]),
          said: Schema.String
        })
        const { usage, value } = yield* LanguageModel.generateObject({
          prompt: step.text,
          schema,
          objectName: "report"
        })
        return { usage, value }
      }
      case "embeddings":
        return yield* together.embeddings({ model: "BAAI/bge-base-en-v1.5", input: step.text })
    }
  })

const outcomes = (steps: ReadonlyArray<Step>, client: HttpClient.HttpClient) => {
  const together = Together.layerHttp({ apiKey: Redacted.make("tgp_v1_0123456789abcdefghij") }).pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
  )
  return Effect.forEach(steps, (step) =>
    Effect.map(Effect.exit(run(step)), (exit) => {
      if (Exit.isSuccess(exit)) return JSON.parse(JSON.stringify(exit.value))
      const [reason] = exit.cause.reasons
      if (reason?._tag !== "Fail") return String(exit.cause)
      const { _tag, attempts, phase, retryAfter, status, usage } = Object(reason.error)
      return { _tag, attempts, phase, status, usage, retryAfter: String(retryAfter) }
    })).pipe(
      Effect.provide(Layer.provideMerge(TogetherLanguageModel.layer({ model }), together)),
      (program) => VirtualClock.wrap(program)
    )
}

const options = (probability: number): Simulation.Options => ({
  latency: { kind: "constant", value: 2 },
  firstToken: { kind: "constant", value: 0.5 },
  outputTokens: { kind: "constant", value: 30 },
  faults: ([429, 422, 503, 502, "reset", "cut", "error-frame", "stall", "hang"] as const).map((kind) => ({
    kind,
    probability
  }))
})

/** Records steps, and replays them. */
const twice = (steps: ReadonlyArray<Step>, options: Simulation.Options, seed: number) =>
  Effect.gen(function*() {
    const recording = Recorder.record(SimulatedProvider.make(options, seed).client)
    const met = yield* outcomes(steps, recording.client)
    const cassette = yield* recording.cassette
    const replayed = yield* outcomes(steps, yield* Recorder.replay(cassette, { pace: "recorded" }))
    return { met, cassette, replayed }
  })

describe("Recorder, with default options", () => {
  it.effect.prop(
    "replays a program with the same answers, tools, finish reasons, counts and errors",
    {
      steps: Schema.Array(Step).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
      seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
    },
    ({ seed, steps }) =>
      Effect.map(
        twice(steps, options(seed % 2 === 0 ? 0.1 : 0), seed),
        ({ met, replayed }) => expect(replayed).toStrictEqual(met)
      ),
    { arbitrary: { runs: 12, seed: "recorder", size: 60 } }
  )

  it.effect("replays a stream that went silent as one that does, not as one that was cut", () =>
    Effect.gen(function*() {
      const stream: Step = {
        kind: "chatStream",
        form: "text",
        text: "San Francisco",
        name: "key",
        value: "San Francisco",
        tool: "look_up"
      }
      const { cassette, met, replayed } = yield* twice([stream], { faults: [{ kind: "stall", probability: 1 }] }, 1)
      expect(met).toMatchObject([{ _tag: "RequestTimeoutError", phase: "idle" }])
      expect(replayed).toStrictEqual(met)
      expect(cassette.exchanges[0]?.response).toMatchObject({ end: "stall" })
    }))
})

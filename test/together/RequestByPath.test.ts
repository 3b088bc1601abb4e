import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, Schema, Stream } from "effect"
import { Budget, Credits, Lanes, Price, Together } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import * as Layer from "effect/Layer"

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

const virtually = <A, E>(effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>) =>
  VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer()))

const speech = {
  path: "/audio/speech",
  body: { model: "cartesia/sonic", input: "hello", voice: "v" },
  cost: "free"
} as const
const sound = Uint8Array.of(0x49, 0x44, 0x33, 0xff, 0xfb, 0x90, 0x00)
const audio = Reply.raw(sound, { contentType: "audio/mpeg" })

describe("requestBytes", () => {
  it.effect("keeps what its query asks for out of errors", () =>
    virtually(Effect.gen(function*() {
      const about = "the patient is Karl Maier"
      yield* TogetherTest.always("*", Reply.raw(`Cannot GET /find?q=${encodeURIComponent(about)}`, { status: 404 }))
      const find = (request: { readonly path: string; readonly query?: { readonly q: string } }) =>
        Effect.flip(use((together) => together.requestBytes(request)))
      const errors = yield* Effect.all([
        find({ path: "/find", query: { q: about } }),
        find({ path: `/find?q=${encodeURIComponent(about)}` })
      ])
      expect(errors.map((error) => error.body)).toEqual(Array(2).fill("Cannot GET /find?q=[prompt]"))
    })))

  it.effect("gives bytes as they came", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(audio)
      expect([...(yield* use((together) => together.requestBytes(speech)))]).toEqual([...sound])
      expect((yield* TogetherTest.log).map((entry) => entry.sent.body)).toEqual([speech.body])
    })))

  it.effect("asks for any type, uncompressed, unless the client's headers say otherwise", () =>
    Effect.gen(function*() {
      const accepted = (headers: Readonly<Record<string, string>>) =>
        VirtualClock.wrap(
          Effect.gen(function*() {
            yield* TogetherTest.reply(audio)
            yield* use((together) => together.requestBytes(speech))
            return (yield* TogetherTest.log).map((
              { sent }
            ) => [sent.headers["accept"], sent.headers["accept-encoding"]])
          }).pipe(Effect.provide(TogetherTest.layer({ together: { headers } })))
        )
      expect(yield* accepted({})).toEqual([["*/*", "identity"]])
      const own = { Accept: "audio/wav", "Accept-Encoding": "gzip" }
      expect(yield* accepted(own)).toEqual([["audio/wav", "gzip"]])
    }))

  it.effect("fails by what a refusal says", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.error(404))
      const error = yield* Effect.flip(use((together) => together.requestBytes(speech)))
      expect(error).toMatchObject({ _tag: "NotFoundError", operation: "request" })
    })))

  it.effect("is refused by a budget where nothing says what it may cost", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const { cost: _, ...unpriced } = speech
        const errors = yield* use((together) =>
          Effect.all([
            Effect.flip(together.requestBytes(unpriced)),
            Effect.flip(Stream.runDrain(together.requestStream({ ...unpriced, response: Schema.Unknown })))
          ])
        )
        expect(errors.map((error) => error._tag)).toEqual(["BudgetExceededError", "BudgetExceededError"])
        yield* TogetherTest.reply(audio)
        const cost = Price.toEstimate(Price.known(1_000_000n))
        yield* use((together) => together.requestBytes({ ...unpriced, cost }))
        const report = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect(report.budgets[0]?.tally).toMatchObject({ settled: 1_000_000n, reserved: 0n })
      }).pipe(
        Effect.provide(
          TogetherTest.layer().pipe(
            Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$1")] }))
          )
        )
      )
    ))

  it.effect("reads a file that is no text", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(audio)
      expect([...(yield* use((together) => together.files.bytes("f")))]).toEqual([...sound])
      expect((yield* TogetherTest.log).map((entry) => entry.sent.path)).toEqual(["/files/f/content"])
    })))
})

const Event = Schema.Struct({ type: Schema.String, delta: Schema.optional(Schema.String) })
const responses = {
  path: "/responses",
  body: { model: "m", input: "?", stream: true },
  cost: "free",
  response: Event
} as const

/** Is the body of an event stream: names and data. */
const events = (...list: ReadonlyArray<readonly [string | undefined, unknown]>) =>
  list.map(([name, data]) =>
    `${name === undefined ? "" : `event: ${name}\n`}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`
  ).join("")

const streaming = (body: string) => Reply.raw(body, { contentType: "text/event-stream" })

const created = ["response.created", { type: "response.created", response: { error: null } }] as const
const piece = (delta: string) => ["response.output_text.delta", { type: "response.output_text.delta", delta }] as const
const completed = ["response.completed", {
  type: "response.completed",
  response: { usage: { input_tokens: 7, output_tokens: 3 } }
}] as const

const run = (
  options?: Together.CallOptions,
  request: Parameters<Together.Service["requestStream"]>[0] = responses
) => use((together) => Stream.runCollect(together.requestStream(request, options)))

describe("requestStream", () => {
  it.effect("gives named events of JSON, in order", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(streaming(events(created, piece("Rhi"), piece("ne"), completed)))
      expect(yield* run()).toEqual([
        { event: "response.created", data: { type: "response.created" } },
        { event: "response.output_text.delta", data: { type: "response.output_text.delta", delta: "Rhi" } },
        { event: "response.output_text.delta", data: { type: "response.output_text.delta", delta: "ne" } },
        { event: "response.completed", data: { type: "response.completed" } }
      ])
    })))

  it.effect.each(["[DONE]", "[done]"])(
    "gives events without a name and ends at %s",
    (done) =>
      virtually(Effect.gen(function*() {
        yield* TogetherTest.reply(streaming(events([undefined, { type: "a" }], [undefined, done], piece("after"))))
        expect(yield* run()).toEqual([{ event: "message", data: { type: "a" } }])
      }))
  )

  it.effect("takes [DONE] alone for no answer", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.always("*", streaming(events([undefined, "[DONE]"])))
      const error = yield* Effect.flip(run())
      expect([error._tag, error.message]).toEqual(["StreamError", expect.stringContaining("ended without an event")])
    })))

  it.effect("skips events without data", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(streaming(events(["ping", ""], [undefined, ""], [undefined, { type: "a" }])))
      expect(yield* run()).toEqual([{ event: "message", data: { type: "a" } }])
    })))

  it.effect("tells the usage of its last event", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(streaming(events(created, completed)))
      const told: Array<Together.Answered> = []
      yield* run({ onAnswered: (answered) => Effect.sync(() => void told.push(answered)) })
      expect(told).toMatchObject([{ attempts: 1, usage: { inputTokens: 7, outputTokens: 3 } }])
    })))

  it.effect.each<readonly [string, string, string]>([
    ["an event named error", events(["error", { type: "error", message: "boom" }]), "boom"],
    ["an error at the top", events([undefined, { error: { message: "boom" } }]), "boom"],
    ["an error by its type", events([undefined, { type: "error", message: "boom" }]), "boom"],
    ["data that is no JSON", events(["x", "nonsense"]), "not JSON"],
    ["an end inside of an event", "data: {\"type\":", "inside of an event"],
    ["no event at all", ": hello\n\n", "without an event"]
  ])(
    "fails on %s before the first event, and is tried again where no repeat does harm",
    ([, body, said]) =>
      virtually(Effect.gen(function*() {
        yield* TogetherTest.reply(streaming(body))
        const error = yield* Effect.flip(run({ retry: Schedule.recurs(1) }))
        expect(error).toMatchObject({ _tag: "StreamError", operation: "request" })
        expect(error.message).toContain(said)
        yield* TogetherTest.reply(streaming(body), streaming(events(created)))
        expect(yield* run({ retry: Schedule.recurs(1) }, { ...responses, idempotent: true })).toHaveLength(1)
      }))
  )

  it.effect("is never tried again after its first event", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(streaming(events(created, ["error", { message: "boom" }])))
      const error = yield* Effect.flip(run(undefined, { ...responses, idempotent: true }))
      expect(error).toMatchObject({ _tag: "StreamError", started: true })
      expect(yield* TogetherTest.log).toHaveLength(1)
      expect(error.message).toContain("Part of the answer arrived; a repeat would generate and bill it again")
    })))

  it.effect("fails where an event does not fit its schema, without quoting it, and frees its permit", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const odd = streaming(events(created, ["x", { type: 7, secret: "diary" }], completed))
        yield* TogetherTest.reply(Reply.withHeaders(odd, { "x-request-id": "r-1" }))
        const error = yield* Effect.flip(run())
        expect(error).toMatchObject({ _tag: "DecodeError", status: 200, requestId: "r-1" })
        expect(error.message).toContain("type")
        expect(error.message).not.toContain("diary")
        yield* TogetherTest.reply(streaming(events(created)))
        expect(yield* run()).toHaveLength(1)
      }).pipe(Effect.provide(TogetherTest.layer().pipe(Layer.provide(Lanes.layer({ maxInFlight: 1 })))))
    ))

  it.effect("is bounded in its silences: until the first event, and between two", () =>
    virtually(Effect.gen(function*() {
      const [silent, stalled] = [0, 1].map((parts) =>
        Reply.stallAt(Reply.events([{ type: "a" }, { type: "b" }]), parts)
      )
      if (silent === undefined || stalled === undefined) return
      yield* TogetherTest.reply(silent, stalled)
      const phases = [yield* Effect.flip(run()), yield* Effect.flip(run())]
      expect(phases).toMatchObject([
        { _tag: "RequestTimeoutError", phase: "first-token" },
        { _tag: "RequestTimeoutError", phase: "idle" }
      ])
    })))

  it.effect("says at its deadline that events had arrived, and not that the error holds them", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.events([{ type: "a" }, { type: "b" }], { every: "10 seconds" }))
      const error = yield* Effect.flip(run({ deadline: "5 seconds" }))
      expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline", started: true })
      expect(error.message).toContain("Part of the answer arrived; a repeat")
    })))

  it.effect("returns its permit when it is interrupted or left", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const slow = Reply.events([{ type: "a" }, { type: "b" }], { every: "1 minute" })
        yield* TogetherTest.reply(slow, slow, streaming(events(created)))
        const fiber = yield* Effect.forkChild(run(), { startImmediately: true })
        yield* Effect.sleep("30 seconds")
        yield* Fiber.interrupt(fiber)
        expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
        yield* use((together) => Stream.runDrain(Stream.take(together.requestStream(responses), 1)))
        expect(yield* run()).toHaveLength(1)
      }).pipe(Effect.provide(
        TogetherTest.layer({ together: { timeouts: { firstToken: "2 minutes", idle: "2 minutes" } } }).pipe(
          Layer.provide(Lanes.layer({ maxInFlight: 1 }))
        )
      ))
    ))
})

import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Layer, Redacted, Schedule, Schema, Stream, Tracer } from "effect"
import {
  Budget,
  type Chat,
  Credits,
  Lanes,
  Price,
  Retry,
  RetryBudget,
  Together,
  type TogetherError
} from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { HttpClient, HttpClientResponse } from "effect/http"
import * as Routes from "../../src/together/Routes.ts"
import { hour, stepped } from "../guard/steps.ts"

const request = { model: "a", messages: [{ role: "user", content: "Name three rivers." }] }
const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)
const once = { retry: Schedule.recurs(0) }

const virtually = <A, E>(
  effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>,
  together: TogetherTest.LayerOptions["together"] = {}
) => VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer({ verifyOnClose: false, together })))

/** How an effect ended and after how many seconds. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(effect)
    return { exit, seconds: ((yield* Clock.currentTimeMillis) - before) / 1000 }
  })

/** A client whose far side answers with web responses; hands back what was sent. */
const answering = (answer: () => Response, options: Partial<Together.Options> = {}) => {
  const sent: Array<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }> = []
  const client = HttpClient.make((request, url) => {
    sent.push({ url: url.href, headers: { ...request.headers } })
    return Effect.succeed(HttpClientResponse.fromWeb(request, answer()))
  })
  const layer = Together.layerHttp({
    apiKey: Redacted.make("a-test-key"),
    baseUrl: "https://proxy.corp/v1",
    ...options
  }).pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
  )
  return { sent, layer }
}

describe("a fallback", () => {
  it.effect.each<["chat" | "chatStream"]>([["chat"], ["chatStream"]])(
    "of a %s takes over within seconds while the model is down, without a deadline and without a breaker",
    ([operation]) =>
      virtually(Effect.gen(function*() {
        const together = yield* Together.Together
        yield* TogetherTest.always({ model: "a" }, Reply.overloaded)
        yield* TogetherTest.always({ model: "b" }, operation === "chat" ? Reply.chat("up") : Reply.stream(["up"]))
        const call = operation === "chat"
          ? Effect.asVoid(together.chat(request, { fallback: ["b"] }))
          : Stream.runDrain(together.chatStream(request, { fallback: ["b"] }))
        const ends = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, n) => n),
          (n) => Effect.andThen(Effect.sleep(n * 100), timed(call)),
          { concurrency: "unbounded" }
        )
        expect(ends.filter(({ exit }) => Exit.isFailure(exit))).toEqual([])
        expect(Math.max(...ends.map(({ seconds }) => seconds))).toBeLessThan(5)
        const asked = (yield* TogetherTest.log).filter(({ sent }) => sent.model === "a").length
        // the run of failures that is an outage, and its probes
        expect([asked > 7, asked < 25]).toEqual([true, true])
      }))
  )
})

describe("a deadline", () => {
  it.effect("of a call stands in place of the client's, with a fallback too", () =>
    virtually(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.after(Reply.chat("Rhine"), "20 seconds"))
        for (const fallback of [undefined, ["b"]]) {
          const { exit, seconds } = yield* timed(
            use((together) => together.chat(request, { deadline: "60 seconds", fallback }))
          )
          expect([Exit.isSuccess(exit), seconds]).toEqual([true, 20])
        }
        const { exit, seconds } = yield* timed(use((together) => together.chat(request, { fallback: ["b"] })))
        expect([Exit.isSuccess(exit), seconds]).toEqual([false, 5])
      }),
      { deadline: "5 seconds" }
    ))

  it.effect.each<["chat" | "chatStream", "before" | "by"]>([
    ["chat", "before"],
    ["chatStream", "before"],
    ["chat", "by"],
    ["chatStream", "by"]
  ])("bounds a %s that waits at an account suspended %s it", ([operation, when]) =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.outOfCredits)
        if (when === "before") yield* Effect.flatMap(Credits.Credits, (credits) => credits.suspend())
        const options = { deadline: "5 seconds" } as const
        const { exit, seconds } = yield* timed(
          use((t) => operation === "chat" ? t.chat(request, options) : Stream.runDrain(t.chatStream(request, options)))
        )
        // a tenth is left for an attempt
        expect(seconds).toBe(4.5)
        expect(Exit.isFailure(exit) && exit.cause.reasons).toMatchObject([
          { _tag: "Fail", error: { _tag: "InsufficientCreditsError", operation } }
        ])
        expect(yield* TogetherTest.log).toHaveLength(when === "before" ? 0 : 1)
      }).pipe(Effect.provide(
        Layer.provideMerge(TogetherTest.layer({ verifyOnClose: false }), Credits.layer({ whenSuspended: "wait" }))
      ))
    ))

  it.effect.each(["chat", "chatStream"] as const)(
    "is shared by all targets of %s",
    (operation) =>
      virtually(Effect.gen(function*() {
        const late = Reply.after(Reply.overloaded, "4 seconds")
        const call = (together: Together.Service, options: { readonly deadline: Duration.Input }) =>
          operation === "chat"
            ? Effect.asVoid(together.chat(request, { ...once, fallback: ["b", "c"], ...options }))
            : Stream.runDrain(together.chatStream(request, { ...once, fallback: ["b", "c"], ...options }))
        yield* TogetherTest.reply(late, late, Reply.after(Reply.stream(["x"]), "4 seconds"))
        const cut = yield* timed(Effect.flip(use((together) => call(together, { deadline: "10 seconds" }))))
        expect(cut).toMatchObject({
          seconds: 10,
          exit: Exit.succeed({ _tag: "RequestTimeoutError", phase: "deadline" })
        })
        // at its very end no other target is turned to
        yield* TogetherTest.reply(late, Reply.after(Reply.overloaded, "5999 millis"), Reply.hang)
        const { exit, seconds } = yield* timed(
          Effect.flip(use((together) => call(together, { deadline: "10 seconds" })))
        )
        expect([Exit.isSuccess(exit), Math.round(seconds)]).toEqual([true, 10])
      }))
  )
})

describe("a program that stands still beyond a deadline", () => {
  it.effect("turns to no other target, and tells what the last one answered", () =>
    VirtualClock.wrap(Effect.clockWith((clock) => {
      let stood = 0n
      const still = Object.assign(Object.create(clock), {
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + stood
      })
      const { layer, sent } = answering(() => {
        stood += 20_000_000_000n
        return new Response("busy", { status: 503 })
      })
      const call = use((together) => together.chat(request, { ...once, fallback: ["b"], deadline: "10 seconds" }))
      return Effect.map(
        Effect.flip(Effect.provide(call, layer)),
        (error) => expect([error, sent.length]).toMatchObject([{ _tag: "OverloadedError", model: "a" }, 1])
      ).pipe(
        Effect.provideService(Clock.Clock, still)
      )
    })))
})

describe("a clock that is set while a call hangs", () => {
  it.effect.each<[string, Together.CallOptions, Reply.Reply, number]>([
    ["limit", {}, Reply.hang, 5],
    ["limit of a stream", {}, Reply.hang, 5],
    ["limit of a stream's first token", {}, Reply.stallAt(Reply.stream(["Rhine"]), 0), 7],
    ["deadline", { deadline: "3 seconds" }, Reply.hang, 3],
    ["deadline of a stream", { deadline: "3 seconds" }, Reply.hang, 3],
    ["deadline of a stream that has begun", { deadline: "3 seconds" }, Reply.stallAt(Reply.stream(["a", "b"]), 1), 3],
    ["deadline of all its models", { deadline: "10 seconds", fallback: ["b"] }, Reply.hang, 10]
  ])(
    "moves no %s",
    ([what, options, reply, seconds]) =>
      Effect.forEach([-hour, hour], (step) =>
        stepped((set) =>
          Effect.gen(function*() {
            yield* TogetherTest.always("*", reply)
            yield* Effect.forkChild(Effect.delay(Effect.sync(() => set(step)), "1 second"))
            const call = use((together) =>
              what.includes("stream")
                // what comes next is asked for after the clock was set
                ? Stream.runForEach(together.chatStream(request, { ...once, ...options }), () => Effect.sleep(2000))
                : Effect.asVoid(together.chat(request, { ...once, ...options }))
            )
            const [took, exit] = yield* Effect.timed(Effect.exit(call))
            expect(Exit.isFailure(exit)).toBe(true)
            expect(Duration.toSeconds(took)).toBe(seconds)
          }).pipe(Effect.provide(TogetherTest.layer({
            verifyOnClose: false,
            together: { timeouts: { headers: "5 seconds", firstToken: "7 seconds" } }
          })))
        ))
  )
})

describe("an estimate", () => {
  const long = "y".repeat(360_000)
  const price = Price.stated({ model: "a", inputUsdPerMillion: 1, outputUsdPerMillion: 1 })

  it.effect.each<[string, object]>([
    ["content", { messages: [{ role: "user", content: long }] }],
    ["reasoning", { messages: [{ role: "assistant", content: "a", reasoning: long }] }],
    ["reasoning content", { messages: [{ role: "assistant", content: "a", reasoning_content: long }] }],
    ["tool calls", {
      messages: [{ role: "assistant", content: null, tool_calls: [{ function: { name: "f", arguments: long } }] }]
    }],
    ["tools", { ...request, tools: [{ function: { name: "f", description: long } }] }],
    ["the schema of the answer", {
      ...request,
      response_format: { type: "json_schema", json_schema: { name: "f", schema: { const: long } } }
    }]
  ])("counts %s, so that a budget refuses them", ([, parts]) =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const error = yield* Effect.flip(use((together) => together.chat({ ...request, max_tokens: 1, ...parts })))
        expect(error._tag).toBe("BudgetExceededError")
        expect(yield* TogetherTest.log).toHaveLength(0)
      }).pipe(
        Effect.provide(
          TogetherTest.layer({ together: { prices: () => price } }).pipe(
            Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$0.10")] }))
          )
        )
      )
    ))
})

describe("Routes.chatEstimate", () => {
  const of = (max_tokens: number | undefined, n: number | undefined) =>
    Routes.chatEstimate({ model: "a", messages: [], max_tokens, n })

  it("counts the choices that set no max_tokens, whose most is assumed", () => {
    expect(of(undefined, undefined)).toEqual({
      inputTokens: 0,
      outputTokens: 512,
      maxOutputTokens: 8192,
      openChoices: 1
    })
    expect(of(undefined, 3)).toMatchObject({ maxOutputTokens: 3 * 8192, openChoices: 3 })
    expect(of(100, 3)).toEqual({ inputTokens: 0, outputTokens: 300, maxOutputTokens: 300 })
    expect(of(0, 3)).toEqual({ inputTokens: 0, outputTokens: 0, maxOutputTokens: 0 })
  })

  it("takes what no context holds for absent", () => {
    expect(of(Number.MAX_SAFE_INTEGER, 2)).toEqual(of(undefined, 2))
  })

  it("counts what a row holds in the place of texts, whatever it is", () => {
    const wrong = [null, 7, "x", {}, [null, "x", 7, {}], [{ function: null }, { function: { arguments: { a: 1 } } }]]
    for (const value of wrong) {
      const message = { role: "user", content: value, reasoning: value, reasoning_content: value, tool_calls: value }
      // as the rows of a file, which nobody checked so far
      const row = { model: "a", messages: [message], tools: value, response_format: value } as never
      expect(Routes.chatEstimate(row).inputTokens).toBeGreaterThanOrEqual(4)
    }
  })
})

describe("a call for a whole answer", () => {
  it.effect("is not sent as a stream, whatever the request says", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.chat("Rhine"), Reply.completion("Rhine"), Reply.chat("Rhine"))
      // from a caller without types
      const more = { stream: true as unknown as false, stream_options: { include_usage: true }, seed: 7 }
      yield* use((together) => together.chat({ ...request, ...more }))
      yield* use((together) => together.completions({ model: "a", prompt: "Name three rivers.", ...more }))
      yield* use((together) => together.chat({ ...request, stream: false }))
      expect((yield* TogetherTest.log).map((entry) => entry.sent.body)).toEqual([
        { ...request, seed: 7 },
        { model: "a", prompt: "Name three rivers.", seed: 7 },
        { ...request, stream: false }
      ])
    })))
})

describe("a stream that is asked for as a whole answer", () => {
  it("does not compile, and every other field does", () => {
    const together = undefined as unknown as Together.Service // only its type is used
    const calls = (): ReadonlyArray<unknown> => [
      // @ts-expect-error: chatStream streams
      together.chat({ ...request, stream: true }),
      // @ts-expect-error: completionsStream streams
      together.completions({ model: "a", prompt: "?", stream: true }),
      together.chat({ ...request, stream: false, brand_new_option: 7 }),
      together.chat({ ...request } as Chat.ChatRequest)
    ]
    expect(calls).toBeTypeOf("function")
  })
})

describe("the retry policy of a call", () => {
  const policy = (attempts: number) => Schedule.recurs(attempts - 1)

  const attempts = (
    at: {
      readonly call?: number
      readonly fiber?: number
      readonly option?: number
      readonly layer?: number
      readonly stream?: boolean
    }
  ) =>
    Effect.gen(function*() {
      const { layer, sent } = answering(
        () => new Response("", { status: 503 }),
        at.option === undefined ? {} : { retry: policy(at.option) }
      )
      const options = at.call === undefined ? {} : { retry: policy(at.call) }
      const call = use((together) =>
        at.stream === true
          ? Stream.runDrain(together.chatStream(request, options))
          : Effect.asVoid(together.chat(request, options))
      ).pipe(
        Effect.provide(at.layer === undefined ? layer : Layer.provide(layer, Retry.layer(policy(at.layer))))
      )
      yield* Effect.flip(
        at.fiber === undefined ? call : Effect.provideService(call, Retry.CurrentPolicy, policy(at.fiber))
      )
      return sent.length
    }).pipe(VirtualClock.wrap)

  it.effect("is the one provided to the client's layer", () =>
    Effect.gen(function*() {
      expect(yield* attempts({ layer: 2 })).toBe(2)
      expect(yield* attempts({ layer: 2, stream: true })).toBe(2)
    }))

  it.effect("is the call's, the client's, the fiber's, the layer's, the default", () =>
    Effect.gen(function*() {
      expect(yield* attempts({ call: 2, fiber: 3, option: 4, layer: 6 })).toBe(2)
      expect(yield* attempts({ fiber: 3, option: 4, layer: 6 })).toBe(4)
      expect(yield* attempts({ fiber: 3, layer: 6 })).toBe(3)
      expect(yield* attempts({ layer: 6 })).toBe(6)
      expect(yield* attempts({})).toBe(Retry.defaults.maxAttempts)
      expect(yield* attempts({ fiber: 3, stream: true })).toBe(3)
      expect(yield* attempts({ fiber: 3, stream: true, option: 4 })).toBe(4)
    }))

  it.effect("may read the errors of a call", () =>
    virtually(Effect.gen(function*() {
      const overloads: Schedule.Schedule<unknown, TogetherError.TogetherError> = Schedule.recurs(9).pipe(
        Schedule.setInputType<TogetherError.TogetherError>(),
        Schedule.while(({ input }) => input._tag === "OverloadedError")
      )
      yield* TogetherTest.reply(Reply.overloaded, Reply.overloaded, Reply.error(500))
      const error = yield* Effect.flip(use((together) => together.chat(request, { retry: overloads })))
      expect([error._tag, error.attempts]).toEqual(["ServerError", 3])
    })))

  it.effect("may be none at all", () =>
    Effect.gen(function*() {
      expect(yield* attempts({ option: 1, fiber: 3 })).toBe(1)
    }))
})

describe("the lane of a call", () => {
  it.effect("has the key that Lanes.key makes", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("Rhine"), Reply.chat("Rhine"), Reply.json({ data: [] }))
        yield* use((together) =>
          Effect.all([
            together.chat(request),
            together.chat(request, { pool: "dedicated" }),
            together.request({ path: "/endpoints", response: Schema.Unknown })
          ])
        )
        const lanes = yield* Effect.flatMap(Lanes.Lanes, (lanes) => lanes.all)
        expect(lanes.map((lane) => lane.key)).toEqual([
          Lanes.key({ account: "acme", model: "a" }),
          Lanes.key({ account: "acme", model: "a", pool: "dedicated" }),
          Lanes.key({ account: "acme" })
        ])
      }).pipe(
        Effect.provide(TogetherTest.layer({ together: { account: "acme" } }).pipe(Layer.provideMerge(Lanes.layer())))
      )
    ))
})

describe("a 2xx", () => {
  const path = { method: "DELETE", path: "/endpoints/e" } as const

  it.effect.each([[204, Schema.Void, undefined], [200, Schema.Unknown, undefined], [204, Schema.Null, null]] as const)(
    "without a body is nothing where the schema allows it",
    ([status, response, nothing]) =>
      Effect.gen(function*() {
        const { layer } = answering(() => new Response(null, { status }))
        const answer = yield* use((together) => together.request<unknown>({ ...path, response })).pipe(
          Effect.provide(layer)
        )
        expect(answer).toBe(nothing)
      })
  )

  it.effect("without a body fails where something is expected", () =>
    Effect.gen(function*() {
      const { layer } = answering(() => new Response(null, { status: 204 }))
      const error = yield* Effect.flip(use((together) => together.batches.get("b")).pipe(Effect.provide(layer)))
      expect(error).toMatchObject({ _tag: "DecodeError", message: expect.stringContaining("is empty") })
    }))

  it.effect.each([
    ["<!doctype html><title>Log in to the hotel</title>", "is a web page (Log in to the hotel). Check the base URL"],
    ["<p>Hi</p>", "is a web page. Check the base URL"],
    ["Hi", "is not JSON. Check the base URL"]
  ] as ReadonlyArray<[string, string]>)(
    "that something in between gave fails, and tells what it is: %s",
    ([body, said]) =>
      Effect.gen(function*() {
        const { layer } = answering(() => new Response(body, { headers: { "content-type": "text/html" } }))
        const error = yield* Effect.flip(use((together) => together.whoami()).pipe(Effect.provide(layer)))
        expect(error).toMatchObject({ _tag: "DecodeError", message: expect.stringContaining(said) })
      })
  )

  it.effect("that is an error fails, and a job that failed does not", () =>
    Effect.gen(function*() {
      const { layer } = answering(() => Response.json({ error: { message: "the key sleeps" }, status: 400 }))
      const calls: ReadonlyArray<
        (together: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>
      > = [
        (together) => together.whoami(),
        (together) => together.evaluations.get("e"),
        (together) => together.fineTunes.estimatePrice({ model: "a", training_file: "f" })
      ]
      for (const call of calls) {
        const error = yield* Effect.flip(Effect.provide(use(call), layer))
        expect(error).toMatchObject({ _tag: "DecodeError", status: 200 })
        expect(error.message).toContain("is an error: the key sleeps.")
      }
      for (const job of [{ id: "e", error: { code: 1 } }, { status: "error", error: { code: 1 } }, { error: null }]) {
        const { layer } = answering(() => Response.json(job))
        expect(yield* Effect.provide(use((together) => together.evaluations.get("e")), layer)).toEqual(job)
      }
    }))

  it.effect.each<[boolean, unknown]>([
    [true, { id: "o3-1", error: { message: "asleep", type: "server_error", param: null, code: null } }],
    [true, { error: "asleep", request_id: "r-1" }],
    [false, { id: "job-1", error: { message: "asleep" } }],
    [false, { id: "job-1", error: "asleep" }],
    [false, { id: "job-1", status: "failed", error: { message: "asleep", type: "server_error" } }],
    [false, { name: "d", state: "FAILED", error: { message: "asleep", code: "x" } }],
    [false, { id: "e", object: "evaluation", error: { message: "asleep", type: "x" } }],
    [true, { error: { message: "asleep" }, choices: [] }],
    [true, { error: "asleep", choices: [{ message: { content: "", tool_calls: [] } }] }],
    [true, { id: "a", object: "chat.completion", error: { message: "asleep" }, choices: [{ text: "" }] }],
    [true, { object: "error", error: { message: "asleep", type: "server_error" } }],
    [true, { object: "error", message: "asleep" }],
    [true, { error: { code: 500 } }],
    [true, { error: { code: "internal" } }],
    [true, { error: { message: null, type: "server_error" } }],
    [false, { error: { message: "asleep" }, choices: [{ message: { content: "Rhine" } }] }],
    [false, { error: { message: "asleep" }, choices: [{ text: "Rhine" }] }],
    [false, { error: { message: "asleep" }, choices: [{ message: { tool_calls: [{ id: "a" }] } }] }],
    [false, { error: { message: "", code: "200" }, choices: [] }],
    [false, { id: "job-1", error: { code: 500 } }],
    [false, { error: { code: 0 }, result: [1] }],
    [false, { error: "", result: [1] }]
  ])("is an error (%s) by what it says of itself: %j", ([isError, body]) =>
    Effect.gen(function*() {
      const { layer } = answering(() => Response.json(body))
      const asked = use((together) => together.request({ path: "/x", response: Schema.Unknown }))
      const exit = yield* Effect.exit(Effect.provide(asked, layer))
      expect(Exit.isSuccess(exit) ? exit.value : "an error").toEqual(isError ? "an error" : body)
    }))
})

describe("an address", () => {
  const ask = (path: string, baseUrl: string) => {
    const { layer, sent } = answering(() => Response.json({}), { baseUrl })
    return Effect.map(
      Effect.exit(Effect.provide(use((together) => together.request({ path, response: Schema.Unknown })), layer)),
      () => sent.map(({ url }) => url)
    )
  }

  it.effect.each<[baseUrl: string, path: string, expected: string]>([
    ["https://api.together.ai", ".evil.example/x", "https://api.together.ai/.evil.example/x"],
    ["https://api.together.ai", "@evil.example/x", "https://api.together.ai/@evil.example/x"],
    ["https://api.together.ai", ":8080/x", "https://api.together.ai/:8080/x"],
    ["https://api.together.ai/v1", "//evil.example/x", "https://api.together.ai/v1//evil.example/x"],
    ["https://api.together.ai/v1", "endpoints", "https://api.together.ai/v1/endpoints"],
    ["https://api.together.ai/v1 ", "/endpoints", "https://api.together.ai/v1/endpoints"],
    ["\thttps://api.together.ai/v1/\n", "/endpoints", "https://api.together.ai/v1/endpoints"],
    ["https://api.together.ai/v1?", "/endpoints?a=b", "https://api.together.ai/v1/endpoints?a=b"]
  ])(
    "is put together of %j and %j as a path below the base URL",
    ([baseUrl, path, expected]) =>
      Effect.gen(function*() {
        expect(yield* ask(path, baseUrl)).toEqual([expected])
      })
  )

  it.effect.each(["https://api.together.ai.evil.example/", "https://u:p@api.together.ai/v1", "ftp://api.together.ai/"])(
    "that is whole and not the base URL's gets nothing: %s",
    (path) =>
      Effect.gen(function*() {
        expect(yield* ask(path, "https://api.together.ai/v1")).toEqual([])
      })
  )
})

describe("headers of the caller", () => {
  it.effect("stand in place of ours, but for the key and what the body says", () =>
    Effect.gen(function*() {
      const { layer, sent } = answering(() => Response.json({ choices: [{}] }), {
        headers: {
          "User-Agent": "mine",
          Accept: "x/y",
          Authorization: "Bearer other",
          "Content-Type": "text/plain",
          "Content-Length": "5"
        }
      })
      yield* Effect.provide(use((together) => together.chat(request)), layer)
      expect(sent[0]?.headers).toEqual({
        "user-agent": "mine",
        accept: "x/y",
        authorization: "Bearer a-test-key",
        "content-type": "application/json",
        "content-length": String(JSON.stringify(request).length)
      })
    }))

  it.effect("are not sent where they are undefined, whatever their type says", () =>
    Effect.gen(function*() {
      const { layer, sent } = answering(() => Response.json({ choices: [{}] }), {
        headers: { "x-mine": undefined as unknown as string, "x-other": "1" } // callers without types do this
      })
      yield* Effect.provide(use((together) => together.chat(request)), layer)
      expect(sent[0]?.headers).toMatchObject({ "x-other": "1" })
      expect(sent[0]?.headers).not.toHaveProperty("x-mine")
    }))

  it.effect("are kept out of errors that quote them", () =>
    Effect.gen(function*() {
      const { layer } = answering(() => Response.json({ error: "no s3cr3t-token here" }, { status: 400 }), {
        headers: { "x-proxy-key": "s3cr3t-token" }
      })
      const error = yield* Effect.flip(Effect.provide(use((together) => together.chat(request)), layer))
      expect(error.message).toContain("no [header] here")
      expect(error.body).toBe("{\"error\":\"no [header] here\"}")
    }))
})

describe("a client that could not send", () => {
  const failure = (options: Partial<Together.Options>) =>
    Effect.flip(Effect.provide(Together.Together, Together.layer({ apiKey: Redacted.make("k"), ...options })))

  it.effect.each(["abc\ndef-secret", "abc\u2014def-secret", "abc\u0000def-secret"])(
    "is not made: key %j",
    (key) =>
      Effect.gen(function*() {
        const error = yield* failure({ apiKey: Redacted.make(key) })
        expect(error).toMatchObject({ _tag: "AuthError", message: expect.stringContaining("at place 4") })
        expect(error.message).not.toContain("secret")
      })
  )

  it.effect.each<Partial<Together.Options>>([
    { headers: { "x-key": "s3cr3t\nbad" } },
    { headers: { "x key": "s3cr3t" } },
    { userAgent: "s3cr3t\u2014agent" },
    { baseUrl: "https://user:s3cr3t@proxy.corp/v1" },
    { baseUrl: "https://proxy.corp/v1?token=s3cr3t" },
    { baseUrl: "https://proxy.corp/v1#s3cr3t" },
    { baseUrl: "user:s3cr3t@proxy.corp" }
  ])("is not made: %j", (options) =>
    Effect.gen(function*() {
      const error = yield* failure(options)
      expect(error._tag).toBe("InvalidRequestError")
      expect(error.message).not.toContain("s3cr3t")
    }))
})

describe("onAnswered", () => {
  const price = Price.stated({ model: "a", inputUsdPerMillion: 1, outputUsdPerMillion: 1 })

  it.effect("tells of the attempt that answered, whichever model it was", () =>
    virtually(
      Effect.gen(function*() {
        const told: Array<Together.Answered> = []
        const onAnswered = (answered: Together.Answered) => Effect.sync(() => void told.push(answered))
        yield* TogetherTest.reply(
          Reply.error(500),
          Reply.json({ id: "1", choices: [{}], usage: { prompt_tokens: 7, completion_tokens: 3 } }, {
            headers: { "cf-ray": "ray" }
          }),
          Reply.error(404),
          Reply.stream(["x"]),
          Reply.json([])
        )
        yield* use((t) => t.chat(request, { onAnswered }))
        yield* Effect.flip(use((t) => t.chat(request, { onAnswered })))
        yield* use((t) => Stream.runDrain(t.chatStream(request, { onAnswered })))
        yield* use((t) => t.models({ onAnswered }))
        const usage = { inputTokens: 7, outputTokens: 3 }
        expect(told).toEqual([
          expect.objectContaining({
            operation: "chat",
            model: "a",
            attempts: 2,
            status: 200,
            requestId: "ray",
            usage: expect.objectContaining(usage),
            cost: Price.known(10_000n)
          }),
          expect.objectContaining({ operation: "chatStream", model: "a", attempts: 1, status: 200 }),
          expect.objectContaining({ operation: "models", model: "", attempts: 1, cost: Price.free })
        ])
      }),
      { prices: () => price }
    ))

  const boom = new Error("boom")

  /** Streams with a callback, and says how that ended, what was charged, and what the next call of the lane meets. */
  const streaming = (onAnswered: NonNullable<Together.CallOptions["onAnswered"]>) =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.stream(["x"], { usage: { prompt_tokens: 7, completion_tokens: 3 } }))
        const { exit, seconds } = yield* timed(
          use((t) => Stream.runCollect(t.chatStream(request, { deadline: "5 seconds", onAnswered })))
        )
        const { accounts } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        yield* use((t) => Stream.runDrain(t.chatStream(request, { deadline: "5 seconds" })))
        return { exit, seconds, charged: accounts.map(({ tally }) => [tally.settled, tally.uncertain, tally.reserved]) }
      }).pipe(Effect.provide(Layer.provideMerge(
        TogetherTest.layer({ verifyOnClose: false, together: { prices: () => price } }),
        Layer.merge(Credits.layer(), Lanes.layer({ maxInFlight: 1 }))
      )))
    )

  it.effect("of a stream comes after the money, outside of the deadline", () =>
    Effect.gen(function*() {
      const { charged, exit, seconds } = yield* streaming(() => Effect.sleep("7 seconds"))
      expect([Exit.isSuccess(exit), Math.floor(seconds), charged]).toEqual([true, 7, [[10_000n, 0n, 0n]]])
    }))

  it.effect.each<[string, NonNullable<Together.CallOptions["onAnswered"]>]>([
    ["dies", () => Effect.die(boom)],
    ["throws", () => {
      throw boom
    }]
  ])(
    "that %s fails the call with its defect, and neither money nor permit is lost",
    ([, onAnswered]) =>
      Effect.gen(function*() {
        const { charged, exit } = yield* streaming(onAnswered)
        expect(Exit.isFailure(exit) && exit.cause.reasons).toMatchObject([{ _tag: "Die", defect: boom }])
        expect(charged).toEqual([[10_000n, 0n, 0n]])
        const answer = virtually(Effect.gen(function*() {
          yield* TogetherTest.reply(Reply.chat("x"))
          return yield* Effect.exit(use((t) => t.chat(request, { onAnswered })))
        }))
        const answered = yield* answer
        expect(Exit.isFailure(answered) && answered.cause.reasons).toMatchObject([{ _tag: "Die", defect: boom }])
      })
  )
})

describe("a retry budget in the client's context", () => {
  it.effect("bounds its retries, unless the client has one of its own", () =>
    Effect.gen(function*() {
      const none = RetryBudget.layer({ ratio: 0, minPerSecond: 0 })
      const attempts = (together: TogetherTest.LayerOptions["together"]) =>
        VirtualClock.wrap(
          Effect.gen(function*() {
            yield* TogetherTest.always("*", Reply.error(500))
            yield* Effect.flip(use((t) => t.chat(request)))
            return (yield* TogetherTest.log).length
          }).pipe(
            Effect.provide(TogetherTest.layer({ verifyOnClose: false, together }).pipe(Layer.provide(none)))
          )
        )
      expect(yield* attempts({})).toBe(1)
      expect(yield* attempts({ retryBudget: yield* RetryBudget.make() })).toBe(5)
    }))
})

describe("the span of a call", () => {
  it.effect("stands in the trace of its failure, with the spans around it", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.error(400))
      const cause = yield* use((together) => together.chat(request)).pipe(
        Effect.withSpan("mine"),
        Effect.sandbox,
        Effect.flip
      )
      expect(Cause.pretty(cause)).toMatch(/\n {4}at Together\.chat\n {4}at mine /)
    })))

  it.effect("has a label only where the call has one", () =>
    virtually(Effect.gen(function*() {
      const spans: Array<ReadonlyMap<string, unknown>> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span.attributes)
          return span
        }
      })
      yield* TogetherTest.always("*", Reply.chat("x"))
      for (const label of [undefined, "evals"]) {
        yield* Effect.provideService(use((t) => t.chat(request, { label })), Tracer.Tracer, tracer)
      }
      expect(spans.map((attributes) => [attributes.has("together.label"), attributes.get("together.label")])).toEqual([
        [false, undefined],
        [true, "evals"]
      ])
    })))
})

describe("what was sent", () => {
  it.effect("is kept out of errors, whatever the object shows or holds by then", () =>
    virtually(Effect.gen(function*() {
      const secret = "the secret of the vault is 9931"
      yield* TogetherTest.always(
        "*",
        Reply.error(400, { body: { error: { message: `bad input: ${secret}`, type: "invalid_request_error" } } })
      )
      const hidden = { content: { toJSON: () => secret } }
      const messages = [{ role: "user", content: secret }]
      const errors = [
        yield* Effect.flip(use((t) => t.request({ path: "/new", body: hidden, response: Schema.Unknown }))),
        yield* Effect.flip(use((t) => {
          const call = t.chat({ model: "a", messages })
          return Effect.andThen(Effect.forkChild(Effect.sync(() => messages.pop())), call)
        }))
      ]
      for (const error of errors) {
        expect(error._tag).toBe("InvalidRequestError")
        expect(`${error.message} ${error.body}`).not.toContain("9931")
        expect(error.message).toContain("bad input")
      }
    })))
})

describe("a method of an id", () => {
  it.effect("is passed on as it is", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.always("*", Reply.json({ id: "f" }))
      yield* use((t) => Effect.forEach(["a", "b"], t.files.get))
      yield* use((t) => Effect.forEach(["a"], t.batches.get))
      yield* use((t) => Effect.forEach(["a"], t.fineTunes.cancel))
      yield* use((t) => Effect.forEach(["a"], t.evaluations.get))
      const paths = (yield* TogetherTest.log).map(({ sent }) => sent.path)
      expect(paths).toEqual(["/files/a", "/files/b", "/batches/a", "/fine-tunes/a/cancel", "/evaluation/a"])
    })))
})

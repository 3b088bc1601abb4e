import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Job from "../../src/job/Job.ts"
import * as Report from "../../src/job/Report.ts"
import * as Row from "../../src/job/Row.ts"
import * as Selection from "../../src/job/Selection.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const client = (options: Simulation.Options = {}) =>
  Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
    Layer.provide(SimulatedProvider.layer({ unknownModels: "accept", ...options }, 1))
  )

/** A transport to a provider that accepts no connection. */
const refusing = Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
  Layer.provide(Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      const cause = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:9"), { code: "ECONNREFUSED" })
      return Effect.fail(
        new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
      )
    })
  ))
)

const row = (url: string, body: object): Row.Row => {
  const read = Row.fromJson({ custom_id: "a", url, body }, 1)
  if (read._tag === "Bad") throw new Error(read.message)
  return read
}

/** A transport to a provider that gives up its first generation. */
const failingOnce = Effect.sync(() => {
  let asked = 0
  const answer = () => {
    const failed = asked++ === 0
    const message = { role: "assistant", content: failed ? "" : "Hi" }
    return Response.json({ choices: [{ index: 0, finish_reason: failed ? "error" : "stop", message }] })
  }
  return Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
    Layer.provide(Layer.succeed(
      HttpClient.HttpClient,
      HttpClient.make((request) => Effect.sync(() => HttpClientResponse.fromWeb(request, answer())))
    ))
  )
})

/** A transport whose 200 come at once, and whose bodies take their time; the first is a page. */
const lateBodies = (millis: number) => {
  let asked = 0
  const answer = () => {
    const text = asked++ === 0 ? "<html>" : JSON.stringify({ choices: [{ index: 0, message: { content: "Hi" } }] })
    return new Response(
      new ReadableStream({
        start: (stream) => {
          setTimeout(() => {
            stream.enqueue(new TextEncoder().encode(text))
            stream.close()
          }, asked === 1 ? 3 * millis : millis)
        }
      })
    )
  }
  return Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
    Layer.provide(Layer.succeed(
      HttpClient.HttpClient,
      HttpClient.make((request) => Effect.sync(() => HttpClientResponse.fromWeb(request, answer())))
    ))
  )
}

describe("Sender", () => {
  it.live("lets a job measure what was answered to the end of its body, and nothing that is no answer", () =>
    Effect.gen(function*() {
      const report = Report.make(0)
      const send = yield* Sender.together({ report })
      const body = { model: "m", messages: [{ role: "user", content: "Hi" }] }
      const rows = Stream.make(row("/v1/chat/completions", body), {
        ...row("/v1/chat/completions", body),
        id: "b",
        line: 2
      })
      yield* Job.drive(rows, { send, report, concurrency: 1 }, () => Effect.void)
      expect([report.ok, report.failed, report.attemptLatency.total]).toEqual([1, 1, 1])
      expect(report.attemptLatency.longest).toBeGreaterThan(90)
      expect(report.attemptLatency.longest).toBeLessThan(290)
    }).pipe(Effect.provide(lateBodies(100))))

  it.effect("sends a row again whose generation failed and brought nothing", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const report = Report.make(0)
        const send = yield* Sender.together({ report })
        const body = { model: "m", messages: [{ role: "user", content: "Hi" }] }
        expect((yield* send(row("/v1/chat/completions", body))).attempts).toBe(2)
        expect(report.latestError).toBe("StreamError")
      }).pipe(Effect.provide(Layer.unwrap(failingOnce)))
    ))

  it.effect("calls the method of each endpoint and prices what it can", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const send = yield* Sender.together()
        const messages = [{ role: "user", content: "Hi" }]
        const chat = yield* send(row("/v1/chat/completions", { model: "openai/gpt-oss-20b", max_tokens: 9, messages }))
        expect(chat.usage?.outputTokens).toBeGreaterThan(0)
        expect(chat.nanoUsd).toBeGreaterThan(0n)
        expect([chat.status, chat.requestId]).toEqual([200, expect.stringMatching(/./)])
        const text = yield* send(row("/v1/completions", { model: "openai/gpt-oss-20b", max_tokens: 9, prompt: "Hi" }))
        expect(text.body).toMatchObject({ choices: [{}] })
        const vectors = yield* send(row("/v1/embeddings", { model: "BAAI/bge-base-en-v1.5", input: "Hi" }))
        expect(vectors.body).toMatchObject({ data: [{}] })
        const ranked = yield* send(
          row("/v1/rerank", { model: "Salesforce/Llama-Rank-V1", query: "q", documents: ["a", "b"] })
        )
        expect(ranked.body).toHaveProperty("results")
        const image = yield* send(
          row("/v1/images/generations", {
            model: "black-forest-labs/FLUX.2-dev",
            prompt: "a boat",
            width: 512,
            height: 512,
            n: 1
          })
        )
        expect(image.nanoUsd).toBeGreaterThan(0n)
        const unknown = yield* send(row("/v1/chat/completions", { model: "nobody/knows", messages }))
        expect([unknown.attempts, unknown.nanoUsd]).toEqual([1, undefined])
      }).pipe(Effect.provide(client()))
    ))

  it.effect("counts each retry with its reason and its wait", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const report = Report.make(0)
        const send = yield* Sender.together({ report })
        const reply = yield* send(
          row("/v1/chat/completions", {
            model: "openai/gpt-oss-20b",
            max_tokens: 9,
            messages: [{ role: "user", content: "Hi" }]
          })
        )
        expect(reply.attempts).toBeGreaterThan(1)
        expect(report.retries.get("ServerError")).toBe(reply.attempts - 1)
        expect(report.waited).toBeGreaterThan(0)
      }).pipe(Effect.provide(client({ outages: [{ from: 0, to: 2, kind: 500 }] })))
    ))

  it.effect("names the connection's own word as what the latest retry was for", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const report = Report.make(0)
        const send = yield* Sender.together({ report, retry: Schedule.recurs(1) })
        const messages = [{ role: "user", content: "Hi" }]
        yield* Effect.flip(send(row("/v1/chat/completions", { model: "openai/gpt-oss-20b", messages })))
        expect(report.latestError).toBe("ConnectionError ECONNREFUSED")
      }).pipe(Effect.provide(refusing))
    ))

  it.effect("hands out the client's error when the retries have run out", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const send = yield* Sender.together()
        const error = yield* Effect.flip(
          send(
            row("/v1/chat/completions", { model: "openai/gpt-oss-20b", messages: [{ role: "user", content: "Hi" }] })
          )
        )
        expect(error).toMatchObject({ _tag: "ServerError", attempts: Retry.defaults.maxFailures })
      }).pipe(Effect.provide(client({ outages: [{ from: 0, kind: 500 }] })))
    ))
})

describe("Selection", () => {
  const lines = (selection: Selection.Selection, of: number) =>
    Array.from({ length: of }, (_, i) => i + 1).filter((line) => selection.has(line))

  it("takes a range, cut at the end of the file", () => {
    expect(lines(Selection.make(10, { range: { from: 8, to: 20 } }), 10)).toEqual([8, 9, 10])
    expect(Selection.make(10, { range: { from: 11, to: 20 } }).size).toBe(0)
    expect(Selection.make(10, {}).size).toBe(10)
  })

  it("takes as many lines as asked for, the same for the same seed, each equally often", () => {
    const counts = new Map<number, number>()
    for (let seed = 1; seed <= 2000; seed++) {
      const selection = Selection.make(20, { sample: 5, seed })
      const taken = lines(selection, 20)
      expect([taken.length, selection.size]).toEqual([5, 5])
      for (const line of taken) counts.set(line, (counts.get(line) ?? 0) + 1)
    }
    // 500 expected of each; five deviations are 97
    for (let line = 1; line <= 20; line++) expect(Math.abs(counts.get(line)! - 500)).toBeLessThan(97)
    expect(lines(Selection.make(20, { sample: 5, seed: 7 }), 20)).toEqual(
      lines(Selection.make(20, { sample: 5, seed: 7 }), 20)
    )
  })

  it("samples within a range, and takes all where there are too few", () => {
    const within = lines(Selection.make(100, { range: { from: 41, to: 60 }, sample: 5 }), 100)
    expect(within.length).toBe(5)
    expect(within.every((line) => line >= 41 && line <= 60)).toBe(true)
    expect(Selection.make(3, { sample: 10 }).size).toBe(3)
  })

  it("refuses a sample of nothing", () => {
    expect(() => Selection.make(3, { sample: 0 })).toThrow(
      "Selection.make: sample must be an integer >= 1, got 0"
    )
  })
})

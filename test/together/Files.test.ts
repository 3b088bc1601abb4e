import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Schedule, Schema, Stream } from "effect"
import { Deadline, Retry, Together, type TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

const virtually = <A, E>(
  effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>,
  together: TogetherTest.LayerOptions["together"] = {}
) => VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer({ verifyOnClose: false, together })))

describe("an upload", () => {
  const file = { content: "{\"prompt\":\"the patient is Karl Maier\"}\n", name: "a.jsonl", purpose: "batch-api" }
  const echo = Reply.json({
    error: { message: "line 1 is invalid: {\"prompt\":\"the patient is Karl Maier\"}", type: "invalid_request_error" }
  }, { status: 400 })

  it.effect("that is quoted keeps its texts out of the error", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.always("*", echo)
      const of = (content: string | Blob | Uint8Array) =>
        Effect.flip(use((together) => together.files.upload({ ...file, content })))
      const known = yield* of(file.content)
      expect(known.message).toContain("line 1 is invalid")
      expect(JSON.stringify([known, known.message])).not.toContain("Karl")
      expect(yield* of("")).toMatchObject({ _tag: "InvalidRequestError" })
      for (const content of [new Blob([file.content]), new TextEncoder().encode(file.content)]) {
        const unknown = yield* of(content)
        expect(unknown).toMatchObject({
          _tag: "InvalidRequestError",
          body: "{\"error\":{\"message\":\"[withheld]\",\"type\":\"invalid_request_error\"}}"
        })
        expect(JSON.stringify([unknown, unknown.message])).not.toContain("Karl")
      }
    })))

  it.effect("sends text, a Blob and bytes alike, also a part of them and memory that is shared", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.always("*", Reply.json({ id: "file-1" }))
      const bytes = new TextEncoder().encode(file.content)
      const part = new TextEncoder().encode(`<${file.content}>`).subarray(1, -1)
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
      shared.set(bytes)
      for (const content of [file.content, new Blob([file.content]), bytes, part, shared]) {
        yield* use((together) => together.files.upload({ ...file, content }))
      }
      const sent = (yield* TogetherTest.log).map((entry) => entry.sent.body)
      expect(sent).toHaveLength(5)
      expect(JSON.stringify(sent[0])).toContain("Karl Maier")
      expect(sent.slice(1)).toEqual(Array(4).fill(sent[0]))
    })))

  it.effect.each<[Parameters<typeof Reply.broken>[0], number]>([["refused", 3], ["connect-timeout", 3], ["reset", 1]])(
    "whose connection breaks by %s is sent %i times",
    ([kind, attempts]) =>
      virtually(
        Effect.gen(function*() {
          yield* TogetherTest.always("*", Reply.broken(kind))
          const error = yield* Effect.flip(use((together) => together.files.upload(file)))
          expect(error).toMatchObject({ attempts })
          expect(yield* TogetherTest.log).toHaveLength(attempts)
        }),
        { retry: Schedule.recurs(2) }
      )
  )
})

describe("a deletion", () => {
  const gone = Reply.json({ error: { message: "File not found", type: "not_found" } }, { status: 404 })
  const deleted = (first: Reply.Reply) =>
    virtually(
      Effect.gen(function*() {
        yield* TogetherTest.reply(first, gone)
        return yield* Effect.result(use((together) => together.files.delete("file-1")))
      }),
      { retry: Schedule.recurs(2) }
    )

  it.effect.each<[string, Reply.Reply]>([
    ["reset", Reply.broken("reset")],
    ["answered with 502", Reply.json({ error: { message: "bad gateway" } }, { status: 502 })],
    ["hung", Reply.hang]
  ])("that was %s and is answered with 404 when it is repeated has worked", ([, first]) =>
    Effect.gen(function*() {
      expect(yield* deleted(first)).toMatchObject({ _tag: "Success", success: {} })
    }))

  it.effect.each<[string, Reply.Reply]>([
    ["not sent before", gone],
    ["refused before", Reply.json({ error: { message: "slow down" } }, { status: 429 })],
    ["without a connection before", Reply.broken("refused")]
  ])("that was %s has found no file", ([, first]) =>
    Effect.gen(function*() {
      expect(yield* deleted(first)).toMatchObject({ _tag: "Failure", failure: { _tag: "NotFoundError" } })
    }))

  it.effect("by path fails if its answer must hold something", () =>
    virtually(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.broken("reset"), gone)
        const asked = { method: "DELETE", path: "/x/1", response: Schema.Struct({ id: Schema.String }) } as const
        expect(yield* Effect.flip(use((together) => together.request(asked)))).toMatchObject({ _tag: "NotFoundError" })
      }),
      { retry: Schedule.recurs(2) }
    ))
})

describe("a download", () => {
  const file = "file-1"
  const downloads: ReadonlyArray<
    readonly [string, (together: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>]
  > = [
    ["content", ({ files }) => files.content(file)],
    ["bytes", ({ files }) => files.bytes(file)],
    ["stream", ({ files }) => Stream.runDrain(files.stream(file))],
    ["requestBytes", (together) => together.requestBytes({ path: "/audio/speech", body: {}, operation: "speech" })]
  ]

  it.effect.each(downloads)(
    "that is refused piece by piece is heard for as long as a whole answer: %s",
    ([, download]) =>
      virtually(
        Effect.gen(function*() {
          yield* TogetherTest.always("*", { ...Reply.events(Array(99).fill("no"), { every: "1 minute" }), status: 500 })
          const [elapsed, error] = yield* Effect.timed(Effect.flip(use(download)))
          expect([error._tag, Duration.toMinutes(elapsed)]).toEqual(["ServerError", 5])
        }),
        { retry: Schedule.recurs(0), timeouts: { body: "5 minutes" } }
      )
  )

  it.effect("as a stream frees the socket of a redirect, whose body never comes", () =>
    virtually(Effect.gen(function*() {
      const moved = Reply.json({}, { status: 302, headers: { location: "/v1/files/g/content" } })
      yield* TogetherTest.reply(Reply.stallAt(moved, 0), Reply.events(["row", "row"], { every: "1 second" }))
      const open = use(({ files }) => Stream.runCollect(Stream.mapEffect(files.stream(file), () => TogetherTest.open)))
      expect((yield* open).map((exchanges) => exchanges.length)).toEqual([1, 1])
    })))

  it.effect.each(downloads)(
    "that is a web page fails, and is not asked for again: %s",
    ([, download]) =>
      virtually(Effect.gen(function*() {
        const html = { contentType: "text/html; charset=utf-8" }
        yield* TogetherTest.always("*", Reply.raw("<!doctype html><title>Welcome to our network</title>", html))
        const error = yield* Effect.flip(use(download))
        expect(error).toMatchObject({ _tag: "DecodeError", status: 200, attempts: 1 })
        expect(error.message).toContain("is a web page")
      }))
  )

  it.effect("is read piece by piece, and asked for again until its first", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.error(503), Reply.raw("one\ntwo\n"), Reply.raw(""))
      const read = use(({ files }) => Stream.mkString(Stream.decodeText(files.stream(file))))
      expect([yield* read, yield* read]).toEqual(["one\ntwo\n", ""])
      expect((yield* TogetherTest.log).map(({ sent, status }) => [sent.operation, status])).toEqual([
        ["files.content", 503],
        ["files.content", 200],
        ["files.content", 200]
      ])
    })))
})

describe("a call without options", () => {
  it.effect("takes its deadline and its retries from around it", () =>
    virtually(
      Effect.gen(function*() {
        yield* TogetherTest.always("files.content", Reply.hang)
        const read = use(({ files }) => files.content("file-1"))
        const before = yield* Clock.currentTimeMillis
        const late = yield* Effect.flip(Deadline.run(read, "5 seconds"))
        expect(late).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline" })
        expect((yield* Clock.currentTimeMillis) - before).toBe(5000)
        yield* TogetherTest.on("batches.get", Reply.error(500), Reply.error(500))
        const asked = use(({ batches }) => batches.get("batch-1"))
        const error = yield* Effect.flip(Effect.provide(asked, Retry.layer(Schedule.recurs(1))))
        expect(error).toMatchObject({ _tag: "ServerError", attempts: 2 })
      }),
      {}
    ))
})

import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Redacted, Schedule, Stream } from "effect"
import { Together, UndiciHttpClient } from "effect-together"
import { Agent } from "undici"
import { pour, serve } from "./server.ts"

const undici = UndiciHttpClient.layerEffect(
  Effect.acquireRelease(Effect.sync(() => new Agent()), (agent) => Effect.promise(() => agent.destroy()))
)

const transports = [
  ["Fetch", Together.layer],
  ["Undici", (options: Together.Options) => Together.layerHttp(options).pipe(Layer.provide(undici))]
] as const

/** Waits until something is so, within three seconds. */
const until = (condition: () => boolean) =>
  Effect.gen(function*() {
    for (let i = 0; i < 600 && !condition(); i++) yield* Effect.sleep("5 millis")
    expect(condition()).toBe(true)
  })

describe.concurrent.each(transports)("files.stream over %s", (_, layerOf) => {
  const client = (baseUrl: string, options: Partial<Together.Options> = {}) =>
    Effect.provide(layerOf({ apiKey: Redacted.make("k"), baseUrl, retry: Schedule.recurs(2), ...options }))

  const file = Stream.unwrap(Together.Together.use(({ files }) => Effect.succeed(files.stream("f"))))

  it.live("saves a file, and reads no faster than it is written", () =>
    Effect.gen(function*() {
      const total = 24 * 1024 * 1024
      let written = 0
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/plain", "content-length": total })
        pour(response, total, (bytes) => void (written = bytes))
      })
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/f`
      let ahead = 0
      let taken = 0
      yield* file.pipe(
        Stream.tap((bytes) => {
          taken += bytes.length
          ahead = Math.max(ahead, written - taken)
          return taken < total / 8 ? Effect.sleep("2 millis") : Effect.void
        }),
        Stream.run(fs.sink(path)),
        client(server.baseUrl)
      )
      expect(Number((yield* fs.stat(path)).size)).toBe(total)
      expect(ahead).toBeLessThan(total / 2)
      expect(server.received.map(({ headers, url }) => [url, headers["accept-encoding"]])).toEqual([
        ["/v1/files/f/content", "identity"]
      ])
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("is asked for again until its first piece, and not after it", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response, index) => {
        if (index === 0) return void response.writeHead(500).end("{}")
        response.writeHead(200, { "content-type": "text/plain", "content-length": 100 })
        if (index === 1) response.flushHeaders()
        else response.write("begun")
        setTimeout(() => response.destroy(), 30)
      })
      const pieces: Array<string> = []
      const error = yield* file.pipe(
        Stream.decodeText,
        Stream.runForEach((text) => Effect.sync(() => void pieces.push(text))),
        Effect.flip,
        client(server.baseUrl)
      )
      expect([pieces.join(""), server.received.length]).toEqual(["begun", 3])
      expect(error).toMatchObject({ _tag: "ConnectionError", operation: "files.content", status: 200, attempts: 3 })
      expect(error.message).toMatch(/\. Read the file again: this is not all of it\.$/)
    }))

  it.live("gives up at a silence between two pieces, however long the whole takes", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/plain" })
        for (const at of [0, 200, 400, 600, 800]) setTimeout(() => response.write("x"), at)
      })
      let length = 0
      const error = yield* file.pipe(
        Stream.runForEach((bytes) => Effect.sync(() => void (length += bytes.length))),
        Effect.flip,
        client(server.baseUrl, { timeouts: { body: "600 millis" } })
      )
      expect([error, length]).toMatchObject([{ _tag: "RequestTimeoutError", phase: "body" }, 5])
      yield* until(() => server.open() === 0)
    }))

  it.live("follows a redirect, to another host without the key; and an empty file is empty", () =>
    Effect.gen(function*() {
      const store = yield* serve((_, response) => void response.writeHead(200, { "content-length": 0 }).end())
      const elsewhere = store.baseUrl.replace("127.0.0.1", "localhost")
      const server = yield* serve((_, response) =>
        void response.writeHead(302, { location: `${elsewhere}/x?sig=1` }).end()
      )
      expect(yield* Stream.runCollect(file).pipe(client(server.baseUrl))).toEqual([])
      expect(store.received.map(({ headers, url }) => [url, headers.authorization])).toEqual([[
        "/v1/x?sig=1",
        undefined
      ]])
    }))

  it.live("frees its socket where its reader leaves", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/plain" })
        response.write("begun")
      })
      expect(yield* Stream.runCollect(Stream.take(file, 1)).pipe(client(server.baseUrl))).toHaveLength(1)
      yield* until(() => server.open() === 0)
    }))

  it.live("needs an id", () =>
    Effect.gen(function*() {
      const asked = Together.Together.use(({ files }) => Effect.flip(Stream.runDrain(files.stream(".."))))
      expect(yield* asked.pipe(client("http://127.0.0.1:1/v1"))).toMatchObject({
        _tag: "InvalidRequestError",
        sent: false
      })
    }))
})

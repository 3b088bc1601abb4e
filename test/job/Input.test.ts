import { describe, expect, it } from "@effect/vitest"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import { gzipSync } from "node:zlib"
import * as Host from "../../src/cli/Host.ts"
import * as Input from "../../src/job/Input.ts"
import { nodeMajor } from "../engine.ts"

const encoder = new TextEncoder()

const from = (...chunks: ReadonlyArray<string | Uint8Array>) =>
  Input.bytes(
    "test",
    Stream.fromIterable(chunks.map((chunk) => typeof chunk === "string" ? encoder.encode(chunk) : chunk))
  )

const read = (source: Input.Source, maxLineBytes?: number) =>
  Stream.runCollect(Input.lines(source, { maxLineBytes })).pipe(
    Effect.map((lines) => lines.map((line) => [line.line, line._tag === "Line" ? line.text : line.reason] as const))
  )

it.layer(NodeServices.layer)("Input", (it) => {
  describe("lines", () => {
    it.effect("numbers lines, skips blank ones, takes LF, CRLF and no end", () =>
      Effect.gen(function*() {
        expect(yield* read(from("a\r\n\n  \nb\nc"))).toEqual([[1, "a"], [4, "b"], [5, "c"]])
        expect(yield* read(from("a\n"))).toEqual([[1, "a"]])
        expect(yield* read(from(""))).toEqual([])
      }))

    it.effect("gives the same lines whatever the chunking", () =>
      Effect.gen(function*() {
        const bytes = encoder.encode("één\nzwei 🎈\r\n\ntrois\nlast")
        const whole = yield* read(from(bytes))
        for (let size = 1; size <= bytes.length; size++) {
          const chunks: Array<Uint8Array> = []
          for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size))
          expect(yield* read(from(...chunks))).toEqual(whole)
        }
        expect(whole).toEqual([[1, "één"], [2, "zwei 🎈"], [4, "trois"], [5, "last"]])
      }))

    it.effect("reports a broken byte and an overlong line, and goes on", () =>
      Effect.gen(function*() {
        const broken = new Uint8Array([...encoder.encode("a\n"), 0xc3, 0x28, 10, ...encoder.encode("b\n")])
        expect(yield* read(from(broken))).toEqual([[1, "a"], [2, "encoding"], [3, "b"]])
        expect(yield* read(from("123456\n12345\n", "1234", "567\nx"), 5)).toEqual([
          [1, "too-long"],
          [2, "12345"],
          [3, "too-long"],
          [4, "x"]
        ])
      }))

    it.effect("drops a byte order mark, and refuses UTF-16 and gzip", () =>
      Effect.gen(function*() {
        expect(yield* read(from(new Uint8Array([0xef, 0xbb, 0xbf, 97, 10])))).toEqual([[1, "a"]])
        const error = yield* Effect.flip(read(from(new Uint8Array([0xff, 0xfe, 97, 0]))))
        expect(error.reason).toBe("encoding")
        const gzip = yield* Effect.flip(read(from(new Uint8Array([0x1f, 0x8b, 8, 0]))))
        expect([gzip.reason, gzip.message]).toEqual(["gzip", expect.stringContaining("is gzip: gunzip it first")])
      }))

    it.effect("gunzips by extension, and names a file that is none, cut short or joined", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const directory = yield* fs.makeTempDirectoryScoped()
        const path = `${directory}/a.jsonl.gz`
        const zipped = gzipSync("a\nb\nc\n")
        yield* fs.writeFile(path, zipped)
        expect(yield* read(Input.file(path))).toEqual([[1, "a"], [2, "b"], [3, "c"]])
        expect(yield* Input.countLines(Input.file(path))).toBe(3)
        // before Node 24 the platform's own stream reads a joined file
        const joined = nodeMajor >= 24 ? [new Uint8Array([...zipped, ...zipped])] : []
        for (const broken of [encoder.encode("no gzip"), zipped.subarray(0, 20), ...joined]) {
          yield* fs.writeFile(path, broken)
          const error = yield* Effect.flip(read(Input.file(path)))
          expect(error.reason).toBe("gzip")
        }
        expect((yield* Effect.flip(read(Input.file(`${directory}/none.gz`)))).reason).toBe("not-found")
        yield* fs.writeFile(path, gzipSync(zipped))
        expect((yield* Effect.flip(read(Input.file(path)))).message).toMatch(/ is gzip within gzip: gunzip it once\.$/)
      }))

    it.effect("reads a file joined from several gzipped ones with the gunzip it is given", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* fs.makeTempDirectoryScoped()}/a.jsonl.gz`
        const joined = new Uint8Array([...gzipSync("a\nb\n"), ...gzipSync("c\n"), ...gzipSync("d")])
        yield* fs.writeFile(path, joined)
        const given = Effect.provideService(Input.Gunzip, Host.gunzip)
        expect(yield* given(read(Input.file(path)))).toEqual([[1, "a"], [2, "b"], [3, "c"], [4, "d"]])
        for (const broken of [encoder.encode("no gzip"), joined.subarray(0, joined.length - 9)]) {
          yield* fs.writeFile(path, broken)
          expect((yield* Effect.flip(given(read(Input.file(path))))).reason).toBe("gzip")
        }
        expect((yield* Effect.flip(given(read(Input.file("/nowhere/a.gz"))))).reason).toBe("not-found")
      }))

    it.effect("says that a file is missing", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(read(Input.file("/nowhere/a.jsonl")))
        expect(error.message).toBe("no such input file: /nowhere/a.jsonl. Check the path.")
      }))

    it.effect("says of a pipe that it can be read only once", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const pipe = FileSystem.make({
          ...fs,
          open: (path) =>
            Effect.fail(
              PlatformError.systemError({
                _tag: "Unknown",
                module: "FileSystem",
                method: "open",
                pathOrDescriptor: path,
                cause: Object.assign(new Error("ESPIPE"), { code: "ESPIPE" })
              })
            )
        })
        const error = yield* Effect.flip(
          Effect.provideService(Input.fingerprint("/dev/stdin"), FileSystem.FileSystem, pipe)
        )
        expect([error.reason, error.message]).toEqual([
          "unreadable",
          "/dev/stdin is a pipe, which can be read only once: give - and pipe it into standard input, or from code its bytes."
        ])
      }))

    it("refuses a limit of no bytes", () => {
      expect(() => Input.lines(from(""), { maxLineBytes: 0 })).toThrow(
        "maxLineBytes must be an integer >= 1, got 0"
      )
    })
  })

  describe("countLines", () => {
    it.effect("counts a last line without an end", () =>
      Effect.gen(function*() {
        expect(yield* Input.countLines(from("a\nb"))).toBe(2)
        expect(yield* Input.countLines(from("a\n", "b\n"))).toBe(2)
        expect(yield* Input.countLines(from(""))).toBe(0)
      }))
  })

  describe("fingerprint", () => {
    it.effect("changes with size and with any byte of a small file", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* fs.makeTempDirectoryScoped()}/a`
        const of = (text: string) => Effect.andThen(fs.writeFileString(path, text), Input.fingerprint(path))
        const text = "x".repeat(10_000)
        const first = yield* of(text)
        expect(yield* of(text)).toEqual(first)
        for (const at of [0, 4095, 4096, 7000, 9999]) {
          const other = yield* of(`${text.slice(0, at)}y${text.slice(at + 1)}`)
          expect(other.bytes).toBe(first.bytes)
          expect(other.hash).not.toBe(first.hash)
        }
        expect((yield* of(`${text}x`)).hash).not.toBe(first.hash)
      }))
  })
})

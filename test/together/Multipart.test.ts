import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Multipart from "../../src/together/transport/Multipart.ts"

const parsed = ({ body, contentType }: Multipart.Multipart) =>
  Effect.promise(() => new Response(body, { headers: { "content-type": contentType } }).formData())

const bytesOf = (blob: Blob) =>
  Effect.map(Effect.promise(() => blob.arrayBuffer()), (bytes) => [...new Uint8Array(bytes)])

describe("Multipart", () => {
  it.effect("writes what the platform reads as the same form", () =>
    Effect.gen(function*() {
      const form = new FormData()
      const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 256)
      form.append("purpose", "batch-api")
      form.append("a \"b\"\nc", "one\ntwo\rthree\r\nfour ü")
      form.append("file", new Blob([bytes]), "na\"me\r\n ü.jsonl")
      form.append("file", new Blob(["x"], { type: "audio/wav" }), "b.wav")
      form.append("empty", "")
      const entries = [...yield* parsed(Multipart.encode(form))]
      expect(entries.map(([name, value]) => [name, typeof value === "string" ? value : value.name])).toEqual([
        ["purpose", "batch-api"],
        ["a \"b\"\r\nc", "one\r\ntwo\r\nthree\r\nfour ü"],
        ["file", "na\"me\r\n ü.jsonl"],
        ["file", "b.wav"],
        ["empty", ""]
      ])
      const files = entries.flatMap(([, value]) => typeof value === "string" ? [] : [value])
      expect(files.map(({ type }) => type)).toEqual(["application/octet-stream", "audio/wav"])
      expect(yield* bytesOf(files[0] ?? new Blob())).toEqual([...bytes])
    }))

  it.effect("writes the bytes that the platform would write", () =>
    Effect.gen(function*() {
      const form = new FormData()
      form.append("model", "m")
      form.append("file", new Blob(["x"]), "a \"quoted\" name")
      const ours = Multipart.encode(form)
      const theirs = new Response(form)
      const boundary = (type: string | null) => `${type}`.split("boundary=")[1] ?? ""
      const text = yield* Effect.promise(() => theirs.text())
      expect((yield* Effect.promise(() => ours.body.text())).replaceAll(boundary(ours.contentType), "B").trimEnd())
        .toBe(
          text.replaceAll(boundary(theirs.headers.get("content-type")), "B").trimEnd()
        )
    }))

  it.effect("gives a body in pieces, in order", () =>
    Effect.gen(function*() {
      const bytes = Uint8Array.from({ length: 600 * 1024 }, (_, i) => (i >> 10) % 251)
      const blob = new Blob([bytes])
      const lengths: Array<number> = []
      const whole = yield* Effect.promise(async () => {
        const parts: Array<Uint8Array> = []
        for await (const piece of Multipart.pieces(blob)) {
          lengths.push(piece.length)
          parts.push(piece)
        }
        return Buffer.concat(parts)
      })
      expect(lengths).toEqual([256 * 1024, 256 * 1024, 88 * 1024])
      expect(whole.equals(Buffer.from(bytes))).toBe(true)
    }))
})

/**
 * A bounded part of the fuzzing; `bench/fuzz` runs a million of each. A counterexample becomes a plain test, by seed.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Chat from "../../src/together/Chat.ts"
import * as EventDecoder from "../../src/together/stream/EventDecoder.ts"
import * as targets from "./targets.ts"

const known: ReadonlySet<string> = new Set(["value", ...TogetherError.tags])
const seeds = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

describe("found by fuzzing", () => {
  const end = (choice: object, usage?: object) => {
    const decoder = EventDecoder.make(Chat.shape)
    const chunks: Array<Chat.ChatChunk> = []
    decoder.feed(new TextEncoder().encode(`data: ${JSON.stringify({ choices: [choice], usage })}\n\n`), chunks)
    decoder.finish(chunks)
    const { text } = decoder.partial()
    return { end: decoder.end(), text, usage: decoder.usage(7) }
  }

  it("a usage with a token count beyond the safe integers is none", () => {
    const found = end({ delta: { content: "a" } }, { prompt_tokens: 1e308, completion_tokens: 3 })
    expect(found).toMatchObject({ text: "a", usage: undefined })
  })

  it("a content that is no string makes the frame malformed", () => {
    for (const content of [{ toString: null }, 7, ["a"], true]) {
      expect(end({ delta: { content } })).toMatchObject({ end: { reason: "malformed" }, text: "" })
    }
  })
})

describe("fuzz", () => {
  it("decodes 2,000 hostile streams: each ends, in each of the ways there are", () => {
    const ends = new Set(seeds(2000).map(targets.decodeStream))
    expect(ends).toStrictEqual(new Set(["done", "cut", "malformed", "error-frame", "finish-error"]))
  })

  it("classifies 2,500 hostile answers: each is a TogetherError", () => {
    const tags = new Set(seeds(2500).map(targets.classify))
    expect(tags.size).toBeGreaterThan(12)
  })

  it.effect("streams 150 of them through the whole client: a value or a TogetherError, and no socket left", () =>
    Effect.gen(function*() {
      const { exit, fibersLeft, open } = yield* targets.streams(seeds(150))
      const found = Exit.isSuccess(exit) ? new Set(exit.value) : new Set([String(exit.cause)])
      expect([...found].filter((outcome) => !known.has(outcome))).toStrictEqual([])
      expect(found.size).toBeGreaterThan(1)
      expect([open, fibersLeft]).toStrictEqual([0, 0])
    }))

  it.effect("asks for 150 of them through the whole client", () =>
    Effect.gen(function*() {
      const { exit, fibersLeft, open } = yield* targets.answers(seeds(150))
      const found = Exit.isSuccess(exit) ? new Set(exit.value) : new Set([String(exit.cause)])
      expect([...found].filter((outcome) => !known.has(outcome))).toStrictEqual([])
      expect(found.size).toBeGreaterThan(5)
      expect([open, fibersLeft]).toStrictEqual([0, 0])
    }))
})

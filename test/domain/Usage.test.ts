import { describe, expect, it } from "@effect/vitest"
import * as Usage from "../../src/domain/Usage.ts"

const usage = (inputTokens: number, outputTokens: number, cachedInputTokens = 0, reasoningTokens = 0) => ({
  inputTokens,
  outputTokens,
  cachedInputTokens,
  reasoningTokens
})

describe("Usage", () => {
  describe("fromWire", () => {
    it.each<[string, unknown, Usage.Usage | undefined]>([
      ["more than any call can take", { prompt_tokens: 9e15, completion_tokens: 3, total_tokens: 7 }, undefined],
      ["plain", { prompt_tokens: 45, completion_tokens: 3, total_tokens: 48 }, usage(45, 3)],
      ["flat cached", { prompt_tokens: 45, completion_tokens: 3, cached_tokens: 40 }, usage(45, 3, 40)],
      ["nested details", {
        prompt_tokens: 45,
        completion_tokens: 30,
        prompt_tokens_details: { cached_tokens: 10 },
        completion_tokens_details: { reasoning_tokens: 20 }
      }, usage(45, 30, 10, 20)],
      ["flat reasoning", { prompt_tokens: 5, completion_tokens: 30, reasoning_tokens: 25 }, usage(5, 30, 0, 25)],
      ["nested over flat", {
        prompt_tokens: 5,
        completion_tokens: 30,
        cached_tokens: 1,
        prompt_tokens_details: { cached_tokens: 4 }
      }, usage(5, 30, 4)],
      ["responses names", {
        input_tokens: 7,
        output_tokens: 9,
        input_tokens_details: { cached_tokens: 2 },
        output_tokens_details: { reasoning_tokens: 3 }
      }, usage(7, 9, 2, 3)],
      ["total and input", { prompt_tokens: 7, total_tokens: 16 }, usage(7, 9)],
      ["total and output", { completion_tokens: 9, total_tokens: 16 }, usage(7, 9)],
      ["total alone", { total_tokens: 16 }, usage(16, 0)],
      ["output alone: the input is unknown, not zero", { completion_tokens: 9 }, undefined],
      ["cached beyond input", { prompt_tokens: 5, completion_tokens: 1, cached_tokens: 50 }, usage(5, 1, 5)],
      ["fractions", { prompt_tokens: 5.9, completion_tokens: 1 }, usage(5, 1)],
      ["negative", { prompt_tokens: -5 }, undefined],
      ["a negative input beside others", { prompt_tokens: -5, completion_tokens: 3, total_tokens: 7 }, undefined],
      ["a negative output beside others", { prompt_tokens: 5, completion_tokens: -3, total_tokens: 7 }, undefined],
      ["what is no number beside others", { prompt_tokens: NaN, completion_tokens: 3, total_tokens: 7 }, undefined],
      ["strings", { prompt_tokens: "5" }, undefined],
      ["null", null, undefined],
      ["an empty object", {}, undefined]
    ])("reads %s", (_, wire, expected) => {
      expect(Usage.fromWire(wire)).toEqual(expected)
    })
  })

  it("takes an estimate for the input where the output alone is said, and there alone", () => {
    const known = { estimatedInput: 100 }
    expect(Usage.fromWire({ completion_tokens: 9, cached_tokens: 5 }, known)).toEqual(usage(100, 9, 5))
    expect(Usage.fromWire({ prompt_tokens: 45, completion_tokens: 9 }, known)).toEqual(usage(45, 9))
    expect(Usage.fromWire({ completion_tokens: 9, total_tokens: 16 }, known)).toEqual(usage(7, 9))
    expect([Usage.fromWire({}, known), Usage.fromWire(null, known)]).toEqual([undefined, undefined])
  })

  it("reads no usage of a generation whose prompt fits no context; embeddings may have many texts", () => {
    const wire = { prompt_tokens: 11_000_000, completion_tokens: 3, total_tokens: 11_000_003 }
    expect(Usage.fromAnswer({ choices: [{}], usage: wire })).toBeUndefined()
    // the prompt as the difference of the two others
    expect(Usage.fromAnswer({ choices: [{}], usage: { ...wire, prompt_tokens: undefined } })).toBeUndefined()
    expect(Usage.fromAnswer({ choices: [{ usage: { ...wire, prompt_tokens: 9 } }], usage: wire })).toEqual(usage(9, 3))
    expect(Usage.fromAnswer({ data: [], usage: wire })).toEqual(usage(11_000_000, 3))
  })

  it("maps a list: an index is no estimate", () => {
    const wires = [{ completion_tokens: 9 }, { completion_tokens: 9 }, { prompt_tokens: 1, completion_tokens: 9 }]
    expect(wires.map(Usage.fromWire)).toEqual([undefined, undefined, usage(1, 9)])
    expect(wires.map((usage) => ({ usage })).map(Usage.fromAnswer)).toEqual([undefined, undefined, usage(1, 9)])
  })

  describe("fromAnswer", () => {
    const wire = { prompt_tokens: 1, completion_tokens: 2 }
    it.each<[string, unknown, Usage.Usage | undefined]>([
      ["at the top", { usage: wire, choices: [] }, usage(1, 2)],
      ["inside the first choice", { choices: [{ usage: wire }] }, usage(1, 2)],
      ["inside the first choice, behind an empty one", { usage: {}, choices: [{ usage: wire }] }, usage(1, 2)],
      ["at the top first", { usage: wire, choices: [{ usage: { prompt_tokens: 9 } }] }, usage(1, 2)],
      ["of the input alone, of what generates nothing", { usage: { prompt_tokens: 9 }, data: [] }, usage(9, 0)],
      ["of the input alone, where the output is unknown", { usage: { prompt_tokens: 9 }, choices: [{}] }, undefined],
      ["of the total alone, where the output is unknown", { usage: { total_tokens: 9 }, choices: [] }, undefined],
      ["of the input and the total", { usage: { prompt_tokens: 9, total_tokens: 12 }, choices: [] }, usage(9, 3)],
      ["nowhere", { choices: [{}] }, undefined],
      ["in no answer", null, undefined]
    ])("finds usage %s", (_, answer, expected) => {
      expect(Usage.fromAnswer(answer)).toEqual(expected)
    })

    it("hands on the estimate", () => {
      expect(Usage.fromAnswer({ usage: { completion_tokens: 9 } }, { estimatedInput: 4 })).toEqual(usage(4, 9))
    })
  })

  it("adds", () => {
    expect(Usage.add(usage(1, 2, 3, 4), usage(10, 20, 30, 40))).toEqual(usage(11, 22, 33, 44))
    expect(Usage.add(Usage.zero, usage(1, 2))).toEqual(usage(1, 2))
  })
})

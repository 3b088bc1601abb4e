import { describe, expect, it } from "@effect/vitest"
import * as Price from "../../src/policy/Price.ts"
import * as OutputHistory from "../../src/together/OutputHistory.ts"

const estimate = { inputTokens: 10, outputTokens: 512, maxOutputTokens: 4096 }
const lane = "lane"

const expected = (outputs: OutputHistory.OutputHistory, kind: OutputHistory.Kind, nowSeconds = 0) =>
  outputs.expect(kind, estimate, nowSeconds).outputTokens

/** Books `n` answers of a kind. */
const record = (
  outputs: OutputHistory.OutputHistory,
  kind: OutputHistory.Kind,
  outputTokens: number,
  n = 20,
  { open = true }: { readonly open?: boolean } = {}
) => {
  for (let i = 0; i < n; i++) outputs.record(kind, { outputTokens, open })
}

describe("OutputHistory", () => {
  it("expects what its lane has generated, and leaves a call without output as it is", () => {
    const outputs = OutputHistory.make()
    expect(expected(outputs, { lane })).toBe(512)
    record(outputs, { lane }, 100)
    expect(outputs.expect({ lane }, estimate, 0)).toEqual({ ...estimate, outputTokens: 110 })
    expect(expected(outputs, { lane: "other" })).toBe(512)
    const embedding = { inputTokens: 10, outputTokens: 0, maxOutputTokens: 0 }
    expect(outputs.expect({ lane }, embedding, 0)).toBe(embedding)
  })

  it("comes down again after one large answer", () => {
    const outputs = OutputHistory.make()
    record(outputs, { lane }, 4096, 1)
    record(outputs, { lane }, 20, 30)
    expect(expected(outputs, { lane })).toBe(22)
  })

  it("learns labels apart, and asks the lane until one is known", () => {
    const outputs = OutputHistory.make()
    record(outputs, { lane, label: "essay" }, 2000)
    record(outputs, { lane, label: "yes or no" }, 1, 19)
    expect(expected(outputs, { lane, label: "yes or no" })).toBe(2200)
    record(outputs, { lane, label: "yes or no" }, 1, 1)
    expect(expected(outputs, { lane, label: "yes or no" })).toBe(2)
    expect(expected(outputs, { lane, label: "essay" })).toBe(2200)
    expect(expected(outputs, { lane })).toBe(2200)
    expect(expected(outputs, { lane: "other", label: "essay" })).toBe(512)
  })

  it("reserves more for every label of a lane that refused for tokens", () => {
    const outputs = OutputHistory.make()
    record(outputs, { lane, label: "a" }, 1000)
    record(outputs, { lane, label: "b" }, 2000)
    record(outputs, { lane: "other" }, 1000)
    outputs.refused({ lane }, 0)
    const kinds = [{ lane, label: "a" }, { lane, label: "b" }, { lane }, { lane: "other" }]
    expect(kinds.map((kind) => expected(outputs, kind))).toEqual([1210, 2420, 2420, 1100])
    expect(kinds.map((kind) => expected(outputs, kind, 3600))).toEqual([1100, 2200, 2200, 1100])
  })

  it("keeps a label that is known, however many come that never are", () => {
    const outputs = OutputHistory.make()
    record(outputs, { lane, label: "known" }, 10)
    for (let i = 0; i < 2 * OutputHistory.statesKept; i++) record(outputs, { lane, label: `row ${i}` }, 2000, 1)
    expect(expected(outputs, { lane, label: "known" })).toBe(11)
    const last = `row ${2 * OutputHistory.statesKept - 1}`
    record(outputs, { lane, label: last }, 2000, 19)
    record(outputs, { lane }, 10, 256)
    expect([last, "row 0"].map((label) => expected(outputs, { lane, label }))).toEqual([2200, 11])
  })

  describe("of a call without max_tokens", () => {
    const open = { inputTokens: 10, outputTokens: 512, maxOutputTokens: 8192, openChoices: 1 }

    it("takes four times the largest answer for the most, once its kind is known", () => {
      const outputs = OutputHistory.make()
      const label = "essay"
      record(outputs, { lane, label }, 6000, 19)
      expect(outputs.expect({ lane, label }, open, 0)).toEqual(open)
      record(outputs, { lane, label }, 7000, 1)
      expect(outputs.expect({ lane, label }, open, 0)).toEqual({
        ...open,
        outputTokens: 6600,
        maxOutputTokens: 28_000,
        learned: true
      })
      record(outputs, { lane, label }, 6000, 256)
      expect(outputs.expect({ lane, label }, open, 0)).toMatchObject({ maxOutputTokens: 24_000 })
    })

    it("takes no less than what is assumed of one that is not known", () => {
      const outputs = OutputHistory.make()
      record(outputs, { lane }, 20)
      expect(outputs.expect({ lane }, open, 0)).toMatchObject({
        outputTokens: 22,
        maxOutputTokens: 8192,
        learned: true
      })
    })

    it("stays a whole number that can be priced after an answer that said absurdly many", () => {
      const outputs = OutputHistory.make()
      record(outputs, { lane }, 100, 19)
      record(outputs, { lane }, Number.MAX_SAFE_INTEGER, 1)
      const next = outputs.expect({ lane }, open, 0)
      expect(next).toEqual({ ...open, outputTokens: 110, maxOutputTokens: Number.MAX_SAFE_INTEGER, learned: true })
      const price = Price.stated({ model: "m", inputUsdPerMillion: 1, outputUsdPerMillion: 1, contextTokens: 262_144 })
      expect(Price.ofCall(price, "m", next)).toMatchObject({ high: (262_144n + 13n) * 1000n })
      expect(Price.ofCall({ ...price, contextTokens: undefined }, "m", next)).toMatchObject({
        high: (BigInt(Number.MAX_SAFE_INTEGER) + 13n) * 1000n
      })
    })

    it("learns nothing of it from answers to max_tokens, which may have cut them", () => {
      const outputs = OutputHistory.make()
      const label = "writer"
      record(outputs, { lane, label }, 16, 200, { open: false })
      expect(outputs.expect({ lane, label }, open, 0)).toEqual({ ...open, outputTokens: 18 })
      record(outputs, { lane }, 500, 20)
      expect(outputs.expect({ lane, label }, open, 0)).toMatchObject({ maxOutputTokens: 8192, learned: true })
    })

    it("comes down by the hour while calls are asked for and none is answered, and not while none is", () => {
      const outputs = OutputHistory.make()
      record(outputs, { lane }, 50, 19)
      record(outputs, { lane }, 30_000, 1)
      const day = 86_400
      const bounds = [day, day + 3599, day + 3600, day + 7200, 2 * day].map((now) =>
        outputs.expect({ lane }, open, now).maxOutputTokens
      )
      expect(bounds).toEqual([120_000, 120_000, 60_000, 30_000, 15_000])
      // one answer, and what has come down stays down
      record(outputs, { lane }, 50, 1)
      expect(outputs.expect({ lane }, open, 3 * day).maxOutputTokens).toBe(15_000)
      record(outputs, { lane }, 9000, 1)
      expect(outputs.expect({ lane }, open, 3 * day).maxOutputTokens).toBe(36_000)
    })

    it("leaves what max_tokens bounds as it is", () => {
      const outputs = OutputHistory.make()
      record(outputs, { lane }, 4000)
      expect(outputs.expect({ lane }, estimate, 0)).toEqual({ ...estimate, outputTokens: 4096 })
    })
  })

  it("forgets the label that learned longest ago when there are too many", () => {
    const outputs = OutputHistory.make({ minSamples: 1 })
    const name = (i: number) => `label ${i}`
    for (let i = 0; i < OutputHistory.statesKept; i++) record(outputs, { lane, label: name(i) }, 10, 1)
    record(outputs, { lane, label: name(0) }, 10, 1)
    record(outputs, { lane, label: "one more" }, 1000, 1)
    record(outputs, { lane }, 2000, 256)
    const after = [0, 1, 2].map((i) => expected(outputs, { lane, label: name(i) }))
    expect(after).toEqual([11, 2200, 11])
    expect(expected(outputs, { lane, label: "one more" })).toBe(1100)
  })
})

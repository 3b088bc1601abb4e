import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Money from "../../src/domain/Money.ts"
import * as Usage from "../../src/domain/Usage.ts"
import * as Price from "../../src/policy/Price.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"

const embedding = "test/embedding"
const fractional = "test/fractional"
const lookup = PriceTable.lookup(
  PriceTable.shipped,
  PriceTable.fromModels([{ id: embedding, type: "embedding", pricing: { input: 0.008, output: 0 } }], "2026-10-01"),
  [Price.stated({ model: fractional, inputUsdPerMillion: "0.0375", outputUsdPerMillion: "0" })]
)

const llama = "meta-llama/Llama-3.3-70B-Instruct-Turbo" // 1,040 nano-dollars a token, in and out; batches half
const oss20 = "openai/gpt-oss-20b" // 50, 200
const oss120 = "openai/gpt-oss-120b" // 150, 600
const v4pro = "deepseek-ai/DeepSeek-V4-Pro-0813" // 1,320, 3,960, cached 130
const v4flash = "deepseek-ai/DeepSeek-V4-Flash-0731" // 140, 280, cached 30
const v41flash = "deepseek-ai/DeepSeek-V4.1-Flash" // 300, 1,200, cached 6
const glm = "zai-org/GLM-5.3" // 1,400, 4,400, cached 260
const glmFlash = "zai-org/GLM-5.3-Flash" // 150, 500, cached 30
const kimi = "moonshotai/Kimi-K3" // 3,000, 15,000, cached 300
const qwen38 = "Qwen/Qwen3.8-2.4T-A95B" // 2,000, 6,000, cached 500
const qwen36 = "Qwen/Qwen3.6-Plus" // 500, 3,000
const qwen37 = "Qwen/Qwen3.7-Max" // 1,500, 4,500, cached 500
const qwenFlash = "Qwen/Qwen3.8-Flash" // 90, 282
const qwen9 = "Qwen/Qwen3.5-9B" // 170, 250
const muse = "meta-models/Muse-Glimmer-30B" // 350, 1,500, cached 40
const minimax = "MiniMaxAI/MiniMax-M3" // 300, 1,200, cached 60
const inkling = "thinkingmachines/Inkling" // 1,000, 4,050, cached 170

const nested = (prompt: number, completion: number, cached: number, reasoning: number) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  prompt_tokens_details: { cached_tokens: cached },
  completion_tokens_details: { reasoning_tokens: reasoning }
})
const flat = (prompt: number, completion: number, rest: object = {}) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  ...rest
})

/** What the usage is, how it came over the wire, and what it costs in nano-dollars, computed by hand. */
const shapes: ReadonlyArray<readonly [what: string, model: string, wire: unknown, nano: bigint, batch?: boolean]> = [
  ["flat, nothing cached (recorded)", llama, flat(45, 3, { cached_tokens: 0 }), 49_920n], // 48 × 1040
  ["flat, the smallest", llama, flat(1, 1), 2_080n], // 2 × 1040
  ["cached, but the model has no cached price", llama, flat(45, 3, { cached_tokens: 32 }), 49_920n], // never free
  ["flat reasoning", oss20, flat(72, 40, { reasoning_tokens: 12 }), 11_600n], // 3600 + 8000
  ["all output is reasoning", oss20, flat(100, 64, { reasoning_tokens: 64 }), 17_800n], // 5000 + 12800
  ["more reasoning than output", oss20, flat(10, 5, { reasoning_tokens: 9 }), 1_500n], // 500 + 1000
  ["no details at all", oss120, flat(1000, 1000), 750_000n], // 150000 + 600000
  ["nested cached and reasoning", v4pro, nested(1200, 500, 1024, 300), 2_345_440n], // 176×1320 + 1024×130 + 500×3960
  ["null details", v4pro, { ...flat(100, 10), prompt_tokens_details: null, completion_tokens_details: null }, 171_600n],
  ["nine tenths cached", v4flash, nested(1000, 100, 900, 0), 69_000n], // 14000 + 27000 + 28000
  ["a million cached, no output", v41flash, nested(1_000_000, 0, 1_000_000, 0), 6_000_000n],
  ["cached and mostly reasoning", glm, nested(2000, 800, 1500, 600), 4_610_000n], // 700000 + 390000 + 3520000
  ["flat cached with a cached price", glmFlash, flat(100, 50, { cached_tokens: 10 }), 38_800n], // 13500 + 300 + 25000
  ["no total", "zai-org/GLM-5.2", { prompt_tokens: 5, completion_tokens: 7 }, 37_800n], // 7000 + 30800
  ["as found in choices[0]", kimi, flat(21, 9, { cached_tokens: 0 }), 198_000n], // 63000 + 135000
  ["flat and nested disagree: nested wins", kimi, { ...nested(20, 1, 16, 0), cached_tokens: 5 }, 31_800n],
  [
    "Responses API names",
    qwen38,
    {
      input_tokens: 50,
      output_tokens: 20,
      total_tokens: 70,
      input_tokens_details: { cached_tokens: 40 },
      output_tokens_details: { reasoning_tokens: 5 }
    },
    160_000n // 10×2000 + 40×500 + 20×6000
  ],
  ["all cached, no cached price", qwen36, flat(10, 10, { cached_tokens: 10 }), 35_000n], // 5000 + 30000
  ["more cached than prompt", qwen37, flat(8, 2, { cached_tokens: 12 }), 13_000n], // 8×500 + 9000
  ["a price with three decimals", qwenFlash, flat(1, 1), 372n], // 90 + 282
  ["a price with three decimals, more", qwenFlash, flat(333, 7), 31_944n], // 29970 + 1974
  ["no completion count", qwen9, { prompt_tokens: 400, total_tokens: 400 }, 68_000n], // 400 × 170
  ["no prompt count", muse, { completion_tokens: 30, total_tokens: 100 }, 69_500n], // 70×350 + 30×1500
  ["nothing used is known to be free", minimax, flat(0, 0), 0n],
  ["a whole job", minimax, flat(1_000_000_000, 1_000_000), 301_200_000_000n], // $300 + $1.20
  ["long reasoning", v41flash, nested(3, 2000, 0, 1990), 2_400_900n], // 900 + 2400000
  ["prompt wholly cached", inkling, flat(7, 3, { cached_tokens: 7 }), 13_340n], // 1190 + 12150
  ["batch at half price", llama, flat(45, 3), 24_960n, true],
  ["batch of one token", llama, flat(1, 0), 520n, true],
  ["batch without a discount", oss20, flat(72, 40), 11_600n, true],
  ["an embedding: input only", embedding, { prompt_tokens: 13, total_tokens: 13 }, 104n], // 13 × 8
  ["half a nano-dollar rounds up", fractional, flat(3, 0), 113n] // 3 × 37.5 = 112.5
]

describe("Price", () => {
  describe("ofUsage", () => {
    for (const [what, model, wire, nano, batch] of shapes) {
      it(`prices: ${what}`, () => {
        expect(Price.ofUsage(lookup(model), model, Usage.fromWire(wire), { batch })).toEqual(Price.known(nano))
      })
    }

    it("covers at least 30 shapes", () => {
      expect(shapes.length).toBeGreaterThanOrEqual(30)
    })

    it("says unknown, never zero, for an unknown model, a model without token price, an answer without usage", () => {
      expect(Price.ofUsage(lookup("nobody/nothing"), "nobody/nothing", Usage.zero)).toEqual(
        Price.unknown("no price is known for model nobody/nothing")
      )
      const flux = "black-forest-labs/FLUX.2-pro"
      expect(Price.ofUsage(lookup(flux), flux, Usage.zero)).toEqual(
        Price.unknown(`model ${flux} has no price per token (shipped table of ${PriceTable.shippedAsOf})`)
      )
      expect(Price.ofUsage(lookup(llama), llama, undefined)).toEqual(
        Price.unknown(`the answer of model ${llama} said no usage`)
      )
    })

    const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
    it.prop(
      "never charges a reasoning token twice, nor a cached token more than a plain one",
      [Count, Count, Count],
      ([input, output, part]) => {
        const usage = { inputTokens: input, outputTokens: output, cachedInputTokens: 0, reasoningTokens: 0 }
        const plain = Price.ofUsage(lookup(glm), glm, usage)
        const reasoned = Price.ofUsage(lookup(glm), glm, { ...usage, reasoningTokens: Math.min(part, output) })
        const cached = Price.ofUsage(lookup(glm), glm, { ...usage, cachedInputTokens: Math.min(part, input) })
        expect(reasoned).toEqual(plain)
        expect(cached._tag === "Known" && plain._tag === "Known" && cached.nanoUsd <= plain.nanoUsd).toBe(true)
      }
    )
  })

  describe("ofCall", () => {
    it("spans from all cached and silent to all fresh and talkative", () => {
      const estimate = { inputTokens: 1000, outputTokens: 200, maxOutputTokens: 500 }
      expect(Price.ofCall(lookup(glm), glm, estimate)).toEqual(
        // 800×260; 1000×1400 + 200×4400; 1250×1400 + 500×4400
        Price.range(208_000n, 3_950_000n, 2_280_000n)
      )
      expect(Price.ofCall(lookup(llama), llama, estimate, { batch: true, inputMargin: 0 })).toEqual(
        Price.range(520_000n, 780_000n, 624_000n)
      )
    })

    it("says unknown for an unknown model and refuses a bad margin", () => {
      const estimate = { inputTokens: 1, outputTokens: 1, maxOutputTokens: 1 }
      expect(Price.ofCall(undefined, "m", estimate)).toEqual(Price.unknown("no price is known for model m"))
      expect(() => Price.ofCall(undefined, "m", estimate, { inputMargin: -1 })).toThrow(
        "Price.ofCall: inputMargin must be a finite number >= 0, got -1"
      )
    })

    it("stays a range where caching costs more than not", () => {
      const odd = Price.stated({
        model: "odd",
        inputUsdPerMillion: 1,
        outputUsdPerMillion: 0,
        cachedInputUsdPerMillion: 2
      })
      expect(Price.ofCall(odd, "odd", { inputTokens: 4, outputTokens: 0, maxOutputTokens: 0 })).toEqual(
        Price.range(3000n, 10_000n, 4000n)
      )
    })

    it("takes the model's context for the most of a choice that sets no max_tokens, where it is known", () => {
      const price = (contextTokens?: number) =>
        Price.stated({ model: "m", inputUsdPerMillion: 0, outputUsdPerMillion: 1, contextTokens })
      const most = (openChoices: number | undefined, contextTokens?: number) => {
        const estimate = { inputTokens: 0, outputTokens: 0, maxOutputTokens: 10, openChoices }
        const bound = Price.ofCall(price(contextTokens), "m", estimate)
        return bound._tag === "Known" ? bound.high / 1000n : undefined
      }
      expect([most(undefined, 500), most(1), most(1, 500), most(3, 500)]).toEqual([10n, 10n, 500n, 1500n])
      expect(most(2, Number.MAX_SAFE_INTEGER)).toBe(BigInt(Number.MAX_SAFE_INTEGER))
    })

    it("refuses a context that is no number of tokens", () => {
      for (const contextTokens of [NaN, -5, 0, 0.5, Infinity]) {
        expect(() => Price.stated({ model: "m", inputUsdPerMillion: 1, outputUsdPerMillion: 1, contextTokens }))
          .toThrow(
            new RangeError(`Price.stated: contextTokens must be an integer >= 1, got ${contextTokens}`)
          )
      }
    })

    it("takes what was learned for it instead, up to the context", () => {
      const most = (maxOutputTokens: number, contextTokens?: number) => {
        const price = Price.stated({ model: "m", inputUsdPerMillion: 0, outputUsdPerMillion: 1, contextTokens })
        const estimate = { inputTokens: 0, outputTokens: 0, maxOutputTokens, openChoices: 2, learned: true }
        const bound = Price.ofCall(price, "m", estimate)
        return bound._tag === "Known" ? bound.high / 1000n : undefined
      }
      expect([most(400, 500), most(4000, 500), most(4000)]).toEqual([400n, 1000n, 4000n])
    })

    const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))
    it.prop(
      "bounds every real usage within the margin and max_tokens",
      [Count, Count, Count, Count],
      ([input, most, output, cached]) => {
        const dearCache = Price.stated({
          model: "d",
          inputUsdPerMillion: 1,
          outputUsdPerMillion: 2,
          cachedInputUsdPerMillion: 3
        })
        const estimate = { inputTokens: input, outputTokens: Math.min(output, most), maxOutputTokens: most }
        for (const price of [lookup(glm), dearCache]) {
          const bound = Price.ofCall(price, glm, estimate)
          const real = Price.ofUsage(price, glm, {
            inputTokens: Math.floor(input * 1.25),
            outputTokens: Math.min(output, most),
            cachedInputTokens: Math.min(cached, Math.floor(input * 1.25)),
            reasoningTokens: 0
          })
          expect(bound._tag === "Known" && real._tag === "Known" && real.nanoUsd <= bound.high).toBe(true)
          const fewer = Math.ceil(input / 1.25)
          const least = Price.ofUsage(price, glm, {
            inputTokens: fewer,
            outputTokens: 0,
            cachedInputTokens: Math.min(cached, fewer),
            reasoningTokens: 0
          })
          expect(bound._tag === "Known" && least._tag === "Known" && least.nanoUsd >= bound.low).toBe(true)
        }
      }
    )
  })

  describe("ofImages", () => {
    it("takes what is stated, per megapixel or per image", () => {
      const at = (price: Price.ModelPrice, steps?: number) =>
        Price.ofImages(price, "m", { width: 1000, height: 500, count: 3, steps })
      const sized = Price.stated({ model: "m", usdPerMegapixel: "0.004", defaultSteps: 4 })
      expect([at(sized), at(sized, 8)]).toEqual([Price.known(6_000_000n), Price.known(12_000_000n)])
      expect(at(Price.stated({ model: "m", usdPerMegapixel: "0.004" }), 8)).toEqual(Price.known(6_000_000n))
      const both = Price.stated({ model: "m", usdPerImage: "0.003", inputUsdPerMillion: 1, outputUsdPerMillion: 2 })
      expect([at(both, 99), both.tokens]).toEqual([
        Price.known(9_000_000n),
        { input: Money.ratio(1000n), output: Money.ratio(2000n), cachedInput: undefined }
      ])
      expect(sized).not.toHaveProperty("tokens")
      expect(() => Price.stated({ model: "m", usdPerMegapixel: 1, defaultSteps: 0 })).toThrow(
        new RangeError("Price.stated: defaultSteps must be an integer >= 1, got 0")
      )
    })

    const kontext = "black-forest-labs/FLUX.1-kontext-pro" // $0.04 per megapixel at 28 steps
    it.each([
      ["a megapixel", { width: 1000, height: 1000, count: 1 }, 40_000_000n],
      ["the default size", { width: 1024, height: 1024, count: 1 }, 41_943_040n],
      ["the default steps", { width: 1000, height: 1000, count: 1, steps: 28 }, 40_000_000n],
      ["twice the steps", { width: 1000, height: 1000, count: 1, steps: 56 }, 80_000_000n],
      ["fewer steps cost no less", { width: 1000, height: 1000, count: 1, steps: 4 }, 40_000_000n],
      ["four small ones", { width: 500, height: 500, count: 4, steps: 42 }, 60_000_000n]
    ])("prices %s", (_what, images, nano) => {
      expect(Price.ofImages(lookup(kontext), kontext, images)).toEqual(Price.known(nano))
    })

    it("ignores steps where the model has no default", () => {
      const pro = "black-forest-labs/FLUX.2-pro"
      expect(Price.ofImages(lookup(pro), pro, { width: 1000, height: 1000, count: 1, steps: 99 })).toEqual(
        Price.known(30_000_000n)
      )
    })

    it("says unknown for a model without image price, and refuses sizes that are none", () => {
      expect(Price.ofImages(lookup(llama), llama, { width: 1, height: 1, count: 1 })._tag).toBe("Unknown")
      expect(() => Price.ofImages(lookup(kontext), kontext, { width: 0.5, height: 1, count: 1 })).toThrow(
        "Price.ofImages: width must be an integer >= 0, got 0.5"
      )
      expect(() => Price.ofImages(lookup(kontext), kontext, { width: 1, height: 1, count: 1, steps: -1 })).toThrow(
        "Price.ofImages: steps must be an integer >= 0, got -1"
      )
    })
  })

  describe("by time and length", () => {
    const dedicated = PriceTable.lookup(PriceTable.fromModels([{ id: "d", pricing: { hourly: 6.6 } }], "2026-10-01"))
    it("prices the minutes of an endpoint's replicas", () => {
      expect(Price.ofMinutes(dedicated("d"), "d", 90, 2)).toEqual(Price.known(19_800_000_000n))
      expect(Price.ofMinutes(dedicated("d"), "d", 0.5)).toEqual(Price.known(55_000_000n))
      expect(Price.ofMinutes(undefined, "e", 1)).toEqual(Price.unknown("no price is known for model e"))
      expect(Price.ofMinutes(lookup(llama), llama, 1)._tag).toBe("Unknown")
      expect(() => Price.ofMinutes(dedicated("d"), "d", -1)).toThrow(
        "Price.ofMinutes: minutes must be a finite number >= 0, got -1"
      )
    })

    it("prices audio by the minute and speech by the character", () => {
      const whisper = "openai/whisper-large-v3"
      expect(Price.ofAudioMinutes(lookup(whisper), whisper, 10)).toEqual(Price.known(15_000_000n))
      expect(Price.ofAudioMinutes(lookup(whisper), whisper, 10, { batch: true })).toEqual(Price.known(7_500_000n))
      expect(Price.ofCharacters(lookup("hexgrad/Kokoro-82M"), "hexgrad/Kokoro-82M", 250)).toEqual(
        Price.known(1_000_000n)
      )
    })
  })

  describe("ofFineTune", () => {
    it("takes the provider's estimate, in dollars", () => {
      expect(Price.ofFineTune({ estimation_available: true, estimated_total_price: 4.2 })).toEqual(
        Price.exactly(4_200_000_000n)
      )
      expect(Price.ofFineTune({ estimation_available: true, estimated_total_price: null })).toEqual(
        Price.unknown("Together gave no price for this fine-tune: no reason was given")
      )
      expect(Price.ofFineTune({ estimation_available: false, unavailable_reason: "train_file_invalid" })).toEqual(
        Price.unknown("Together gave no price for this fine-tune: train_file_invalid")
      )
      expect(Price.ofFineTune({})).toEqual(
        Price.unknown("Together gave no price for this fine-tune: no reason was given")
      )
    })

    it.each([-3, Number.NaN, Infinity])("takes %s for no price", (estimated_total_price) => {
      expect(Price.ofFineTune({ estimated_total_price })).toEqual(
        Price.unknown(`Together's estimate for this fine-tune is no price: ${estimated_total_price}`)
      )
    })
  })

  it("marks a cost as assumed, and leaves what is unknown as it is", () => {
    expect(Price.assumed(Price.known(7n), "cut")).toEqual({ _tag: "Assumed", nanoUsd: 7n, reason: "cut" })
    expect(Price.assumed(Price.unknown("no price"), "cut")).toEqual(Price.unknown("no price"))
  })

  describe("what is no amount", () => {
    const price = Price.stated({ model: "m", inputUsdPerMillion: 1, outputUsdPerMillion: 2 })

    it("is no cost below zero", () => {
      expect(() => Price.known(-5n)).toThrow("Price.known: nanoUsd must be >= 0, got -5")
    })

    it.each([
      ["inputTokens", { inputTokens: Number.NaN, outputTokens: 1, cachedInputTokens: 0, reasoningTokens: 0 }],
      ["cachedInputTokens", { inputTokens: 1, outputTokens: 1, cachedInputTokens: -1, reasoningTokens: 0 }],
      ["outputTokens", { inputTokens: 1, outputTokens: 1.5, cachedInputTokens: 0, reasoningTokens: 0 }]
    ])("is no count of %s", (name, usage) => {
      expect(() => Price.ofUsage(price, "m", usage)).toThrow(`Price.ofUsage: ${name} must be an integer >= 0, got `)
    })
  })

  describe("estimates", () => {
    it("add and multiply, and stay unknown", () => {
      const one = Price.range(1n, 3n, 2n)
      expect(Price.sum([one, one])).toEqual(Price.range(2n, 6n, 4n))
      expect(Price.sum([one, Price.unknown("why")])).toEqual(Price.unknown("why"))
      expect(Price.repeat(one, 4)).toEqual(Price.range(4n, 12n, 8n))
      expect(Price.repeat(Price.unknown("why"), 4)).toEqual(Price.unknown("why"))
      expect(() => Price.repeat(one, -1)).toThrow("Price.repeat: count must be an integer >= 0, got -1")
      expect(Price.toEstimate(Price.known(5n))).toEqual(Price.exactly(5n))
      expect(Price.toEstimate(Price.unknown("why"))).toEqual(Price.unknown("why"))
      expect(Price.free).toEqual(Price.known(0n))
    })

    it("refuse bounds out of order", () => {
      expect(() => Price.range(2n, 1n)).toThrow("Price.range: bounds must be 0 <= low <= expected <= high, got 2, 1, 1")
    })
  })

  it("takes a stated price with a cached part and a batch share", () => {
    const price = Price.stated({
      model: "m",
      inputUsdPerMillion: 1,
      outputUsdPerMillion: 2,
      cachedInputUsdPerMillion: 0.5,
      batchShare: Money.ratio(1n, 4n)
    })
    const usage = { inputTokens: 10, outputTokens: 10, cachedInputTokens: 4, reasoningTokens: 0 }
    expect(Price.ofUsage(price, "m", usage, { batch: true })).toEqual(Price.known(7_000n))
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import {
  AuthError,
  OverloadedError,
  RateLimitError,
  ServerError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as RetryDocument from "../../src/guard/retry/RetryDocument.ts"

const server = new ServerError({ message: "500" })
const overloaded = new OverloadedError({ message: "503" })
const limited = new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.seconds(8) })

type Inputs = readonly [TogetherError, ...Array<TogetherError>]

const seconds = (
  schedule: Retry.RetryDocumentJson | Schedule.Schedule<unknown>,
  options: Retry.PreviewOptions<unknown> = { attempts: 6 }
) => Effect.map(Retry.preview(schedule, options), (all) => all.map((delay) => Duration.toSeconds(delay)))

describe("RetryDocument", () => {
  describe("fromDocument", () => {
    const cases: ReadonlyArray<readonly [Retry.RetryDocumentJson, ReadonlyArray<number>, Inputs?]> = [
      [{ type: "exponential", base: "1 second" }, [1, 2, 4, 8, 16]],
      [{ type: "exponential", base: "1 second", factor: 3, cap: "10 seconds" }, [1, 3, 9, 10, 10]],
      [{ type: "fibonacci", base: "1 second" }, [1, 1, 2, 3, 5]],
      [{ type: "spaced", interval: "1.5 seconds" }, [1.5, 1.5, 1.5, 1.5, 1.5]],
      [{ type: "fixed", interval: "2 seconds" }, [2, 2, 2, 2, 2]],
      [{ type: "delays", delays: ["1 second", "0 seconds", "3 seconds"] }, [1, 0, 3]],
      [{ type: "decorrelated", base: "1 second", cap: "1 second" }, [1, 1, 1, 1, 1]],
      [{ type: "spaced", interval: "1 second", maxAttempts: 3 }, [1, 1]],
      [{ type: "spaced", interval: "1 second", times: 3 }, [1, 1, 1]],
      [{ type: "spaced", interval: "1 second", maxElapsed: "4 seconds" }, [1, 1, 1, 1]],
      [{ type: "exponential", base: "1 second", floor: "3 seconds" }, [3, 3, 4, 8, 16]],
      [{ type: "spaced", interval: "1 second", jitter: "none" }, [1, 1, 1, 1, 1]],
      [{ type: "spaced", interval: "1 second", jitter: { min: 2, max: 2 } }, [2, 2, 2, 2, 2]],
      [
        {
          type: "sequence",
          schedules: [
            { type: "spaced", interval: "1 second", times: 2 },
            { type: "exponential", base: "10 seconds" }
          ]
        },
        [1, 1, 10, 20, 40]
      ],
      [
        {
          type: "min",
          schedules: [{ type: "exponential", base: "1 second" }, { type: "spaced", interval: "5 seconds", times: 4 }]
        },
        [1, 2, 4, 5, 16]
      ],
      [
        {
          type: "max",
          schedules: [{ type: "exponential", base: "1 second" }, { type: "spaced", interval: "5 seconds", times: 4 }]
        },
        [5, 5, 5, 8]
      ],
      [
        {
          type: "spaced",
          interval: "1 second",
          byTag: { OverloadedError: { type: "exponential", base: "2 seconds" } }
        },
        [1, 2, 4, 1],
        [server, overloaded, overloaded, server]
      ],
      [{ type: "spaced", interval: "1 second" }, [1], [limited]],
      [{ type: "spaced", interval: "1 second", retryAfter: false }, [1], [limited]],
      [{ type: "spaced", interval: "1 second", retryAfter: { spread: 0 } }, [8, 1], [limited, server]],
      [{ type: "spaced", interval: "1 second", retryAfter: { spread: 0, cap: "7 seconds" } }, [], [limited]],
      [{ type: "spaced", interval: "1 second" }, [1], [server, new AuthError({ message: "401" }), server]]
    ]

    it.effect.each(cases)("builds the delays of case %#", ([document, delays, inputs]) =>
      Effect.gen(function*() {
        expect(yield* seconds(document, inputs === undefined ? { attempts: 6 } : { inputs })).toEqual(delays)
      }))

    it.effect("draws each jitter within its range", () =>
      Effect.gen(function*() {
        for (const [jitter, min, max] of [["full", 0, 1], ["equal", 0.5, 1], ["proportional", 0.8, 1.2]] as const) {
          const all = yield* seconds({ type: "spaced", interval: "1 second", jitter }, { attempts: 500, seed: 1 })
          expect(Math.min(...all)).toBeGreaterThanOrEqual(min)
          expect(Math.max(...all)).toBeLessThanOrEqual(max)
          expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan((max - min) * 0.95)
        }
      }))

    it("refuses a value that its type does not rule out, by path", () => {
      expect(() => Retry.fromDocument({ type: "exponential", base: "0 seconds" })).toThrow(
        new RangeError(`Retry.fromDocument: Expected a finite duration above 0\n  at ["base"]`)
      )
    })
  })

  describe("fromJson", () => {
    const bad: ReadonlyArray<readonly [string, string]> = [
      [`{`, `Expected a valid JSON string`],
      [`[]`, `Expected an object whose "type" is one of "exponential", "decorrelated"`],
      [`{ "type": "exponental" }`, `Expected an object whose "type" is one of "exponential"`],
      [`{ "type": "exponential" }`, `Missing key\n  at ["base"]`],
      [`{ "type": "exponential", "base": 5 }`, `Expected string\n  at ["base"]`],
      [`{ "type": "exponential", "base": "5 parsecs" }`, `Expected a valid Duration string\n  at ["base"]`],
      [`{ "type": "exponential", "base": "Infinity" }`, `Expected a finite duration above 0\n  at ["base"]`],
      [`{ "type": "exponential", "base": "1 second", "facto": 3 }`, `Expected no excess property\n  at ["facto"]`],
      [`{ "type": "exponential", "base": "1 second", "factor": 0.5 }`, `greater than or equal to 1`],
      [`{ "type": "spaced", "interval": "1 second", "maxAttempts": 0 }`, `at ["maxAttempts"]`],
      [`{ "type": "spaced", "interval": "1 second", "jitter": "ful" }`, `at ["jitter"]`],
      [`{ "type": "spaced", "interval": "1 second", "jitter": { "min": 2, "max": 1 } }`, `max to be at least min`],
      [`{ "type": "spaced", "interval": "1 second", "retryAfter": { "spread": 0.5 } }`, `at ["retryAfter"]["spread"]`],
      [`{ "type": "decorrelated", "base": "2 seconds", "cap": "1 second" }`, `Expected cap to be at least base`],
      [
        `{ "type": "sequence", "schedules": [{ "type": "spaced", "interval": "1 second" }, { "type": "spaced" }] }`,
        `Missing key\n  at ["schedules"][1]["interval"]`
      ],
      [`{ "type": "delays", "delays": [] }`, `at ["delays"]`],
      [
        `{ "type": "spaced", "interval": "1 second", "byTag": { "ServerError": { "type": "spaced", "interval": "x" } } }`,
        `Expected a valid Duration string\n  at ["byTag"]["ServerError"]["interval"]`
      ]
    ]

    it.effect.each(bad)("refuses %s and names the place", ([text, message]) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Retry.fromJson(text))
        expect(error._tag).toBe("SchemaError")
        expect(error.message).toContain(message)
      }))

    it.effect("builds the same schedule as the document", () =>
      Effect.gen(function*() {
        const schedule = yield* Retry.fromJson(JSON.stringify(Retry.defaultDocument))
        const options = { inputs: [server, limited, overloaded] as const, seed: "same" }
        expect(yield* seconds(schedule, options)).toEqual(yield* seconds(Retry.defaultDocument, options))
      }))
  })

  it.effect("decodes what it encodes", () =>
    Effect.gen(function*() {
      const decoded = yield* Schema.decodeEffect(RetryDocument.RetryDocument)(Retry.defaultDocument)
      expect(decoded).toMatchObject({
        schedules: [{ base: Duration.millis(500) }],
        byTag: { RateLimitError: { base: Duration.seconds(1) } }
      })
      const encoded = yield* Schema.encodeEffect(RetryDocument.RetryDocument)(decoded)
      expect(yield* Schema.decodeEffect(RetryDocument.RetryDocument)(encoded)).toEqual(decoded)
    }))

  it.effect.prop("any document decodes to itself after encoding, and previews without a defect", {
    document: RetryDocument.RetryDocument
  }, ({ document }) =>
    Effect.gen(function*() {
      const encoded = yield* Schema.encodeEffect(RetryDocument.RetryDocument)(document)
      const again = yield* Schema.decodeEffect(RetryDocument.RetryDocument)(encoded)
      const options = { inputs: [server, limited, overloaded] as const, seed: 1 }
      const delays = yield* Retry.preview(RetryDocument.make(document), options)
      expect(yield* Retry.preview(RetryDocument.make(again), options)).toEqual(delays)
      for (const delay of delays) expect(Duration.toMillis(delay)).toBeGreaterThanOrEqual(0)
    }), { arbitrary: { runs: 100, maxDiscards: 100_000 } })

  describe("config", () => {
    const read = (provider: ConfigProvider.ConfigProvider, config = Retry.config("RETRY")) =>
      Effect.flatMap(Effect.provide(config, ConfigProvider.layer(provider)), (schedule) => seconds(schedule))

    it.effect("reads one string of JSON, an object, and nested variables", () =>
      Effect.gen(function*() {
        const json = `{ "type": "spaced", "interval": "2 seconds", "times": 2 }`
        expect(yield* read(ConfigProvider.fromEnvRecord({ RETRY: json }))).toEqual([2, 2])
        expect(yield* read(ConfigProvider.fromUnknown({ RETRY: { type: "spaced", interval: "2 seconds", times: 2 } })))
          .toEqual([2, 2])
        const nested = { RETRY_type: "spaced", RETRY_interval: "2 seconds", RETRY_times: "2" }
        expect(yield* read(ConfigProvider.fromEnvRecord(nested))).toEqual([2, 2])
      }))

    it.effect("refuses an unknown key of an object as one of JSON, at any depth", () =>
      Effect.gen(function*() {
        const spaced = { type: "spaced", interval: "2 seconds" }
        const typos: ReadonlyArray<readonly [object, string]> = [
          [{ ...spaced, maxAttempt: 3 }, `at ["RETRY"]["maxAttempt"]`],
          [{ ...spaced, factor: 2 }, `at ["RETRY"]["factor"]`],
          [{ ...spaced, retryAfter: { spred: 0 } }, `at ["RETRY"]["retryAfter"]["spred"]`],
          [
            { ...spaced, byTag: { ServerError: { ...spaced, tims: 1 } } },
            `at ["RETRY"]["byTag"]["ServerError"]["tims"]`
          ],
          [{ type: "sequence", schedules: [spaced, { ...spaced, tims: 1 }] }, `at ["RETRY"]["schedules"][1]["tims"]`]
        ]
        for (const [RETRY, place] of typos) {
          const error = yield* Effect.flip(read(ConfigProvider.fromUnknown({ RETRY })))
          expect(error._tag).toBe("ConfigError")
          expect(String(error)).toContain(`Expected no excess property\n  ${place}`)
        }
        const variables = {
          RETRY_type: "spaced",
          RETRY_interval: "2 seconds",
          RETRY_maxAttempt: "3",
          RETRY_OTHER_2: "x"
        }
        expect(String(yield* Effect.flip(read(ConfigProvider.fromEnvRecord(variables))))).toContain(
          `at ["RETRY"]["maxAttempt"]`
        )
      }))

    it.effect("lets variables of others share the first part of its name, and providers rename keys", () =>
      Effect.gen(function*() {
        const shared = {
          RETRY_type: "spaced",
          RETRY_interval: "2 seconds",
          RETRY_times: "1",
          RETRY_cap: "",
          RETRY_BUDGET_RATIO: "0.5",
          RETRY_HOST_1: "x"
        }
        expect(yield* read(ConfigProvider.fromEnvRecord(shared))).toEqual([2])
        const renamed = { RETRY_TYPE: "spaced", RETRY_INTERVAL: "2 seconds", RETRY_MAX_ATTEMPTS: "2" }
        expect(yield* read(ConfigProvider.constantCase(ConfigProvider.fromEnvRecord(renamed)))).toEqual([2])
      }))

    it.effect.each<readonly [string, Record<string, string>, string]>([
      ["a missing variable", {}, `Expected string\n  at ["RETRY"]`],
      ["an empty one", { RETRY: "" }, `Expected string\n  at ["RETRY"]`],
      ["no JSON", { RETRY: "not json" }, `Expected a valid JSON string\n  at ["RETRY"]`],
      ["a missing key", { RETRY: `{ "type": "spaced" }` }, `Missing key\n  at ["RETRY"]["interval"]`],
      ["a key of variables", { RETRY_type: "spaced", RETRY_X: "x" }, `Missing key\n  at ["RETRY"]["interval"]`],
      [
        "a value of variables",
        { RETRY_type: "spaced", RETRY_interval: "1 secnd" },
        `Expected a valid Duration string\n  at ["RETRY"]["interval"]`
      ]
    ])("names the variable of %s, once", ([, env, message]) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(read(ConfigProvider.fromEnvRecord(env)))
        expect(error.message).toBe(`SchemaError(${message})`)
      }))

    it.effect("is absent where only variables of others begin with its name", () =>
      Effect.gen(function*() {
        const others = ConfigProvider.fromEnvRecord({ RETRY_BUDGET: "1", RETRY_HOST_1: "x" })
        const read = Effect.provide(ConfigProvider.layer(others))
        expect(yield* read(Config.option(Retry.config("RETRY")))).toStrictEqual(Option.none())
        expect(yield* read(Config.withDefault(Retry.config("RETRY"), "none"))).toBe("none")
        expect((yield* Effect.flip(read(Retry.config("RETRY")))).message).toBe(
          `SchemaError(Expected string\n  at ["RETRY"])`
        )
      }))

    it.effect.each([
      ConfigProvider.fromEnvRecord({ RETRY_maxAttempts: "3" }),
      ConfigProvider.fromEnvRecord({ RETRY_maxAttempt: "3" }),
      ConfigProvider.constantCase(ConfigProvider.fromEnvRecord({ RETRY_MAX_ATTEMPTS: "3" }))
    ])("is no document rather than absent where one key of it is given", (provider) =>
      Effect.gen(function*() {
        const optional = Effect.provide(Config.option(Retry.config("RETRY")), ConfigProvider.layer(provider))
        expect((yield* Effect.flip(optional))._tag).toBe("ConfigError")
      }))

    it.effect("says what is wrong under the names that a provider gives its keys", () =>
      Effect.gen(function*() {
        const renamed = { RETRY_TYPE: "spaced", RETRY_INTERVAL: "1 secnd" }
        const error = yield* Effect.flip(read(ConfigProvider.constantCase(ConfigProvider.fromEnvRecord(renamed))))
        expect(error.message).toBe(`SchemaError(Expected a valid Duration string\n  at ["RETRY"]["interval"])`)
      }))

    it.effect("names the place in bad JSON, and can have a default", () =>
      Effect.gen(function*() {
        const bad = yield* Effect.flip(
          read(ConfigProvider.fromEnvRecord({ RETRY: `{ "type": "spaced", "interval": "2" }` }))
        )
        expect(bad._tag).toBe("ConfigError")
        expect(String(bad)).toContain(`Expected a valid Duration string\n  at ["RETRY"]["interval"]`)
        const fallback = Config.withDefault(
          Retry.config("RETRY"),
          Retry.fromDocument({ type: "delays", delays: ["7 seconds"] })
        )
        expect(yield* read(ConfigProvider.fromUnknown({}), fallback)).toEqual([7])
      }))
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as ConfiguredGuard from "../../src/guard/ConfiguredGuard.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"

const env = (variables: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnvRecord(variables))

describe("ConfiguredGuard", () => {
  it.effect.each<[string, Layer.Layer<never, Config.ConfigError>, Record<string, string>, RegExp]>([
    ["Lanes", Lanes.layerConfig(), { TOGETHER_MAX_IN_FLIGHT: "0" }, /maxInFlight must be an integer .* got 0/],
    [
      "Breaker",
      Breaker.layerConfig({ size: Config.Int("SIZE") }),
      { SIZE: "0" },
      /size must be an integer >= 1, got 0/
    ],
    [
      "RetryBudget",
      RetryBudget.layerConfig({ ratio: Config.Finite("RATIO") }),
      { RATIO: "-1" },
      /ratio must be in .*-1/
    ],
    ["Credits", Credits.layerConfig(), { TOGETHER_CREDITS_RUN_BUDGET: "$0" }, /TOGETHER_CREDITS_RUN_BUDGET/],
    ["Credits", Credits.layerConfig(), { TOGETHER_CREDITS_DAY_BUDGET: "-5" }, /TOGETHER_CREDITS_DAY_BUDGET/]
  ])(
    "fails with a ConfigError for an option out of range: %s",
    ([, layer, variables, message]) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, env(variables)))))
        expect(error).toBeInstanceOf(Config.ConfigError)
        expect(error.message).toMatch(message)
      })
  )

  it.effect("leaves other defects alone", () =>
    Effect.gen(function*() {
      const bug = new TypeError("bug")
      const exit = yield* Effect.exit(ConfiguredGuard.make(Config.succeed({}), (): Effect.Effect<void> => {
        throw bug
      }))
      expect(exit).toEqual(Exit.die(bug))
    }))
})

/**
 * A budget of retries that all calls to one provider share: at most a share of the traffic may be retries.
 *
 * The Effect shell around `policy/RetryBudget`: it holds the state and reads
 * the clock. Each call deposits once, each retry and each hedge withdraws one.
 * With the defaults five calls pay for one retry, and 10 retries per second
 * are free, whatever the traffic. When everything fails, load grows by a
 * fifth, not five times over.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { RetryBudget } from "effect-together"
 *
 * const program = Effect.gen(function*() {
 *   const budget = yield* RetryBudget.make({ ratio: 0.5, minPerSecond: 0 })
 *   yield* budget.deposit
 *   yield* budget.deposit
 *   return [yield* budget.tryWithdraw, yield* budget.tryWithdraw]
 * })
 *
 * await Effect.runPromise(program) // => [true, false]
 * ```
 *
 * **Gotchas**: one budget for each provider limit (lane), not for each call site: a budget that is not shared limits
 * nothing.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Kernel from "../../policy/RetryBudget.ts"
import * as ConfiguredGuard from "../ConfiguredGuard.ts"
import * as Millis from "../Millis.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Turns from "../Turns.ts"

/** Grants retries to all who share it. */
export interface RetryBudget {
  /** Books one call: its first attempt, not its retries. */
  readonly deposit: Effect.Effect<void>
  /** Takes one retry if the budget has it. */
  readonly tryWithdraw: Effect.Effect<boolean>
  /** Takes one retry, and waits for it in the order of arrival while the budget is empty. */
  readonly withdraw: Effect.Effect<void>
  /** Counts the retries that the budget would allow now. */
  readonly balance: Effect.Effect<number>
}

/** Identifies the budget of the context. */
export const RetryBudget: Context.Service<RetryBudget, RetryBudget> = Context.Service<RetryBudget>(
  "effect-together/RetryBudget"
)

/** Configures a budget. */
export interface Options {
  /** How long a call counts, in [1, 60] seconds. Default 10 seconds. */
  readonly timeToLive?: Duration.Input | undefined
  /** Retries per second allowed whatever the traffic, at least 0. Default 10. */
  readonly minPerSecond?: number | undefined
  /** Retries for each call, in [0, 1000]. Default 0.2: five calls pay for one retry. */
  readonly ratio?: number | undefined
}

/** Holds the defaults of every option. */
export const defaults = {
  timeToLive: Duration.seconds(Kernel.defaults.ttlSeconds),
  minPerSecond: Kernel.defaults.minPerSecond,
  ratio: Kernel.defaults.ratio
} as const

const denials = Metric.counter("effect_together_retry_budget_denied_total", {
  description: "Retries and hedges that the shared budget refused",
  incremental: true
})

/**
 * Makes a budget.
 *
 * **Errors**: defects with `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): Effect.Effect<RetryBudget> =>
  Clock.clockWith((clock) =>
    Effect.sync(() => {
      const timeToLive = options.timeToLive ?? defaults.timeToLive
      const ttlSeconds = Millis.within("RetryBudget.make: timeToLive", timeToLive, 1000, 60_000) / 1000
      const now = () => Monotonic.seconds(clock)
      const { minPerSecond, ratio } = options
      let state = Kernel.make({ ttlSeconds, minPerSecond, ratio }, now())
      const take = (): boolean => {
        const [decision, next] = Kernel.withdraw(state, now())
        state = next
        return decision._tag === "Granted"
      }
      const slot = Duration.seconds(ttlSeconds / 10)
      const untilTaken: Effect.Effect<void> = Effect.suspend(() =>
        take() ? Effect.void : Effect.andThen(Effect.sleep(slot), untilTaken)
      )
      // only the first in line watches the clock
      const turns = Turns.make()
      return RetryBudget.of({
        deposit: Effect.sync(() => {
          state = Kernel.deposit(state, now())
        }),
        tryWithdraw: Effect.suspend(() => take() ? Effect.succeed(true) : Effect.as(Metric.update(denials, 1), false)),
        withdraw: turns.take(untilTaken),
        balance: Effect.sync(() => Kernel.balance(state, now()))
      })
    })
  )

/** Provides a budget to the context. */
export const layer = (options: Options = {}): Layer.Layer<RetryBudget> => Layer.effect(RetryBudget, make(options))

/**
 * Provides a budget whose options come from the configuration.
 *
 * **Errors**: `ConfigError`, also for an option out of range.
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<RetryBudget, Config.ConfigError> =>
  Layer.effect(RetryBudget, ConfiguredGuard.make(Config.unwrap(options), make))

import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { hour, stepped } from "./steps.ts"

const virtual = <A, E>(effect: Effect.Effect<A, E>) => VirtualClock.wrap(effect)

describe("RetryBudget", () => {
  it.effect("grants a fifth of the calls as retries, and the reserve", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 0.2, minPerSecond: 1, timeToLive: "10 seconds" })
      expect(yield* budget.balance).toBe(10)
      for (let i = 0; i < 50; i++) yield* budget.deposit
      let granted = 0
      while (yield* budget.tryWithdraw) granted++
      expect(granted).toBe(20)
      expect(yield* budget.balance).toBe(0)
    }))

  it.effect("forgets both calls and retries after their time", () =>
    virtual(Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 1, minPerSecond: 0.2, timeToLive: "10 seconds" })
      for (let i = 0; i < 5; i++) yield* budget.deposit
      expect(yield* budget.balance).toBe(7)
      yield* Effect.sleep("11 seconds")
      expect(yield* budget.balance).toBe(2)
      yield* budget.tryWithdraw
      yield* budget.tryWithdraw
      expect(yield* budget.tryWithdraw).toBe(false)
      yield* Effect.sleep("11 seconds")
      expect(yield* budget.balance).toBe(2)
    })))

  it.effect("serves those who wait in the order they came, whoever looks first", () =>
    Effect.gen(function*() {
      for (let offset = 0; offset < 1000; offset += 90) {
        const order: Array<number> = []
        const result = yield* VirtualClock.run(Effect.gen(function*() {
          const budget = yield* RetryBudget.make({ ratio: 0, minPerSecond: 0.1, timeToLive: "10 seconds" })
          yield* budget.withdraw
          const waiting = yield* Effect.forEach([1, 2, 3], (n) =>
            Effect.delay(
              Effect.forkChild(
                Effect.andThen(budget.withdraw, Effect.sync(() => order.push(n))),
                { startImmediately: true }
              ),
              offset
            ))
          yield* Effect.forEach(waiting, Fiber.join)
        }))
        expect(Exit.isSuccess(result.exit)).toBe(true)
        expect([offset, ...order]).toEqual([offset, 1, 2, 3])
        expect(Duration.toSeconds(result.elapsed)).toBeGreaterThanOrEqual(30)
        expect(result.timersLeft).toBe(0)
      }
    }))

  it.effect("frees the head of the line when a waiting call is interrupted", () =>
    virtual(Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 0, minPerSecond: 0.1, timeToLive: "10 seconds" })
      yield* budget.withdraw
      const first = yield* Effect.forkChild(budget.withdraw, { startImmediately: true })
      const second = yield* Effect.forkChild(budget.withdraw, { startImmediately: true })
      yield* Fiber.interrupt(first)
      yield* Fiber.join(second)
      expect(yield* budget.balance).toBe(0)
    })))

  it.effect("fills again after the clock was set back", () =>
    stepped((set) =>
      Effect.gen(function*() {
        const budget = yield* RetryBudget.make({ ratio: 0, minPerSecond: 0.1, timeToLive: "10 seconds" })
        yield* budget.withdraw
        set(-hour)
        yield* Effect.sleep("11 seconds")
        expect(yield* budget.balance).toBe(1)
      })
    ))

  it.effect("comes as a layer, from options or configuration", () =>
    Effect.gen(function*() {
      const balance = Effect.flatMap(RetryBudget.RetryBudget, (budget) => budget.balance)
      expect(yield* Effect.provide(balance, RetryBudget.layer())).toBe(100)
      const configured = RetryBudget.layerConfig({ minPerSecond: Config.succeed(3) })
      expect(yield* Effect.provide(balance, configured)).toBe(30)
    }))

  it.effect.each<[RetryBudget.Options, RegExp]>([
    [{ timeToLive: "61 seconds" }, /^RetryBudget.make: timeToLive must be in \[1000, 60000\] ms, got 61000 ms$/],
    [{ ratio: -1 }, /ratio must be in/]
  ])("refuses options out of range, in the layer: %s", ([options, message]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(RetryBudget.layer(options))))
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(
        expect.objectContaining({ name: "RangeError", message: expect.stringMatching(message) })
      )
    }))
})

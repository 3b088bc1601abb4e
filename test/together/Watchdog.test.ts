import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, type Fiber } from "effect"
import { VirtualClock } from "effect-together/testing"
import { TestClock } from "effect/testing"
import * as Watchdog from "../../src/together/transport/Watchdog.ts"

/** Runs on the fiber at hand, at millisecond 0 of a test clock. */
const withFiber = <A>(f: (fiber: Fiber.Fiber<unknown, unknown>) => A) =>
  Effect.withFiber((fiber) => Effect.sync(() => f(fiber)))

describe("Watchdog", () => {
  it.effect("bites each wait at its own moment, whatever their order", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      const bitten: Array<number> = []
      yield* withFiber((fiber) => {
        for (const at of [300, 100, 200, 100]) watchdog.watch(fiber, at, () => bitten.push(at))
      })
      const seen: Array<number> = []
      for (let i = 0; i < 4; i++) {
        seen.push(bitten.length)
        yield* TestClock.adjust(i === 0 ? 99 : i === 1 ? 1 : 100)
      }
      expect(seen).toEqual([0, 0, 2, 3])
      expect(bitten).toEqual([100, 100, 200, 300])
    }))

  it.effect("bites a wait that is due already at once", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      let bites = 0
      yield* TestClock.adjust(50)
      yield* withFiber((fiber) => watchdog.watch(fiber, 50, () => bites++))
      expect(bites).toBe(1)
    }))

  it.effect("follows a wait that is put off or brought forward, and forgets one that is released", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      const bitten: Array<string> = []
      const [later, sooner, never] = yield* withFiber((fiber) =>
        [
          watchdog.watch(fiber, 100, () => bitten.push("later")),
          watchdog.watch(fiber, 900, () => bitten.push("sooner")),
          watchdog.watch(fiber, 100, () => bitten.push("never"))
        ] as const
      )
      later.move(500)
      sooner.move(50)
      never.release()
      yield* TestClock.adjust(50)
      expect(bitten).toEqual(["sooner"])
      yield* TestClock.adjust(449)
      expect(bitten).toEqual(["sooner"])
      yield* TestClock.adjust(1)
      expect(bitten).toEqual(["sooner", "later"])
      // what is over stays over
      later.move(600)
      never.move(600)
      yield* TestClock.adjust(1000)
      expect(bitten).toEqual(["sooner", "later"])
    }))

  it.effect("keeps the waits apart, whichever of them end first", () =>
    Effect.gen(function*() {
      for (const ending of [[0], [4], [1, 3], [3, 1, 1], [4, 3, 2, 1], [0, 1, 2, 3]]) {
        const watchdog = Watchdog.make()
        const bitten: Array<number> = []
        const waits = yield* withFiber((fiber) => {
          const start = Watchdog.now(fiber.getRef(Clock.Clock))
          return [100, 200, 300, 400, 500].map((after, i) => watchdog.watch(fiber, start + after, () => bitten.push(i)))
        })
        for (const i of ending) waits[i]?.release()
        yield* TestClock.adjust(1000)
        expect(bitten).toEqual([0, 1, 2, 3, 4].filter((i) => !ending.includes(i)))
      }
    }))

  it.effect("lets a bite put off another wait that is due", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      const bitten: Array<string> = []
      yield* withFiber((fiber) => {
        const waits: Array<Watchdog.Wait> = []
        waits.push(
          watchdog.watch(fiber, 100, () => {
            bitten.push("first")
            waits[1]?.move(300)
          }),
          watchdog.watch(fiber, 100, () => bitten.push("second"))
        )
      })
      yield* TestClock.adjust(299)
      expect(bitten).toEqual(["first"])
      yield* TestClock.adjust(1)
      expect(bitten).toEqual(["first", "second"])
    }))

  it.effect("lets a bite release other waits and begin new ones", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      const bitten: Array<string> = []
      yield* withFiber((fiber) => {
        const waits: Array<Watchdog.Wait> = []
        waits.push(
          watchdog.watch(fiber, 100, () => {
            bitten.push("first")
            for (const wait of waits) wait.release()
            watchdog.watch(fiber, 150, () => bitten.push("new"))
          }),
          watchdog.watch(fiber, 100, () => bitten.push("second")),
          watchdog.watch(fiber, 120, () => bitten.push("third"))
        )
      })
      yield* TestClock.adjust(1000)
      expect(bitten).toEqual(["first", "new"])
    }))

  it.effect("leaves neither fiber nor timer behind, however the waits end", () =>
    Effect.gen(function*() {
      for (const end of ["release", "bite", "put off for ever"]) {
        const result = yield* VirtualClock.run(Effect.gen(function*() {
          const watchdog = Watchdog.make()
          const waits = yield* withFiber((fiber) => [100, 200].map((at) => watchdog.watch(fiber, at, () => {})))
          yield* Effect.sleep(end === "bite" ? 300 : 10)
          for (const wait of waits) {
            if (end === "put off for ever") wait.move(Infinity)
            else wait.release()
          }
          if (end === "put off for ever") yield* Effect.sleep(500)
        }))
        expect([end, result.timersLeft, result.fibersLeft]).toEqual([end, 0, 0])
      }
    }))

  it.effect("wakes once for a thousand waits of the same length", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(Effect.gen(function*() {
        const watchdog = Watchdog.make()
        yield* withFiber((fiber) => {
          for (let i = 0; i < 1000; i++) watchdog.watch(fiber, 100, () => {})
        })
        yield* Effect.sleep(100)
      }))
      expect(result.jumps).toBe(1)
    }))

  it.effect("goes by the clock of whoever waits", () =>
    Effect.gen(function*() {
      const watchdog = Watchdog.make()
      const bitten: Array<string> = []
      yield* withFiber((fiber) => watchdog.watch(fiber, 1000, () => bitten.push("test")))
      yield* VirtualClock.wrap(Effect.gen(function*() {
        yield* withFiber((fiber) => watchdog.watch(fiber, 5000, () => bitten.push("virtual")))
        yield* Effect.sleep("1 minute")
      }))
      expect(bitten).toEqual(["virtual"])
      yield* TestClock.adjust(1000)
      expect(bitten).toEqual(["virtual", "test"])
    }))
})

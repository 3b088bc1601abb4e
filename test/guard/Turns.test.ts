import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Turns from "../../src/guard/Turns.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("Turns", () => {
  it.effect("are taken one after the other, in the order of arrival, whatever becomes of them", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const turns = Turns.make()
      const begun: Array<number> = []
      const work = (n: number) =>
        Effect.sync(() => begun.push(n)).pipe(
          Effect.andThen(Effect.sleep("1 second")),
          Effect.andThen(n === 1 ? Effect.fail("no") : Effect.void)
        )
      const fibers = yield* Effect.forEach([0, 1, 2, 3], (n) => fork(turns.take(work(n))))
      yield* Effect.sleep("1500 millis")
      expect(begun).toEqual([0, 1])
      yield* Effect.sleep("1 second")
      expect(begun).toEqual([0, 1, 2])
      const [, second] = yield* Effect.forEach(fibers, Fiber.await)
      expect(second).toEqual(Exit.fail("no"))
      expect(begun).toEqual([0, 1, 2, 3])
    })))

  it.effect("are as many as wait", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const turns = Turns.make()
      let taken = 0
      const take = turns.take(Effect.sync(() => void taken++))
      const first = yield* fork(turns.take(Effect.sleep("1 second")))
      const fibers = yield* Effect.forEach(Array.from({ length: 20_000 }), () => fork(take))
      yield* Effect.forEach([first, ...fibers], Fiber.await)
      expect(taken).toBe(20_000)
    })))

  it.effect("pass by who was interrupted, at the head, within and at the end", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const turns = Turns.make()
      const begun: Array<number> = []
      const work = (n: number) => Effect.andThen(Effect.sync(() => begun.push(n)), Effect.sleep("1 second"))
      const fibers = yield* Effect.forEach([0, 1, 2, 3, 4], (n) => fork(turns.take(work(n))))
      yield* Effect.sleep("100 millis")
      yield* Effect.forEach(fibers.filter((_, n) => n % 2 === 0), Fiber.interrupt)
      const later = yield* fork(turns.take(work(5)))
      yield* Effect.sleep("500 millis")
      expect(begun).toEqual([0, 1])
      yield* Effect.sleep("1 second")
      expect(begun).toEqual([0, 1, 3])
      yield* Effect.forEach([...fibers, later], Fiber.await)
      expect(begun).toEqual([0, 1, 3, 5])
    })))
})

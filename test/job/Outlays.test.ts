import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Outlays from "../../src/job/files/Outlays.ts"
import * as CallWatch from "../../src/together/CallWatch.ts"
import { reply, row } from "./jobs.ts"

/** Makes one call whose attempts are told by hand, and hands back what was found during it. */
const during = <A>(outlays: Outlays.Outlays, told: (watch: CallWatch.CallWatch) => Effect.Effect<A>) =>
  Effect.gen(function*() {
    let found: A | undefined
    const call = outlays.sending((row) =>
      Effect.flatMap(CallWatch.Current, (watch) =>
        Effect.map(told(watch!), (a) => {
          found = a
          return reply(row)
        }))
    )
    const watch = { onWire: false, attempts: 0, isStopped: () => false }
    yield* Effect.exit(Effect.provideService(call(row), CallWatch.Current, watch))
    return found!
  })

describe("Outlays", () => {
  it.effect("counts what may be billed until the next attempt, or the end of the call", () =>
    Effect.gen(function*() {
      const outlays = Outlays.make(Effect.void)
      const counted = yield* during(outlays, ({ outlay }) =>
        Effect.gen(function*() {
          const counted: Array<bigint> = []
          const at = () => counted.push(outlays.onWire())
          yield* outlay!.begin(5n)
          at()
          outlay!.end(5n, false)
          at()
          yield* outlay!.begin(5n)
          outlay!.end(5n, true)
          at()
          yield* outlay!.begin(7n)
          at()
          // a second try beside it
          yield* outlay!.begin(7n)
          outlay!.end(7n, true)
          at()
          return counted
        }))
      expect(counted).toEqual([5n, 0n, 5n, 7n, 14n])
      expect([outlays.onWire(), outlays.largest()]).toEqual([0n, 7n])
    }))

  it.effect("is not asked about what is free", () =>
    Effect.gen(function*() {
      const outlays = Outlays.make(Effect.never)
      const free = yield* during(outlays, (watch) => CallWatch.outlaid(Effect.succeed("sent"), watch, 0n, () => true))
      expect([free, outlays.onWire()]).toEqual(["sent", 0n])
    }))

  it.effect("never counts less than nothing, wherever an attempt is interrupted", () =>
    Effect.gen(function*() {
      const left = new Set<bigint>()
      for (const ops of Array.from({ length: 12 }, (_, i) => i + 2)) {
        for (let turns = 0; turns < 12; turns++) {
          const outlays = Outlays.make(Effect.void)
          left.add(
            yield* during(outlays, (watch) =>
              Effect.gen(function*() {
                const attempt = CallWatch.outlaid(Effect.never, watch, 5n, () => false)
                const fiber = yield* Effect.forkChild(
                  Effect.provideService(attempt, References.MaxOpsBeforeYield, ops)
                )
                for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
                yield* Fiber.interrupt(fiber)
                return outlays.onWire()
              }))
          )
          expect(outlays.onWire()).toBe(0n)
        }
      }
      expect(Array.from(left).filter((nanoUsd) => nanoUsd < 0n)).toEqual([])
    }))
})

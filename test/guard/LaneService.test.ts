import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { seeded } from "../policy/events.ts"
import { bucket, calls, player, type Provider, throttled } from "./lanes.ts"

/** Sends calls that come by chance, so many per second, and reads how long each took; an answer takes one second. */
const served = (
  seed: number,
  options: {
    readonly provider: Provider
    readonly perSecond: number
    readonly seconds: number
  }
) =>
  Effect.gen(function*() {
    const random = seeded(seed)
    const lane = yield* Lane.make()
    const { play, seconds } = yield* player(lane, options.provider)
    const fibers: Array<Fiber.Fiber<number>> = []
    while ((yield* seconds) < options.seconds) {
      fibers.push(yield* Effect.forkChild(play(calls(1))))
      yield* Effect.sleep(-Math.log(1 - random()) / options.perSecond * 1000)
    }
    const took = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
    return { lane, took }
  })

/** Lets a bucket of requests decide. */
const limited = (take: ReturnType<typeof bucket>): Provider => ({ now }) =>
  take(now) ? { _tag: "Success" } : throttled("requests", 1)

const quantile = (numbers: ReadonlyArray<number>, share: number): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length * share)] ?? NaN

describe("Lane, in a service", () => {
  it.effect.each([5, 12])(
    "keeps up with calls at 60 % of a limit that allows no burst, seed %s",
    (seed) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { took } = yield* served(seed, { provider: limited(bucket(10, 1)), perSecond: 6, seconds: 300 })
        // an answer takes 1 s; a queue that knows the limit adds a third of one
        expect(quantile(took, 0.95)).toBeLessThan(4)
        expect(quantile(took, 0.99)).toBeLessThan(8)
      }))
  )

  it.effect.each([1, 3])(
    "settles at a limit that rose and fell and allows no burst, seed %s",
    (seed) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const take = bucket((now) => now < 200 ? 5 : now < 500 ? 20 : 10, 1)
        const { lane, took } = yield* served(seed, { provider: limited(take), perSecond: 8, seconds: 900 })
        const { requestsPerSecond } = yield* lane.status
        expect(requestsPerSecond).toBeGreaterThan(9)
        expect(quantile(took.slice(-800), 0.95)).toBeLessThan(10)
      }))
  )

  it.effect("keeps its pace where one call in twenty times out", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const random = seeded(1)
      const provider: Provider = ({ now }) => now > 5 && random() < 0.05 ? { _tag: "TimedOut" } : { _tag: "Success" }
      const { took } = yield* served(2, { provider, perSecond: 20, seconds: 150 })
      expect(quantile(took, 0.9)).toBeLessThan(1.5)
    })))

  it.effect.each([{ hint: true }, { hint: false }])(
    "serves on where a neighbour uses up the limit for ten of each thirty seconds, hints: $hint",
    ({ hint }) =>
      VirtualClock.wrap(Effect.gen(function*() {
        // the neighbour asks for 30 per second and takes what there is: nothing is left but now and then one
        const rate = (now: number): number => now % 30 < 20 ? 20 : 0.5
        const take = bucket(rate, 20)
        const provider: Provider = ({ now }) =>
          take(now) ? { _tag: "Success" } : throttled("requests", hint ? 1 : undefined)
        const { lane, took } = yield* served(1, { provider, perSecond: 8, seconds: 300 })
        expect(took.length).toBeGreaterThan(2250)
        expect(quantile(took, 0.9)).toBeLessThan(60)
        expect((yield* lane.status).queued).toBe(0)
      }))
  )
})

/**
 * What a virtual clock leaves out: timers that are not exact, ways that take time, a program that stands still.
 *
 * ```
 *   client timer ──early or late──▶ request ──way──▶ provider ──latency──▶ answer ──way──▶ client, once it runs
 * ```
 *
 * All is drawn from the seed.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { uniform } from "./scenarios.ts"

/** Says how inexact a run is, in milliseconds; 0 where nothing is said. */
export interface Options {
  /** Timers of the client fire so much late at most, and, like those of Node, up to one early. */
  readonly jitter?: number | undefined
  /** A request and an answer are on their way for so long at most. */
  readonly travel?: number | undefined
  /** The client stands still once in five seconds, for so long at most. */
  readonly stall?: number | undefined
}

/** Lists the flags that say it. */
export const flags = {
  jitter: { type: "string", default: "0" },
  travel: { type: "string", default: "0" },
  stall: { type: "string", default: "0" }
} as const

/** Reads the flags. */
export const read = (values: { readonly [K in keyof typeof flags]: string }): Options => ({
  jitter: Number(values.jitter),
  travel: Number(values.travel),
  stall: Number(values.stall)
})

const stallEvery = 5000

/** Reads when what is due at a moment happens: once the program no longer stands still. */
const afterStall = (at: number, stall: number, seed: number): number => {
  const k = Math.floor(at / stallEvery)
  const from = (k + uniform(seed, 2 * k) / 2) * stallEvery
  return at < from ? at : Math.max(at, from + stall * uniform(seed, 2 * k + 1))
}

/** Puts an exchange with the provider between two ways. */
export type Over = <A>(exchange: Effect.Effect<A>) => Effect.Effect<A>

/** Runs a client as inexactly; it is told how an exchange takes its ways. */
export const run = <A>(
  { jitter = 0, stall = 0, travel = 0 }: Options,
  seed: number,
  client: (over: Over) => Effect.Effect<A>
): Effect.Effect<A> => {
  if (jitter + stall + travel === 0) return client((exchange) => exchange)
  let drawn = 0
  const random = () => uniform(seed, drawn++)
  return Effect.clockWith((exact) => {
    const start = exact.currentTimeMillisUnsafe()
    const until = (millis: number) => {
      const at = exact.currentTimeMillisUnsafe() - start
      return exact.sleep(Duration.millis(Math.max(0.001, afterStall(at + millis, stall, seed) - at)))
    }
    const inexact: Clock.Clock = {
      ...exact,
      sleep: (duration) => {
        const millis = Duration.toMillis(duration)
        if (millis <= 0 || millis === Infinity) return exact.sleep(duration)
        return until(jitter > 0 ? millis - 1 + (jitter + 1) * random() : millis)
      }
    }
    const there = Effect.suspend(() => exact.sleep(Duration.millis(travel * random())))
    const back = Effect.suspend(() => until(travel * random()))
    const over: Over = (exchange) =>
      Effect.andThen(there, Effect.tap(Effect.provideService(exchange, Clock.Clock, exact), back))
    return Effect.provideService(client(over), Clock.Clock, inexact)
  })
}

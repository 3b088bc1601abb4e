/** Plays work through a lane, against a provider that is a function of what it sees. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RateLimitScope } from "../../src/domain/TogetherError.ts"
import type * as Lane from "../../src/guard/lane/Lane.ts"

/** Is what a provider sees of an attempt; `now` is seconds since it was made, `inFlight` counts the attempt itself. */
export interface Seen {
  readonly now: number
  readonly tokens: number
  readonly inFlight: number
}

/** Says how each attempt ends. */
export type Provider = (seen: Seen) => Lane.Sample

/** Is an attempt: when it reached the provider, in seconds since the start, and how it ended. */
export interface Attempt {
  readonly at: number
  readonly sample: Lane.Sample
}

/** Makes a bucket that refills at a rate, per second; it says whether it holds what is asked of it, and then pays it. */
export const bucket = (rate: number | ((now: number) => number), depth: number) => {
  const rateAt = typeof rate === "number" ? () => rate : rate
  let level = depth
  let at = 0
  return (now: number, cost = 1): boolean => {
    level = Math.min(depth, level + rateAt(now) * (now - at))
    at = now
    const asked = Math.min(cost, depth)
    if (level < asked - 1e-9) return false
    level -= asked
    return true
  }
}

/** Runs in a program that stands still for `block` of each `block + runs` milliseconds: a timer fires when it goes on. */
export const stalled =
  (block: number, runs: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Clock.clockWith((clock) => {
      const start = clock.currentTimeMillisUnsafe()
      return Effect.provideService(effect, Clock.Clock, {
        ...clock,
        sleep: (duration) =>
          Effect.suspend(() => {
            const now = clock.currentTimeMillisUnsafe() - start
            const due = now + Duration.toMillis(duration)
            const into = due % (block + runs)
            return clock.sleep(Duration.millis((into > runs ? due + block + runs - into : due) - now))
          })
      })
    })

/** Makes a refusal; with no hint where no seconds are given. */
export const throttled = (scope: RateLimitScope, seconds?: number): Lane.Sample => ({
  _tag: "Throttled",
  scope,
  retryAfter: seconds === undefined ? undefined : Duration.seconds(seconds)
})

/** Makes as many calls of the same size, in tokens. */
export const calls = (count: number, tokens = 10): ReadonlyArray<number> => Array.from({ length: count }, () => tokens)

const ended = (exit: Exit.Exit<Lane.Sample>): Lane.Sample =>
  Exit.isSuccess(exit) ? exit.value : { _tag: "Ignored", sent: true }

/** Sends calls through a lane, again and again until each succeeds; what fails takes 50 ms. */
export const player = (lane: Lane.Lane, provider: Provider, latencySeconds = 1) =>
  Effect.map(Clock.currentTimeMillis, (start) => {
    const seconds = Effect.map(Clock.currentTimeMillis, (millis) => (millis - start) / 1000)
    const attempts: Array<Attempt> = []
    let inFlight = 0
    const attempt = (tokens: number): Effect.Effect<Lane.Sample> =>
      Effect.gen(function*() {
        const now = yield* seconds
        inFlight++
        const sample = provider({ now, tokens, inFlight })
        attempts.push({ at: now, sample })
        yield* Effect.sleep(sample._tag === "Success" ? latencySeconds * 1000 : 50)
        inFlight--
        return sample
      })
    const call = (tokens: number) =>
      Effect.gen(function*() {
        for (let n = 1;; n++) {
          const sample = yield* lane.run(attempt(tokens), { tokens, retry: n > 1, classify: ended })
          if (sample._tag === "Success") return
          const hint = "retryAfter" in sample ? sample.retryAfter : undefined
          yield* Effect.sleep(hint ?? Math.min(500 * 2 ** n, 10_000))
        }
      })
    const play = (work: ReadonlyArray<number>) =>
      Effect.gen(function*() {
        const from = yield* seconds
        yield* Effect.forEach(work, call, { concurrency: "unbounded", discard: true })
        return (yield* seconds) - from
      }).pipe(Effect.orDie)
    return {
      /** Reads the seconds since the start. */
      seconds,
      /** Plays work to its end, and says how many seconds it took. */
      play,
      /** The attempts so far. */
      attempts
    }
  })

/** Sets the scene for tests of the credits guard: prices in cents, a round probe schedule, alerts in an array. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import type { Alert } from "../../src/guard/credits/CreditAlerts.ts"
import type * as Credits from "../../src/guard/credits/Credits.ts"
import * as Price from "../../src/policy/Price.ts"

/** Keeps the times of a test round; the default schedule has its own test. */
export const probe = Schedule.spaced("30 seconds")

/** Writes cents in nano-dollars. */
export const cents = (n: number): bigint => BigInt(n) * 10_000_000n

/** Expects five cents, and no more than ten. */
export const estimate = Price.range(0n, cents(10), cents(5))

/** Describes a call that may cost ten cents, and costs so many. */
export const call = (costCents: number) => ({ estimate, cost: () => Price.known(cents(costCents)) })

/** Is the provider's refusal for want of credit. */
export const refused = new InsufficientCreditsError({ message: "Credit limit exceeded.", status: 402 })

/** Collects alerts into an array from now on. */
export const listen = Effect.fnUntraced(function*(credits: Credits.Service) {
  const seen: Array<Alert> = []
  yield* Effect.forkScoped(Stream.runForEach(credits.alerts, (alert) => Effect.sync(() => void seen.push(alert))), {
    startImmediately: true
  })
  yield* Effect.yieldNow
  return seen
})

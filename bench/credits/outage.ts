/**
 * A job whose credit ends half-way: the whole client against the simulated provider, in virtual time.
 *
 * Two thousand calls run through `Together`, with lanes, retries and credits;
 * the provider's balance pays for about a thousand of them. It is topped up ten
 * minutes after it ran out, or recharges itself with the provider's delay.
 *
 * The ideal makespan is that of the same job with enough credit, plus the time
 * during which the provider let nobody in.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Credits from "../../src/guard/Credits.ts"
import type { Alert } from "../../src/guard/CreditAlerts.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

/** Describes one scenario. */
export interface Scenario {
  readonly calls: number
  readonly concurrency: number
  readonly simulation: Simulation.Options
  readonly credits: Credits.Options
}

/** Says how a scenario went. */
export interface Outcome {
  readonly makespanSeconds: number
  readonly answered: number
  readonly failed: number
  /** Requests that the provider refused with 402. */
  readonly refused: number
  /** Requests that reached the provider. */
  readonly requests: number
  /** Requests under way when the first refusal came. */
  readonly inFlightAtSuspension: number
  readonly probes: number
  readonly suspensions: number
  /** From the provider's first refusal to the first request that it let in again. */
  readonly suspendedSeconds: number
  readonly recharges: number
}

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
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Credits from "../../src/guard/credits/Credits.ts"
import type { Alert } from "../../src/guard/credits/CreditAlerts.ts"
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
  /** Buys by hand so long after the provider shut its door. Absent: nobody buys. */
  readonly topUp?: { readonly afterSeconds: number; readonly usd: number } | undefined
}

/** Says how a scenario went. */
export interface Outcome {
  readonly makespanSeconds: number
  readonly answered: number
  readonly lost: number
  /** Requests that reached the provider. */
  readonly requests: number
  /** Requests that it refused with 402. */
  readonly refused: number
  /** Requests under way when the first refusal came, that one included. */
  readonly inFlightAtRefusal: number
  readonly suspensions: number
  readonly probes: number
  /** How long the provider let nobody in, to a tenth of a second. */
  readonly closedSeconds: number
  readonly billedUsd: number
  readonly recharges: number
}

const request = (i: number) => ({
  model: "openai/gpt-oss-20b",
  messages: [{ role: "user" as const, content: `Question ${i}: name a river.` }],
  max_tokens: 100
})

/** Runs one scenario in virtual time. */
export const run = (scenario: Scenario): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const wire = { inFlight: 0, requests: 0, refused: 0, inFlightAtRefusal: 0 }
    const provider = SimulatedProvider.make({
      ...scenario.simulation,
      credits: scenario.simulation.credits ?? { balanceUsd: 1e6 }
    })
    const client = HttpClient.transform(provider.client, (send) =>
      Effect.suspend(() => {
        wire.requests++
        wire.inFlight++
        return Effect.ensuring(send, Effect.sync(() => void wire.inFlight--)).pipe(
          Effect.tap((response) =>
            Effect.sync(() => {
              if (response.status !== 402) return
              wire.refused++
              if (wire.refused === 1) wire.inFlightAtRefusal = wire.inFlight + 1
            })
          )
        )
      }))

    let closedSeconds = 0
    let toppedUp = false
    const watch = Effect.gen(function*() {
      yield* provider.control.counters // brings the simulation up to now
      const { accounts, now } = yield* provider.control.state
      if ((accounts["default"]?.openFrom ?? 0) > now) closedSeconds += 0.1
      if (scenario.topUp !== undefined && !toppedUp && closedSeconds >= scenario.topUp.afterSeconds) {
        toppedUp = true
        yield* provider.control.topUp(scenario.topUp.usd)
      }
      yield* Effect.sleep("100 millis")
    }).pipe(Effect.forever)

    const alerts: Array<Alert> = []
    const job = Effect.gen(function*() {
      const together = yield* Together.Together
      yield* Effect.forkScoped(watch)
      const exits = yield* Effect.forEach(
        Array.from({ length: scenario.calls }, (_, i) => i),
        (i) => Effect.exit(together.chat(request(i), { priority: "bulk" })),
        { concurrency: scenario.concurrency }
      )
      return { exits, counters: yield* provider.control.counters, state: yield* provider.control.state }
    }).pipe(
      Effect.scoped,
      Effect.provide(
        Together.layerHttp({ apiKey: Redacted.make("key") }).pipe(
          Layer.provideMerge(Layer.succeed(HttpClient.HttpClient, client)),
          Layer.provideMerge(Credits.layerAlerts((alert) => Effect.sync(() => void alerts.push(alert)))),
          Layer.provideMerge(Credits.layer({ whenSuspended: "wait", ...scenario.credits }))
        )
      )
    )
    const { elapsed, exit } = yield* VirtualClock.run(job)
    const { counters, exits, state } = yield* Effect.orDie(exit)
    const count = (tag: Alert["_tag"]) => alerts.filter((alert) => alert._tag === tag).length
    return {
      makespanSeconds: Duration.toSeconds(elapsed),
      answered: exits.filter(Exit.isSuccess).length,
      lost: exits.filter(Exit.isFailure).length,
      requests: wire.requests,
      refused: wire.refused,
      inFlightAtRefusal: wire.inFlightAtRefusal,
      suspensions: count("Suspended"),
      probes: alerts.reduce((sum, alert) => alert._tag === "Resumed" ? sum + alert.probes : sum, 0),
      closedSeconds,
      billedUsd: Number(counters.billedNanoUsd) / 1e9,
      recharges: state.accounts["default"]?.recharges ?? 0
    }
  })

/** A provider without rate limits, and answers of one second give or take: so that only credit makes a difference. */
export const unlimited: Simulation.Options = {
  limits: {},
  latency: { kind: "uniform", min: 0.5, max: 1.5 },
  outputTokens: { kind: "uniform", min: 20, max: 100 }
}

/** The provider's default limits: ten requests and three thousand tokens a second. */
export const limited: Simulation.Options = {
  outputTokens: { kind: "uniform", min: 20, max: 100 }
}

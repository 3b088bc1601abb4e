/**
 * The metrics of the credits guard.
 *
 * Amounts are dollars as plain numbers: fit for a chart, not for a sum. Labels
 * are budget names and closed words, never accounts.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as BoundMetric from "../BoundMetric.ts"
import type { Event } from "./AccountGate.ts"

/** Counts dollars settled, by `certainty`: `sure` or `assumed`. */
export const spent = Metric.counter("effect_together_credits_spent_usd_total", {
  description: "Dollars settled",
  incremental: true
})

/** Counts dollars settled that were measured. */
export const spentSure = Metric.withAttributes(spent, { certainty: "sure" })

/** Counts dollars settled that were assumed: the answer said no usage, or never came. */
export const spentAssumed = Metric.withAttributes(spent, { certainty: "assumed" })

/** Shows dollars reserved by the calls under way. */
export const reserved = Metric.gauge("effect_together_credits_reserved_usd", {
  description: "Dollars reserved by calls under way"
})

/** Counts calls refused by a budget, by `budget` and `reason`. */
export const refused = Metric.counter("effect_together_credits_refused_total", {
  description: "Calls refused by a budget, unsent",
  incremental: true
})

/** Makes a source of refusal counters by budget and reason. */
export const makeRefused = () => BoundMetric.make(refused)

/** Counts dollars settled above the upper bounds that were reserved. */
export const overshoot = Metric.counter("effect_together_credits_overshoot_usd_total", {
  description: "Dollars settled above the reserved upper bound",
  incremental: true
})

/** Counts answered calls whose cost is not known. */
export const unpriced = Metric.counter("effect_together_credits_unpriced_total", {
  description: "Calls settled without a known cost",
  incremental: true
})

/** Counts suspensions: a storm of refusals is one. */
export const suspensions = Metric.counter("effect_together_credits_suspensions_total", {
  description: "Suspensions for want of credit",
  incremental: true
})

/** Counts ends of probes, by `outcome`: `answered`, `refused`, `inconclusive`. */
export const probes = Metric.counter("effect_together_credits_probes_total", {
  description: "Probes by outcome",
  incremental: true
})

/** Counts seconds spent suspended, added when a suspension ends. */
export const suspendedSeconds = Metric.counter("effect_together_credits_suspended_seconds_total", {
  description: "Seconds spent suspended",
  incremental: true
})

const probed = (outcome: "answered" | "refused" | "inconclusive") => Metric.withAttributes(probes, { outcome })
const [answered, refusedProbe, inconclusive] = [probed("answered"), probed("refused"), probed("inconclusive")]

/** Counts what a gate reports. */
export const ofGate = (event: Event): Effect.Effect<void> => {
  switch (event._tag) {
    case "Suspended":
      return Metric.update(suspensions, 1)
    case "ProbeFailed":
      return Metric.update(event.refused ? refusedProbe : inconclusive, 1)
    case "Resumed": {
      const seconds = Metric.update(suspendedSeconds, event.outage.seconds)
      return event.by === "probe" ? Effect.andThen(Metric.update(answered, 1), seconds) : seconds
    }
    case "ProbingEnded":
      return Effect.void
  }
}

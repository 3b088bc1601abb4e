/**
 * The metrics of lanes, with their attributes bound once per lane.
 *
 * | metric | kind | attributes | says |
 * | --- | --- | --- | --- |
 * | `effect_together_lane_attempts_total` | counter | lane, outcome | attempts that ended, by outcome |
 * | `effect_together_lane_decisions_total` | counter | lane, subject, reason | limits moved, pauses, outages |
 * | `effect_together_lane_requests_per_second` | gauge | lane | learned rate |
 * | `effect_together_lane_tokens_per_second` | gauge | lane | learned rate of tokens, once there is one |
 * | `effect_together_lane_in_flight_limit` | gauge | lane | learned limit, once there is one |
 * | `effect_together_lane_in_flight` | gauge | lane | attempts under way |
 * | `effect_together_lane_queued` | gauge | lane | calls that wait |
 * | `effect_together_lane_wait_seconds` | histogram | lane | time that admitted calls waited in the lane |
 *
 * Counts (in flight, queued) are read when metrics are read: they are never stale, and cost a call nothing. They are
 * those of all lanes with the label. They, decisions and learned limits stand in the registry of whoever made the lane,
 * without attributes of a caller: a lane belongs to none. Attempts and waits are those of one caller, and carry the
 * attributes of its fiber. `lane` is the lane's label, never an API key.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Decision, State } from "../../policy/lane/LaneKernel.ts"
import * as BoundMetric from "../BoundMetric.ts"
import type { Sample } from "./LaneContract.ts"

/** Counts attempts by lane and outcome. */
export const attempts = Metric.counter("effect_together_lane_attempts_total", {
  description: "Attempts that ended, by outcome",
  incremental: true
})
/** Counts decisions by lane, subject and reason. */
export const decisions = Metric.counter("effect_together_lane_decisions_total", {
  description: "Moves of limits, pauses and outages, by subject and reason",
  incremental: true
})
/** Shows the learned rate of requests. */
export const requestsPerSecond = Metric.gauge("effect_together_lane_requests_per_second", {
  description: "Learned request rate"
})
/** Shows the learned rate of tokens. */
export const tokensPerSecond = Metric.gauge("effect_together_lane_tokens_per_second", {
  description: "Learned token rate"
})
/** Shows the learned limit of calls in flight. */
export const inFlightLimit = Metric.gauge("effect_together_lane_in_flight_limit", {
  description: "Learned limit of calls in flight"
})
/** Shows the attempts under way. */
export const inFlight = Metric.gauge("effect_together_lane_in_flight", { description: "Attempts under way" })
/** Shows the calls that wait. */
export const queued = Metric.gauge("effect_together_lane_queued", { description: "Calls that wait in the lane" })
/** Measures how long admitted calls waited; 0 for those that did not. */
export const waitSeconds = Metric.histogram("effect_together_lane_wait_seconds", {
  description: "Seconds that admitted calls waited in the lane",
  boundaries: Metric.exponentialBoundaries({ start: 0.001, factor: 4, count: 10 })
})

const nothing = (): void => {}

/** Counts what a lane holds now. */
export interface Counts {
  readonly inFlight: number
  readonly queued: number
}

/** Writes the metrics of one lane. */
export interface Bound {
  /** Shows the counts from now on, for as long as their lane lives; it is not kept alive. */
  readonly show: (counts: Counts) => void
  readonly ended: (sample: Sample, context: Context.Context<never>) => void
  readonly waited: (seconds: number, context: Context.Context<never>) => void
  readonly decided: (decision: Decision) => void
  readonly limits: (state: State) => void
}

/** The gauges of one label: the lanes that they sum up, and their end. */
interface Shown {
  readonly lanes: Set<WeakRef<Counts>>
  readonly remove: () => void
}

/** What each registry shows, by label. */
const registries = new WeakMap<Metric.MetricRegistry, Map<string, Shown>>()

const gone = new FinalizationRegistry<() => void>((leave) => leave())

const register = (label: string, home: Metric.MetricRegistry): Shown => {
  const lanes: Shown["lanes"] = new Set()
  const plain = Context.make(Metric.MetricRegistry, home)
  const read = (gauge: typeof inFlight, of: (counts: Counts) => number): Metric.Registration => {
    const get = () => {
      let value = 0
      for (const lane of lanes) {
        const counts = lane.deref()
        if (counts !== undefined) value += of(counts)
      }
      return { value }
    }
    return Metric.registerUnsafe(Metric.withAttributes(gauge, { lane: label }), plain, {
      get,
      update: nothing,
      modify: nothing
    })
  }
  const gauges = [read(inFlight, (counts) => counts.inFlight), read(queued, (counts) => counts.queued)]
  return { lanes, remove: () => gauges.forEach((gauge) => gauge.remove()) }
}

/** Adds a lane to those of its label, until it is gone; with the last one the gauges go. */
const show = (label: string, home: Metric.MetricRegistry, counts: Counts): void => {
  const labels = registries.get(home) ?? new Map<string, Shown>()
  registries.set(home, labels)
  const shown = labels.get(label) ?? register(label, home)
  labels.set(label, shown)
  const lane = new WeakRef(counts)
  shown.lanes.add(lane)
  gone.register(counts, () => {
    shown.lanes.delete(lane)
    if (shown.lanes.size > 0) return
    labels.delete(label)
    shown.remove()
  })
}

/** Binds the metrics to a lane: what belongs to no call is shown where `home` has its metrics. */
export const bind = (label: string, home: Context.Context<never>): Bound => {
  const lane = { lane: label }
  const outcome = (name: string) => Metric.withAttributes(attempts, { ...lane, outcome: name })
  const outcomes: Record<Sample["_tag"], Metric.Metric<number, unknown>> = {
    Success: outcome("success"),
    Throttled: outcome("throttled"),
    Overloaded: outcome("overloaded"),
    Failed: outcome("failed"),
    TimedOut: outcome("timed-out"),
    Ignored: outcome("ignored")
  }
  const moves = BoundMetric.make(decisions)
  const wait = Metric.withAttributes(waitSeconds, lane)
  const requests = Metric.withAttributes(requestsPerSecond, lane)
  const tokens = Metric.withAttributes(tokensPerSecond, lane)
  const limit = Metric.withAttributes(inFlightLimit, lane)
  const registry = Context.get(home, Metric.MetricRegistry)
  const plain = Context.make(Metric.MetricRegistry, registry)
  let isShown = false
  let isLimited = false
  return {
    show: (counts) => {
      if (isShown) return
      isShown = true
      show(label, registry, counts)
    },
    ended: (sample, context) => outcomes[sample._tag].updateUnsafe(1, context),
    waited: (seconds, context) => wait.updateUnsafe(seconds, context),
    decided: ({ reason, subject }) => moves({ ...lane, subject, reason }).updateUnsafe(1, plain),
    limits: (state) => {
      requests.updateUnsafe(state.requests.rate, plain)
      if (state.tokensPaced) tokens.updateUnsafe(state.tokens.rate, plain)
      isLimited ||= state.inFlight.limit !== Infinity
      if (isLimited) limit.updateUnsafe(state.inFlight.limit, plain)
    }
  }
}

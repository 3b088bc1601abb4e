/**
 * The shortest time in which any client could get a number of calls through a simulated provider.
 *
 * A fluid bound: calls are a liquid, the client knows the limits and never
 * sleeps too long. With `R(t) = depth + ∫ requests per second`,
 * `K(t) = depth + ∫ tokens per second` and `c` tokens per call, at most
 *
 * ```text
 * n(t) = min(R(t), K(t) / c)
 * ```
 *
 * calls are admitted until `t`, where a dynamic limit grows with `n` itself.
 * Where limits are counted in windows, `R` and `K` are steps: whole requests,
 * as many as a window admits, as soon as it does.
 * `admitted` is the time at which `n` reaches all calls. No client ends before
 *
 * ```text
 * max( admitted + tailSeconds,            the last call has to be answered too
 *      calls · meanLatency / places,      work through the places in flight
 *      longestLatency )
 * ```
 *
 * **Gotchas**: with `tailSeconds` as the smallest latency this is a strict lower
 * bound; with the mean, the default, it is a fair goal that a lucky client may
 * pass by a fraction of one latency. Tokens are what is really used, for
 * `admission` charging gives the difference back; of the last call, and with
 * `prompt` and `completion` charging of all that are in flight at the end,
 * nothing needs to be in the bucket yet.
 */
import { refuse } from "./internal/argument.ts"
import * as Configuration from "./SimulationConfig.ts"
import * as Limit from "./SimulationLimit.ts"

/** Describes the work to be done. */
export interface Scenario {
  readonly options: Configuration.Options
  readonly model: string
  readonly calls: number
  /** Sums over all calls. */
  readonly inputTokens: number
  readonly outputTokens: number
  readonly meanLatencySeconds: number
  /** Time from the last admission to the end; default the mean latency. */
  readonly tailSeconds?: number | undefined
  /** Default 0: not counted. */
  readonly longestLatencySeconds?: number | undefined
  /** The client's own cap on calls in flight; default none. */
  readonly concurrency?: number | undefined
  /** When the work begins; default 0. */
  readonly from?: number | undefined
}

/** Holds the bound and what it is made of, in seconds from the beginning of the work. */
export interface Bound {
  readonly seconds: number
  /** What decides: rates, places in flight, or the longest call. */
  readonly bottleneck: "requests" | "tokens" | "in-flight" | "latency"
  /** When the last call can be admitted by the rates. */
  readonly admittedSeconds: number
  /** Work divided by the places in flight. */
  readonly placesSeconds: number
}

/** Bounds the loops over stretches of constant limits and over windows: a year of hourly slots. */
const mostSteps = 100_000

const epsilon = 1e-9

interface Fluid {
  readonly seconds: number
  readonly bottleneck: "requests" | "tokens"
}

const admission = (config: Configuration.Config, scenario: Scenario, from: number, heldTokens: number): Fluid => {
  const perCall = (scenario.inputTokens + scenario.outputTokens) / scenario.calls
  let lane = Limit.open(config, scenario.model, from)
  let requests = lane.requests
  let tokens = lane.tokens + heldTokens
  let done = 0
  for (let step = 0; step < mostSteps; step++) {
    const byTokens = perCall === 0 ? Infinity : tokens / perCall
    const reached = Math.min(requests, byTokens, scenario.calls)
    if (reached >= scenario.calls) {
      return { seconds: lane.at - from, bottleneck: requests <= byTokens ? "requests" : "tokens" }
    }
    const rates = Limit.rates(config, lane)
    const needRequests = Math.max(0, scenario.calls - requests) / rates.requestsPerSecond
    const needTokens = Math.max(0, scenario.calls * perCall - tokens) / rates.tokensPerSecond
    const need = Math.max(needRequests || 0, needTokens || 0)
    const end = Math.min(Limit.nextChange(config, Limit.succeeded(lane, reached - done, perCall)), lane.at + need)
    if (!Number.isFinite(end)) {
      return { seconds: Infinity, bottleneck: needRequests > needTokens ? "requests" : "tokens" }
    }
    if (end === lane.at + need && Number.isFinite(need)) {
      return { seconds: end - from, bottleneck: needRequests >= needTokens ? "requests" : "tokens" }
    }
    requests += rates.requestsPerSecond * (end - lane.at)
    tokens += rates.tokensPerSecond * (end - lane.at)
    const now = Math.min(requests, perCall === 0 ? Infinity : tokens / perCall, scenario.calls)
    lane = Limit.refill(config, Limit.succeeded(lane, now - done, perCall), end)
    done = now
  }
  return { seconds: Infinity, bottleneck: "requests" }
}

/** Takes all that the windows admit, as soon as they do; no client who waits admits more at any time. */
const admissionByWindows = (
  config: Configuration.Config,
  scenario: Scenario,
  from: number,
  heldTokens: number
): Fluid => {
  const perCall = (scenario.inputTokens + scenario.outputTokens) / scenario.calls
  let lane = Limit.open(config, scenario.model, from)
  let spareTokens = heldTokens
  let spareRequests: number | undefined
  let left = scenario.calls
  let bottleneck: Fluid["bottleneck"] = "requests"
  for (let step = 0; step < mostSteps; step++) {
    const most = Limit.rates(config, lane).requestsPerSecond * config.windowSeconds
    // a window with room for less than one request lets it in all the same, ahead of its time
    if (most > 0 && most < 1) spareRequests ??= 1
    const part = most >= 1 && Number.isFinite(most) ? most - Math.floor(most + epsilon) : 0
    const byRequests = Math.max(0, lane.requests - part) + (spareRequests ?? 0)
    const byTokens = perCall === 0 ? Infinity : Math.max(0, (lane.tokens + spareTokens) / perCall)
    const now = Math.min(byRequests, byTokens, left)
    if (now < left) bottleneck = byRequests <= byTokens ? "requests" : "tokens"
    left -= now
    if (left <= epsilon * scenario.calls) break
    const requests = Math.min(now, Math.max(0, lane.requests))
    const tokens = Math.min(now * perCall, Math.max(0, lane.tokens))
    if (spareRequests !== undefined) spareRequests -= now - requests
    spareTokens -= now * perCall - tokens
    lane = Limit.succeeded(Limit.take(lane, requests, tokens), now, perCall)
    const end = Math.min(Limit.nextChange(config, lane), Limit.nextFree(lane))
    if (end === Infinity) return { seconds: Infinity, bottleneck }
    lane = Limit.refill(config, lane, end)
  }
  return { seconds: lane.at - from, bottleneck }
}

/** Computes the time that the work takes through the places in flight, which may change over time. */
const places = (config: Configuration.Config, scenario: Scenario, from: number): number => {
  let work = scenario.calls * scenario.meanLatencySeconds
  let seconds = 0
  for (const piece of Limit.schedule(config, scenario.model)) {
    if (piece.to <= from) continue
    const width = Math.min(piece.maxInFlight, scenario.concurrency ?? Infinity)
    const length = piece.to - Math.max(piece.from, from)
    if (work <= width * length) return seconds + (width === Infinity ? 0 : work / width)
    work -= width * length
    seconds += length
  }
  return seconds
}

/**
 * Bounds from below how long a piece of work takes on a simulated provider, whatever the client.
 *
 * **Errors**: throws a `RangeError` for a scenario without calls or with a
 * negative amount, and for options that `make` refuses.
 */
export const makespan = (scenario: Scenario): Bound => {
  for (const field of ["calls", "inputTokens", "outputTokens", "meanLatencySeconds"] as const) {
    const value = scenario[field]
    if (!(value >= 0) || !Number.isFinite(value) || (field === "calls" && value === 0)) {
      refuse("Simulation.makespan", field, field === "calls" ? "above 0" : "at least 0", value)
    }
  }
  const config = Configuration.make(scenario.options, "Simulation.makespan")
  const from = scenario.from ?? 0
  const { calls, meanLatencySeconds: latency } = scenario
  const perCall = (scenario.inputTokens + scenario.outputTokens) / calls
  const rate = Limit.rates(config, Limit.open(config, scenario.model, from))
  const byWindows = config.counting !== "bucket"
  const flying = Math.min(
    calls,
    rate.requestsPerSecond * (latency + (byWindows ? config.windowSeconds : 0)),
    rate.maxInFlight,
    scenario.concurrency ?? Infinity
  )
  const held = config.tokenCharge === "admission"
    ? perCall
    : Math.max(1, flying) * (config.tokenCharge === "prompt" ? scenario.outputTokens / calls : perCall)
  const admitted = (byWindows ? admissionByWindows : admission)(config, scenario, from, held)
  const placesSeconds = places(config, scenario, from)
  const byRates = admitted.seconds + (scenario.tailSeconds ?? latency)
  const longest = scenario.longestLatencySeconds ?? 0
  const seconds = Math.max(byRates, placesSeconds, longest)
  return {
    seconds,
    bottleneck: seconds === byRates ? admitted.bottleneck : seconds === placesSeconds ? "in-flight" : "latency",
    admittedSeconds: admitted.seconds,
    placesSeconds
  }
}

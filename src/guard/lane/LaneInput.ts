/**
 * Translates what users give to a lane into what its sums take, and refuses what is out of range.
 */
import * as Duration from "effect/Duration"
import type * as Fiber from "effect/Fiber"
import { priorityLevel } from "../../domain/Call.ts"
import * as Kernel from "../../policy/lane/LaneKernel.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import { CurrentDeadline } from "../Deadline.ts"
import { defaults, type LaneRequest, type Options, type Sample } from "./LaneContract.ts"
import { CurrentIsLast } from "../LastTarget.ts"
import * as Millis from "../Millis.ts"
import { CurrentProbe } from "../Probe.ts"

/** Returns the options, or throws a `RangeError` that names the field and who was given it. */
export const checked = (options: Options, where = "Lane.make"): Options => {
  const positive = (field: string, value: number | undefined): void => {
    if (value !== undefined) OptionCheck.above(where, field, value, 0, Infinity)
  }
  const whole = (field: string, value: number | undefined, least: number): void => {
    if (value !== undefined) OptionCheck.integerOrInfinity(where, field, value, least)
  }
  positive("requestsPerMinute", options.requestsPerMinute)
  positive("tokensPerMinute", options.tokensPerMinute)
  positive("start.requestsPerMinute", options.start?.requestsPerMinute)
  positive("start.tokensPerMinute", options.start?.tokensPerMinute)
  whole("maxInFlight", options.maxInFlight, 1)
  whole("start.inFlight", options.start?.inFlight, 1)
  whole("maxQueue", options.maxQueue, 0)
  if (options.maxPause !== undefined) Millis.positive(`${where}: maxPause`, options.maxPause)
  return options
}

const countable = (tokens: number | undefined): boolean => tokens !== undefined && tokens >= 0 && tokens < Infinity

/** Before every priority. */
const probeLevel = -1

/** Says what a request asks for, with nothing left open. */
export interface Wanted {
  readonly level: number
  readonly retry: boolean
  readonly stream: boolean
  readonly tokens: number
  readonly deadlineAt: number | undefined
  /** Another target can serve the call, so that it does not wait for a provider that is down. */
  readonly elsewhere: boolean
}

/**
 * Reads a request, or throws a `RangeError`, since tokens that are not a number would end all pacing. If it states no
 * deadline, that of the call in progress holds, less the shortest attempt worth starting. The probe of a circuit goes
 * first, whatever its priority, and as fresh work, so that the lane uses it to probe an outage.
 */
export const wanted = (request: LaneRequest, fiber: Fiber.Fiber<unknown, unknown>): Wanted => {
  const tokens = OptionCheck.nonNegative("LaneRequest", "tokens", request.tokens)
  const level = priorityLevel(request.priority ?? defaults.priority)
  const deadline = fiber.getRef(CurrentDeadline)
  const probe = fiber.getRef(CurrentProbe)
  return {
    level: probe ? probeLevel : level,
    retry: probe ? false : request.retry ?? defaults.retry,
    stream: request.stream ?? defaults.stream,
    tokens,
    deadlineAt: request.deadlineAt ?? (deadline === undefined ? undefined : deadline.at - deadline.minAttempt),
    // the probe of a circuit is to find out whether the provider is up
    elsewhere: !probe && !fiber.getRef(CurrentIsLast)
  }
}

/** A start above the cap begins at the cap, since an earlier run may have learned more than this one may use. */
const rate = (cap: number | undefined, start: number | undefined): Kernel.Options["requests"] => {
  const ceiling = cap === undefined ? undefined : cap / 60
  return start === undefined
    ? { ceiling }
    : { ceiling, initial: Math.min(start / 60, ceiling ?? Infinity), known: true }
}

/** Translates a lane's options: rates per second, times in seconds. */
export const kernelOptions = (options: Options): Kernel.Options => {
  const { start } = options
  return {
    requests: rate(options.requestsPerMinute, start?.requestsPerMinute),
    tokens: rate(options.tokensPerMinute, start?.tokensPerMinute),
    maxInFlight: options.maxInFlight,
    inFlight: start?.inFlight,
    maxPause: options.maxPause === undefined
      ? Kernel.defaults.maxPause
      : Duration.toSeconds(Duration.fromInputUnsafe(options.maxPause))
  }
}

const seconds = (duration: Duration.Duration | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toSeconds(duration)

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/**
 * Translates a sample: times in seconds, the lower of the stated limits, and no tokens if they are not a valid count.
 */
export const kernelSample = (sample: Sample): Kernel.Sample => {
  switch (sample._tag) {
    case "Success": {
      const tokens = countable(sample.tokens) ? sample.tokens : undefined
      if (sample.headers === undefined) return { _tag: "Success", tokens }
      return {
        _tag: "Success",
        tokens,
        requestsPerSecond: least(sample.headers.requestsPerSecond, sample.headers.dynamic?.requestsPerSecond),
        tokensPerSecond: least(sample.headers.tokensPerSecond, sample.headers.dynamic?.tokensPerSecond)
      }
    }
    case "Throttled":
      return { _tag: "Throttled", scope: sample.scope, retryAfter: seconds(sample.retryAfter) }
    case "Overloaded":
      return { _tag: "Overloaded", retryAfter: seconds(sample.retryAfter) }
    default:
      return sample
  }
}

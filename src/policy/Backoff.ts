/**
 * How long to wait before the next retry: growth, cap and jitter as one pure function.
 *
 * A delay is a ceiling `v` that grows with the retry index `n` (0 is the first
 * retry), spread by a uniform random number `u` in `[0, 1)`:
 *
 * | curve | `v` |  | jitter | delay |
 * | --- | --- | --- | --- | --- |
 * | `constant` | `base` |  | `none` | `v` |
 * | `linear` | `base·(n+1)` |  | `full` | `v·u` |
 * | `exponential` | `min(cap, base·factor^n)` |  | `equal` | `v/2 + u·v/2` |
 * |  |  |  | `plusMinus` | `v·(1 − r + 2r·u)` |
 * |  |  |  | `subtract` | `v·(1 − r·u)` |
 * |  |  |  | `decorrelated` | `min(cap, base + u·(3·previous − base))` |
 * |  |  |  | `decorrelatedV2` | `base·(f(n+u) − f(previous))/1.4`, `f(t) = factor^t·tanh(√4t)` |
 *
 * Full jitter is the default: against 50 contending clients it needs as few
 * calls as any and ends 20 to 40 % sooner than equal jitter, while an
 * exponential without jitter takes ten times as long. It may draw almost 0,
 * hence `floorSeconds`.
 *
 * Pass the random number in. `make` and `next` keep what decorrelated jitter
 * remembers; the other jitters need no memory, and `delay` serves them alone.
 *
 * ```ts
 * import { Backoff } from "effect-together/policy"
 *
 * Backoff.preview({ jitter: "none", baseSeconds: 0.5, capSeconds: 8 }, [0, 0, 0, 0, 0, 0]) // => [0.5, 1, 2, 4, 8, 8]
 * Backoff.preview({ jitter: "full", baseSeconds: 0.5 }, [0.5, 0.5, 0.5]) // => [0.25, 0.5, 1]
 * ```
 *
 * **Source**: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015);
 * Polly v8 `DecorrelatedJitterBackoffV2`; gRPC proposal A6 (2023 revision).
 */
import * as OptionCheck from "./OptionCheck.ts"

/** Names how the ceiling grows with the retry index. */
export type Curve = "constant" | "linear" | "exponential"

/** Names how the delay is spread below or around the ceiling. */
export type Jitter = "none" | "full" | "equal" | "plusMinus" | "subtract" | "decorrelated" | "decorrelatedV2"

/** Configures a backoff. */
export interface Options {
  /** How the ceiling grows; decorrelated jitters have a growth of their own. Default `exponential`. */
  readonly curve?: Curve | undefined
  /** How the delay is spread. Default `full`: fewest calls under contention. */
  readonly jitter?: Jitter | undefined
  /** Ceiling of the first retry, in seconds, > 0. Default 0.5, as the provider's own SDK; or `capSeconds` if shorter. */
  readonly baseSeconds?: number | undefined
  /** Growth per retry of `exponential` and of `decorrelatedV2`, >= 1. Default 2. */
  readonly factor?: number | undefined
  /**
   * Largest ceiling, in seconds, > 0; `Infinity` for none. Default 20, as AWS: longer waits only hide an outage; or
   * `baseSeconds` or `floorSeconds` if that is longer.
   */
  readonly capSeconds?: number | undefined
  /** Spread `r` of `plusMinus` and `subtract`, in [0, 1]. Default 0.2, as gRPC. */
  readonly ratio?: number | undefined
  /**
   * Smallest delay, in seconds, >= 0. Default 0.01: full jitter may draw 0, and a retry at once is no backoff; or
   * `capSeconds` if that is shorter.
   */
  readonly floorSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  curve: "exponential",
  jitter: "full",
  baseSeconds: 0.5,
  factor: 2,
  capSeconds: 20,
  ratio: 0.2,
  floorSeconds: 0.01
}

/** Backs off as gRPC: 0.1 s doubling to 1 s, ±20 % applied after the cap. */
export const grpc: Options = { jitter: "plusMinus", baseSeconds: 0.1, capSeconds: 1, ratio: 0.2, floorSeconds: 0 }

/** Backs off as the OpenAI and Together SDKs: 0.5 s doubling to 8 s, minus up to 25 %. */
export const sdk: Options = { jitter: "subtract", baseSeconds: 0.5, capSeconds: 8, ratio: 0.25, floorSeconds: 0 }

/** Backs off as cockatiel without a generator: 128 ms doubling to 30 s, no jitter. */
export const cockatiel: Options = { jitter: "none", baseSeconds: 0.128, capSeconds: 30, floorSeconds: 0 }

/** Backs off as Polly v8 with exponential growth and jitter: decorrelated V2 around 2 s. */
export const polly: Options = {
  jitter: "decorrelatedV2",
  baseSeconds: 2,
  capSeconds: Number.POSITIVE_INFINITY,
  floorSeconds: 0
}

/** Holds a backoff: its settings and what decorrelated jitter remembers. */
export interface State {
  readonly settings: Settings
  /** Index of the next retry, from 0. */
  readonly retry: number
  /** Last delay in seconds (`decorrelated`), or last value of `f` (`decorrelatedV2`). */
  readonly previous: number
}

/**
 * Makes a backoff that has seen no retry.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "Backoff.make"
  OptionCheck.positive(where, "baseSeconds", filled.baseSeconds)
  OptionCheck.above(where, "capSeconds", filled.capSeconds, 0, Infinity)
  OptionCheck.nonNegative(where, "floorSeconds", filled.floorSeconds)
  const capped = OptionCheck.ordered(where, filled, options, "baseSeconds", "capSeconds")
  const settings = OptionCheck.ordered(where, capped, options, "floorSeconds", "capSeconds")
  OptionCheck.oneOf(where, "curve", settings.curve, ["constant", "linear", "exponential"])
  OptionCheck.oneOf(where, "jitter", settings.jitter, [
    "none",
    "full",
    "equal",
    "plusMinus",
    "subtract",
    "decorrelated",
    "decorrelatedV2"
  ])
  OptionCheck.within(where, "factor", settings.factor, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "ratio", settings.ratio, 0, 1)
  return { settings, retry: 0, previous: settings.jitter === "decorrelatedV2" ? 0 : settings.baseSeconds }
}

/** Computes the ceiling `v` of a retry, without jitter. */
export const ceiling = (settings: Settings, retry: number): number => {
  const { baseSeconds, capSeconds, curve, factor } = settings
  const raw = curve === "exponential"
    ? baseSeconds * factor ** retry
    : curve === "linear"
    ? baseSeconds * (retry + 1)
    : baseSeconds
  // An infinite ceiling times a random 0 would be no number.
  return Math.min(capSeconds, raw, Number.MAX_VALUE)
}

/** Draws a full-jitter delay in `[0, v)`. */
export const full = (v: number, random: number): number => v * random

/** Draws an equal-jitter delay in `[v/2, v)`. */
export const equal = (v: number, random: number): number => v / 2 + (random * v) / 2

/** Draws a delay in `[v·(1−ratio), v·(1+ratio))`. */
export const plusMinus = (v: number, random: number, ratio: number): number => v * (1 - ratio + 2 * ratio * random)

/** Draws a delay in `(v·(1−ratio), v]`. */
export const subtract = (v: number, random: number, ratio: number): number => v * (1 - ratio * random)

/** Draws a decorrelated delay: uniform between the base and three times the previous delay, then capped. */
export const decorrelated = (
  previous: number,
  random: number,
  baseSeconds: number,
  capSeconds: number
): number => {
  const widest = Math.min(Number.MAX_VALUE, Math.max(baseSeconds, 3 * previous))
  return Math.min(capSeconds, baseSeconds + random * (widest - baseSeconds))
}

/**
 * Draws a decorrelated V2 delay: returns the delay and the value to pass as `previous` next time.
 *
 * **Details**: the median of each step is close to an exponential of `factor`, by default 2, without the
 * gaps between steps that plain jitter leaves. Past 2^1024 the cap is returned.
 */
export const decorrelatedV2 = (
  retry: number,
  random: number,
  previous: number,
  baseSeconds: number,
  capSeconds: number,
  factor: number = defaults.factor
): readonly [delaySeconds: number, previous: number] => {
  const t = retry + random
  const value = factor ** t * Math.tanh(Math.sqrt(4 * t))
  const delay = Number.isFinite(value) ? (baseSeconds * (value - previous)) / 1.4 : capSeconds
  return [Math.min(capSeconds, delay), value]
}

/**
 * Computes the next delay in seconds from a uniform random number in [0, 1).
 *
 * **Details**: `retry` counts up by one with each call. A success ends the
 * backoff: drop the state and start from `make`.
 */
export const next = (state: State, random: number): readonly [delaySeconds: number, state: State] => {
  const { retry, settings } = state
  const { baseSeconds, capSeconds, factor, floorSeconds, jitter } = settings
  if (jitter === "decorrelatedV2") {
    const [delay, previous] = decorrelatedV2(retry, random, state.previous, baseSeconds, capSeconds, factor)
    return [Math.max(floorSeconds, delay), { settings, retry: retry + 1, previous }]
  }
  const delay = jitter === "decorrelated"
    ? decorrelated(state.previous, random, baseSeconds, capSeconds)
    : spread(settings, ceiling(settings, retry), random)
  return [Math.max(floorSeconds, delay), { settings, retry: retry + 1, previous: delay }]
}

const spread = (settings: Settings, v: number, random: number): number => {
  switch (settings.jitter) {
    case "full":
      return full(v, random)
    case "equal":
      return equal(v, random)
    case "plusMinus":
      return plusMinus(v, random, settings.ratio)
    case "subtract":
      return subtract(v, random, settings.ratio)
    default:
      return v
  }
}

/**
 * Computes the delay of one retry index, for jitters that need no memory.
 *
 * **Gotchas**: decorrelated jitters start from their first step here; use `next` to walk them.
 */
export const delay = (options: Options, retry: number, random: number): number =>
  next({ ...make(options), retry }, random)[0]

/** Lists the delays of a whole run, one for each random number: for tests, docs and plots. */
export const preview = (options: Options, randoms: ReadonlyArray<number>): ReadonlyArray<number> => {
  let state = make(options)
  return randoms.map((random) => {
    const [seconds, following] = next(state, random)
    state = following
    return seconds
  })
}

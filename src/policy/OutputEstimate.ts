/**
 * How many tokens a call will probably take, learned from the calls before it.
 *
 * ```text
 * estimate = input + min(maxOutput, ⌈q95(output)·1.1·safety⌉)
 * cold:      input + min(maxOutput, 512)
 * ```
 *
 * The quantile is that of the last 129 to 256 answers (of all, while there are
 * fewer), by nearest rank: one large answer moves it little, and what the work
 * was like before is forgotten after 256 answers. Answers are kept in two
 * generations of 128, and of each only the largest, from which the quantile can
 * be read: 13 numbers for q95.
 *
 * One estimate per model and kind of prompt. Too low an estimate shows as a
 * refusal for tokens: then `safety` grows by 10 % (at most 2), and shrinks by 1 %
 * with each second without one. Against a provider that charges the whole
 * `max_tokens` when it admits a call, set `charge: "maximum"`.
 *
 * ```ts
 * import { OutputEstimate } from "effect-together/policy"
 *
 * let estimate = OutputEstimate.make()
 * OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens // => 612
 * for (let i = 0; i < 20; i++) estimate = OutputEstimate.record(estimate, 200)
 * OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens // => 320
 * ```
 *
 * **Details**: booking an answer and making an estimate take constant time.
 *
 * **Source**: the reservation of tokens by expected output; `Call.estimateTokens` for the input. Differs from a
 * `MovingQuantile`, which sticks: its step is a share of the spread it sees, so that after one large answer among small
 * ones it hardly comes down.
 */
import * as OptionCheck from "./OptionCheck.ts"
import * as Rounding from "./Rounding.ts"

/** Configures an estimate. */
export interface Options {
  /** Quantile of the output that is reserved, in (0, 1). Default 0.95. */
  readonly quantile?: number | undefined
  /** Factor on the quantile, >= 1. Default 1.1. */
  readonly margin?: number | undefined
  /** Output tokens reserved while nothing is known, >= 0. Default 512. */
  readonly coldTokens?: number | undefined
  /** Answers before the quantile is used, an integer >= 1. Default 20. */
  readonly minSamples?: number | undefined
  /** Growth of the safety after a refusal for tokens, >= 1. Default 1.1. */
  readonly safetyGrowth?: number | undefined
  /** Largest safety, >= 1. Default 2. */
  readonly safetyMax?: number | undefined
  /** What is left of the safety after a second without a refusal, in (0, 1]. Default 0.99. */
  readonly safetyDecay?: number | undefined
  /** What the provider charges at admission: what is probable, or `max_tokens`. Default `expected`. */
  readonly charge?: "expected" | "maximum" | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  quantile: 0.95,
  margin: 1.1,
  coldTokens: 512,
  minSamples: 20,
  safetyGrowth: 1.1,
  safetyMax: 2,
  safetyDecay: 0.99,
  charge: "expected"
}

/** Holds a run of answers, as far as the quantile needs it. */
export interface Generation {
  /** Answers seen. */
  readonly count: number
  /** The largest outputs, in tokens, from the top. */
  readonly largest: ReadonlyArray<number>
}

/** Holds what was learned. */
export interface State {
  readonly settings: Settings
  /** Answers booked so far. */
  readonly count: number
  /** The generation that grows. */
  readonly newer: Generation
  /** The full one before it. */
  readonly older: Generation
  readonly safety: number
  readonly safetyAt: number
}

/** Counts the answers of a full generation. */
const generationSize = 128

const none: Generation = { count: 0, largest: [] }

/** Says how many tokens to reserve, and from what. */
export interface Decision {
  readonly _tag: "Estimate"
  readonly tokens: number
  readonly outputTokens: number
  readonly reason: "charged-maximum" | "cold" | "learned" | "bounded-by-max-tokens"
}

/**
 * Makes an estimate that knows nothing.
 *
 * **Errors**: throws `RangeError` for an option out of range, and for a time that is not finite.
 */
export const make = (options: Options = {}, now = 0): State => {
  const settings = OptionCheck.resolve(defaults, options)
  const where = "OutputEstimate.make"
  OptionCheck.between(where, "quantile", settings.quantile, 0, 1)
  OptionCheck.within(where, "margin", settings.margin, 1, Number.MAX_VALUE)
  OptionCheck.nonNegative(where, "coldTokens", settings.coldTokens)
  OptionCheck.integer(where, "minSamples", settings.minSamples, 1)
  OptionCheck.within(where, "safetyGrowth", settings.safetyGrowth, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "safetyMax", settings.safetyMax, 1, Number.MAX_VALUE)
  OptionCheck.above(where, "safetyDecay", settings.safetyDecay, 0, 1)
  OptionCheck.oneOf(where, "charge", settings.charge, ["expected", "maximum"])
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return { settings, count: 0, newer: none, older: none, safety: 1, safetyAt: now }
}

/** Counts the answers above the quantile, among `count`. */
const above = (settings: Settings, count: number): number => Rounding.floor((1 - settings.quantile) * count)

/** Reads the quantile of both generations, which hold an answer at least. */
const quantile = ({ newer, older, settings }: State): number => {
  let value = 0
  let fromNewer = 0
  let fromOlder = 0
  for (let left = above(settings, newer.count + older.count); left >= 0; left--) {
    const next = newer.largest[fromNewer] ?? Number.NEGATIVE_INFINITY
    const other = older.largest[fromOlder] ?? Number.NEGATIVE_INFINITY
    value = Math.max(next, other)
    if (next >= other) fromNewer++
    else fromOlder++
  }
  return value
}

/** Reads the largest of the last 129 to 256 answers, in tokens; 0 where there is none. */
export const largest = ({ newer, older }: State): number => Math.max(0, newer.largest[0] ?? 0, older.largest[0] ?? 0)

/** Reads the safety at `now`: 1 when all is well. */
export const safety = (state: State, now: number): number =>
  state.safety === 1
    ? 1
    : Math.max(1, state.safety * state.settings.safetyDecay ** Math.max(0, now - state.safetyAt))

/** Answers whether too few answers were booked to estimate from them. */
export const isCold = (state: State): boolean => state.count < state.settings.minSamples

/** Estimates the tokens of a call. `maxOutputTokens` is its upper bound, `Infinity` for none. */
export const estimate = (
  state: State,
  call: { readonly inputTokens: number; readonly maxOutputTokens: number },
  now: number
): Decision => {
  const { settings } = state
  const decide = (outputTokens: number, reason: Decision["reason"]): Decision => ({
    _tag: "Estimate",
    tokens: call.inputTokens + outputTokens,
    outputTokens,
    reason
  })
  if (settings.charge === "maximum" && Number.isFinite(call.maxOutputTokens)) {
    return decide(call.maxOutputTokens, "charged-maximum")
  }
  const cold = isCold(state)
  const wanted = cold ? settings.coldTokens : Rounding.ceil(quantile(state) * settings.margin * safety(state, now))
  if (wanted > call.maxOutputTokens) return decide(call.maxOutputTokens, "bounded-by-max-tokens")
  return decide(Math.max(0, wanted), cold ? "cold" : "learned")
}

const add = ({ count, largest }: Generation, outputTokens: number, kept: number): Generation => {
  const smaller = largest.findIndex((tokens) => tokens < outputTokens)
  const at = smaller === -1 ? largest.length : smaller
  return { count: count + 1, largest: at === kept ? largest : largest.toSpliced(at, 0, outputTokens).slice(0, kept) }
}

/** Books the output of a call that ended well; one that is not finite is left out. */
export const record = (state: State, outputTokens: number): State => {
  if (!Number.isFinite(outputTokens)) return state
  const full = state.newer.count === generationSize
  const kept = above(state.settings, 2 * generationSize) + 1
  return {
    ...state,
    count: state.count + 1,
    newer: add(full ? none : state.newer, outputTokens, kept),
    older: full ? state.newer : state.older
  }
}

/**
 * Books a refusal for tokens: estimates were too low.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const refuse = (state: State, now: number): State => ({
  ...state,
  safety: Math.min(state.settings.safetyMax, safety(state, now) * state.settings.safetyGrowth),
  safetyAt: OptionCheck.between("OutputEstimate.refuse", "now", now, -Infinity, Infinity)
})

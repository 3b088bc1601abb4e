/**
 * The retry policy of options: exponential backoff with jitter below a cap, hints, limits.
 *
 * ```
 *   curve ─▶ cap ─▶ jitter ─▶ by tag ─▶ hint ─▶ floor ─▶ maxElapsed ─▶ maxAttempts
 * ```
 *
 * `Retry` is what users see of it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as Millis from "../Millis.ts"
import * as RetryDelay from "./RetryDelay.ts"
import type { RetryDocumentJson } from "./RetryDocument.ts"
import * as RetrySchedule from "./RetrySchedule.ts"

const jitters = ["full", "equal", "proportional", "decorrelated", "none"] as const

/** Names a jitter: how the delay is drawn below or around the backoff's ceiling. */
export type Jitter = typeof jitters[number]

/** Holds every default of {@link policy}. */
export const defaults = {
  ...RetryDelay.defaults,
  ...RetrySchedule.defaults,
  /** Ceiling of the first wait. */
  base: Duration.millis(500),
  /** Ceiling of the first wait after a 429 without a hint: the limit needs longer to clear than a hiccup. */
  throttledBase: Duration.seconds(1),
  /** Longest ceiling of a wait without a hint. */
  cap: Duration.seconds(2),
  jitter: "full",
  /** Attempts of one call, the first included: where three in ten answer 503, one call in two million is lost. */
  maxAttempts: 12,
  /** Attempts of those that may end otherwise than refused before any work (429, 503, 529): they may be billed. */
  maxFailures: 5
} as const

const waits = ["base", "throttledBase", "cap", "floor"] as const

/** Configures {@link policy}. */
export interface PolicyOptions<in I = unknown, out R = never> {
  /** Ceiling of the first wait, above 0. Default 500 milliseconds, or `cap` if shorter. */
  readonly base?: Duration.Input | undefined
  /**
   * Ceiling of the first wait after a `RateLimitError` without a hint. Default 1 second, or `base` if longer, or `cap`
   * if shorter.
   */
  readonly throttledBase?: Duration.Input | undefined
  /** Growth from one retry to the next, at least 1. Default 2. */
  readonly factor?: number | undefined
  /** Longest ceiling of a wait without a hint. Default 2 seconds, or `base`, `throttledBase` or `floor` if longer. */
  readonly cap?: Duration.Input | undefined
  /** How the delay is drawn. Default `"full"`: fewest calls when many clients share a limit. */
  readonly jitter?: Jitter | undefined
  /** Shortest wait. Default 10 milliseconds, or `cap` if shorter. */
  readonly floor?: Duration.Input | undefined
  /** How the provider's hints are followed; `false` ignores them. Default: up to 60 seconds, at most 25 % late. */
  readonly retryAfter?: RetrySchedule.RetryAfterOptions<I> | false | undefined
  /**
   * Attempts of one call, the first included, at least 1, whatever their errors. Default 12, of which 5 may end otherwise
   * than refused (429, 503, 529).
   */
  readonly maxAttempts?: number | undefined
  /** Longest time from the first attempt to the start of the last. Default: none, see `Deadline.run`. */
  readonly maxElapsed?: Duration.Input | undefined
  /** Other curves by error tag. Hints, the floor and the limits above hold for them too. Default: none. */
  readonly tags?: RetrySchedule.Tags<I, never, R> | undefined
}

/** Reads the waits of a policy, in milliseconds; a default gives way to what was given. */
const waitsOf = (options: Pick<PolicyOptions, (typeof waits)[number]>) => {
  const where = "Retry.policy"
  const given: { [K in (typeof waits)[number]]?: number } = {}
  for (const field of waits) {
    const input = options[field]
    if (input !== undefined) given[field] = Millis.positive(`${where}: ${field}`, input)
  }
  const throttledBase = Math.max(Duration.toMillis(defaults.throttledBase), given.base ?? 0)
  const filled = {
    base: Duration.toMillis(defaults.base),
    throttledBase,
    cap: Duration.toMillis(defaults.cap),
    floor: Duration.toMillis(defaults.floor),
    ...given
  }
  const inMillis = `${where}, in milliseconds`
  return (["base", "throttledBase", "floor"] as const).reduce(
    (ordered, field) => OptionCheck.ordered(inMillis, ordered, given, field, "cap"),
    filled
  )
}

/** Names the steps from a curve to a schedule; one left out is not taken. */
export interface Steps<in I, out R> {
  readonly cap?: Duration.Input | undefined
  readonly jitter?: Exclude<Jitter, "decorrelated"> | RetryDelay.ProportionalOptions | undefined
  readonly byTag?: RetrySchedule.Tags<I, never, R> | undefined
  readonly retryAfter?: RetrySchedule.RetryAfterOptions<I> | false | undefined
  readonly floor?: Duration.Input | undefined
  readonly maxElapsed?: Duration.Input | undefined
  readonly times?: number | undefined
  readonly maxAttempts?: number | undefined
}

/** Draws each delay of a schedule anew, by the name of a jitter or within a range of factors. */
const jittered = <O, I, E, R>(
  schedule: Schedule.Schedule<O, I, E, R>,
  jitter: NonNullable<Steps<I, R>["jitter"]>
): Schedule.Schedule<O, I, E, R> => {
  switch (jitter) {
    case "full":
      return RetryDelay.fullJitter(schedule)
    case "equal":
      return RetryDelay.equalJitter(schedule)
    case "proportional":
      return RetryDelay.proportionalJitter(schedule)
    case "none":
      return schedule
    default:
      return RetryDelay.proportionalJitter(schedule, jitter)
  }
}

/** Takes the steps from a curve to a schedule, in their order, whatever the order of their names. */
export const assemble = <I, R>(
  curve: Schedule.Schedule<unknown, I, never, R>,
  steps: Steps<I, R>
): Schedule.Schedule<unknown, I, never, R> => {
  let schedule = curve
  if (steps.cap !== undefined) schedule = RetryDelay.capped(schedule, steps.cap)
  if (steps.jitter !== undefined) schedule = jittered(schedule, steps.jitter)
  if (steps.byTag !== undefined) schedule = RetrySchedule.byTag(schedule, steps.byTag)
  if (steps.retryAfter) schedule = RetrySchedule.retryAfter(schedule, steps.retryAfter)
  if (steps.floor !== undefined) schedule = RetryDelay.floored(schedule, steps.floor)
  if (steps.maxElapsed !== undefined) schedule = RetrySchedule.maxElapsed(schedule, steps.maxElapsed)
  if (steps.times !== undefined) schedule = Schedule.upTo(schedule, { times: steps.times })
  if (steps.maxAttempts !== undefined) schedule = RetrySchedule.maxAttempts(schedule, steps.maxAttempts)
  return schedule
}

/** Makes a whole policy of a schedule: it stops at a `TogetherError` that no repeat can cure, and its output is the delay. */
export const finish = <I, R>(
  schedule: Schedule.Schedule<unknown, I, never, R>
): Schedule.Schedule<Duration.Duration, I, never, R> =>
  schedule.pipe(RetrySchedule.unlessIncurable, Schedule.map(({ duration }) => Effect.succeed(duration)))

/**
 * Builds a retry schedule: exponential backoff with full jitter, hints honoured, five attempts, or twelve where the
 * provider refuses (429, 503, 529) before it does any work.
 *
 * **Details**: curve → cap → jitter → by tag → hint → floor → maxElapsed → maxAttempts. Its output is the delay. It
 * accepts any error; errors of the provider decide by their tag and their `retryAfter`. Under plain `Effect.retry` it
 * also stops at a `TogetherError` that no repeat can cure; under `Retry.run` that is `isRetryable`'s decision.
 *
 * **Errors**: throws `RangeError` for an option out of its range.
 */
export const policy = <I = unknown, R = never>(
  options: PolicyOptions<I, R> = {}
  // what it is passed to must not decide for it: where any schedule is taken, that would be `any`
): Schedule.Schedule<Duration.Duration, NoInfer<I>, never, NoInfer<R>> => {
  const where = "Retry.policy"
  const { base, cap, floor, throttledBase } = waitsOf(options)
  const jitter = OptionCheck.oneOf(where, "jitter", options.jitter ?? defaults.jitter, jitters)
  const factor = OptionCheck.within(where, "factor", options.factor ?? defaults.factor, 1, Number.MAX_VALUE)
  const attempts = OptionCheck.integer(where, "maxAttempts", options.maxAttempts ?? defaults.maxAttempts, 1)
  if (options.maxElapsed !== undefined) Millis.positive(`${where}: maxElapsed`, options.maxElapsed)
  const curve = (from: number): Schedule.Schedule<unknown> => {
    if (jitter === "decorrelated") return RetryDelay.decorrelatedJitter({ base: from, cap })
    return assemble(RetryDelay.exponential(from, factor), { cap, jitter })
  }
  const others = options.maxAttempts === undefined
    ? RetrySchedule.maxAttempts(curve(base), defaults.maxFailures)
    : curve(base)
  const refused = { RateLimitError: curve(throttledBase), OverloadedError: curve(base) }
  return finish(assemble<I, R>(RetrySchedule.byTag(others, refused), {
    byTag: options.tags,
    retryAfter: options.retryAfter ?? {},
    floor,
    maxElapsed: options.maxElapsed,
    maxAttempts: attempts
  }))
}

/** Holds the default policy as a document: `policy()` and `fromDocument(defaultDocument)` give the same delays. */
export const defaultDocument: RetryDocumentJson = {
  type: "sequence",
  schedules: [{ type: "exponential", base: "500 millis", cap: "2 seconds", jitter: "full", maxAttempts: 5 }],
  byTag: {
    RateLimitError: { type: "exponential", base: "1 second", cap: "2 seconds", jitter: "full" },
    OverloadedError: { type: "exponential", base: "500 millis", cap: "2 seconds", jitter: "full" }
  },
  retryAfter: { cap: "60 seconds", spread: 0.25 },
  floor: "10 millis",
  maxAttempts: 12
}

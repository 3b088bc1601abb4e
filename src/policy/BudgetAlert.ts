/**
 * When rate limits are worth an alert: a sliding count with a rest after each alert.
 *
 * One 429 is pacing at work; many within a minute say that the load is above
 * what the account may send, which only a person can change.
 */
import * as OptionCheck from "./OptionCheck.ts"

/** Holds the moments of the latest rate limits, and when an alert was last raised. */
export interface State {
  readonly times: ReadonlyArray<number>
  readonly alertedAt: number
}

/** Says how many rate limits within how long raise an alert. */
export interface Options {
  /** Rate limits that raise an alert: an integer of at least 1; 10 in {@link defaults}. */
  readonly count: number
  /** Time within which they come, in seconds, above 0; also the rest after an alert; 60 in {@link defaults}. */
  readonly windowSeconds: number
}

/** Holds the defaults of this module. */
export const defaults: Options = {
  /** 10 within the window: adaptive pacing settles after a handful. Range: ≥ 1. */
  count: 10,
  /** 60 s: limits are counted per minute by those who read about them. Range: > 0. */
  windowSeconds: 60
}

/** The state before the first rate limit. */
export const initial: State = { times: [], alertedAt: -Infinity }

/**
 * Checks the options.
 *
 * **Errors**: `RangeError`.
 */
export const check = (options: Options): Options => {
  OptionCheck.integer("BudgetAlert.check", "count", options.count, 1)
  OptionCheck.above("BudgetAlert.check", "windowSeconds", options.windowSeconds, 0, Infinity)
  return options
}

/**
 * Counts a rate limit; tells whether it raises an alert. At most one alert per window.
 *
 * **Details**: after a clock went back, what it says is yet to come is forgotten.
 */
export const rateLimited = (state: State, options: Options, now: number): readonly [boolean, State] => {
  const recent = (at: number): boolean => at > now - options.windowSeconds && at <= now
  const times = [...state.times.filter(recent), now].slice(-options.count)
  const alert = times.length >= options.count && !recent(state.alertedAt)
  return [alert, { times, alertedAt: alert ? now : state.alertedAt }]
}

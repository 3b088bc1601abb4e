/**
 * Decides what a job does with a row whose retries have run out: try again later, give the row up, or stop.
 *
 * The client's own retries are made for one call: seconds to a minute. A job has more time, and it can tell a bad row
 * from a bad hour by looking at its neighbours:
 *
 * | others, meanwhile | decision |
 * | --- | --- |
 * | some were answered | the row is the trouble: `rounds` more tries, then it fails |
 * | none was answered | the provider is the trouble: wait, the row keeps its tries |
 * | nothing but failures for `outage`, or nothing ever for `beforeFirst` | stop; the rows stay undone and a later run sends them |
 *
 * A provider that is down is not sent one set of retries after the other, but a probe now and then. So the last rule
 * ({@link isOver}) is asked at every attempt that fails, whether or not the row's retries have run out.
 *
 * Between two tries the wait doubles from `firstWait` to `longestWait`, and is no shorter than the provider asked for. Where
 * that is longer than `outage`, the row is given up, or the job stops, at once: what was answered more than `beforeFirst` ago
 * does not speak for the provider then. What asks about batches waits by the same
 * sums, for an answer without which the job cannot go on: as a row without neighbours.
 *
 * A pure kernel: times are seconds, `now` is passed in.
 */

import * as Duration from "effect/Duration"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Millis from "../guard/Millis.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"

/** Configures patience. */
export interface Options {
  /** Full sets of retries that one row gets while other rows are being answered, 1 or more. Default: 3. */
  readonly rounds?: number | undefined
  /** Wait before the second set of retries, above 0; it doubles with each further one. Default: 1 second. */
  readonly firstWait?: Duration.Input | undefined
  /**
   * Longest wait between two sets of retries, `firstWait` or more. Default: 30 seconds, so that an end of an outage is
   * seen soon.
   */
  readonly longestWait?: Duration.Input | undefined
  /** Time in which nothing but failures came back, after which the job stops. Default: 10 minutes. */
  readonly outage?: Duration.Input | undefined
  /** The same where nothing ever came back, not even a refusal: likely a wrong address. Default: 1 minute. */
  readonly beforeFirst?: Duration.Input | undefined
  /** Rows of one model that must fail alike, none answered, before its others are not sent, 1 or more. Default: 20. */
  readonly abandonAfter?: number | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  rounds: 3,
  firstWait: Duration.seconds(1),
  longestWait: Duration.seconds(30),
  outage: Duration.minutes(10),
  beforeFirst: Duration.minutes(1),
  abandonAfter: 20
} as const

/** Holds options that were checked. Times in seconds. */
export interface Settings {
  readonly rounds: number
  readonly firstWait: number
  readonly longestWait: number
  readonly outage: number
  readonly beforeFirst: number
  readonly abandonAfter: number
}

/**
 * Checks options and fills in the defaults.
 *
 * **Errors**: throws a `RangeError` for a value out of its range.
 */
export const settings = (options: Options = {}): Settings => {
  const where = "Patience.settings"
  const { abandonAfter, beforeFirst, firstWait, longestWait, outage, rounds } = OptionCheck.resolve<
    { readonly [K in keyof Options]-?: Exclude<Options[K], undefined> }
  >(defaults, options)
  const first = Millis.finite(`${where}: firstWait`, firstWait)
  return {
    rounds: OptionCheck.integer(where, "rounds", rounds, 1),
    firstWait: first / 1000,
    longestWait: Millis.notBelow(`${where}: longestWait`, longestWait, "firstWait", first) / 1000,
    outage: Millis.notNegative(`${where}: outage`, outage) / 1000,
    beforeFirst: Millis.notNegative(`${where}: beforeFirst`, beforeFirst) / 1000,
    abandonAfter: OptionCheck.integer(where, "abandonAfter", abandonAfter, 1)
  }
}

/** Holds what is known of the job. */
export interface Health {
  /** When the first attempt failed of those that came to nothing since the last answer; absent where none did. */
  readonly failingSince: number | undefined
  /** When a row was last answered; absent before the first answer. */
  readonly lastAnswerAt: number | undefined
  /** How many rows were answered. */
  readonly answers: number
  /** Whether anything ever came back, an answer or an error with a status: it shows that the address is not wrong. */
  readonly responded: boolean
  /** Whether something is on the wire, which may still be answered. */
  readonly onWire: boolean
}

/** Holds what is known of the row: full sets of retries spent, waits, and the answers counted at the last one. */
export interface Row {
  readonly rounds: number
  readonly waits: number
  readonly answersBefore: number
}

/** What happens to the row. */
export type Decision =
  | { readonly _tag: "Wait"; readonly seconds: number }
  | { readonly _tag: "GiveUp" }
  | { readonly _tag: "Stop" }

/** Reads for how many seconds the provider asked not to be asked again. */
export const asked = (error: TogetherError.TogetherError): number => {
  const after = TogetherError.retryAfter(error)
  return after === undefined ? 0 : Duration.toSeconds(after)
}

/** Tells whether a provider has failed everything for so long that the job stops. */
export const isOver = (health: Health, now: number, settings: Settings): boolean =>
  health.failingSince !== undefined &&
  now - health.failingSince >= (health.responded ? settings.outage : settings.beforeFirst) &&
  !health.onWire

/** Begins with a row. */
export const begin = (health: Health): Row => ({ rounds: 0, waits: 0, answersBefore: health.answers })

/**
 * Decides after one more set of retries has run out.
 *
 * @param asked seconds for which the provider asked not to be asked again: it is not, and not waited for longer than for
 *   the end of an outage. Default: none
 */
export const decide = (
  row: Row,
  health: Health,
  now: number,
  settings: Settings,
  asked: number = 0
): readonly [Decision, Row] => {
  const answered = health.lastAnswerAt !== undefined && now - health.lastAnswerAt < settings.beforeFirst
  // rows may wait for each other for long, and be told only then that the provider has nothing for them today
  const others = health.answers > row.answersBefore && (asked <= settings.outage || answered)
  const rounds = row.rounds + (others ? 1 : 0)
  const next: Row = { rounds, waits: row.waits + 1, answersBefore: health.answers }
  if (others && rounds >= settings.rounds) return [{ _tag: "GiveUp" }, next]
  if (!others && isOver(health, now, settings)) return [{ _tag: "Stop" }, next]
  if (asked > settings.outage) return [{ _tag: others ? "GiveUp" : "Stop" }, next]
  const seconds = Math.min(settings.longestWait, settings.firstWait * 2 ** Math.min(row.waits, 30))
  return [{ _tag: "Wait", seconds: Math.max(seconds, asked) }, next]
}

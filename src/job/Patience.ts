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
 * | none for `outage`, or none ever for `beforeFirst` | stop; the rows stay undone and a later run sends them |
 *
 * Between two tries the wait doubles from `firstWait` to `longestWait`.
 *
 * A pure kernel: times are seconds, `now` is passed in.
 */

/** Configures patience. Times in seconds. */
export interface Options {
  readonly rounds: number
  readonly firstWait: number
  readonly longestWait: number
  readonly outage: number
  readonly beforeFirst: number
}

/** Holds the defaults of this module. */
export const defaults: Options = {
  /** Full sets of retries that one row gets while other rows are being answered. */
  rounds: 3,
  firstWait: 1,
  longestWait: 30,
  /** How long a provider that did answer may be gone. */
  outage: 600,
  /** How long a provider that never answered is tried: likely a wrong address. */
  beforeFirst: 60
}

/** Holds what is known of the job: when it began, when a row was last answered, how many were. */
export interface Health {
  readonly startedAt: number
  readonly lastAnswerAt: number | undefined
  readonly answers: number
}

/** Holds what is known of the row: full sets of retries spent, waits, and the answers counted at the last one. */
export interface Row {
  readonly rounds: number
  readonly waits: number
  readonly answersBefore: number
}

/** Is what happens to the row. */
export type Decision =
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "row" | "outage" }
  | { readonly _tag: "GiveUp" }
  | { readonly _tag: "Stop" }

/** Begins with a row. */
export const begin = (health: Health): Row => ({ rounds: 0, waits: 0, answersBefore: health.answers })

/** Decides after one more set of retries has run out. */
export const decide = (
  row: Row,
  health: Health,
  now: number,
  options: Options = defaults
): readonly [Decision, Row] => {
  const others = health.answers > row.answersBefore
  const rounds = row.rounds + (others ? 1 : 0)
  const next: Row = { rounds, waits: row.waits + 1, answersBefore: health.answers }
  if (others && rounds >= options.rounds) return [{ _tag: "GiveUp" }, next]
  const silent = now - (health.lastAnswerAt ?? health.startedAt)
  if (!others && silent >= (health.answers === 0 ? options.beforeFirst : options.outage)) {
    return [{ _tag: "Stop" }, next]
  }
  const seconds = Math.min(options.longestWait, options.firstWait * 2 ** Math.min(row.waits, 30))
  return [{ _tag: "Wait", seconds, reason: others ? "row" : "outage" }, next]
}

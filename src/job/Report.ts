/**
 * What a job did so far: counts, sums, percentiles, a timeline and the failed rows, in constant memory.
 *
 * One report is alive for one run. The job writes into it as rows settle; whoever sends may add the attempts it sees
 * ({@link attempt}) and the state of its lanes ({@link sample}, {@link decision}). Progress lines, the summary and the
 * HTML page are drawn from the same numbers. {@link summary} makes plain JSON of it.
 */
import * as Money from "../domain/Money.ts"
import * as Histogram from "./Histogram.ts"
import * as Timeline from "./Timeline.ts"

/** A failed or bad row, as it is listed. */
export interface FailedRow {
  readonly line: number
  readonly id: string | undefined
  readonly code: string
  readonly message: string
  /** Whether the same request may be answered another time; otherwise the row must be corrected, like a bad line. */
  readonly retryable: boolean
}

/** A change of a lane's limit, with its reason. */
export interface Move {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly lane: string
  readonly reason: string
  readonly limit: number
}

/** Says how an attempt ended. */
export interface Attempt {
  /** HTTP status, 0 where there was no answer. */
  readonly status: number
}

/** Says what one settled row took. */
export interface Outcome {
  readonly kind: "ok" | "failed" | "bad"
  readonly line: number
  readonly id: string | undefined
  readonly code?: string | undefined
  readonly message?: string | undefined
  /** Whether a failed row may be answered another time. Default: false. */
  readonly retryable?: boolean | undefined
  readonly model?: string | undefined
  readonly attempts: number
  /** From taking the row to its answer. */
  readonly millis: number
  /** From the sending of the attempt that was answered; absent where nobody told of it. */
  readonly requestMillis?: number | undefined
  readonly inputTokens: number
  readonly outputTokens: number
  /** Absent where the price is unknown. */
  readonly nanoUsd?: bigint | undefined
  /** Whether the answer tells no usage that it could be priced by. Default: false. */
  readonly unmetered?: boolean | undefined
  /** Whether the answer came from the cache or from an identical row. */
  readonly from?: "cache" | "twin" | undefined
}

/** Holds the counts of one model. */
export interface ModelCounts {
  ok: number
  failed: number
  inputTokens: number
  outputTokens: number
  nanoUsd: bigint
  /** Answered rows whose price is unknown: `nanoUsd` leaves them out. */
  unpriced: number
}

/** A report that grows. All times in milliseconds since the epoch. */
export interface Report {
  readonly startedAt: number
  endedAt: number | undefined
  /** Rows and bad lines read so far, those done before included. */
  read: number
  /** Rows to expect, where somebody counted them. */
  total: number | undefined
  ok: number
  failed: number
  bad: number
  /** Rows that an earlier run had answered, and those it had failed. */
  resumedOk: number
  resumedFailed: number
  /** Nano-dollars that earlier runs had spent. */
  resumedNanoUsd: bigint
  cached: number
  twins: number
  inFlight: number
  /** Rows without an id, and the first of their lines. */
  readonly missingIds: { count: number; readonly lines: Array<number> }
  /** Rows that repeat an id, and the first of their lines. */
  readonly duplicates: { count: number; readonly lines: Array<number> }
  /** Attempts that were sent, of rows that stay undone too; of rows under way only once they or the job have ended. */
  attempts: number
  inputTokens: number
  outputTokens: number
  nanoUsd: bigint
  /** Answered rows whose price is unknown: `nanoUsd` leaves them out. */
  unpriced: number
  /** Answered rows whose answers tell no usage: `nanoUsd` leaves these out, too. */
  unmetered: number
  /** Seconds that rows have waited after a refusal, as the retry schedule said, all rows added up. */
  waited: number
  throttled: number
  overloaded: number
  /** Attempts that were not answered with success, by status or kind. */
  readonly refusals: Map<string, number>
  /** Time of the attempts that answered a row, from their sending to the answer, read whole: no waits. */
  readonly attemptLatency: Histogram.Histogram
  /** Retries by the tag of the error that made them. */
  readonly retries: Map<string, number>
  /** What the latest retry was for: the error's tag, and its status or system code. */
  latestError: string | undefined
  readonly codes: Map<string, number>
  readonly models: Map<string, ModelCounts>
  /** Time of the rows answered, from taking the row to its answer: waits and retries included. */
  readonly latency: Histogram.Histogram
  readonly timeline: Timeline.Timeline
  readonly failures: Array<FailedRow>
  readonly moves: Array<Move>
  readonly warnings: Array<string>
}

const keep = { failures: 200, moves: 200, lines: 20, warnings: 50 } as const

/** Makes an empty report that begins at `now`. */
export const make = (now: number): Report => ({
  startedAt: now,
  endedAt: undefined,
  read: 0,
  total: undefined,
  ok: 0,
  failed: 0,
  bad: 0,
  resumedOk: 0,
  resumedFailed: 0,
  resumedNanoUsd: 0n,
  cached: 0,
  twins: 0,
  inFlight: 0,
  missingIds: { count: 0, lines: [] },
  duplicates: { count: 0, lines: [] },
  attempts: 0,
  inputTokens: 0,
  outputTokens: 0,
  nanoUsd: 0n,
  unpriced: 0,
  unmetered: 0,
  waited: 0,
  throttled: 0,
  overloaded: 0,
  refusals: new Map(),
  attemptLatency: Histogram.make(),
  retries: new Map(),
  latestError: undefined,
  codes: new Map(),
  models: new Map(),
  latency: Histogram.make(),
  timeline: Timeline.make(now),
  failures: [],
  moves: [],
  warnings: []
})

const bump = (map: Map<string, number>, key: string): void => {
  map.set(key, (map.get(key) ?? 0) + 1)
}

/**
 * Counts a line in one of the lists that keep the first lines only.
 *
 * @internal
 */
export const note = (list: { count: number; readonly lines: Array<number> }, line: number): void => {
  list.count++
  if (list.lines.length < keep.lines) list.lines.push(line)
}

/**
 * Adds a warning for the end of the run, once.
 *
 * @internal
 */
export const warn = (self: Report, message: string): void => {
  if (self.warnings.length < keep.warnings && !self.warnings.includes(message)) self.warnings.push(message)
}

const modelOf = (self: Report, model: string): ModelCounts => {
  let counts = self.models.get(model)
  if (counts === undefined) {
    counts = { ok: 0, failed: 0, inputTokens: 0, outputTokens: 0, nanoUsd: 0n, unpriced: 0 }
    self.models.set(model, counts)
  }
  return counts
}

/**
 * Lists a failed row, and counts it by its code: one of this run, or one of an earlier run that stays failed.
 *
 * @internal
 */
export const listFailed = (self: Report, row: FailedRow): void => {
  bump(self.codes, row.code)
  if (self.failures.length < keep.failures) self.failures.push(row)
}

/** Tells whether nobody knows what a row cost that was answered, as its price is unknown. */
const isUnpriced = (outcome: Outcome): boolean =>
  outcome.kind === "ok" && outcome.from === undefined && outcome.nanoUsd === undefined && outcome.unmetered !== true

/** Counts a settled row. */
export const settle = (self: Report, now: number, outcome: Outcome): void => {
  const step = Timeline.at(self.timeline, now)
  self.attempts += outcome.attempts
  self.inputTokens += outcome.inputTokens
  self.outputTokens += outcome.outputTokens
  self.nanoUsd += outcome.nanoUsd ?? 0n
  step.tokens += outcome.inputTokens + outcome.outputTokens
  if (outcome.model !== undefined) {
    const counts = modelOf(self, outcome.model)
    if (outcome.kind === "ok") counts.ok++
    else counts.failed++
    counts.inputTokens += outcome.inputTokens
    counts.outputTokens += outcome.outputTokens
    counts.nanoUsd += outcome.nanoUsd ?? 0n
    if (isUnpriced(outcome)) counts.unpriced++
  }
  if (outcome.kind === "ok") {
    self.ok++
    step.ok++
    if (outcome.from === "cache") self.cached++
    else if (outcome.from === "twin") self.twins++
    else {
      Histogram.add(self.latency, outcome.millis)
      if (outcome.requestMillis !== undefined) Histogram.add(self.attemptLatency, outcome.requestMillis)
      if (isUnpriced(outcome)) self.unpriced++
      else if (outcome.nanoUsd === undefined) self.unmetered++
    }
    return
  }
  if (outcome.kind === "bad") self.bad++
  else self.failed++
  step.failed++
  listFailed(self, {
    line: outcome.line,
    id: outcome.id,
    code: outcome.code ?? "unknown",
    message: outcome.message ?? "",
    retryable: outcome.retryable ?? false
  })
}

/** Counts an attempt, as the transport saw it. */
export const attempt = (self: Report, now: number, seen: Attempt): void => {
  const step = Timeline.at(self.timeline, now)
  step.attempts++
  if (seen.status >= 200 && seen.status < 300) return
  bump(self.refusals, seen.status === 0 ? "no answer" : String(seen.status))
  if (seen.status === 429) {
    self.throttled++
    step.throttled++
  }
  if (seen.status === 503 || seen.status === 529) {
    self.overloaded++
    step.overloaded++
  }
}

/**
 * Counts a retry, its reason and the wait before it.
 *
 * @param detail the status or system code of the error
 */
export const retry = (self: Report, reason: string, seconds: number, detail?: string | number): void => {
  bump(self.retries, reason)
  self.waited += seconds
  self.latestError = detail === undefined ? reason : `${reason} ${detail}`
}

/** Records the state of the lanes at an instant: what is in flight and what was let in flight. */
export const sample = (
  self: Report,
  now: number,
  state: {
    readonly inFlight: number
    readonly limit?: number | undefined
    readonly rate?: number | undefined
    readonly pausedSeconds?: number | undefined
  }
): void => {
  const step = Timeline.at(self.timeline, now)
  step.inFlight = Math.max(step.inFlight, state.inFlight)
  step.limit = Math.max(step.limit, state.limit ?? 0)
  step.rate = Math.max(step.rate, state.rate ?? 0)
  step.paused += state.pausedSeconds ?? 0
}

/** Records why a lane's limit moved. The latest moves are kept. */
export const decision = (self: Report, move: Move): void => {
  self.moves.push(move)
  if (self.moves.length > keep.moves) self.moves.shift()
}

/** Counts all rows: those that were read, or to be expected, whichever are more. */
export const all = (self: Report): number => Math.max(self.read, self.total ?? 0)

/** Counts the rows that are done, in this run or before it. */
export const done = (self: Report): number => self.ok + self.failed + self.bad + self.resumedOk + self.resumedFailed

/** Counts the seconds that a run took, or has taken by `now` where it goes on. */
export const elapsed = (self: Report, now: number = self.startedAt): number =>
  ((self.endedAt ?? now) - self.startedAt) / 1000

/** A finished report as plain JSON. Money in dollars as a decimal string, durations in seconds. */
export type Summary = ReturnType<typeof summary>

const seconds = (millis: number): number => Math.round(millis) / 1000

const spread = (times: Histogram.Histogram) => ({
  p50: seconds(Histogram.percentile(times, 0.5)),
  p90: seconds(Histogram.percentile(times, 0.9)),
  p99: seconds(Histogram.percentile(times, 0.99)),
  max: seconds(times.longest)
})

/**
 * Makes plain JSON of a report, as of `now`.
 *
 * **Details**: `latencySeconds` is the time of a row, with its waits for the lane and between attempts; `requestSeconds` that
 * of the request that answered it, from its sending to the answer, read whole.
 */
export const summary = (self: Report, now: number) => {
  const took = elapsed(self, now)
  const perSecond = (count: number) => took > 0 ? Math.round(count / took * 100) / 100 : 0
  return {
    rows: {
      total: all(self),
      settled: done(self),
      ok: self.ok + self.resumedOk,
      failed: self.failed + self.resumedFailed,
      bad: self.bad,
      answeredNow: self.ok,
      answeredBefore: self.resumedOk,
      cached: self.cached,
      twins: self.twins,
      missingIds: self.missingIds.count,
      duplicateIds: self.duplicates.count
    },
    attempts: {
      total: self.attempts,
      throttled: self.throttled,
      overloaded: self.overloaded,
      refusedBy: Object.fromEntries(self.refusals),
      retriesBy: Object.fromEntries(self.retries)
    },
    tokens: { input: self.inputTokens, output: self.outputTokens },
    cost: {
      usd: Money.toUsd(self.nanoUsd),
      usdBefore: Money.toUsd(self.resumedNanoUsd),
      rowsWithUnknownPrice: self.unpriced,
      rowsWithoutUsage: self.unmetered
    },
    time: {
      elapsedSeconds: Math.round(took * 1000) / 1000,
      waitedSeconds: Math.round(self.waited * 1000) / 1000,
      rowsPerSecond: perSecond(self.ok + self.failed),
      tokensPerSecond: perSecond(self.inputTokens + self.outputTokens)
    },
    latencySeconds: spread(self.latency),
    requestSeconds: spread(self.attemptLatency),
    failuresByCode: Object.fromEntries(self.codes),
    models: Object.fromEntries(
      Array.from(
        self.models,
        ([model, { nanoUsd, unpriced, ...counts }]) => [
          model,
          { ...counts, usd: Money.toUsd(nanoUsd), rowsWithUnknownPrice: unpriced }
        ]
      )
    ),
    failedRows: self.failures,
    warnings: self.warnings
  }
}

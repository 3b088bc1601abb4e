/**
 * A batch job over time: its status and progress as a pure function of when it is looked at.
 *
 * ```text
 * VALIDATING ─► IN_PROGRESS ─► COMPLETED
 *     │              ├───────► EXPIRED      after expiresSeconds, with what is done
 *     │              └─ cancel ─► CANCELING ─► CANCELLED, with what is done
 *     └───────► FAILED                      a bad file, an unknown or unbatchable model
 * ```
 *
 * Rows are worked off one after another at `rowsPerSecond`, from a pool of
 * their own that no rate limit of the serverless models touches.
 */
import type { Config } from "./SimulationConfig.ts"

/** Names the state of a batch, in the provider's words. */
export type Status =
  | "VALIDATING"
  | "IN_PROGRESS"
  | "COMPLETED"
  | "FAILED"
  | "EXPIRED"
  | "CANCELING"
  | "CANCELLED"

/** Describes a batch by what happened to it; everything else follows from the time. */
export interface Batch {
  readonly createdAt: number
  readonly rows: number
  /** Why it will fail validation; absent where it will not. */
  readonly error?: string | undefined
  readonly cancelledAt?: number | undefined
}

/** Holds what a batch looks like at one time. */
export interface Look {
  readonly status: Status
  /** Rows that are done, from the first on. */
  readonly done: number
  /** From 0 to 100. */
  readonly progress: number
  /** When it came to its end; absent where it has not. */
  readonly endedAt: number | undefined
}

/** Tells whether a status is final. */
export const isTerminal = (status: Status): boolean =>
  status === "COMPLETED" || status === "FAILED" || status === "EXPIRED" || status === "CANCELLED"

/** Looks at a batch at a time. */
export const look = (config: Config["batch"], batch: Batch, at: number): Look => {
  const begins = batch.createdAt + config.validatingSeconds
  const expires = batch.createdAt + config.expiresSeconds
  const until = Math.min(at, expires, batch.cancelledAt ?? Infinity)
  // a share of the epsilon forgives the sum of two times that should be a whole number of rows
  const done = Math.max(0, Math.min(batch.rows, Math.floor((until - begins) * config.rowsPerSecond + 1e-9)))
  const completes = begins + batch.rows / config.rowsPerSecond
  const seen = (status: Status, endedAt?: number): Look => ({
    status,
    done: batch.error === undefined ? done : 0,
    progress: batch.error === undefined && batch.rows > 0 ? Math.floor(100 * done / batch.rows) : 0,
    endedAt
  })
  if (batch.cancelledAt !== undefined) {
    const ended = batch.cancelledAt + config.cancelingSeconds
    return at < ended ? seen("CANCELING") : seen("CANCELLED", ended)
  }
  if (at < begins) return seen("VALIDATING")
  if (batch.error !== undefined) return seen("FAILED", begins)
  if (completes <= expires) return at < completes ? seen("IN_PROGRESS") : seen("COMPLETED", completes)
  return at < expires ? seen("IN_PROGRESS") : seen("EXPIRED", expires)
}

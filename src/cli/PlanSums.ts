/** What the rows of a file would take, added up model by model: tokens, a range of cost, time at given limits. */
import type * as Lanes from "../guard/lane/Lanes.ts"
import * as BatchParts from "../job/batch/BatchParts.ts"
import type * as Row from "../job/Row.ts"
import * as RowCheck from "../job/RowCheck.ts"
import * as RowTokens from "../job/RowTokens.ts"
import type * as Price from "../policy/Price.ts"
import type * as Policy from "./Policy.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Seconds that an answer is assumed to take. */
  latency: 2
} as const

/** Holds what one model would take. */
export interface ModelPlan {
  rows: number
  inputTokens: number
  outputTokens: number
  maxOutputTokens: number
  /** Rows that set no `max_tokens`: what they reserve depends on the model's context, and on the answers of a run. */
  open: number
  low: bigint
  expected: bigint
  high: bigint
  /** Rows without a price, and why. */
  unpriced: number
  reason: string | undefined
}

/** Holds a plan. */
export interface Plan {
  rows: number
  /** How many of the rows failed in an earlier run, and are not sent again unasked. */
  failedBefore: number
  readonly bad: Array<{ readonly line: number; readonly message: string }>
  badCount: number
  missingIds: number
  duplicates: number
  answered: number
  /** Rows in batches that an earlier run began and that nobody has collected. */
  inBatches: number
  readonly models: Map<string, ModelPlan>
}

/** Makes an empty plan. */
export const make = (): Plan => ({
  rows: 0,
  failedBefore: 0,
  bad: [],
  badCount: 0,
  missingIds: 0,
  duplicates: 0,
  answered: 0,
  inBatches: 0,
  models: new Map()
})

const modelOf = (plan: Plan, model: string): ModelPlan => {
  let found = plan.models.get(model)
  if (found === undefined) {
    found = {
      rows: 0,
      inputTokens: 0,
      outputTokens: 0,
      maxOutputTokens: 0,
      open: 0,
      low: 0n,
      expected: 0n,
      high: 0n,
      unpriced: 0,
      reason: undefined
    }
    plan.models.set(model, found)
  }
  return found
}

/** Adds a line that would not be sent. */
export const addBad = (plan: Plan, line: number, message: string): void => {
  plan.badCount++
  if (plan.bad.length < 20) plan.bad.push({ line, message })
}

/** Adds a row that is to be sent, or, if it would be refused, as a bad line. */
export const addRow = (plan: Plan, row: Row.Row, lookup: Price.Lookup, failedBefore = false): void => {
  const refusal = RowCheck.refusal(row)
  if (refusal !== undefined) return addBad(plan, row.line, `line ${row.line}: ${refusal.message}`)
  const tokens = RowTokens.estimate(row)
  const model = modelOf(plan, row.model)
  plan.rows++
  if (failedBefore) plan.failedBefore++
  model.rows++
  model.inputTokens += tokens.inputTokens
  model.outputTokens += tokens.outputTokens
  model.maxOutputTokens += tokens.maxOutputTokens
  if ((tokens.openChoices ?? 0) > 0) model.open++
  const cost = RowTokens.cost(row, tokens, lookup)
  if (cost._tag === "Unknown") {
    model.unpriced++
    model.reason ??= cost.reason
    return
  }
  model.low += cost.low
  model.expected += cost.expected
  model.high += cost.high
}

/**
 * Estimates the seconds that a plan takes at given ceilings. They hold for each model, so it is the time of the slowest
 * one; 0 if none is given. This is not a bound: answers may be shorter than `max_tokens` allows, and in its first
 * second a run may send a second's worth more.
 */
export const secondsAt = (
  plan: Plan,
  limits: Policy.LimitFlags,
  latency: number
): number =>
  Math.max(
    0,
    ...Array.from(plan.models.values(), ({ inputTokens, outputTokens, rows }) =>
      Math.max(
        limits.requestsPerMinute === undefined ? 0 : rows / limits.requestsPerMinute * 60,
        limits.tokensPerMinute === undefined ? 0 : (inputTokens + outputTokens) / limits.tokensPerMinute * 60,
        limits.maxInFlight === undefined ? 0 : rows / limits.maxInFlight * latency
      ))
  )

/** Computes the seconds that a plan takes at the limits that an earlier run learned: its slowest lane. */
export const secondsLearned = (plan: Plan, learned: Lanes.Saved): number => {
  let longest = 0
  for (const [key, limit] of Object.entries(learned)) {
    const model = plan.models.get(key.slice(key.indexOf("/") + 1))
    if (model === undefined) continue
    const { requestsPerSecond, tokensPerSecond } = limit
    longest = Math.max(
      longest,
      requestsPerSecond === undefined ? 0 : model.rows / requestsPerSecond,
      tokensPerSecond === undefined ? 0 : (model.inputTokens + model.outputTokens) / tokensPerSecond
    )
  }
  return longest
}

/** Adds up what all models would cost. */
export const sum = (plan: Plan, field: "low" | "expected" | "high"): bigint =>
  Array.from(plan.models.values()).reduce((total, model) => total + model[field], 0n)

/** Counts the rows without a price, which the sums leave out. */
export const unpriced = (plan: Plan): number =>
  Array.from(plan.models.values()).reduce((total, model) => total + model.unpriced, 0)

/** Sums up what batches may cost at the most, where that is known. */
export const costOf = (batches: ReadonlyArray<BatchParts.Part>): bigint | undefined => {
  let sum = 0n
  for (const part of batches) {
    const bound = BatchParts.boundOf(part, 0n)
    if (bound === undefined) return undefined
    sum += bound
  }
  return sum
}

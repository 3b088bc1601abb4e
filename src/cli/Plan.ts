/** `plan`: what a file would take, without one call: rows, bad lines, tokens, a range of cost, time at given limits. */
import type * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Money from "../domain/Money.ts"
import type * as Lanes from "../guard/lane/Lanes.ts"
import * as BatchParts from "../job/batch/BatchParts.ts"
import * as IdIndex from "../job/journal/IdIndex.ts"
import * as Input from "../job/Input.ts"
import * as Journal from "../job/journal/Journal.ts"
import type * as Row from "../job/Row.ts"
import * as RowCheck from "../job/RowCheck.ts"
import * as RowTokens from "../job/RowTokens.ts"
import * as Price from "../policy/Price.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Routes from "../together/Routes.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as LearnedLimits from "./LearnedLimits.ts"
import * as Place from "./Place.ts"
import * as Policy from "./Policy.ts"
import { input, limitFlags, outDir, rowFlags, rowOptions } from "./RunFlags.ts"
import * as Source from "./Source.ts"
import * as Style from "./Style.ts"
import * as Table from "./Table.ts"
import * as Flag from "effect/cli/Flag"

/** Seconds that an answer is taken to take. */
const defaults = { latency: 2 } as const

/** Lists the flags of `plan`. */
export const planFlags = {
  input,
  ...rowFlags,
  ...limitFlags,
  outDir,
  latency: LastFlag.positive("latency", LastFlag.Finite("latency")).pipe(
    Flag.withDescription("Seconds that one answer takes, for the time at --max-in-flight (default: 2)"),
    Flag.withDefault(defaults.latency)
  ),
  journal: LastFlag.file(
    "journal",
    "Journal of the run: its answered rows are left out (default: where run puts it)"
  ),
  json: LastFlag.Boolean("json").pipe(Flag.withDescription("Write the plan as JSON"), Flag.withDefault(false))
}

/** Holds the parsed flags of `plan`. */
export type Flags = Command.Command.Config.Infer<typeof planFlags>

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

/** Adds a row that is to be sent; as a bad line, where it would be refused. */
export const addRow = (plan: Plan, row: Row.Row, lookup: Price.Lookup): void => {
  const refusal = RowCheck.refusal(row)
  if (refusal !== undefined) return addBad(plan, row.line, `line ${row.line}: ${refusal.message}`)
  const tokens = RowTokens.estimate(row)
  const model = modelOf(plan, row.model)
  plan.rows++
  model.rows++
  model.inputTokens += tokens.inputTokens
  model.outputTokens += tokens.outputTokens
  model.maxOutputTokens += tokens.maxOutputTokens
  if ((tokens.openChoices ?? 0) > 0) model.open++
  const cost = Price.ofCall(lookup(row.model), row.model, tokens)
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
 * Estimates the seconds that a plan takes at ceilings, which hold for each model: those of the slowest one. 0 where none is
 * given. No bound: answers may be shorter than `max_tokens` allows, and the first second of a run may hold a second's share
 * more.
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

const sum = (plan: Plan, field: "low" | "expected" | "high"): bigint =>
  Array.from(plan.models.values()).reduce((total, model) => total + model[field], 0n)

/** Sums up what batches may cost at the most, where that is known. */
const costOf = (batches: ReadonlyArray<BatchParts.Part>): bigint | undefined => {
  let sum = 0n
  for (const part of batches) {
    const bound = BatchParts.boundOf(part, 0n)
    if (bound === undefined) return undefined
    sum += bound
  }
  return sum
}

const usdOf = (cost: bigint | undefined): string | undefined => cost === undefined ? undefined : Money.toUsd(cost)

const json = (plan: Plan, batches: ReadonlyArray<BatchParts.Part>, seconds: number) => ({
  rows: plan.rows,
  badLines: plan.badCount,
  bad: plan.bad,
  missingIds: plan.missingIds,
  duplicateIds: plan.duplicates,
  answeredBefore: plan.answered,
  inBatches: plan.inBatches === 0 ? undefined : { rows: plan.inBatches, usd: usdOf(costOf(batches)) },
  costUsd: {
    low: Money.toUsd(sum(plan, "low")),
    expected: Money.toUsd(sum(plan, "expected")),
    high: Money.toUsd(sum(plan, "high"))
  },
  seconds: seconds > 0 ? Math.round(seconds) : undefined,
  models: Object.fromEntries(Array.from(plan.models, ([name, model]) => [name, {
    rows: model.rows,
    inputTokens: Math.round(model.inputTokens),
    expectedOutputTokens: Math.round(model.outputTokens),
    maxOutputTokens: Math.round(model.maxOutputTokens),
    rowsWithoutMaxTokens: model.open,
    lowUsd: Money.toUsd(model.low),
    expectedUsd: Money.toUsd(model.expected),
    highUsd: Money.toUsd(model.high),
    rowsWithUnknownPrice: model.unpriced
  }]))
})

const text = (
  plan: Plan,
  batches: ReadonlyArray<BatchParts.Part>,
  seconds: number,
  latency: number,
  style: Style.Style
): string => {
  const rows = Array.from(plan.models, ([name, model]) => [
    name,
    Format.count(model.rows),
    Format.count(model.inputTokens),
    `${Format.count(model.outputTokens)} (≤ ${Format.count(model.maxOutputTokens)})`,
    model.unpriced === model.rows ? style.yellow("unknown") : `${Format.usd(model.low)} – ${Format.usd(model.high)}`,
    model.unpriced === model.rows ? style.yellow("unknown") : Format.usd(model.expected)
  ])
  const right = (head: string) => ({ head, align: "right" as const })
  const table = Table.draw(
    [
      { head: "model" },
      right("rows"),
      right("tokens in"),
      right("tokens out"),
      right("cost from – to"),
      right("expected")
    ],
    rows,
    style
  )
  const notes: Array<string> = [
    `${Format.plural(plan.rows, "row")} to send${
      plan.answered > 0 ? `, ${Format.count(plan.answered)} answered before` : ""
    }`
  ]
  if (plan.inBatches > 0) {
    const cost = costOf(batches)
    notes.push(style.yellow(
      `${Format.plural(plan.inBatches, "row")} in ${
        batches.length === 1 ? "a batch" : Format.plural(batches.length, "batch", "batches")
      } that an earlier run began${
        cost === undefined ? "" : `, for up to ${Format.usd(cost)}`
      }: collect with --via batch`
    ))
  }
  if (plan.models.size > 1) {
    notes.push(
      `all models: ${Format.usd(sum(plan, "low"))} – ${Format.usd(sum(plan, "high"))}, expected ${
        Format.usd(sum(plan, "expected"))
      }`
    )
  }
  for (const model of plan.models.values()) {
    if (model.reason !== undefined) notes.push(style.yellow(`${model.reason}; its rows are not in the sums`))
  }
  const open = Array.from(plan.models.values()).reduce((total, model) => total + model.open, 0)
  if (open > 0) {
    const tokens = Format.count(Routes.defaults.maxOutputTokens)
    notes.push(style.yellow(
      `${
        Format.plural(open, "row")
      } without max_tokens, or with more than any model holds: ${tokens} tokens are assumed for the longest answer of each, ` +
        "while --max-cost reserves the model's whole context until a run has seen 20 answers, and --via batch always. " +
        "Set max_tokens, or give --max-tokens"
    ))
  }
  if (plan.missingIds > 0) {
    notes.push(`${Format.plural(plan.missingIds, "row")} without custom_id: they get line-<number>`)
  }
  if (plan.duplicates > 0) {
    notes.push(style.red(`${Format.plural(plan.duplicates, "row")} with a custom_id used before: not sent`))
  }
  if (plan.badCount > 0) notes.push(style.red(`${Format.plural(plan.badCount, "bad line")}: not sent`))
  for (const { message } of plan.bad) notes.push(`  ${message}`)
  if (plan.badCount > plan.bad.length) notes.push(`  … and ${Format.count(plan.badCount - plan.bad.length)} more`)
  notes.push(
    seconds > 0
      ? `time at the limits given or learned: about ${Format.span(seconds)}${
        latency === defaults.latency ? "" : ` with answers of ${Format.span(latency)}`
      }`
      : "time: not known before a run has learned the limits; give --requests-per-minute, --tokens-per-minute or --max-in-flight to compute it"
  )
  notes.push(
    style.dim(
      `prices: ${PriceTable.shippedAsOf}; tokens are estimated from text length, output is what max_tokens allows at the most`
    )
  )
  return `${table}${notes.map((note) => `${note}\n`).join("")}`
}

/** Makes the plan, prints it and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  const fs = yield* FileSystem.FileSystem
  const policy = flags.policy === undefined ? undefined : yield* Policy.read(flags.policy)
  const source = yield* Source.of(flags)
  const selection = yield* Source.selection(flags, source)
  const journalPath = Place.journalOf(flags, false)
  const done = yield* Effect.orElseSucceed(fs.exists(journalPath), () => false)
  const held = done ? yield* Journal.peek(journalPath) : undefined
  // batches of an emulator end with it
  const batches = held === undefined || held.target === Journal.emulator
    ? []
    : BatchParts.open(held.notes).filter(BatchParts.mayExist)
  const inBatch = batches.map(BatchParts.has)
  const plan = make()
  const seen = IdIndex.make()
  yield* Stream.runForEachArray(Input.rows(source, rowOptions(flags)), (rows) =>
    Effect.sync(() => {
      for (const row of rows) {
        if (selection !== undefined && !selection.has(row.line)) continue
        if (row._tag === "Bad") {
          addBad(plan, row.line, row.message)
          continue
        }
        if (row.assigned) plan.missingIds++
        const first = seen.get(row.id)
        if (first !== 0) {
          plan.duplicates++
          addBad(
            plan,
            row.line,
            `line ${row.line}: custom_id ${JSON.stringify(row.id)} was used on line ${first} already`
          )
          continue
        }
        seen.set(row.id, row.line)
        if (held?.isAnswered(row.id) === true) plan.answered++
        else if (inBatch.some((has) => has(row))) plan.inBatches++
        else addRow(plan, row, PriceTable.shippedLookup)
      }
    }))
  if (plan.rows + plan.badCount + plan.answered + plan.inBatches === 0) {
    return yield* Source.empty(flags.input)
  }
  const learned = yield* LearnedLimits.read(journalPath)
  const seconds = Math.max(
    secondsAt(plan, Policy.limits(flags, policy), flags.latency),
    learned === undefined ? 0 : secondsLearned(plan, learned)
  )
  yield* Host.print(
    host,
    flags.json
      ? `${JSON.stringify(json(plan, batches, seconds), undefined, 2)}\n`
      : text(plan, batches, seconds, flags.latency, Style.of(host.stdout))
  )
  return plan.badCount > 0 ? ExitCode.ExitCode.someFailed : ExitCode.ExitCode.ok
})

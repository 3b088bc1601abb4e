/** Draws what a file would take: as a table with notes, or as JSON. */
import * as Enumeration from "../domain/Enumeration.ts"
import * as Money from "../domain/Money.ts"
import type * as BatchParts from "../job/batch/BatchParts.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Routes from "../together/Routes.ts"
import * as Format from "./Format.ts"
import * as PlanSums from "./PlanSums.ts"
import type * as Style from "./Style.ts"
import * as Table from "./Table.ts"

const usdOf = (cost: bigint | undefined): string | undefined => cost === undefined ? undefined : Money.toUsd(cost)

/** Tells whether a cost is a sum of nothing: what has no price is unknown, and not free. */
const isUnknown = ({ rows, unpriced }: Pick<PlanSums.ModelPlan, "rows" | "unpriced">): boolean =>
  rows > 0 && unpriced === rows

/** Makes JSON of a plan. */
export const json = (plan: PlanSums.Plan, batches: ReadonlyArray<BatchParts.Part>, seconds: number) => {
  const unpriced = PlanSums.unpriced(plan)
  const usd = (of: Pick<PlanSums.ModelPlan, "rows" | "unpriced">, cost: bigint) =>
    isUnknown(of) ? null : Money.toUsd(cost)
  const sum = (field: "low" | "expected" | "high") => usd({ rows: plan.rows, unpriced }, PlanSums.sum(plan, field))
  return {
    rows: plan.rows,
    failedBefore: plan.failedBefore,
    badLines: plan.badCount,
    bad: plan.bad,
    missingIds: plan.missingIds,
    duplicateIds: plan.duplicates,
    answeredBefore: plan.answered,
    inBatches: plan.inBatches === 0 ? undefined : { rows: plan.inBatches, usd: usdOf(PlanSums.costOf(batches)) },
    costUsd: { low: sum("low"), expected: sum("expected"), high: sum("high") },
    rowsWithUnknownPrice: unpriced,
    seconds: seconds > 0 ? Math.round(seconds) : undefined,
    models: Object.fromEntries(Array.from(plan.models, ([name, model]) => [name, {
      rows: model.rows,
      inputTokens: Math.round(model.inputTokens),
      expectedOutputTokens: Math.round(model.outputTokens),
      maxOutputTokens: Math.round(model.maxOutputTokens),
      rowsWithoutMaxTokens: model.open,
      lowUsd: usd(model, model.low),
      expectedUsd: usd(model, model.expected),
      highUsd: usd(model, model.high),
      rowsWithUnknownPrice: model.unpriced
    }]))
  }
}

/** Describes what is drawn. */
export interface Drawn {
  readonly plan: PlanSums.Plan
  /** Batches that an earlier run began. */
  readonly batches: ReadonlyArray<BatchParts.Part>
  /** Time that it takes; 0 where nobody knows. */
  readonly seconds: number
  /** Seconds that one answer was assumed to take. */
  readonly latency: number
}

/** Says how many models are listed, and how many of those without a price. */
const keep = { models: 100, unpriced: 10 } as const

const othersUnpriced = (count: number): string => `… and ${Format.count(count)} more models without a price`

const right = (head: string) => ({ head, align: "right" as const })

const table = (plan: PlanSums.Plan, style: Style.Style): string =>
  Table.draw(
    [
      { head: "model" },
      right("rows"),
      right("tokens in"),
      right("tokens out"),
      right("cost from – to"),
      right("expected")
    ],
    Array.from(plan.models).slice(0, keep.models).map(([name, model]) => [
      name,
      Format.count(model.rows),
      Format.count(model.inputTokens),
      `${Format.count(model.outputTokens)} (≤ ${Format.count(model.maxOutputTokens)})`,
      isUnknown(model) ? style.yellow("unknown") : `${Format.usd(model.low)} – ${Format.usd(model.high)}`,
      isUnknown(model) ? style.yellow("unknown") : Format.usd(model.expected)
    ]),
    style
  )

/** Says how many rows are to be sent, and which are not. */
const sent = ({ batches, plan }: Drawn, style: Style.Style): ReadonlyArray<string> => {
  const before = plan.answered > 0 ? `, ${Format.count(plan.answered)} answered before` : ""
  const rows = [
    `${Format.plural(plan.rows, "row")} to send${before}`,
    ...(plan.failedBefore > 0
      ? [
        style.yellow(
          `${Format.count(plan.failedBefore)} of them failed before: run sends those with --retry-errors only`
        )
      ]
      : [])
  ]
  if (plan.inBatches === 0) return rows
  const cost = PlanSums.costOf(batches)
  const which = batches.length === 1 ? "a batch" : Format.plural(batches.length, "batch", "batches")
  const upTo = cost === undefined ? "" : `, for up to ${Format.usd(cost)}`
  const waiting = `${Format.plural(plan.inBatches, "row")} in ${which} that an earlier run began${upTo}`
  return [...rows, style.yellow(`${waiting}: collect with --via batch`)]
}

/** Says what all models cost together, and what that leaves out or assumes. */
const cost = ({ plan }: Drawn, style: Style.Style): ReadonlyArray<string> => {
  const [low, high, expected] = (["low", "high", "expected"] as const).map((field) =>
    Format.usd(PlanSums.sum(plan, field))
  )
  const models = Array.from(plan.models.values())
  const open = models.reduce((total, model) => total + model.open, 0)
  const assumed = Format.count(Routes.defaults.maxOutputTokens)
  const unpriced = models.flatMap(({ reason }) =>
    reason === undefined ? [] : [`${reason}; its rows are not in the sums`]
  )
  return [
    ...(plan.models.size > keep.models
      ? [`${Format.count(plan.models.size - keep.models)} more models are not listed: --json has them`]
      : []),
    ...(plan.models.size > 1 && !isUnknown({ rows: plan.rows, unpriced: PlanSums.unpriced(plan) })
      ? [`all models: ${low} – ${high}, expected ${expected}`]
      : []),
    ...Enumeration.first(unpriced, keep.unpriced, othersUnpriced).map(style.yellow),
    ...(open === 0 ? [] : [style.yellow(
      `${
        Format.plural(open, "row")
      } without max_tokens, or with more than any model holds: ${assumed} tokens are assumed ` +
        "for the longest answer of each, while --max-cost reserves the model's whole context until a run has seen 20 " +
        "answers, and --via batch always. Set max_tokens, or give --max-tokens"
    )])
  ]
}

/** Says what is wrong with rows and lines. */
const wrong = ({ plan }: Drawn, style: Style.Style): ReadonlyArray<string> => [
  ...(plan.missingIds > 0
    ? [`${Format.plural(plan.missingIds, "row")} without custom_id: they get line-<number>`]
    : []),
  ...(plan.badCount > 0
    ? [style.red(
      `${Format.plural(plan.badCount, "bad line")}${
        plan.duplicates > 0 ? `, ${Format.count(plan.duplicates)} of them with a custom_id used before` : ""
      }: not sent`
    )]
    : []),
  ...plan.bad.map(({ message }) => `  ${message}`),
  ...(plan.badCount > plan.bad.length ? [`  … and ${Format.count(plan.badCount - plan.bad.length)} more`] : [])
]

const time = ({ latency, seconds }: Drawn): string => {
  if (seconds === 0) {
    return "time: not known before a run has learned the limits; give --requests-per-minute, --tokens-per-minute or " +
      "--max-in-flight to compute it"
  }
  const answers = latency === PlanSums.defaults.latency ? "" : ` with answers of ${Format.span(latency)}`
  return `time at the limits given or learned: about ${Format.span(seconds)}${answers}`
}

/** Draws a plan as a table, with notes below. */
export const text = (drawn: Drawn, style: Style.Style): string => {
  const prices =
    `prices: ${PriceTable.shippedAsOf}; tokens are estimated from text length, output is what max_tokens ` +
    "allows at the most"
  const notes = [
    ...sent(drawn, style),
    ...cost(drawn, style),
    ...wrong(drawn, style),
    time(drawn),
    style.dim(prices)
  ]
  return `${table(drawn.plan, style)}${notes.map((note) => `${note}\n`).join("")}`
}

/** `plan`: what a file would take, without one call: rows, bad lines, tokens, a range of cost, time at given limits. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as BatchParts from "../job/batch/BatchParts.ts"
import * as IdIndex from "../job/journal/IdIndex.ts"
import * as Input from "../job/Input.ts"
import * as Journal from "../job/journal/Journal.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as LearnedLimits from "./LearnedLimits.ts"
import * as Place from "./Place.ts"
import * as PlanSums from "./PlanSums.ts"
import * as PlanText from "./PlanText.ts"
import * as Policy from "./Policy.ts"
import { input, limitFlags, outDir, rowFlags, rowOptions } from "./RunFlags.ts"
import * as Source from "./Source.ts"
import * as Style from "./Style.ts"

/** Lists the flags of `plan`. */
export const planFlags = {
  input,
  ...rowFlags,
  ...limitFlags,
  outDir,
  latency: LastFlag.positive("latency", LastFlag.Finite("latency")).pipe(
    Flag.withDescription("Seconds that one answer takes, for the time at --max-in-flight (default: 2)"),
    Flag.withDefault(PlanSums.defaults.latency)
  ),
  journal: LastFlag.file(
    "journal",
    "Journal of the run: its answered rows are left out (default: where run puts it)"
  ),
  json: LastFlag.Boolean("json").pipe(Flag.withDescription("Write the plan as JSON"), Flag.withDefault(false))
}

/** Holds the parsed flags of `plan`. */
export type Flags = Command.Command.Config.Infer<typeof planFlags>

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
  // batches of an emulator end when it ends
  const batches = held === undefined || held.target === Journal.emulator
    ? []
    : BatchParts.open(held.notes).filter(BatchParts.mayExist)
  const inBatch = batches.map(BatchParts.has)
  const plan = PlanSums.make()
  const seen = IdIndex.make()
  yield* Stream.runForEachArray(Input.rows(source, rowOptions(flags)), (rows) =>
    Effect.sync(() => {
      for (const row of rows) {
        if (selection !== undefined && !selection.has(row.line)) continue
        if (row._tag === "Bad") {
          PlanSums.addBad(plan, row.line, row.message)
          continue
        }
        if (row.assigned) plan.missingIds++
        const first = seen.get(row.id)
        if (first !== 0) {
          plan.duplicates++
          PlanSums.addBad(
            plan,
            row.line,
            `line ${row.line}: custom_id ${JSON.stringify(row.id)} was used on line ${first} already`
          )
          continue
        }
        seen.set(row.id, row.line)
        if (held?.isAnswered(row.id) === true) plan.answered++
        else if (inBatch.some((has) => has(row))) plan.inBatches++
        else PlanSums.addRow(plan, row, PriceTable.shippedLookup, held?.hasFailed(row.id))
      }
    }))
  if (plan.rows + plan.badCount + plan.answered + plan.inBatches === 0) {
    return yield* Source.empty(flags.input)
  }
  const learned = yield* LearnedLimits.read(journalPath)
  const seconds = Math.max(
    PlanSums.secondsAt(plan, Policy.limits(flags, policy), flags.latency),
    learned === undefined ? 0 : PlanSums.secondsLearned(plan, learned)
  )
  yield* Host.print(
    host,
    flags.json
      ? `${JSON.stringify(PlanText.json(plan, batches, seconds), undefined, 2)}\n`
      : PlanText.text({ plan, batches, seconds, latency: flags.latency }, Style.of(host.stdout))
  )
  return plan.badCount > 0 ? ExitCode.ExitCode.someFailed : ExitCode.ExitCode.ok
})

/**
 * Prints a fault matrix: a table of verdicts, the reasons, and the smallest plans as code.
 */
import * as Duration from "effect/Duration"
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import type { Cell, Matrix } from "./FaultMatrix.ts"
import type { Verdict } from "./FaultMatrixJudge.ts"
import * as Faults from "./Faults.ts"
import { textTable } from "./internal/textTable.ts"
import * as Wiretap from "./Wiretap.ts"

/** Names a typed error: its tag, where it has one, and its message. */
export const nameError = (error: unknown): string => {
  if (Predicate.hasProperty(error, "_tag") && typeof error._tag === "string") {
    return Predicate.hasProperty(error, "message") && typeof error.message === "string" && error.message !== ""
      ? `${error._tag}: ${error.message}`
      : error._tag
  }
  return String(error)
}

/** Prints a value on one line, cut where it is long. */
export const show = (value: unknown): string => {
  const text = Formatter.format(value).replaceAll(/\s*\n\s*/g, " ")
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

/** Says how a result differs from the one without a fault. */
export const differs = (value: unknown, baseline: unknown): string => {
  const [is, was] = [show(value), show(baseline)]
  return is === was
    ? `ends with a result that does not equal the one without a fault, though both print as ${is}: compare them with \`check\``
    : `ends with ${is} instead of ${was}`
}

const mark = (verdict: Verdict): string => verdict === "ok" ? verdict : verdict.toUpperCase()

const tableOf = (matrix: Matrix): string => {
  const singles = matrix.cells.flatMap(({ trouble: [first, second], verdict }) =>
    first === undefined || second !== undefined ? [] : [{ ...first, verdict }]
  )
  if (singles.length === 0) return ""
  const requests = [...new Set(singles.map(({ request }) => request))]
  const kinds = [...new Set(singles.map(({ kind }) => kind))]
  const verdicts = new Map(singles.map(({ kind, request, verdict }) => [`${kind.name}@${request}`, mark(verdict)]))
  return textTable([
    ["", ...requests.map((request) => `#${request}`)],
    ...kinds.map(({ name }) => [name, ...requests.map((request) => verdicts.get(`${name}@${request}`) ?? "-")])
  ])
}

const where = (cell: Cell): string =>
  cell.trouble.length === 0
    ? "without any fault"
    : cell.trouble.map(({ kind, request }) => `${kind.name} at request #${request}`).join(", then ")

const indent = (text: string, by: string): string => text.trimEnd().split("\n").map((line) => `${by}${line}`).join("\n")

/** Prints a failing cell as a test to paste. */
export const toTest = (cell: Cell): string =>
  [
    `it.effect(${JSON.stringify(`survives ${where(cell)}`)}, () =>`,
    "  Effect.gen(function*() {",
    `    // ${cell.verdict}: ${cell.reason.split("\n")[0]}`,
    `    const plan = ${indent(Faults.toCode(cell.smallest), "    ").trimStart()}`,
    "    const cell = yield* FaultMatrix.once(options, plan)",
    "    expect(cell.verdict).toBe(\"ok\")",
    "  }))"
  ].join("\n")

/** Prints a matrix. Failures with the same verdict and smallest plan are shown once. */
export const format = (matrix: Matrix): string => {
  const { baseline, cells, failures, runs } = matrix
  const out = [
    `${baseline.exchanges.length} requests, ${cells.length} combinations, ${runs} runs: ${
      failures.length === 0 ? "all ok" : `${failures.length} end badly`
    }`
  ]
  const table = tableOf(matrix)
  if (table !== "") out.push("", table.trimEnd())
  const groups = new Map<string, Array<Cell>>()
  for (const cell of failures) {
    const key = `${cell.verdict} ${Faults.toCode(cell.smallest)}`
    groups.set(key, [...(groups.get(key) ?? []), cell])
  }
  for (const [first, ...rest] of groups.values()) {
    const cell = first! // a group is made with its first cell
    out.push(
      "",
      `${mark(cell.verdict)} ${where(cell)}${rest.length === 0 ? "" : ` (and ${rest.length} more like it)`}`,
      `  The program ${cell.reason}, at ${Duration.toSeconds(cell.elapsed).toFixed(3)}s of virtual time.`,
      indent(Wiretap.table(cell.exchanges.slice(0, 12)), "    ")
    )
    if (cell.exchanges.length > 12) out.push(`    … and ${cell.exchanges.length - 12} more requests`)
    if (cell.trouble.length > 0) out.push("", indent(toTest(cell), "  "))
  }
  return out.join("\n")
}

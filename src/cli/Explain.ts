/** `explain`: what a status or an error of the provider means, and what to do about it. */
import type * as Command from "effect/cli/Command"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TransportCodes from "../domain/TransportCodes.ts"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Answer from "../job/Answer.ts"
import * as Json from "../together/Json.ts"
import * as Classify from "../together/error/Classify.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as Meaning from "./Meaning.ts"
import * as Nearest from "./Nearest.ts"
import * as Style from "./Style.ts"
import { UsageError } from "./UsageError.ts"

/** Lists the flags of `explain`. */
export const explainFlags = {
  what: Argument.String("what").pipe(
    Argument.withDescription(
      "A status (429), a body ('{\"error\": …}'), an error's name, code or reason (row-moved), rows of an errors file, or - for standard input"
    )
  ),
  status: LastFlag.Int("status").pipe(
    Flag.withDescription("The status that came with the body"),
    LastFlag.orNone
  )
}

/** Holds the parsed flags of `explain`. */
export type Flags = Command.Command.Config.Infer<typeof explainFlags>

/** A row of an errors file; rows of such a file name their line. */
interface ErrorRow {
  readonly code: string
  readonly message: string
  readonly line: unknown
}

const errorRow = (text: string): ErrorRow | undefined => {
  const { error, line } = Json.fieldsOf(Json.parse(text))
  const { code, message } = Json.fieldsOf(error)
  return typeof code === "string" && typeof message === "string" && line !== undefined
    ? { code, message, line }
    : undefined
}

/** Finds what is meant by a row of an errors file that failed without a call, or by the code of such a row. */
const rowOf = (
  text: string
): (Meaning.Meaning & { readonly code: string; readonly message: string | undefined }) | undefined => {
  const { code, message } = errorRow(text) ?? { code: text, message: undefined }
  const meaning = Meaning.ofRowCode(code)
  return meaning === undefined ? undefined : { code, message, ...meaning }
}

/** Reads text as the rows of an errors file, if every line is such a row. */
const errorsFile = (text: string): ReadonlyArray<ErrorRow> | undefined => {
  const lines = text.split("\n").filter((line) => line.trim() !== "")
  const rows = lines.flatMap((line) => errorRow(line) ?? [])
  return rows.length > 1 && rows.length === lines.length ? rows : undefined
}

/** Finds the error that a code of the transport leads to, such as ECONNRESET. */
const byTransport = (code: string): Meaning.Tag | undefined =>
  TransportCodes.timeoutPhase([code]) !== undefined
    ? "RequestTimeoutError"
    : TransportCodes.isConnection(code)
    ? "ConnectionError"
    : undefined

const byName = (text: string): Meaning.Tag | undefined =>
  TogetherError.tags.find((tag) => tag === text || tag === `${text}Error` || Answer.codeOf(tag) === text) ??
    Meaning.tagOfReason(text) ?? byTransport(text)

/** Lists what can be asked for by name. */
const allNames = (): ReadonlyArray<string> => [
  ...TogetherError.tags,
  ...TogetherError.tags.map(Answer.codeOf),
  ...Meaning.names
]

const guess = (body: string): number | undefined => {
  if (/credit|billing|balance|payment/i.test(body) && !/rate limit/i.test(body)) return 402
  if (/rate.?limit|dynamic_(request|token)_limited|too many/i.test(body)) return 429
  if (/api.?key|unauthorized/i.test(body)) return 401
  if (/overload|not ready|unavailable/i.test(body)) return 503
  if (/not.?found/i.test(body)) return 404
  return undefined
}

const classify = (status: number, body: string, nowMillis: number): TogetherError.TogetherError =>
  Classify.fromAnswer({ status, headers: {}, body, operation: "", model: "", nowMillis })

/** Makes the body that names a kind, if a text is the word for one: what it says is known, whatever the status. */
const bodyOfKind = (text: string, nowMillis: number): string | undefined => {
  if (!/^[a-z]+(_[a-z]+)+$/.test(text)) return undefined
  const body = JSON.stringify({ error: { type: text } })
  const isKnown = guess(text) !== undefined || classify(400, body, nowMillis)._tag !== "InvalidRequestError"
  return isKnown ? body : undefined
}

/** Finds the error that a text is about. */
export const errorOf = (
  text: string,
  status: number | undefined,
  nowMillis: number
): TogetherError.TogetherError | Meaning.Tag | undefined => {
  const asked = text.trim()
  const named = byName(asked)
  if (named !== undefined) return named
  const trimmed = bodyOfKind(asked, nowMillis) ?? asked
  const isStatus = /^[1-5]\d\d$/.test(trimmed)
  const json = Json.parse(trimmed)
  const body = Json.fieldsOf(json)
  const error = Json.fieldsOf(body["error"])
  const row = typeof error["code"] === "string" ? byName(error["code"]) : undefined
  if (row !== undefined) return row
  const isBody = typeof json === "object" && json !== null && Object.keys(json).length > 0
  if (!isStatus && status === undefined && !isBody && (!/\s/.test(trimmed) || guess(trimmed) === undefined)) {
    return undefined
  }
  const said = Number(error["status"] ?? body["status"])
  const from = isStatus
    ? Number(trimmed)
    : status ?? (Number.isInteger(said) && said >= 100 ? said : guess(trimmed) ?? 400)
  return classify(from, isStatus ? "" : trimmed, nowMillis)
}

const print = (style: Style.Style, head: string, message: string | undefined, { fix, why }: Meaning.Meaning) =>
  Effect.flatMap(Host.Host, (host) =>
    Host.print(
      host,
      [head, ...(message === undefined ? [] : [message]), `${style.dim("why ")} ${why}`, `${style.dim("fix ")} ${fix}`]
        .map((line) => `${line}\n`).join("")
    ))

/** Explains each code of an errors file once. */
const explainRows = Effect.fnUntraced(function*(rows: ReadonlyArray<ErrorRow>, style: Style.Style) {
  const groups = new Map<string, Array<ErrorRow>>()
  for (const row of rows) {
    const group = groups.get(row.code)
    if (group === undefined) groups.set(row.code, [row])
    else group.push(row)
  }
  for (const [code, group] of groups) {
    const tag = byName(code)
    const meaning = Meaning.ofRowCode(code) ?? (tag === undefined ? undefined : Meaning.ofTag[tag]) ?? {
      why: "The batch said so; the code is not one of ours.",
      fix: "Read the message and correct the row, or run the same command with --retry-errors."
    }
    const lines = group.slice(0, 5).map((row) => row.line).join(", ")
    const where = `  ${Format.plural(group.length, "row")}, line${group.length === 1 ? "" : "s"} ${lines}${
      group.length > 5 ? ", …" : ""
    }`
    yield* print(style, `${style.bold(code)}${style.dim(where)}`, group[0]!.message, meaning)
  }
})

/** Explains, and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  const text = flags.what === "-"
    ? yield* Effect.mapError(
      Stream.mkString(Stream.decodeText(host.stdin)),
      (error) => new UsageError({ message: `cannot read standard input (${error.reason._tag})` })
    )
    : flags.what
  const style = Style.of(host.stdout)
  const tell = (head: string, message: string | undefined, meaning: Meaning.Meaning) =>
    print(style, head, message, meaning)
  const rows = flags.status === undefined ? errorsFile(text) : undefined
  if (rows !== undefined) {
    yield* explainRows(rows, style)
    return ExitCode.ExitCode.ok
  }
  const job = Meaning.ofJob(text.trim())
  if (job !== undefined) {
    yield* tell(`${style.bold(text.trim())}${style.dim("  ends a job")}`, undefined, job)
    return ExitCode.ExitCode.ok
  }
  const row = flags.status === undefined ? rowOf(text.trim()) : undefined
  if (row !== undefined) {
    const sent = row.code.startsWith("bad_row") ? "not sent" : "in a batch"
    yield* tell(`${style.bold(row.code)}${style.dim(`  ${sent}`)}`, row.message, row)
    return ExitCode.ExitCode.ok
  }
  const now = yield* Clock.currentTimeMillis
  const found = errorOf(text, flags.status, now)
  if (found === undefined || (typeof found === "object" && (found.status ?? 0) < 300 && found.status !== undefined)) {
    const meant = Nearest.of(text.trim(), allNames())
    return yield* new UsageError({
      message: `${JSON.stringify(text.slice(0, 60))} is no status, error name or error body. ${
        meant === undefined ? "Try: effect-together explain 429" : `Did you mean ${meant}?`
      }`
    })
  }
  const tag = typeof found === "string" ? found : found._tag
  const retried = typeof found === "string" ? undefined : TogetherError.isRetryable(found)
  yield* tell(
    `${style.bold(tag)}${retried === undefined ? "" : style.dim(retried ? "  retried" : "  not retried")}`,
    typeof found === "string" ? undefined : found.message,
    Meaning.ofTag[tag]
  )
  return ExitCode.ExitCode.ok
})

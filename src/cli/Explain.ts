/** `explain`: what a status or an error of the provider means, and what to do about it. */
import type * as Command from "effect/cli/Command"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Answer from "../job/Answer.ts"
import type { JobError } from "../job/JobError.ts"
import * as Classify from "../together/Classify.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as Nearest from "./Nearest.ts"
import * as Style from "./Style.ts"
import { UsageError } from "./UsageError.ts"

/** Lists the flags of `explain`. */
export const explainFlags = {
  what: Argument.String("what").pipe(
    Argument.withDescription(
      "A status (429), a body ('{\"error\": …}'), an error's name or code, rows of an errors file, or - for standard input"
    )
  ),
  status: LastFlag.Int("status").pipe(
    Flag.withDescription("The status that came with the body"),
    LastFlag.orNone
  )
}

/** Holds the parsed flags of `explain`. */
export type Flags = Command.Command.Config.Infer<typeof explainFlags>

type Tag = TogetherError.TogetherError["_tag"]

/** Says why an error comes, and what to do. */
interface Meaning {
  readonly why: string
  readonly fix: string
}

/** Says of each error why it comes, and what to do. */
export const meanings: { readonly [tag in Tag]: Meaning } = {
  RateLimitError: {
    why:
      "More was sent than the account may send to this model just now. The limit is dynamic: it follows what succeeded lately.",
    fix:
      "Nothing, in a job: its lane pauses as asked and goes on below the limit it found. Steady traffic raises the limit; batches (--via batch) have limits of their own."
  },
  AuthError: {
    why: "The key is missing, mistyped, revoked, or of another host.",
    fix:
      "Set TOGETHER_API_KEY to a key of https://api.together.ai/settings/api-keys, then run `effect-together doctor`."
  },
  InsufficientCreditsError: {
    why:
      "The account is out of credit: Together is prepaid and suspends at a zero balance. Free credits do not open every model.",
    fix:
      "Add credits at https://api.together.ai/settings/billing ($5 at the least) and run the same command again; --on-credits wait waits instead."
  },
  OverloadedError: {
    why: "The provider has too little capacity for the model just now, though you were within your limit.",
    fix: "Nothing, in a job: it tries again soon. If it lasts, take another model."
  },
  ServerError: {
    why:
      "The provider, or the edge before it, failed. 524 means that an answer took longer than about 100 seconds to begin.",
    fix:
      "Nothing, in a job: it tries again. For 524 lower max_tokens. If it lasts for half an hour, ask support with the request id."
  },
  RequestTimeoutError: {
    why: "No answer came within the time allowed.",
    fix: "Lower max_tokens, or allow more time. Answers that were cut off may have been billed."
  },
  ConnectionError: {
    why:
      "The provider could not be reached: no network, a name that does not resolve, a certificate, a wrong base URL.",
    fix: "Check TOGETHER_BASE_URL and the network, then run `effect-together doctor`."
  },
  ContextLengthError: {
    why: "Prompt and max_tokens together are longer than the model's context. Together says so with 400, 403 or 422.",
    fix: "Shorten the prompt, lower max_tokens, or take a model with a longer context. Only this row is concerned."
  },
  InvalidRequestError: {
    why: "The request is not as the endpoint wants it: a field that is unknown, missing or out of range.",
    fix: "Correct the row; the message names the field where the provider does. Only this row is concerned."
  },
  PermissionDeniedError: {
    why: "This key may not do this, or the edge refused the client (error 1010).",
    fix: "Check the model's access on its page, and proxies that change the User-Agent."
  },
  NotFoundError: {
    why: "There is no such model, file or path.",
    fix: "Check the spelling against GET /models; model names are case-sensitive."
  },
  ModelUnavailableError: {
    why: "The model exists but cannot be called as it is: not serverless, retired, or its endpoint is not running.",
    fix:
      "Take a serverless model, or start a dedicated endpoint. Being listed by GET /models does not mean that a model can be called."
  },
  ConflictError: { why: "The object is in a state that does not allow this.", fix: "Read its state and try again." },
  PayloadTooLargeError: { why: "The body is larger than the endpoint takes.", fix: "Split the row or send less." },
  StreamError: {
    why:
      "A stream broke after it had begun, or the provider gave up a generation that it had answered with 200 (finish_reason \"error\").",
    fix: "What had arrived may have been billed; asking again bills again."
  },
  DecodeError: {
    why: "The answer was not what it should be: often a proxy's page, or a wrong base URL.",
    fix: "Check TOGETHER_BASE_URL."
  },
  CircuitOpenError: {
    why: "So much failed lately that nothing is sent for a while.",
    fix: "Wait; a probe goes out by itself."
  },
  BudgetExceededError: {
    why:
      "The next request could cost more than the budget has left, counting what is reserved for requests in flight; or its price is unknown, or the ledger cannot be written: the message says which.",
    fix:
      "Raise --max-cost, or set or lower max_tokens: a request reserves what max_tokens allows, and without it up to the model's whole context."
  },
  LaneOverflowError: {
    why: "Too many calls wait already, or the deadline cannot be met.",
    fix: "Send fewer at a time."
  }
}

/** Says the same of rows that no call failed: those that were not sent, and those that a batch did not answer. */
const rowMeanings: { readonly [code: string]: Meaning } = {
  bad_row: {
    why: "The line is no request that could be sent. It was not sent, and cost nothing.",
    fix: "Correct the line as the message says, then run the same command with --changed keep."
  },
  batch_failed: {
    why: "The whole batch that the row was in failed. None of its rows was answered or billed.",
    fix:
      "Read the message: not every model can be batched. Send such rows without --via batch; --retry-errors sends failed rows again."
  },
  not_answered: {
    why: "No batch answered the row: each of them expired, was cancelled, or left the row out.",
    fix: "Run the same command with --retry-errors, through batches or without --via batch."
  },
  timeout: {
    why: "The batch gave up on the row before it was answered, each time that it was sent.",
    fix: "Run the same command with --retry-errors; lower max_tokens if it happens again."
  },
  batch_client_error: {
    why: "The batch could not send the row, each time that it was tried.",
    fix: "Read the message and correct the row, or run the same command with --retry-errors."
  },
  batch_error: {
    why: "The batch refused the row, and gave no code for it.",
    fix: "Read the message and correct the row, or run the same command with --retry-errors."
  }
}

/** Says the same of errors that end a job: the message of each names its reason. */
const jobMeanings: { readonly [tag in JobError["_tag"]]: Meaning } = {
  InputError: {
    why: "The input cannot be read as JSONL: it is not there, is empty, or is not what its name says.",
    fix: "The message names the file and the reason: correct the path or the file, then run the same command again."
  },
  JournalError: {
    why:
      "The journal cannot be opened, trusted or written: another process is at work, the input or the address has changed, the disk is full, the file was removed or is no journal.",
    fix: "The message names the reason and what to do. What was answered is in the journal: do not remove it to go on."
  },
  OutputError: {
    why: "Results or errors cannot be written: a directory, a permission, a full disk, a reader that has gone.",
    fix: "Make room or correct the path, then run the same command again: the answers are in the journal."
  }
}

const meaningOfCode = (code: string): Meaning | undefined => {
  const key = /^bad_row(_|$)/.test(code) ? "bad_row" : code
  return Object.hasOwn(rowMeanings, key) ? rowMeanings[key] : undefined
}

const parsed = (text: string): unknown => Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))

/** Is a row of an errors file; rows of such a file name their line. */
interface ErrorRow {
  readonly code: string
  readonly message: string
  readonly line: unknown
}

const errorRow = (text: string): ErrorRow | undefined => {
  const row = parsed(text)
  const code = field(field(row, "error"), "code")
  const message = field(field(row, "error"), "message")
  const line = field(row, "line")
  return typeof code === "string" && typeof message === "string" && line !== undefined
    ? { code, message, line }
    : undefined
}

/** Finds the row of an errors file that no call failed, or such a row's code. */
const rowOf = (
  text: string
): (Meaning & { readonly code: string; readonly message: string | undefined }) | undefined => {
  const { code, message } = errorRow(text) ?? { code: text, message: undefined }
  const meaning = meaningOfCode(code)
  return meaning === undefined ? undefined : { code, message, ...meaning }
}

/** Reads text as the rows of an errors file, where all of its lines are some. */
const errorsFile = (text: string): ReadonlyArray<ErrorRow> | undefined => {
  const lines = text.split("\n").filter((line) => line.trim() !== "")
  const rows = lines.flatMap((line) => errorRow(line) ?? [])
  return rows.length > 1 && rows.length === lines.length ? rows : undefined
}

const byName = (text: string): Tag | undefined =>
  TogetherError.tags.find((tag) => tag === text || tag === `${text}Error` || Answer.codeOf(tag) === text)

const jobErrorOf = (text: string): Meaning | undefined =>
  text === "InputError" || text === "JournalError" || text === "OutputError" ? jobMeanings[text] : undefined

/** Lists what can be asked for by name. */
const allNames = (): ReadonlyArray<string> => [
  ...TogetherError.tags,
  ...Object.keys(jobMeanings),
  ...TogetherError.tags.map(Answer.codeOf),
  ...Object.keys(rowMeanings)
]

const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined

const guess = (body: string): number | undefined => {
  if (/credit|billing|balance|payment/i.test(body) && !/rate limit/i.test(body)) return 402
  if (/rate.?limit|dynamic_(request|token)_limited|too many/i.test(body)) return 429
  if (/api.?key|unauthorized/i.test(body)) return 401
  if (/overload|not ready|unavailable/i.test(body)) return 503
  if (/not.?found/i.test(body)) return 404
  return undefined
}

/** Finds the error that a text is about. */
export const errorOf = (
  text: string,
  status: number | undefined,
  nowMillis: number
): TogetherError.TogetherError | Tag | undefined => {
  const trimmed = text.trim()
  const named = byName(trimmed)
  if (named !== undefined) return named
  const isStatus = /^[1-5]\d\d$/.test(trimmed)
  const json = parsed(trimmed)
  const code = field(field(json, "error"), "code")
  const row = typeof code === "string" ? byName(code) : undefined
  if (row !== undefined) return row
  const isBody = typeof json === "object" && json !== null
  if (!isStatus && status === undefined && !isBody && (!/\s/.test(trimmed) || guess(trimmed) === undefined)) {
    return undefined
  }
  const said = Number(field(field(json, "error"), "status") ?? field(json, "status"))
  const from = isStatus
    ? Number(trimmed)
    : status ?? (Number.isInteger(said) && said >= 100 ? said : guess(trimmed) ?? 400)
  return Classify.fromAnswer({
    status: from,
    headers: {},
    body: isStatus ? "" : trimmed,
    operation: "",
    model: "",
    nowMillis
  })
}

const print = (style: Style.Style, head: string, message: string | undefined, { fix, why }: Meaning) =>
  Effect.flatMap(Host.Host, (host) =>
    host.write(
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
    const meaning = meaningOfCode(code) ?? (tag === undefined ? undefined : meanings[tag]) ?? {
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
      Stream.mkString(Stream.decodeText((yield* Stdio.Stdio).stdin)),
      (error) => new UsageError({ message: `cannot read standard input (${error.reason._tag})` })
    )
    : flags.what
  const style = Style.of(host.stdout)
  const tell = (head: string, message: string | undefined, meaning: Meaning) => print(style, head, message, meaning)
  const rows = flags.status === undefined ? errorsFile(text) : undefined
  if (rows !== undefined) {
    yield* explainRows(rows, style)
    return ExitCode.ExitCode.ok
  }
  const job = jobErrorOf(text.trim())
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
    meanings[tag]
  )
  return ExitCode.ExitCode.ok
})

/** What errors mean, and what to do about them: those of the provider, those of rows, and those that end a job. */
import type * as TogetherError from "../domain/TogetherError.ts"
import type { JobError } from "../job/JobError.ts"

/** Names an error of the provider. */
export type Tag = TogetherError.TogetherError["_tag"]

/** Says why an error comes, and what to do. */
export interface Meaning {
  readonly why: string
  readonly fix: string
}

/** Says of each error why it comes, and what to do. */
export const ofTag: { readonly [tag in Tag]: Meaning } = {
  RateLimitError: {
    why:
      "More was sent than the account may send to this model just now. The limit is dynamic: it follows what succeeded lately.",
    fix:
      "In a job, do nothing: its lane pauses as asked and goes on below the limit that it found. Steady traffic raises the limit; batches (--via batch) have limits of their own."
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
      "Add credits at https://api.together.ai/settings/billing (at least $5) and run the same command again; --on-credits wait waits instead."
  },
  OverloadedError: {
    why: "The provider has too little capacity for the model just now, though you were within your limit.",
    fix: "In a job, do nothing: it tries again soon. If it lasts, take another model."
  },
  ServerError: {
    why:
      "The provider, or the edge in front of it, failed. 524 means that an answer took longer than about 100 seconds to begin.",
    fix:
      "In a job, do nothing: it tries again. For 524 lower max_tokens. If it lasts for half an hour, ask support with the request id."
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
    why:
      "The answer was not what it should be: often a proxy's page, or a wrong base URL; rarely an answer without a choice, or one that is nested too deeply to be written.",
    fix: "Check TOGETHER_BASE_URL. Where other rows were answered, run the same command with --retry-errors."
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
    why:
      "Too many calls wait already, or the deadline cannot be met, or the provider is down and the call has another target.",
    fix: "Send fewer at a time."
  }
}

/** Names the error whose reason it is. */
export const ofErrorReason: {
  readonly [
    reason in TogetherError.LaneOverflowError["reason"] | NonNullable<TogetherError.BudgetExceededError["reason"]>
  ]: Tag
} = {
  "queue-full": "LaneOverflowError",
  deadline: "LaneOverflowError",
  outage: "LaneOverflowError",
  "no-room": "BudgetExceededError",
  "unknown-price": "BudgetExceededError",
  "ledger-unwritable": "BudgetExceededError"
}

/**
 * Says the same of rows that failed without a call: those that were not sent, and those that a batch did not answer.
 */
const ofRow: { readonly [code: string]: Meaning } = {
  bad_row: {
    why: "The line is not a request that can be sent. It was not sent, and cost nothing.",
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
export const ofJobError: { readonly [tag in JobError["_tag"]]: Meaning } = {
  InputError: {
    why: "The input cannot be read as JSONL: it does not exist, is empty, or is not what its name says.",
    fix: "The message names the file and the reason: correct the path or the file, then run the same command again."
  },
  JournalError: {
    why:
      "The journal cannot be opened, trusted or written: another process is at work, the input or the address has changed, the disk is full, the file was removed or is not a journal.",
    fix: "The message names the reason and what to do. What was answered is in the journal: do not remove it to go on."
  },
  OutputError: {
    why: "Results or errors cannot be written: a directory, a permission, a full disk, a reader that has gone.",
    fix: "Make room or correct the path, then run the same command again: the answers are in the journal."
  }
}

/** Says the same of the reasons that errors of a job name. */
export const ofReason: { readonly [reason in JobError["reason"]]: Meaning } = {
  "not-found": { why: "There is no input file of this name.", fix: "Check the path." },
  encoding: { why: "The input is UTF-16 text.", fix: "Save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)." },
  gzip: {
    why: "The input is named .gz but is not gzip, or is cut short; or it is gzip but not named .gz.",
    fix: "Gunzip it first, write it again, or let its name end in .gz."
  },
  empty: { why: "The input holds no rows.", fix: "Write one JSON object per line." },
  unreadable: {
    why: "A file cannot be read: a permission, a pipe in place of a file, or one that changed while it was in use.",
    fix: "Check the path and its permissions, then run the same command again."
  },
  unwritable: {
    why:
      "A file cannot be written: its directory is missing or read-only, the permission is missing, a reader has gone, or it holds something that the job has not written.",
    fix: "Correct the path or the permission, and run the same command again. --out-dir puts all files elsewhere."
  },
  unread: {
    why: "Nobody read the pipe or the device that the output goes to, and the run was asked to end.",
    fix: "Run the same command again with a reader. What was not taken is safe in the journal."
  },
  "disk-full": {
    why: "There was no space for the journal, the results or the errors, and none came while the job waited.",
    fix: "Free some space and run the same command again. What was written is safe."
  },
  locked: {
    why: "Another process works on this journal, or writes to this results or errors file, or may do so.",
    fix:
      "Wait until it has ended, or give each job files of its own. The lock of a process that is dead is taken over without your help."
  },
  "lock-lost": {
    why:
      "Another process took over the journal, or a file that the job writes, while this one was asleep or cut off from its disk.",
    fix: "Let the other one end, then run the same command again."
  },
  "not-a-journal": {
    why: "The file in the place of the journal is not a journal. It was not touched.",
    fix: "Move it away, or give the journal another path with --journal."
  },
  version: {
    why: "The journal was written by another version of effect-together.",
    fix: "Finish the job with that version, or begin anew with another --journal."
  },
  "input-changed": {
    why: "The input is not as it was when the journal was begun, or changed while the run read it.",
    fix:
      "Restore it, or add --changed keep (keep the answers of changed rows) or --changed resend (send changed rows again)."
  },
  "row-changed": {
    why: "A row asks for something else than when it was answered: the row has changed, or a flag such as --model.",
    fix:
      "Restore it, or add --changed keep (keep the answers of changed rows) or --changed resend (send changed rows again)."
  },
  "row-moved": {
    why: "A row without custom_id is known by its line, and a line above it was added or removed.",
    fix:
      "Put a blank line in the place of a removed one, or add --changed resend. Give rows a custom_id, and their answers stay with them."
  },
  "id-reused": {
    why: "A custom_id was answered on another line, for another request.",
    fix: "Give each row its own custom_id, then add --changed keep."
  },
  "target-changed": {
    why: "The journal holds answers from another address than the one that this run would ask.",
    fix: "Restore the address, add --changed keep (keep the answers of both), or give the run an --out-dir of its own."
  },
  emulated: {
    why: "The journal holds answers of an emulator and the run would ask a provider, or the other way round.",
    fix: "Give the run a journal and results of its own, such as with --out-dir."
  },
  "batch-running": {
    why:
      "Rows are, or may be, in batches that an earlier run began and nobody collected: by calls they would be billed twice.",
    fix: "Add --via batch: what the batches answered is collected first."
  },
  removed: {
    why: "The journal was removed while the job ran. Nothing more was sent.",
    fix:
      "Put it back where you can. The results are whole, but a new journal knows nothing of them: their rows would be sent again."
  }
}

/** Reads a table by a name that somebody typed. */
const named = <A>(table: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined

/** Finds what the code of a row means that failed without a call. */
export const ofRowCode = (code: string): Meaning | undefined =>
  named(ofRow, /^bad_row(_|$)/.test(code) ? "bad_row" : code)

/** Finds an error that ends a job, by its name or its reason. */
export const ofJob = (name: string): Meaning | undefined =>
  named<Meaning>(ofReason, name) ?? named<Meaning>(ofJobError, name)

/** Finds the error of a call by its reason. */
export const tagOfReason = (reason: string): Tag | undefined => named<Tag>(ofErrorReason, reason)

/** Lists the names that calls, rows and jobs have for their errors. */
export const names: ReadonlyArray<string> = [
  ...Object.keys(ofErrorReason),
  ...Object.keys(ofJobError),
  ...Object.keys(ofReason),
  ...Object.keys(ofRow)
]

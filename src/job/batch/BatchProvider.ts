/**
 * What a job through batches asks of the provider: to store a file, to create its batch and never a second one, to tell
 * when it has ended and what it said.
 *
 * ```text
 * upload ─▶ create ─┬─ id ──────────────────────▶ poll ─▶ collect
 *                   ├─ refused for sure ────────▶ no batch: `denied`
 *                   └─ timeout, 5xx, no id ─▶ adopt: is there one? ─▶ create again, or its id
 * ```
 *
 * **Source**: Together's Batch API reference: a creation has no idempotency key, so an ambiguous one is looked for by its
 * input file.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TogetherError from "../../domain/TogetherError.ts"
import type * as Credits from "../../guard/credits/Credits.ts"
import * as Price from "../../policy/Price.ts"
import * as Batches from "../../together/Batches.ts"
import * as Json from "../../together/Json.ts"
import * as Routes from "../../together/Routes.ts"
import type * as Together from "../../together/Together.ts"
import * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import * as Patience from "../Patience.ts"
import * as SteadyClock from "../SteadyClock.ts"

/**
 * How often the creation of a batch is tried, the download of a file that ends early or is not there, and how often a
 * batch is looked at again that is complete and names no file.
 */
const tries = 5

/**
 * Asks again what may pass, as long as a job by calls waits for an answer (Patience.ts): to look twice, to store a file
 * twice, or to read it twice, costs nothing, and a batch goes on whether it is looked at or not.
 */
const patience = () => {
  const settings = Patience.settings()
  let answered = false
  let responded = false
  const passes = (error: TogetherError.TogetherError) =>
    TogetherError.isRetryable(error) || error._tag === "CircuitOpenError" || error._tag === "LaneOverflowError" ||
    (answered && error._tag === "ConnectionError")
  return Effect.fnUntraced(function*<A>(ask: Effect.Effect<A, TogetherError.TogetherError>) {
    const now = yield* SteadyClock.make
    const startedAt = now() / 1000
    /** Answers to other batches say nothing about this one: there is no row to give up, and stopping ends the job. */
    const health = (): Patience.Health => ({
      failingSince: startedAt,
      lastAnswerAt: undefined,
      answers: 0,
      responded,
      onWire: false
    })
    for (let waits = 0;; waits++) {
      const result = yield* Effect.result(ask)
      if (Result.isSuccess(result)) {
        answered = responded = true
        return result.success
      }
      const { failure } = result
      responded ||= failure.status !== undefined
      const state = { ...Patience.begin(health()), waits }
      const [decision] = Patience.decide(state, health(), now() / 1000, settings, Patience.asked(failure))
      if (!passes(failure) || decision._tag !== "Wait") return yield* failure
      yield* Effect.sleep(1000 * decision.seconds)
    }
  })
}

/** Says where a part stands at the provider. */
export interface Found {
  /** The stored file; absent where there is none, or none any more. */
  readonly fileId: string | undefined
  readonly batchId: string | undefined
}

/** Says why a part has no batch that is known. */
export interface NotCreated {
  readonly error: TogetherError.TogetherError
  /** Whether it is sure that no batch came of it; else a later run has to look for it. */
  readonly denied: boolean
}

/** What a batch that has ended said, as far as it can be read. */
export interface Collected {
  readonly said: ReadonlyMap<string, Output.Said>
  /** Names what should hold answers and is not there; absent where everything was read. */
  readonly lost: string | undefined
}

/** Asks the provider for batches. */
export interface BatchProvider {
  /** Stores the file of a part. */
  readonly upload: (full: Parts.Full) => Effect.Effect<string, TogetherError.TogetherError>
  /** Finds the batch that an earlier try may have created, also where its file was removed since. */
  readonly adopt: (part: Parts.Part) => Effect.Effect<Found, TogetherError.TogetherError>
  /**
   * Creates the batch of a part, in no case twice: after an ambiguous failure it looks before it tries again, and after a
   * success without an id it only looks.
   */
  readonly create: (part: Parts.Part, fileId: string) => Effect.Effect<string, NotCreated>
  /**
   * Waits for a batch to end; nothing where there is no such batch. A look without an answer changes nothing. A batch
   * that is complete but names no file is looked at again, since its answers may not be stored yet.
   *
   * @param pause lasts from one look to the next
   */
  readonly poll: (
    batchId: string,
    pause: Effect.Effect<void>
  ) => Effect.Effect<Batches.BatchJob | undefined, TogetherError.TogetherError>
  /**
   * Reads what is said about the rows of a batch that has ended. A file that ends in the middle of a line is read again:
   * rows behind its end may be answered, and would be batched and billed again. A file that is not there is asked for
   * again, and then told of: what the other one says is handed out.
   */
  readonly collect: (job: Batches.BatchJob) => Effect.Effect<Collected, TogetherError.TogetherError>
}

/**
 * Tells whether an answer to a creation says for sure that no batch came of it: not where a timeout or a conflict may be
 * the word on a request that was taken before.
 */
const denied = ({ _tag, status }: TogetherError.TogetherError): boolean =>
  status !== undefined && status >= 400 && status < 500 && _tag !== "RequestTimeoutError" && _tag !== "ConflictError"

/** Lists the files in which a batch says what became of its rows. */
const filesOf = ({ error_file_id, output_file_id }: Batches.BatchJob): ReadonlyArray<string> =>
  [error_file_id, output_file_id].flatMap((file) => file === undefined || file === null || file === "" ? [] : [file])

/** Tells whether a batch claims to have answered and does not say where: it may have been billed. */
const isBare = (job: Batches.BatchJob): boolean => job.status === "COMPLETED" && filesOf(job).length === 0

/** Tells whether a file of lines ends with a whole one. */
const isWhole = (text: string): boolean => {
  const lines = text.trimEnd()
  return lines === "" || Json.parse(lines.slice(lines.lastIndexOf("\n") + 1)) !== undefined
}

const endedEarly = (file: string, { id }: Batches.BatchJob) =>
  new TogetherError.ConnectionError({
    message: `The connection failed: the file ${file} of the batch ${id} ended early. Run the job again to read it ` +
      "again; check the network if it lasts.",
    operation: "files.content",
    permanent: false
  })

/** Tells whether a creation succeeded without an answer that can be read, and so without an id. */
const isUnnamed = ({ _tag, status = 0 }: TogetherError.TogetherError): boolean =>
  _tag === "DecodeError" && status >= 200 && status < 300

const unnamed = (part: Parts.Part, said: TogetherError.TogetherError | undefined) =>
  new TogetherError.DecodeError({
    message:
      `Together took the creation of a batch for the file ${part.name}, but gave no id and does not list it. Run ` +
      `the job again to look for it. ${said?.message ?? ""}`,
    status: said?.status,
    requestId: said?.requestId,
    model: part.model,
    operation: "batches.create"
  })

/**
 * Makes a provider of batches.
 *
 * @param credits guards the upload of files too, which an empty account may refuse: the client asks only for what costs
 *   something
 */
export const make = (client: Together.Service, credits?: Credits.Service | undefined): BatchProvider => {
  const patiently = patience()
  const free = { estimate: Price.exactly(0n), cost: () => Price.free }

  const adopt = Effect.fnUntraced(function*(part: Parts.Part) {
    const files = yield* patiently(client.files.list)
    const file = files.find((each) => part.fileId === undefined ? each.filename === part.name : each.id === part.fileId)
    const fileId = part.fileId ?? file?.id
    if (fileId === undefined) return { fileId, batchId: undefined }
    const batches = yield* patiently(client.batches.list)
    const batch = batches.find((each) => each.input_file_id === fileId)
    return { fileId: file?.id, batchId: batch?.id ?? undefined }
  })

  const create = Effect.fnUntraced(function*(part: Parts.Part, fileId: string): Effect.fn.Return<string, NotCreated> {
    /** What was said of a creation that succeeded without telling an id. */
    let created: TogetherError.TogetherError | undefined
    let doubtful = false
    for (let attempt = 1; attempt <= tries; attempt++) {
      if (created === undefined) {
        const made = yield* Effect.result(
          // the budget of the job holds its cost: one of the client's own counts nothing
          client.batches.create({
            input_file_id: fileId,
            endpoint: `/v1${Routes.chat.path}`,
            completion_window: "24h"
          }, { cost: Price.exactly(0n) })
        )
        if (Result.isSuccess(made)) return made.success.job.id
        const { failure } = made
        if (isUnnamed(failure)) created = failure
        else {
          doubtful ||= !denied(failure)
          if (!TogetherError.isRetryable(failure) || attempt === tries) {
            return yield* Effect.fail({ error: failure, denied: !doubtful })
          }
        }
      }
      yield* Effect.sleep(Math.min(30_000, 1000 * 2 ** attempt))
      const { batchId } = yield* Effect.mapError(
        adopt({ ...part, fileId }),
        (error): NotCreated => ({ error, denied: false })
      )
      if (batchId !== undefined) return batchId
    }
    return yield* Effect.fail({ error: unnamed(part, created), denied: false })
  })

  /** Reads a file that ends with a whole line; nothing where there is no such file. */
  const content = Effect.fnUntraced(function*(file: string, job: Batches.BatchJob) {
    let failure: TogetherError.TogetherError | undefined
    for (let attempt = 1; attempt <= tries; attempt++) {
      // what stands between may answer with a page of its own for a while
      const asked = Effect.catchTag(client.files.content(file), ["NotFoundError", "DecodeError"], Effect.succeed)
      const read = yield* patiently(asked)
      if (typeof read === "string" && isWhole(read)) return read
      failure = typeof read === "string" ? endedEarly(file, job) : read
      if (attempt < tries) yield* Effect.sleep(1000 * 2 ** attempt)
    }
    return failure === undefined || failure._tag === "NotFoundError" ? undefined : yield* failure
  })

  return {
    upload: ({ part, rows }) => {
      const content = rows.map(Parts.line).join("")
      const stored = client.files.upload({ content, name: part.name, purpose: "batch-api" })
      return Effect.map(patiently(credits?.run(stored, free) ?? stored), (file) => file.id)
    },
    adopt,
    create,
    poll: Effect.fnUntraced(function*(batchId, pause) {
      let bare = 0
      while (true) {
        const job = yield* patiently(
          Effect.catchTag(client.batches.get(batchId), "NotFoundError", () => Effect.undefined)
        )
        if (job === undefined || (Batches.isTerminal(job.status) && !(isBare(job) && ++bare < tries))) return job
        yield* pause
      }
    }),
    collect: Effect.fnUntraced(function*(job) {
      const said = new Map<string, Output.Said>()
      let lost = isBare(job) ? `file of answers of the batch ${job.id}, though it calls that completed` : undefined
      for (const file of filesOf(job)) {
        const text = yield* content(file, job)
        if (text === undefined) lost = `file ${file} of the batch ${job.id}`
        for (const line of text?.split("\n") ?? []) {
          const read = line === "" ? undefined : Output.readLine(line)
          if (read !== undefined) said.set(read[0], read[1])
        }
      }
      return { said, lost }
    })
  }
}

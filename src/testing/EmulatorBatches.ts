/**
 * The emulator's Batch API: jobs over uploaded files, from a pool of their own, at their own price.
 *
 * A job is accepted whatever its file holds, and fails later, as the
 * provider's does. Each row's answer is the one the serverless endpoint would
 * give to the same prompt. The files of a job appear when it has come to its
 * end, and only then are its rows billed: those that were answered.
 */
import * as Effect from "effect/Effect"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Exchange from "./EmulatorExchange.ts"
import * as Files from "./EmulatorFiles.ts"
import type { BatchRow, StoredBatch, StoredFile } from "./EmulatorWorld.ts"
import * as Simulation from "./Simulation.ts"
import * as Answer from "./SimulationAnswer.ts"
import * as Batch from "./SimulationBatch.ts"
import * as SimulationConfig from "./SimulationConfig.ts"
import * as Random from "./SimulationRandom.ts"
import * as Request from "./SimulationRequest.ts"
import * as Text from "./SimulationText.ts"

const endpoints: Readonly<Record<string, "chat" | "audio">> = {
  "/v1/chat/completions": "chat",
  "/v1/audio/transcriptions": "audio",
  "/v1/audio/translations": "audio"
}

/** Bounds a batch, in rows. */
const mostRows = 50_000

const describe = (state: Simulation.State, batch: StoredBatch, at: number): Readonly<Record<string, unknown>> => {
  const seen = Batch.look(state.config.batch, batch, at)
  const ended = seen.endedAt === undefined ? undefined : batch.epoch + seen.endedAt - batch.createdAt
  const done = Batch.isTerminal(seen.status) ? batch.results.slice(0, seen.done) : []
  return {
    id: batch.id,
    user_id: batch.org,
    input_file_id: batch.inputFileId,
    file_size_bytes: batch.inputBytes,
    status: seen.status,
    job_deadline: Exchange.iso(batch.epoch + state.config.batch.expiresSeconds),
    created_at: Exchange.iso(batch.epoch),
    endpoint: batch.endpoint,
    progress: seen.progress,
    model_id: batch.model,
    ...(done.some((row) => !row.failed) ? { output_file_id: batch.outputFileId } : {}),
    ...(done.some((row) => row.failed) ? { error_file_id: batch.errorFileId } : {}),
    ...(seen.status === "FAILED" ? { error: batch.error } : {}),
    ...(ended === undefined ? {} : { completed_at: Exchange.iso(ended) })
  }
}

interface Line {
  readonly customId: string
  readonly read: Request.Read | undefined
  readonly problem: string | undefined
}

const readLine = (text: string, number: number, operation: "chat" | "audio"): Line | string => {
  const row = Exchange.fieldsOf(text)
  const customId = row?.["custom_id"]
  if (row === undefined || typeof customId !== "string") {
    return `error reading input file: line ${number} is not a valid row`
  }
  const body = Text.fields(row["body"])
  if (typeof body?.["model"] !== "string") return `error reading input file: line ${number} has no model`
  if (operation === "audio") {
    const call = {
      operation: "transcriptions",
      model: body["model"],
      inputTokens: 10,
      outputTokens: 0,
      promptHash: Random.hash(JSON.stringify(body))
    }
    return { customId, read: { call, body }, problem: undefined }
  }
  const read = Request.read("chat", body)
  return Request.isInvalid(read)
    ? { customId, read: undefined, problem: read.message }
    : { customId, read, problem: undefined }
}

/** Computes what becomes of a row: the answer of its prompt, or an error by the configured share. */
const answerRow = (state: Simulation.State, line: Line, index: number, created: number, id: string): BatchRow => {
  const { customId, read } = line
  const failed = (code: string, message: string): BatchRow => ({
    customId,
    failed: true,
    nanoUsd: 0n,
    line: JSON.stringify({ id: `br_${id}`, custom_id: customId, error: { code, message } })
  })
  const { config } = state
  if (read === undefined) return failed("batch_client_error", line.problem ?? "Invalid request")
  const chance = Random.derive(Random.derive(state.source, read.call.promptHash), 1_000_000 + index)
  if (Random.uniform(chance, 0) < config.batch.failedRows) return failed("timeout", "The request timed out")
  // a provider of the same seed without limits and faults answers what the serverless endpoint would
  const [reply] = Simulation.arrive(
    {
      ...state,
      config: {
        ...config,
        limits: {},
        models: unlimited(config.models),
        dynamic: undefined,
        faults: [],
        outages: [],
        credits: undefined,
        keys: {}
      }
    },
    { ...read.call, at: state.now, key: "batch" }
  )
  if (reply._tag !== "Answer") {
    const error = Text.fields(Exchange.fieldsOf(reply._tag === "Refusal" ? reply.body : "")?.["error"])
    return failed(reply.reason === "context" ? "batch_client_error" : "invalid_model", String(error?.["message"] ?? ""))
  }
  const body = read.call.operation === "chat"
    ? Answer.chat({ config, read, answer: reply, created })
    : { text: Text.tokens(read.call.promptHash, reply.textSeed, 0, 12).join("") }
  return {
    customId,
    failed: false,
    nanoUsd: BigInt(Math.round(Number(reply.costNanoUsd) * config.batch.priceShare)),
    line: JSON.stringify({ id: `br_${id}`, custom_id: customId, response: { status_code: 200, body } })
  }
}

const unlimited = (models: Simulation.State["config"]["models"]): Simulation.State["config"]["models"] =>
  SimulationConfig.bare(Object.fromEntries(
    Object.entries(models).map(([id, model]) => [id, { ...model, limits: undefined, provisioned: undefined }])
  ))

interface Plan {
  readonly rows: ReadonlyArray<Line>
  readonly model: string
  readonly error: string | undefined
}

const plan = (state: Simulation.State, file: StoredFile, operation: "chat" | "audio"): Plan => {
  const failed = (error: string, model = ""): Plan => ({ rows: [], model, error })
  const lines = Files.text(file).split("\n").filter((line) => line.trim() !== "")
  if (lines.length === 0) return failed("error reading input file: the file is empty")
  if (lines.length > mostRows) return failed(`error reading input file: more than ${mostRows} requests`)
  const rows: Array<Line> = []
  for (const [index, text] of lines.entries()) {
    const line = readLine(text, index + 1, operation)
    if (typeof line === "string") return failed(line)
    rows.push(line)
  }
  if (new Set(rows.map((row) => row.customId)).size < rows.length) {
    return failed("error reading input file: custom_id must be unique")
  }
  const model = rows.find((row) => row.read !== undefined)?.read?.call.model ?? ""
  const known = state.config.models[model]
  if (known === undefined && state.config.unknownModels === "reject") return failed(`model ${model} not found`, model)
  if (known?.availability === "dedicated") return failed(`model ${model} is not serverless`, model)
  if (known?.batch === false) return failed(`model ${model} is not supported for batch`, model)
  return { rows, model, error: undefined }
}

/** Answers `POST /batches`. */
export const create: Exchange.Handler = (exchange) =>
  Effect.flatMap(Exchange.fields(exchange.request), (request) => {
    const { world } = exchange
    const endpoint = request?.["endpoint"]
    const inputFileId = request?.["input_file_id"]
    if (typeof endpoint !== "string" || typeof inputFileId !== "string") {
      return Effect.succeed(Exchange.flatFailure(400, "endpoint and input_file_id are required"))
    }
    const operation = endpoints[endpoint]
    if (operation === undefined) {
      return Effect.succeed(Exchange.flatFailure(400, `endpoint ${endpoint} is not supported`))
    }
    const file = Files.find(exchange, inputFileId)
    if (file === undefined) return Effect.succeed(Exchange.flatFailure(404, `File ${inputFileId} not found`))
    return Effect.flatMap(world.run.epoch, (epoch) =>
      world.run.modify((state, at) => {
        const now = Simulation.advance(state, at)
        const { rows, model, error } = plan(now, file, operation)
        const id = world.nextId()
        const created = Math.floor(epoch)
        const batch: StoredBatch = {
          id,
          org: exchange.org,
          inputFileId,
          endpoint,
          model,
          inputBytes: file.bytes.length,
          createdAt: at,
          epoch,
          rows: rows.length,
          error,
          results: rows.map((line, index) => answerRow(now, line, index, created, `${id.slice(0, 8)}${index}`)),
          outputFileId: `file-${world.nextId()}`,
          errorFileId: `file-${world.nextId()}`,
          settled: false
        }
        world.batches.set(id, batch)
        return [Exchange.json({ job: describe(now, batch, at) }, 201), now]
      }))
  })

const withBatch = (
  exchange: Exchange.Exchange,
  answer: (batch: StoredBatch, state: Simulation.State, at: number) => HttpServerResponse.HttpServerResponse
): Exchange.Outcome =>
  exchange.world.run.modify((state, at) => {
    const batch = exchange.world.batches.get(exchange.params["id"] ?? "")
    return [
      batch === undefined || batch.org !== exchange.org
        ? Exchange.json({ error: "Job not found", request_id: exchange.world.nextId() }, 404)
        : answer(batch, state, at),
      state
    ]
  })

/** Answers `GET /batches/:id`. */
export const retrieve: Exchange.Handler = (exchange) =>
  withBatch(exchange, (batch, state, at) => Exchange.json(describe(state, batch, at)))

/** Answers `GET /batches`: a bare list, the newest first. */
export const list: Exchange.Handler = ({ world, org }) =>
  world.run.modify((state, at) => [
    Exchange.json(
      [...world.batches.values()].filter((batch) => batch.org === org).reverse()
        .map((batch) => describe(state, batch, at))
    ),
    state
  ])

/** Answers `POST /batches/:id/cancel`: 409 where the job has come to its end. */
export const cancel: Exchange.Handler = (exchange) =>
  withBatch(exchange, (batch, state, at) => {
    const { status } = Batch.look(state.config.batch, batch, at)
    if (Batch.isTerminal(status)) {
      return Exchange.flatFailure(409, `Cannot cancel job - already in terminal state: ${status}`)
    }
    const cancelled = batch.cancelledAt === undefined ? { ...batch, cancelledAt: at } : batch
    exchange.world.batches.set(batch.id, cancelled)
    return Exchange.json(describe(state, cancelled, at))
  })

/**
 * The emulator's files: uploaded in one multipart request or in the older two steps, listed, read, deleted.
 *
 * The two steps are those of the official SDKs' upload helpers: a `POST /files`
 * answers 302 with a `Location`, the bytes are `PUT` there without a key.
 */
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Exchange from "./EmulatorExchange.ts"
import type { StoredFile } from "./EmulatorWorld.ts"

/** Bounds an uploaded file, in bytes. */
const largest = 100 * 1024 * 1024

const decoder = new TextDecoder()

const lineCount = (bytes: Uint8Array): number => {
  let count = 0
  for (const byte of bytes) if (byte === 10) count++
  return bytes.length > 0 && bytes.at(-1) !== 10 ? count + 1 : count
}

/** Writes a file as the provider describes it. */
export const describe = (file: StoredFile): Readonly<Record<string, unknown>> => ({
  id: file.id,
  object: "file",
  created_at: Math.floor(file.createdAt),
  filename: file.filename,
  bytes: file.bytes.length,
  purpose: file.purpose,
  FileType: file.fileType,
  Processed: true,
  LineCount: lineCount(file.bytes),
  processing_status: "COMPLETED"
})

const missing = (id: string): HttpServerResponse.HttpServerResponse =>
  Exchange.json({ error: { message: `File ${id} not found`, type: "not_found" } }, 404)

/** Finds a file that the caller may see. */
export const find = ({ world, org }: Exchange.Exchange, id: string): StoredFile | undefined => {
  const file = world.files.get(id)
  return file?.org === org ? file : undefined
}

/** Reads a file's text. */
export const text = (file: StoredFile): string => decoder.decode(file.bytes)

const withFile = (
  exchange: Exchange.Exchange,
  answer: (file: StoredFile) => HttpServerResponse.HttpServerResponse
): Exchange.Outcome =>
  Effect.sync(() => {
    const id = exchange.params["id"] ?? ""
    const file = find(exchange, id)
    return file === undefined ? missing(id) : answer(file)
  })

const purposes: ReadonlySet<string> = new Set(["fine-tune", "eval", "eval-sample", "eval-output", "batch-api"])

const wrongPurpose = Exchange.failure(400, "Invalid request: `purpose` must be fine-tune, eval or batch-api")

const stored = (
  exchange: Exchange.Exchange,
  file: Pick<StoredFile, "filename" | "purpose" | "fileType" | "bytes">
): Effect.Effect<StoredFile> =>
  Effect.map(exchange.world.run.epoch, (createdAt) => {
    const whole = { ...file, createdAt, org: exchange.org, id: `file-${exchange.world.nextId()}` }
    exchange.world.files.set(whole.id, whole)
    return whole
  })

/** Answers `POST /files/upload`. */
export const upload: Exchange.Handler = (exchange) =>
  Effect.flatMap(Exchange.form(exchange.request), (sent) => {
    const file = sent?.get("file")
    const purpose = sent?.get("purpose")
    const name = sent?.get("file_name")
    if (sent === undefined || file === undefined || typeof name !== "string") {
      return Effect.succeed(
        Exchange.failure(400, "Invalid request: a multipart form with `file` and `file_name` is required")
      )
    }
    if (typeof purpose !== "string" || !purposes.has(purpose)) return Effect.succeed(wrongPurpose)
    const bytes = typeof file === "string" ? new TextEncoder().encode(file) : file
    if (bytes.length > largest) {
      return Effect.succeed(Exchange.failure(413, "Request entity too large", { code: "request_too_large" }))
    }
    const fileType = sent.get("file_type")
    return Effect.map(
      stored(exchange, {
        filename: name,
        purpose,
        fileType: typeof fileType === "string" ? fileType : "jsonl",
        bytes
      }),
      (whole) => Exchange.json(describe(whole))
    )
  })

/** Answers `POST /files`: where to put the bytes. */
export const begin: Exchange.Handler = (exchange) => {
  const { query, request } = exchange
  const purpose = query.get("purpose") ?? ""
  if (!purposes.has(purpose)) return Effect.succeed(wrongPurpose)
  return Effect.map(
    stored(exchange, {
      filename: query.get("file_name") ?? "file",
      purpose,
      fileType: query.get("file_type") ?? "jsonl",
      bytes: new Uint8Array()
    }),
    (file) =>
      HttpServerResponse.empty({
        status: 302,
        headers: {
          location: `http://${request.headers["host"] ?? "localhost"}/__emulator/upload/${file.id}`,
          "x-together-file-id": file.id
        }
      })
  )
}

/** Answers the `PUT` of the bytes of a begun file. */
export const put: Exchange.Handler = ({ world, request, params }) =>
  Effect.flatMap(Effect.mapError(request.arrayBuffer, () => Exchange.Drop.reset), (buffer) =>
    Effect.sync(() => {
      const id = params["id"] ?? ""
      const file = world.files.get(id)
      if (file === undefined) return missing(id)
      world.files.set(id, { ...file, bytes: new Uint8Array(buffer) })
      return HttpServerResponse.empty({ status: 200 })
    }))

/** Answers `GET /files`. */
export const list: Exchange.Handler = ({ world, org }) =>
  Effect.sync(() => Exchange.json({ data: [...world.files.values()].filter((file) => file.org === org).map(describe) }))

/** Answers `GET /files/:id`, and the older `POST /files/:id/preprocess`. */
export const retrieve: Exchange.Handler = (exchange) => withFile(exchange, (file) => Exchange.json(describe(file)))

/** Answers `DELETE /files/:id`. */
export const remove: Exchange.Handler = (exchange) =>
  withFile(exchange, (file) => {
    exchange.world.files.delete(file.id)
    return Exchange.json({ id: file.id, deleted: true })
  })

/** Answers `GET /files/:id/content`. */
export const content: Exchange.Handler = (exchange) =>
  withFile(exchange, (file) => HttpServerResponse.uint8Array(file.bytes, { contentType: "text/plain; charset=utf-8" }))

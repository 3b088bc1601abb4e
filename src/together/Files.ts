/**
 * Files: what batches and fine-tunes read and write.
 *
 * **Source**: Together's API reference, `/files`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TogetherError } from "../domain/TogetherError.ts"
import type { Client } from "./Client.ts"
import { about, one } from "./ObjectCalls.ts"
import { promptsOfLines } from "./redact/Redact.ts"
import { lenient, maybe, omitNull, open } from "./Wire.ts"

/** Describes a stored file. `purpose`: `fine-tune`, `eval`, `batch-api`. */
export const File = open({
  id: Schema.String,
  object: omitNull(Schema.String),
  created_at: omitNull(Schema.Finite),
  filename: lenient(Schema.String),
  bytes: lenient(Schema.Finite),
  purpose: lenient(Schema.String),
  Processed: lenient(Schema.Boolean),
  /** `csv`, `jsonl`, `parquet`. */
  FileType: lenient(Schema.String),
  processing_status: lenient(Schema.String),
  /** What was found in a file for a fine-tune. */
  validation_report: lenient(open({
    valid: lenient(Schema.Boolean),
    dataset_format: lenient(Schema.String),
    nlines: lenient(Schema.Finite),
    error_type: lenient(Schema.String),
    error: lenient(Schema.String)
  }))
})
/** Describes a stored file. */
export interface File extends Schema.Schema.Type<typeof File> {}

/** Lists files. */
export const FileList = open({ data: Schema.Array(File) })

/** Answers a deletion; without a field where the answer was empty. */
export const FileDeleted = open({ id: maybe(Schema.String), deleted: maybe(Schema.Boolean) })

/** Describes a file to store. */
export interface Upload {
  readonly content: string | Uint8Array | Blob
  readonly name: string
  /** `batch-api`, `fine-tune` or `eval`. */
  readonly purpose: string
  /** Default: `jsonl`. */
  readonly type?: string | undefined
}

/** Makes calls about files. */
export interface FilesApi {
  /**
   * Stores a file. Sent once: an upload whose answer was lost is not repeated.
   *
   * **Details**: a file that is given as text is kept out of errors. What bytes or a `Blob` hold is not known, so an error
   * quotes nothing of the answer but the words that name its kind. A `Blob` is read as it is sent: on Node, `openAsBlob`
   * of `node:fs` makes one of a file of any size.
   */
  readonly upload: (file: Upload) => Effect.Effect<File, TogetherError>
  /** Lists the files of the account. An effect, not a function. */
  readonly list: Effect.Effect<ReadonlyArray<File>, TogetherError>
  /** Reads what is known of a file: name, purpose, size. */
  readonly get: (id: string) => Effect.Effect<File, TogetherError>
  /** Reads a whole file as text. */
  readonly content: (id: string) => Effect.Effect<string, TogetherError>
  /** Reads a whole file as it is: one that is no text, such as Parquet. */
  readonly bytes: (id: string) => Effect.Effect<Uint8Array, TogetherError>
  /**
   * Reads a file of any size piece by piece, such as into a `FileSystem.sink`.
   *
   * **Details**: retried unseen up to the first piece, never after it. None of the file is kept in memory, and backpressure
   * reaches the socket.
   *
   * **Gotchas**: what a stream that fails has written is a part of the file.
   */
  readonly stream: (id: string) => Stream.Stream<Uint8Array, TogetherError>
  /** Deletes a file. A 404 at a repeat, after an attempt whose answer was lost, is a success: `{}`. */
  readonly delete: (id: string) => Effect.Effect<typeof FileDeleted.Type, TogetherError>
}

const blobOf = (content: Upload["content"]): Blob => {
  if (content instanceof Blob) return content
  if (typeof content === "string") return new Blob([content])
  const { buffer, byteLength, byteOffset } = content
  // a `Blob` takes no memory that is shared
  return new Blob([buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, byteLength) : content.slice()])
}

/**
 * Makes calls about files, over a client.
 *
 * @internal
 */
export const make = (client: Client): FilesApi => ({
  upload: (file) => {
    const { content } = file
    const form = new FormData()
    form.append("purpose", file.purpose)
    form.append("file_name", file.name)
    form.append("file_type", file.type ?? "jsonl")
    form.append("file", blobOf(content), file.name)
    return client.request({
      operation: "files.upload",
      path: "/files/upload",
      form,
      formTexts: typeof content === "string" ? () => promptsOfLines(content) : undefined,
      cost: "free",
      response: File
    })
  },
  list: Effect.map(
    client.request({ operation: "files.list", path: "/files", response: FileList }),
    (answer) => answer.data
  ),
  get: one(client, "files.get", (id) => `/files/${id}`, File),
  content: (id) =>
    about("files.content", id, (operation, id) => client.text({ operation, path: `/files/${id}/content` })),
  bytes: (id) =>
    about("files.content", id, (operation, id) => client.bytes({ operation, path: `/files/${id}/content` })),
  stream: (id) =>
    Stream.unwrap(
      about(
        "files.content",
        id,
        (operation, id) => Effect.succeed(client.pieces({ operation, path: `/files/${id}/content` }))
      )
    ),
  delete: (id) =>
    Effect.map(
      one(client, "files.delete", (id) => `/files/${id}`, Schema.UndefinedOr(FileDeleted), { method: "DELETE" })(id),
      (answer) => answer ?? {}
    )
})

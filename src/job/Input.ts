/**
 * The input of a job as a stream of numbered lines, in constant memory.
 *
 * Bytes come from a file (gunzipped where its name ends in `.gz`) or from any stream, standard input for one. Lines end
 * in LF or CRLF, the last one may end in nothing, blank lines are skipped but counted. Each line is decoded by itself
 * as strict UTF-8, so a broken byte spoils its own line and no other. A line above `maxLineBytes` is reported and
 * skipped without being held in memory.
 *
 * {@link fingerprint} tells whether a file is still the one that a journal was begun with.
 */
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import * as Hash from "../policy/Hash.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"
import { advice, InputError, platformCode } from "./JobError.ts"
import * as Lines from "./Lines.ts"
import * as Row from "./Row.ts"

/** Names where a job's rows come from: a path, or a stream of bytes with a name for messages. */
export type Source =
  | { readonly _tag: "File"; readonly path: string }
  | {
    readonly _tag: "Bytes"
    readonly name: string
    readonly bytes: Stream.Stream<Uint8Array, PlatformError.PlatformError>
  }

/** Names a file as the source of a job. */
export const file = (path: string): Source => ({ _tag: "File", path })

/** Names a stream of bytes, such as standard input, as the source of a job. */
export const bytes = (name: string, stream: Stream.Stream<Uint8Array, PlatformError.PlatformError>): Source => ({
  _tag: "Bytes",
  name,
  bytes: stream
})

/** Holds the defaults of this module. */
export const defaults = {
  /** Longest line, in bytes: 10 MB, the Batch API's limit of one line. */
  maxLineBytes: 10_000_000
} as const

/** One line of the input, or the reason why it could not be read. */
export type Line =
  | { readonly _tag: "Line"; readonly line: number; readonly text: string }
  | Row.Bad

const unreadable = (path: string) => (cause: PlatformError.PlatformError): InputError => {
  const code = platformCode(cause)
  if (code === "ENOENT" || code === "NotFound") {
    return new InputError({ message: `no such input file: ${path}. Check the path.`, reason: "not-found", path, cause })
  }
  const message = code === "ESPIPE"
    ? `${path} is a pipe, which can be read only once: give - and pipe it into standard input, or from code its bytes.`
    : `cannot read ${path} ${advice(cause, "Check that it is a file and that you may read it.")}`
  return new InputError({ message, reason: "unreadable", path, cause })
}

/** Turns gzipped bytes into plain ones; it fails with any error of its own, and with those of the bytes. */
export type Gunzip = (
  bytes: Stream.Stream<Uint8Array, PlatformError.PlatformError>
) => Stream.Stream<Uint8Array, unknown>

const webGunzip: Gunzip = (bytes) =>
  Stream.unwrap(
    Effect.map(
      // A BufferSource stream is what DecompressionStream reads; Uint8Array chunks are BufferSources.
      Stream.toReadableStreamEffect(bytes as Stream.Stream<Uint8Array<ArrayBuffer>, PlatformError.PlatformError>),
      (readable) =>
        Stream.fromReadableStream({
          evaluate: () => readable.pipeThrough(new DecompressionStream("gzip")),
          onError: (cause) => cause
        })
    )
  )

/**
 * Says how files ending in `.gz` are read.
 *
 * **Details**: by default with the platform's own `DecompressionStream`, which exists everywhere and, from Node 24 on,
 * refuses a file that was joined from several gzipped ones. The command reads those, too: it provides Node's zlib here.
 */
export const Gunzip = Context.Reference<Gunzip>("effect-together/job/Gunzip", { defaultValue: () => webGunzip })

const notGzip = (path: string) => (cause: unknown): InputError =>
  cause instanceof PlatformError.PlatformError
    ? unreadable(path)(cause)
    : new InputError({
      message:
        `cannot gunzip ${path}: it is not gzip, is cut short, or was joined from several. Gunzip it first, or write it again.`,
      reason: "gzip",
      path,
      cause
    })

const nameOf = (source: Source): string => source._tag === "File" ? source.path : source.name

const open = (source: Source): Stream.Stream<Uint8Array, InputError, FileSystem.FileSystem> => {
  const name = nameOf(source)
  const raw = source._tag === "Bytes"
    ? source.bytes
    : Stream.unwrap(
      Effect.map(FileSystem.FileSystem, (fs) => fs.stream(source.path, { chunkSize: 64 * 1024 }))
    )
  return /\.gz$/i.test(name)
    ? Stream.unwrap(Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const gunzip = yield* Gunzip
      return Stream.mapError(gunzip(Stream.provideService(raw, FileSystem.FileSystem, fs)), notGzip(name))
    }))
    : Stream.mapError(raw, unreadable(name))
}

const lf = 10
const cr = 13

/** Makes a reader of lines, which counts them. */
const reader = (maxLineBytes: number) => {
  let line = 0
  return (bytes: Uint8Array | undefined): Line | undefined => {
    line++
    if (bytes === undefined) {
      return Row.bad(line, "too-long", `line ${line} is longer than ${maxLineBytes} bytes: split the row`, `${line}`)
    }
    const text = Lines.decode(bytes[bytes.length - 1] === cr ? bytes.subarray(0, bytes.length - 1) : bytes)
    return text === undefined
      ? Row.bad(line, "encoding", `line ${line} is not UTF-8: save the file as UTF-8`, `${line}`)
      : text.trim() === ""
      ? undefined
      : { _tag: "Line", line, text }
  }
}

/** Refuses bytes that begin as no text does. */
const refuseBinary = (name: string, chunk: Uint8Array): Effect.Effect<void, InputError> => {
  if (chunk[0] === 0x1f && chunk[1] === 0x8b) {
    return Effect.fail(
      new InputError({
        message: /\.gz$/i.test(name)
          ? `${name} is gzip within gzip: gunzip it once.`
          : `${name} is gzip: gunzip it first, or let its name end in .gz.`,
        reason: "gzip",
        path: name
      })
    )
  }
  return (chunk[0] === 0xff && chunk[1] === 0xfe) || (chunk[0] === 0xfe && chunk[1] === 0xff)
    ? Effect.fail(
      new InputError({
        message: `${name} is UTF-16 text: save it as UTF-8 (in PowerShell: Out-File -Encoding utf8).`,
        reason: "encoding",
        path: name
      })
    )
    : Effect.void
}

/**
 * Reads the source as a stream of lines with their numbers.
 *
 * **Errors**: `InputError` where the source is missing, unreadable, not gzip or UTF-16.
 */
export const lines = (
  source: Source,
  options: { readonly maxLineBytes?: number | undefined } = {}
): Stream.Stream<Line, InputError, FileSystem.FileSystem> => {
  const maxLineBytes = OptionCheck.integer(
    "Input.lines",
    "maxLineBytes",
    options.maxLineBytes ?? defaults.maxLineBytes,
    1
  )
  return Stream.suspend(() => {
    let first = true
    const bytes = Stream.tap(open(source), (chunk) => {
      if (!first) return Effect.void
      first = false
      return refuseBinary(nameOf(source), chunk)
    })
    return Lines.stream(bytes, maxLineBytes, reader(maxLineBytes))
  })
}

/** Reads the source as a stream of rows and bad lines. */
export const rows = (
  source: Source,
  options: Row.Options & { readonly maxLineBytes?: number | undefined } = {}
): Stream.Stream<Row.Row | Row.Bad, InputError, FileSystem.FileSystem> =>
  Stream.map(
    lines(source, { maxLineBytes: options.maxLineBytes }),
    (line) => line._tag === "Bad" ? line : Row.parse(line.text, line.line, options)
  )

/**
 * Counts the lines of a source, blank ones included, at the speed of reading.
 *
 * **When to use**: for a progress bar, beside the job. A source that can be read once only must not be counted.
 */
export const countLines = (source: Source): Effect.Effect<number, InputError, FileSystem.FileSystem> =>
  Stream.runFold(open(source), () => ({ lines: 0, open: false }), (state, chunk) => {
    let from = 0
    while (true) {
      const at = chunk.indexOf(lf, from)
      if (at < 0) break
      state.lines++
      from = at + 1
    }
    state.open = from < chunk.length || (state.open && chunk.length === 0)
    return state
  }).pipe(Effect.map((state) => state.lines + (state.open ? 1 : 0)))

/** Identifies the content of a file: its size and a hash over samples of it. */
export interface Fingerprint {
  readonly bytes: number
  readonly hash: string
}

const samples = 64
const sampleBytes = 4096

/**
 * Reads a file's {@link Fingerprint}.
 *
 * **Details**: 64 samples of 4 KiB, evenly spread, the first and the last bytes included; a file below 256 KiB is read
 * whole. A change between two samples that keeps the size escapes it, and is found by the row's own hash when the job
 * comes to that row.
 */
export const fingerprint: (
  path: string
) => Effect.Effect<Fingerprint, InputError, FileSystem.FileSystem> = Effect.fnUntraced(
  function*(path) {
    const fs = yield* FileSystem.FileSystem
    const handle = yield* fs.open(path, { flag: "r" })
    const size = Number(ByteSize.toBigInt((yield* handle.stat).size))
    const buffer = new Uint8Array(sampleBytes)
    const step = Math.max(sampleBytes, (size - sampleBytes) / (samples - 1))
    let text = ""
    for (let i = 0; i < samples; i++) {
      const position = Math.floor(i * step)
      if (position >= size) break
      const read = yield* handle.read(buffer, { position: BigInt(position) })
      let hash = 0
      for (let at = 0; at < read; at++) hash = (Math.imul(hash, 31) + buffer[at]!) | 0
      text += Hash.hex32(hash)
    }
    return { bytes: size, hash: Hash.hex32(Hash.text32(text)) + Hash.hex32(Hash.text32(`${size}:${text}`)) }
  },
  (self, path) => Effect.mapError(Effect.scoped(self), unreadable(path))
)

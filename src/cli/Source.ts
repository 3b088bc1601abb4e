/** The input that an argument names: a file, or standard input, which a later run recognizes by its first line. */
import * as Bytes from "effect/Bytes"
import * as Effect from "effect/Effect"
import type * as PlatformError from "effect/PlatformError"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import * as FileIdentity from "../job/files/FileIdentity.ts"
import * as Input from "../job/Input.ts"
import { InputError, platformCode } from "../job/JobError.ts"
import * as Selection from "../job/Selection.ts"
import * as Hash from "../policy/Hash.ts"
import * as Host from "./Host.ts"
import { UsageError } from "./UsageError.ts"

const refuse = (message: string) => new UsageError({ message })

/**
 * Finds the input.
 *
 * **Errors**: `UsageError` where a part is asked of standard input, and where the path is a device or a pipe, for these
 * can be read only once.
 */
export const of = Effect.fnUntraced(function*(
  flags: { readonly input: string; readonly sample?: number | undefined; readonly range?: object | undefined }
) {
  if (flags.input === "-") {
    if (flags.sample !== undefined || flags.range !== undefined) {
      return yield* refuse("--sample and --range need a file, for standard input can be read only once")
    }
    return Input.bytes("stdin", (yield* Host.Host).stdin)
  }
  if ((yield* FileIdentity.kindOf(flags.input)) === "stream") {
    return yield* refuse(
      `${flags.input} is a device or a pipe, which can be read only once: give - as the input, and pipe it in`
    )
  }
  return Input.file(flags.input)
})

/** Chooses among the lines of an input that can be read twice; nothing where all are wanted. */
export const selection = Effect.fnUntraced(function*(flags: Selection.Options, source: Input.Source) {
  return (flags.range === undefined && flags.sample === undefined) || source._tag !== "File"
    ? undefined
    : Selection.make(yield* Input.countLines(source), flags)
})

/** Makes the error of an input without rows. */
export const empty = (path: string) =>
  new InputError({ message: `${path} holds no rows. Write one JSON object per line.`, reason: "empty", path })

const unreadable = (cause: PlatformError.PlatformError) =>
  new InputError({
    message: `cannot read standard input (${platformCode(cause)}).`,
    reason: "unreadable",
    path: "stdin",
    cause
  })

const lf = 10
const most = 64 * 1024

/**
 * Identifies an input that is a stream by a hash of its first line; the stream that is returned begins with that line
 * again.
 */
export const known = Effect.fnUntraced(function*(source: Input.Source) {
  if (source._tag === "File") return { source, fingerprint: undefined }
  const pull = yield* Stream.toPull(source.bytes)
  const begun: Array<Uint8Array> = []
  let size = 0
  let ended = false
  while (!ended && size < most && begun.at(-1)?.includes(lf) !== true) {
    const chunks = yield* Effect.mapError(Pull.catchDone(pull, () => Effect.void), unreadable)
    ended = chunks === undefined
    for (const chunk of chunks ?? []) {
      begun.push(chunk)
      size += chunk.length
    }
  }
  const first = new TextDecoder().decode(Bytes.concat(begun).subarray(0, most)).trimStart().split("\n", 1)[0]!.trimEnd()
  const hash = Hash.hex32(Hash.text32(first)) + Hash.hex32(Hash.text32(`${first.length}:${first}`))
  const rest: Stream.Stream<Uint8Array, PlatformError.PlatformError> = ended
    ? Stream.empty
    : Stream.fromPull(Effect.succeed(pull))
  return {
    source: Input.bytes(source.name, Stream.concat(Stream.fromIterable(begun), rest)),
    fingerprint: first === "" ? undefined : { hash }
  }
})

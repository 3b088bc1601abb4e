/**
 * What a job has durably done: an append-only file, the one truth from which everything else can be made again.
 *
 * A row counts as done when its answer is in the journal, on the device. Results and errors are projections: they are
 * written from the same records, and made again from the journal after a crash. So nothing answered is sent twice, and
 * no output row is missing or double, whatever moment the process was killed at.
 *
 * Opening reads the journal once:
 *
 * | found | done about it |
 * | --- | --- |
 * | another process at work | `JournalError` `locked` (see Lock.ts), whatever path or link leads to the file |
 * | a torn or damaged end | cut off, counted in `recovered.tornBytes`; those rows are sent again |
 * | a damaged line further up | skipped, its number in `recovered.damaged`; that row is sent again |
 * | another input file | `JournalError` `input-changed`, unless the caller accepts the change |
 * | answers of another provider | `JournalError` `target-changed`, unless the caller accepts the change |
 * | answers of an emulator, or the other way round | `JournalError` `emulated` |
 * | another input or provider, and no row, batch or cost | goes on: there is nothing to mix up |
 * | another file altogether | `JournalError` `not-a-journal`; the file is not touched |
 *
 * The rows done are kept as 96-bit hashes (IdIndex.ts), the answers stay on disk.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FileName from "../../guard/FileName.ts"
import * as FileIdentity from "../files/FileIdentity.ts"
import * as GroupCommit from "./GroupCommit.ts"
import * as IdIndex from "./IdIndex.ts"
import { advice, JournalError } from "../JobError.ts"
import * as Format from "./JournalFormat.ts"
import * as JournalMatch from "./JournalMatch.ts"
import * as JournalReader from "./JournalReader.ts"
import * as Scan from "./JournalScan.ts"
import * as Lines from "../Lines.ts"
import * as Lock from "../files/Lock.ts"

export { emulator, type Fingerprint } from "./JournalMatch.ts"

/** Says how a journal is opened. */
export interface Options extends JournalMatch.Opening, GroupCommit.Options, Lock.Options {
  /** The lock of the journal, where the caller holds it already. Default: it is taken for the life of the scope. */
  readonly lock?: Lock.Lock | undefined
  /** Whether {@link Journal.entryAt} is needed: 8 more bytes of memory for each row done. Default: false. */
  readonly offsets?: boolean | undefined
}

/** Counts what an opened journal already held. */
export interface Recovered extends Readonly<Scan.Sums> {
  /** Records of rows and bad lines, also those that a later one replaces: the ordinals up to here. */
  readonly rows: number
  /** Bytes cut off at the end. */
  readonly tornBytes: number
  /** Numbers of damaged lines further up, the first hundred. */
  readonly damaged: ReadonlyArray<number>
  /** Whether the input differs from the one before, and that was accepted. */
  readonly inputChanged: boolean
}

/** Says what is known of an id. */
export type Known =
  | { readonly _tag: "New" }
  /** The id came by in this run's input. */
  | { readonly _tag: "Seen"; readonly line: number }
  /** The journal holds its answer. */
  | { readonly _tag: "Done"; readonly ok: boolean; readonly ordinal: number; readonly hash: number }

/** An open journal. */
export interface Journal {
  readonly path: string
  readonly recovered: Recovered
  /** Reads what is known of a row's id. */
  readonly known: (id: string) => Known
  /** Marks an id as come by in this run's input. */
  readonly see: (id: string, line: number) => void
  /** Appends a settled row; returns its ordinal when it is durable. `placed` runs as its line gets its place, in one step. */
  readonly append: (
    meta: Format.Meta,
    answer: string,
    bad?: boolean,
    placed?: () => void
  ) => Effect.Effect<number, JournalError>
  /** Appends a fact that is no row; returns when it is durable. `placed` as for a row. */
  readonly note: (name: string, value: unknown, placed?: () => void) => Effect.Effect<void, JournalError>
  /** Holds the notes that were in the journal when it was opened, but for those about the journal itself. */
  readonly notes: ReadonlyArray<{ readonly name: string; readonly value: unknown }>
  /** Names the files that earlier runs have written. */
  readonly outputs: ReadonlySet<string>
  /** Streams the latest record of every row, in the order of the journal, everything appended so far included. */
  readonly settled: Stream.Stream<Scan.Record, JournalError>
  /** Reads the record of a settled row by its ordinal. */
  readonly entryAt: (ordinal: number) => Effect.Effect<Scan.Record, JournalError>
  /** Reads the answer text of a settled row by its ordinal. */
  readonly answerAt: (ordinal: number) => Effect.Effect<string, JournalError>
  /** Fails as soon as the lock is lost, the file removed or written to by another; never succeeds. */
  readonly lost: Effect.Effect<never, JournalError>
  readonly flush: Effect.Effect<void, JournalError>
}

/**
 * Names the lock of a journal: beside the file itself, whatever path or link leads there.
 *
 * @internal
 */
export const lockOf = (path: string): Effect.Effect<string, never, FileSystem.FileSystem> =>
  Effect.map(FileIdentity.real(path), (whole) => `${whole}.lock`)

/**
 * Makes the key of a bad line: no row's id can be it.
 *
 * @internal
 */
export const badKey = Scan.badKey

const inputOf = ({ input: { fingerprint, path } }: Options): Format.Head["input"] => ({
  path,
  ...(fingerprint?.bytes === undefined ? {} : { bytes: fingerprint.bytes }),
  ...(fingerprint === undefined ? {} : { hash: fingerprint.hash })
})

const failedToOpen = (path: string) => (cause: PlatformError.PlatformError): JournalError =>
  new JournalError({
    message: `cannot open the journal ${path} for writing ${
      advice(cause, "Check the directory and its permissions, or give another path.")
    }`,
    reason: "unwritable",
    path,
    cause
  })

/** Reads what an index knows of an id. */
const knownOf = (index: IdIndex.IdIndex, badFrom: number, id: string): Known => {
  const value = index.get(id)
  if (value === 0) return { _tag: "New" }
  const number = value & Scan.numberMask
  if ((value & (Scan.okBit | Scan.failedBit)) === 0) return { _tag: "Seen", line: number }
  const bits = value & Scan.badBits
  if (bits === Scan.badBits && number < badFrom) return { _tag: "New" }
  return { _tag: "Done", ok: bits === Scan.okBit, ordinal: number, hash: index.second(id) }
}

/** Reads the record whose line begins at an offset. */
const recordAt = Effect.fnUntraced(function*(
  path: string,
  lineAt: JournalReader.Reader,
  offset: number,
  ordinal: number
): Effect.fn.Return<Scan.Record, JournalError> {
  // what was read ahead may be older than the line
  for (const anew of [false, true]) {
    const bytes = yield* lineAt(offset, anew)
    const text = bytes === undefined ? undefined : Lines.decode(bytes)
    const record = text === undefined ? undefined : Format.decode(text)
    if (record?._tag === "Row") return { ordinal, bad: record.bad, meta: record.meta, answer: record.answer }
  }
  return yield* new JournalError({
    message: `the journal ${path} changed while it was in use: its row ${ordinal} cannot be read any more.`,
    reason: "unreadable",
    path
  })
})

/** Looks whether the file is still there, and grows by our lines alone: one of two names has another lock. */
const look = Effect.fnUntraced(function*(
  fs: FileSystem.FileSystem,
  path: string,
  end: () => number
): Effect.fn.Return<void, JournalError> {
  yield* Effect.sleep("2 seconds")
  const found = yield* Effect.option(fs.stat(path))
  if (Option.isSome(found) && Number(ByteSize.toBigInt(found.value.size)) > end()) {
    return yield* new JournalError({
      message: `another process writes to the journal ${path}, which it has by another name (a hard link, a mounted ` +
        "file), or has taken over while this one stood still. Nothing more is sent. Let one job have one journal, and " +
        "run the same command again when the other one has ended.",
      reason: "lock-lost",
      path
    })
  }
  if (Option.isSome(found) || (yield* Effect.orElseSucceed(fs.exists(path), () => true))) return
  return yield* new JournalError({
    message: `the journal ${path} was removed while the job ran. Nothing more is sent; the results written so far ` +
      "are whole, but a new run cannot know of them.",
    reason: "removed",
    path
  })
})

/**
 * Opens a journal, or begins one, for the life of the scope.
 *
 * **Errors**: `JournalError`, see the table above.
 */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Journal, JournalError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const { path } = options
  const lock = options.lock ?? (yield* Lock.acquire(yield* lockOf(path), options))
  const exists = yield* Effect.orElseSucceed(fs.exists(path), () => false)
  const offsets = options.offsets === true
  const census = exists ? yield* Scan.take(fs, path, offsets) : Scan.newCensus(offsets)
  const size = exists
    ? Number(ByteSize.toBigInt((yield* Effect.mapError(fs.stat(path), Scan.unreadable(path))).size))
    : 0
  yield* JournalMatch.check(census, size, options)
  const file = yield* Effect.mapError(fs.open(path, { flag: "a" }), failedToOpen(path))
  if (!exists && options.durability !== "write") yield* FileName.sync(path)
  if (size > census.goodEnd) yield* Effect.mapError(file.truncate(census.goodEnd), failedToOpen(path))
  const commit = yield* GroupCommit.make(file, path, census.goodEnd, options)
  const line = (text: string, placed?: () => void) =>
    Effect.suspend(() => {
      const { durable } = commit.append(text)
      placed?.()
      return durable
    })
  const input = inputOf(options)
  const inputChanged = JournalMatch.inputChanged(census, options)
  const { target } = options
  if (census.head === undefined) {
    yield* line(Format.encodeHead({ v: Format.version, input, ...(target === undefined ? {} : { target }) }))
  } else {
    // the rest of a stream may be different even if it begins the same
    if (input.hash === undefined || input.bytes === undefined || census.input?.hash !== input.hash) {
      yield* line(Format.encodeNote("input", input))
      Scan.newInput(census, input)
    }
    if (target !== undefined && target !== census.target) {
      yield* line(Format.encodeNote("target", target))
    }
  }
  const lineAt = offsets
    ? JournalReader.make(yield* Effect.mapError(fs.open(path, { flag: "r" }), Scan.unreadable(path)), path)
    : undefined
  const index = census.rows === 0 ? IdIndex.make(1) : census.index
  let rows = census.rows
  let { nanoUsd, uncertainNanoUsd } = census.sums

  /** Says what all lines have cost, with one that costs so much more. */
  const costSums = (nano: number, besides: number): Format.CostSums => {
    nanoUsd += nano
    uncertainNanoUsd += besides
    return {
      nanoSum: nanoUsd > 0 ? nanoUsd : undefined,
      besidesSum: uncertainNanoUsd > 0 ? uncertainNanoUsd : undefined
    }
  }
  /** Whether the census still tells the whole truth: nothing seen and no row appended since it was taken. */
  let pristine = true

  const entryAt = (ordinal: number): Effect.Effect<Scan.Record, JournalError> => {
    const offset = census.offsets?.[ordinal - 1]
    return offset === undefined || lineAt === undefined
      ? Effect.die(new RangeError(`Journal.entryAt: no row ${ordinal}`))
      : recordAt(path, lineAt, offset, ordinal)
  }

  return {
    path,
    recovered: {
      ...census.sums,
      rows: census.rows,
      tornBytes: Math.max(0, size - census.goodEnd),
      damaged: census.damaged,
      inputChanged
    },
    known: (id) => knownOf(index, census.badFrom, id),
    see: (id, line) => {
      pristine = false
      index.set(id, line)
    },
    append: (meta, answer, bad = false, placed) =>
      Effect.suspend(() => {
        pristine = false
        // in one step: ordinals count the rows in the order of their lines
        const told = { ...meta, ...costSums(meta.nano ?? 0, meta.besides ?? 0) }
        const { durable, offset } = commit.append(Format.encodeRow(told, answer, bad))
        placed?.()
        const ordinal = ++rows
        if (census.offsets !== undefined) census.offsets[ordinal - 1] = offset
        return Effect.as(durable, ordinal)
      }),
    note: (name, value, placed) =>
      Effect.suspend(() => {
        const sums = name === "uncertain" && typeof value === "number" ? costSums(0, value) : {}
        return line(Format.encodeNote(name, value, sums), placed)
      }),
    notes: census.notes,
    outputs: census.outputs,
    settled: Stream.unwrap(
      Effect.gen(function*() {
        yield* commit.flush
        return Scan.latest(fs, path, pristine ? census : yield* Scan.take(fs, path, false))
      })
    ),
    entryAt,
    answerAt: (ordinal) => Effect.map(entryAt(ordinal), (entry) => entry.answer),
    lost: Effect.raceFirst(lock.lost, Effect.forever(look(fs, path, commit.end))),
    flush: commit.flush
  }
})

/** What a journal holds that is not open. */
export interface Held extends Readonly<Scan.Sums> {
  /** Tells whether it holds an answer to a row. */
  readonly isAnswered: (id: string) => boolean
  /** Tells whether a row has failed: it is not sent again unasked. */
  readonly hasFailed: (id: string) => boolean
  readonly notes: Journal["notes"]
  /** Who answered the rows, where somebody said. */
  readonly target: string | undefined
}

/**
 * Reads what a journal holds, without locking or changing it.
 *
 * **Errors**: `JournalError` where it cannot be read.
 *
 * @internal
 */
export const peek = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Held, JournalError, FileSystem.FileSystem> {
  const { index, notes, sums, target } = yield* Scan.take(yield* FileSystem.FileSystem, path, false)
  const bitsOf = (id: string) => (index.get(id) & Scan.badBits) >>> 0
  return {
    ...sums,
    isAnswered: (id) => bitsOf(id) === Scan.okBit,
    hasFailed: (id) => bitsOf(id) === Scan.failedBit,
    notes,
    target
  }
})

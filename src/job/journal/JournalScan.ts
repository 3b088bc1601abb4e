/**
 * Reads a journal: what each line says, which record of an id is the latest, where the last good line ends.
 *
 * Two passes, each in constant memory but for the index: {@link take} gathers a census, {@link latest} streams the
 * records that count.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import * as IdIndex from "./IdIndex.ts"
import { advice, JournalError, platformCode } from "../JobError.ts"
import * as Format from "./JournalFormat.ts"
import * as Lines from "../Lines.ts"

/** The latest record of one row. */
export interface Record {
  readonly ordinal: number
  readonly bad: boolean
  readonly meta: Format.Meta
  readonly answer: string
}

/** Marks the value of an id whose latest record is an answer. */
export const okBit = 0x40000000
/** Marks the value of an id whose latest record is a failure. */
export const failedBit = 0x80000000
/** Marks the value of an id that is the key of a bad line; alone, each of the two says what became of a row. */
export const badBits = okBit | failedBit
/** Takes the number out of a value: the record's ordinal, or the line of a sighting. */
export const numberMask = 0x3fffffff
/** Longest line of a journal: an answer of 64 MB. */
export const maxLineBytes = 64_000_000

/** Makes the error of a journal that cannot be read. */
export const unreadable = (path: string) => (cause: PlatformError.PlatformError): JournalError =>
  platformCode(cause) === "EISDIR"
    ? new JournalError({
      message: `${path} is a directory, not a journal. Give the path of a file for the journal.`,
      reason: "not-a-journal",
      path,
      cause
    })
    : new JournalError({
      message: `cannot read the journal ${path} ${advice(cause, "Check the path and its permissions.")}`,
      reason: "unreadable",
      path,
      cause
    })

/** One line of the journal with its place. */
interface Placed {
  readonly record: Format.Record | undefined
  readonly line: number
  readonly offset: number
  readonly end: number
  /** Whether no line feed ends it, and it begins as our lines do. */
  readonly torn: boolean
}

/** Refuses what is no file: a device may never end. */
const regular = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, JournalError> =>
  Effect.flatMap(
    Effect.mapError(fs.stat(path), unreadable(path)),
    ({ type }) =>
      type === "File" || type === "Directory" ? Effect.void : Effect.fail(
        new JournalError({
          message: `${path} is no regular file, so it keeps no journal. Give the path of a file for the journal.`,
          reason: "not-a-journal",
          path
        })
      )
  )

const scan = (
  fs: FileSystem.FileSystem,
  path: string
): Stream.Stream<Placed, JournalError> => Stream.unwrap(Effect.as(regular(fs, path), lines(fs, path)))

const lines = (
  fs: FileSystem.FileSystem,
  path: string
): Stream.Stream<Placed, JournalError> =>
  Stream.suspend(() => {
    let line = 0
    const bytes = Stream.mapError(fs.stream(path, { chunkSize: 256 * 1024 }), unreadable(path))
    return Lines.stream(bytes, maxLineBytes, (bytes, offset, terminated): Placed => {
      line++
      const text = bytes === undefined || !terminated ? undefined : Lines.decode(bytes)
      const end = offset + (bytes?.length ?? 0) + (terminated ? 1 : 0)
      const torn = !terminated && bytes !== undefined && Format.beginsLikeOurs(bytes)
      return { record: text === undefined ? undefined : Format.decode(text), line, offset, end, torn }
    })
  })

/** Sums up the rows of a journal; those of a row that was sent again count once, what they took each time. */
export interface Sums {
  ok: number
  failed: number
  bad: number
  attempts: number
  inputTokens: number
  outputTokens: number
  nanoUsd: number
  /** Nano-dollars that the runs may have cost beyond what their rows say. */
  uncertainNanoUsd: number
}

/** Makes the sums of no row. */
export const noSums = (): Sums => ({
  ok: 0,
  failed: 0,
  bad: 0,
  attempts: 0,
  inputTokens: 0,
  outputTokens: 0,
  nanoUsd: 0,
  uncertainNanoUsd: 0
})

/** Gathers what a scan says: the latest record of each id, the sums, the end of the last good line. */
export interface Census {
  readonly sums: Sums
  readonly index: IdIndex.IdIndex
  readonly offsets: Array<number> | undefined
  head: Format.Head | undefined
  input: Format.Head["input"] | undefined
  target: string | undefined
  /** Files that the job has written, as {@link ./Outputs.ts} names them. */
  readonly outputs: Set<string>
  notes: Array<{ readonly name: string; readonly value: unknown }>
  /** Bad lines before this ordinal belong to an input that has changed since. */
  badFrom: number
  rows: number
  goodEnd: number
  damaged: Array<number>
  damagedSinceGood: Array<number>
  /** Whether the file is a torn first line and nothing else. */
  tornHead: boolean
}

/** Makes the census of an empty journal. */
export const newCensus = (offsets: boolean): Census => ({
  sums: noSums(),
  index: IdIndex.make(2),
  offsets: offsets ? [] : undefined,
  head: undefined,
  input: undefined,
  target: undefined,
  outputs: new Set(),
  notes: [],
  badFrom: 1,
  rows: 0,
  goodEnd: 0,
  damaged: [],
  damagedSinceGood: [],
  tornHead: false
})

/**
 * Counts what a line cost, and what is noted besides: never less than the line says of all up to it, which include the
 * damaged ones, and never below zero, where an earlier version wrote it and the damaged line was the one that raised it.
 */
const countCost = ({ sums }: Census, nano: number, besides: number, told: Format.CostSums): void => {
  sums.nanoUsd = Math.max(sums.nanoUsd + nano, told.nanoSum ?? 0)
  sums.uncertainNanoUsd = Math.max(sums.uncertainNanoUsd + besides, told.besidesSum ?? 0, 0)
}

/**
 * Makes the key of a bad line: no row's id can be it.
 *
 * @internal
 */
export const badKey = (line: number, hash: number): string => `${lineKey(line)}:${hash}`

/** Makes the key under which the bad record of a line is found by the line alone. */
const lineKey = (line: number): string => `\u0000${line}`

/** Drops the bad record of a line that settled as a row: with other options, such as a model for all rows, it is none. */
const noLongerBad = ({ badFrom, index, sums }: Census, line: number): void => {
  const at = lineKey(line)
  if (sums.bad === 0 || (index.get(at) & numberMask) < badFrom) return
  sums.bad--
  index.set(badKey(line, index.second(at)), badBits >>> 0)
  index.set(at, badBits >>> 0)
}

const countRow = (census: Census, record: Extract<Format.Record, { _tag: "Row" }>, offset: number): void => {
  const { meta } = record
  const { sums } = census
  census.rows++
  census.offsets?.push(offset)
  const before = census.index.get(meta.id)
  if (record.bad) {
    sums.bad += before === 0 || (before & numberMask) < census.badFrom ? 1 : 0
    census.index.set(lineKey(meta.n), (badBits | census.rows) >>> 0, meta.h)
  } else {
    noLongerBad(census, meta.n)
    if ((before & okBit) !== 0) sums.ok--
    else if (before !== 0) sums.failed--
    if (meta.ok) sums.ok++
    else sums.failed++
  }
  sums.attempts += meta.a
  sums.inputTokens += meta.in ?? 0
  sums.outputTokens += meta.out ?? 0
  countCost(census, meta.nano ?? 0, meta.besides ?? 0, meta)
  const bits = record.bad ? badBits : meta.ok ? okBit : failedBit
  census.index.set(meta.id, (bits | census.rows) >>> 0, meta.h)
}

/** Notes that the records after this belong to another input. */
export const newInput = (census: Census, input: Format.Head["input"]): void => {
  census.input = input
  census.badFrom = census.rows + 1
  census.sums.bad = 0
}

/** Takes in a note that is about the journal itself; the others are handed on to whoever wrote them. */
const countNote = (census: Census, note: Extract<Format.Record, { _tag: "Note" }>): void => {
  const { name, sums, value } = note
  const input = name === "input" ? Format.decodeInput(value) : undefined
  if (input !== undefined) newInput(census, input)
  else if (name === "target" && typeof value === "string") census.target = value
  else if (name === "output" && typeof value === "string") census.outputs.add(value)
  else if (name === "uncertain" && typeof value === "number") countCost(census, 0, value, sums)
  else census.notes.push(note)
}

const count = (census: Census, { end, line, offset, record, torn }: Placed): void => {
  census.tornHead = line === 1 && torn
  if (record === undefined) {
    if (census.damagedSinceGood.length < 100) census.damagedSinceGood.push(line)
    return
  }
  census.goodEnd = end
  for (const each of census.damagedSinceGood) {
    if (census.damaged.length < 100) census.damaged.push(each)
  }
  census.damagedSinceGood = []
  if (record._tag === "Row") return countRow(census, record, offset)
  if (record._tag === "Head") {
    census.head ??= record.head
    census.target ??= record.head.target
    return newInput(census, record.head.input)
  }
  countNote(census, record)
}

/** Streams the records of a journal that are the latest of their id, as a census of it says. */
export const latest = (fs: FileSystem.FileSystem, path: string, census: Census): Stream.Stream<Record, JournalError> =>
  scan(fs, path).pipe(
    Stream.mapAccumArray(() => 0, (before, placed): readonly [number, ReadonlyArray<Record>] => {
      const out: Array<Record> = []
      let ordinal = before
      for (const { record } of placed) {
        if (record?._tag !== "Row") continue
        ordinal++
        if ((census.index.get(record.meta.id) & numberMask) !== ordinal) continue
        if (record.bad && ordinal < census.badFrom) continue
        out.push({ ordinal, bad: record.bad, meta: record.meta, answer: record.answer })
      }
      return [ordinal, out]
    })
  )

/** Reads a journal once and gathers what it says. */
export const take = (fs: FileSystem.FileSystem, path: string, offsets: boolean): Effect.Effect<Census, JournalError> =>
  Stream.runFold(scan(fs, path), () => newCensus(offsets), (census, placed) => {
    count(census, placed)
    return census
  })

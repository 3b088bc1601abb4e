/**
 * The ledger file: a first line that names the format, then a JSON object per line, each an entry with a checksum.
 *
 *     {"ledger":"effect-together","version":1}
 *     {"sum":"03d1e7aa","_tag":"Reserve","id":1,"at":1767225600,"run":"r","account":"default","label":"","high":"900",…}
 *
 * An earlier version wrote no checksums, and reads over them. Lines without one are taken as they stand.
 *
 * The program may stop at any byte. A last line without its line feed is torn: it was never acknowledged, so reading
 * leaves it out. The same holds for a block of zeros at the end, which the file system had reserved, not written, and
 * for a claim and all that follows it: whoever appended behind one was told that it failed. Any other line that is no
 * entry is no crash but damage, or the work of a newer version, and refused. So is a claim within a line, and a file
 * that does not begin as a ledger does: it is someone else's.
 *
 * The module is re-exported by `LedgerStore`.
 */
import * as Bytes from "effect/Bytes"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Ledger from "../../policy/Ledger.ts"
import * as SummedLine from "../../policy/SummedLine.ts"

/** The failure of a store that cannot be read or written. */
export class LedgerStoreError extends Schema.TaggedError<LedgerStoreError>()("LedgerStoreError", {
  message: Schema.String,
  /**
   * `corrupt`: a line is no entry. `version`: no ledger, or one of another version. `io`: the file system said no.
   * `foreign`: another program wrote to it, or put another file in its place.
   */
  reason: Schema.Literals(["corrupt", "version", "io", "foreign"]),
  cause: Schema.optional(Schema.Defect())
}) {}

const decodeEntry = Schema.decodeUnknownResult(Schema.fromJsonString(Ledger.Entry))

/** The first line of a ledger file. */
export const header = "{\"ledger\":\"effect-together\",\"version\":1}"

/**
 * Encodes entries as lines of the file, each ended by a line feed.
 *
 * **Details**: writes by hand what the schema would write (amounts as decimal text): this is the hot path, reading is not.
 */
export const encode = (entries: ReadonlyArray<Ledger.Entry>): string =>
  entries.map((entry) => {
    const json = JSON.stringify(entry, (_, value: unknown) => typeof value === "bigint" ? value.toString() : value)
    return `${SummedLine.make(json.slice(1))}\n`
  }).join("")

/** Holds what a ledger file says. */
export interface Decoded {
  readonly entries: ReadonlyArray<Ledger.Entry>
  /** Bytes that hold; what follows is torn. */
  readonly goodBytes: number
}

const lineFeed = 10

/** Ends an entry. */
const brace = 125

/**
 * The byte by which a program claims a file that it is about to change. No entry holds it: JSON escapes it.
 *
 * **Details**: a claim stands behind what was written, so at the start of a line or behind a torn one, and the next write
 * behind it begins a line. Anywhere else it is damage.
 */
export const claim = 1

/** Tells a byte that was not written, which was the claim of an earlier version, or a claim: no entry holds either. */
const isMark = (byte: number): boolean => byte <= claim

/** The least that a disk writes: a first line is torn within it. */
const sectorBytes = 512

const noLedger = new LedgerStoreError({
  reason: "version",
  message: `The file is no ledger of this version: its first line is not ${header}. Use another path.`
})

const corrupt = (line: number) =>
  new LedgerStoreError({
    reason: "corrupt",
    message:
      `Line ${line} of the ledger is no entry, or not as it was written: the file is damaged, or a newer version ` +
      "wrote to it. Update, repair that line and take its \"sum\" out, or move the file away and state the balance anew."
  })

const firstLine = new TextEncoder().encode(`${header}\n`)

/**
 * Tells a first line that was cut off while it was written, zeros and claims aside, from a file that is no ledger. Where
 * nothing of it was written, zeros stand for it, and claims behind them.
 */
const isTornHeader = (bytes: Uint8Array): boolean => {
  const written = bytes.filter((byte) => !isMark(byte))
  if (bytes.length > sectorBytes || !written.every((byte, at) => byte === firstLine[at])) return false
  const [first = 0] = bytes
  return !isMark(first) || (first === 0 && bytes.every((byte, at) => isMark(byte) && byte >= (bytes[at - 1] ?? 0)))
}

const text = new TextDecoder()

/** Begins an entry of an earlier version. */
const unsummed = "{\"_tag\":"

/** Reads an entry, or nothing from the first line. */
const decodeLine = (line: Uint8Array): Result.Result<Ledger.Entry | undefined, unknown> => {
  const content = text.decode(line)
  if (content === header) return Result.succeed(undefined)
  return content.startsWith(unsummed) || SummedLine.isWhole(content) ? decodeEntry(content) : Result.fail(undefined)
}

/** Tells a line whose line feed was overwritten: more than marks stands behind an entry. */
const isJoined = (line: Uint8Array): boolean => {
  const last = line.findLastIndex((byte) => !isMark(byte))
  for (let end = line.indexOf(brace); end >= 0 && end < last; end = line.indexOf(brace, end + 1)) {
    if (Result.isSuccess(decodeLine(line.subarray(0, end + 1)))) return true
  }
  return false
}

/** Tells a line that was claimed, or not written, and so never acknowledged, from one that was damaged. */
const isUnacknowledged = (line: Uint8Array): boolean => {
  // a single zero is damage
  if (line.some((byte, at) => byte === 0 && line[at + 1] === 0)) return true
  const last = line.findLastIndex(isMark)
  return last >= 0 && !isJoined(line) && Result.isSuccess(decodeLine(line.subarray(last + 1)))
}

/** Reads a ledger file piece by piece, and holds no more of it than a line. */
export interface Reader {
  /** Reads the next bytes, which may change later; gives what makes the file unreadable, after which nothing more is read. */
  readonly push: (bytes: Uint8Array) => LedgerStoreError | undefined
  /** Ends the file, and counts the bytes that hold; what follows is torn. */
  readonly end: () => Result.Result<number, LedgerStoreError>
}

/**
 * Makes a reader that hands each entry on.
 *
 * **Details**: the first line may come again: two programs that create a file in one moment both write it.
 *
 * **Errors**: `LedgerStoreError` with `corrupt` for a line that is no entry, `version` for another first line.
 */
export const makeReader = (onEntry: (entry: Ledger.Entry) => void): Reader => {
  /** Pieces of a line whose end was not read yet; at first of all that was read. */
  let carry: Array<Uint8Array> = []
  let begun = false
  let bytesRead = 0
  let goodBytes = 0
  let hole = 0
  let claimed = false
  let line = 1

  const readLine = (content: Uint8Array): LedgerStoreError | undefined => {
    line++
    bytesRead += content.length + 1
    const decoded = decodeLine(content)
    if (Result.isFailure(decoded)) {
      if (!isUnacknowledged(content)) return corrupt(line)
      hole = hole === 0 ? line : hole
      claimed ||= content.includes(claim)
    } else if (hole === 0) {
      if (decoded.success !== undefined) onEntry(decoded.success)
      goodBytes = bytesRead
    } else if (!claimed) {
      return corrupt(hole)
    }
    return undefined
  }

  const readLines = (bytes: Uint8Array): LedgerStoreError | undefined => {
    let start = 0
    for (let end = bytes.indexOf(lineFeed); end >= 0; start = end + 1, end = bytes.indexOf(lineFeed, start)) {
      const last = bytes.subarray(start, end)
      const failure = readLine(carry.length === 0 ? last : Bytes.concat([...carry, last]))
      if (failure !== undefined) return failure
      carry = []
    }
    if (start < bytes.length) carry.push(bytes.slice(start))
    return undefined
  }

  /** Reads the first line, and what came with it. */
  const begin = (bytes: Uint8Array): LedgerStoreError | undefined => {
    const first = bytes.indexOf(lineFeed)
    if (first < 0 || text.decode(bytes.subarray(0, first)) !== header) return noLedger
    begun = true
    carry = []
    bytesRead = goodBytes = first + 1
    return readLines(bytes.subarray(bytesRead))
  }

  return {
    push: (bytes) => {
      if (begun) return readLines(bytes)
      carry.push(bytes.slice())
      const found = Bytes.concat(carry)
      return found.length > sectorBytes ? begin(found) : undefined
    },
    end: () => {
      if (!begun) {
        const found = Bytes.concat(carry)
        const failure = begin(found)
        if (failure !== undefined) {
          return failure === noLedger && isTornHeader(found) ? Result.succeed(0) : Result.fail(failure)
        }
      }
      return isJoined(Bytes.concat(carry)) ? Result.fail(corrupt(line + 1)) : Result.succeed(goodBytes)
    }
  }
}

/**
 * Decodes the bytes of a ledger file.
 *
 * **Details**: as {@link makeReader} reads them.
 *
 * **Errors**: `LedgerStoreError` with `corrupt` for a line that is no entry, `version` for another first line.
 */
export const decode = (bytes: Uint8Array): Result.Result<Decoded, LedgerStoreError> => {
  const entries: Array<Ledger.Entry> = []
  const reader = makeReader((entry) => void entries.push(entry))
  const failure = reader.push(bytes)
  return failure === undefined
    ? Result.map(reader.end(), (goodBytes) => ({ entries, goodBytes }))
    : Result.fail(failure)
}

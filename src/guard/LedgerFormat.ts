/**
 * The ledger file: a first line that names the format, then a JSON object per line, each an entry.
 *
 * The program may stop at any byte. A last line without its line feed is torn: it was never acknowledged, so reading
 * leaves it out. The same holds for a block of zeros at the end, which the file system had reserved, not written, and
 * for a claim and all that follows it: whoever appended behind one was told that it failed. Any other line that is no
 * entry is no crash but damage, or the work of a newer version, and refused. So is a file that does not begin as a
 * ledger does: it is someone else's.
 *
 * The module is re-exported by `LedgerStore`.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Ledger from "../policy/Ledger.ts"

/** Fails where the store cannot be read or written. */
export class LedgerStoreError extends Schema.TaggedError<LedgerStoreError>()("LedgerStoreError", {
  message: Schema.String,
  /**
   * `corrupt`: a line is no entry. `version`: no ledger, or one of another version. `io`: the file system said no.
   * `foreign`: another program wrote to it, or put another file in its place.
   */
  reason: Schema.Literals(["corrupt", "version", "io", "foreign"]),
  cause: Schema.optional(Schema.Defect())
}) {}

const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(Ledger.Entry))

/** Is the first line of a ledger file. */
export const header = "{\"ledger\":\"effect-together\",\"version\":1}"

/**
 * Encodes entries as lines of the file, each ended by a line feed.
 *
 * **Details**: writes by hand what the schema would write (amounts as decimal text): this is the hot path, reading is not.
 */
export const encode = (entries: ReadonlyArray<Ledger.Entry>): string =>
  entries.map((entry) =>
    `${JSON.stringify(entry, (_, value: unknown) => typeof value === "bigint" ? value.toString() : value)}\n`
  ).join("")

/** Holds what a ledger file says. */
export interface Decoded {
  readonly entries: ReadonlyArray<Ledger.Entry>
  /** Bytes that hold; what follows is torn. */
  readonly goodBytes: number
}

const lineFeed = 10

/** Stands where a block was not written. No entry holds it: JSON escapes it. */
const zero = "\u0000"

/** Is the byte by which a program claims a file that it is about to change. No entry holds it either. */
export const claim = 1

/** Is the least that a disk writes: a first line is torn within it. */
const sectorBytes = 512

const noLedger = new LedgerStoreError({
  reason: "version",
  message: `The file is no ledger of this version: its first line is not ${header}. Use another path.`
})

const corrupt = (line: number) =>
  new LedgerStoreError({
    reason: "corrupt",
    message: `Line ${line} of the ledger is no entry: the file is damaged, or a newer version wrote to it. ` +
      "Update, repair that line, or move the file away and state the balance anew."
  })

/** Tells a first line that was cut off while it was written, zeros and claims aside, from a file that is no ledger. */
const isTornHeader = (bytes: Uint8Array): boolean =>
  bytes.length <= sectorBytes &&
  `${header}\n`.startsWith(new TextDecoder().decode(bytes.filter((byte) => byte > claim)))

/**
 * Decodes the bytes of a ledger file.
 *
 * **Details**: the first line may come again: two programs that create a file in one moment both write it.
 *
 * **Errors**: `LedgerStoreError` with `corrupt` for a line that is no entry, `version` for another first line.
 */
export const decode = (bytes: Uint8Array): Result.Result<Decoded, LedgerStoreError> => {
  const text = new TextDecoder()
  const claimed = bytes.indexOf(claim)
  const held = claimed < 0 ? bytes : bytes.subarray(0, claimed)
  const entries: Array<Ledger.Entry> = []
  let goodBytes = 0
  let hole = 0
  let line = 0
  for (let start = 0, end = held.indexOf(lineFeed); end >= 0; start = end + 1, end = held.indexOf(lineFeed, start)) {
    line++
    const content = text.decode(held.subarray(start, end))
    const decoded = content === header ? undefined : decodeLine(content)
    if (line === 1 && decoded !== undefined) return Result.fail(noLedger)
    if (decoded !== undefined && Result.isFailure(decoded)) {
      if (!content.includes(zero)) return Result.fail(corrupt(line))
      hole = hole === 0 ? line : hole
    } else if (hole > 0) {
      return Result.fail(corrupt(hole))
    } else {
      if (decoded !== undefined) entries.push(decoded.success)
      goodBytes = end + 1
    }
  }
  return line > 0 || isTornHeader(bytes) ? Result.succeed({ entries, goodBytes }) : Result.fail(noLedger)
}

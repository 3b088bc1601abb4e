/**
 * The ledger file: a first line that names the format, then a JSON object per line, each an entry.
 *
 * The program may stop at any byte. A last line without its line feed is torn: it was never acknowledged, so reading
 * leaves it out. The same holds for junk at the end (a block that the file system had reserved, not written). Junk
 * *between* good lines is no crash but damage, and refused.
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
   * `corrupt`: a line in the middle is no entry. `version`: written by another version. `io`: the file system said no.
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

/**
 * Decodes the bytes of a ledger file.
 *
 * **Errors**: `LedgerStoreError` with `corrupt` for junk between good lines, `version` for another first line.
 */
export const decode = (bytes: Uint8Array): Result.Result<Decoded, LedgerStoreError> => {
  const text = new TextDecoder()
  const entries: Array<Ledger.Entry> = []
  let goodBytes = 0
  let badLine = 0
  let line = 0
  for (let start = 0, end = bytes.indexOf(lineFeed); end >= 0; start = end + 1, end = bytes.indexOf(lineFeed, start)) {
    line++
    const content = text.decode(bytes.subarray(start, end))
    if (line === 1) {
      if (content === header) goodBytes = end + 1
      else {
        return Result.fail(
          new LedgerStoreError({
            reason: "version",
            message: `The file is no ledger of this version: its first line is ${
              content.slice(0, 80)
            }. Use another path.`
          })
        )
      }
      continue
    }
    const decoded = decodeLine(content)
    if (Result.isFailure(decoded)) {
      badLine = badLine === 0 ? line : badLine
    } else if (badLine > 0) {
      return Result.fail(
        new LedgerStoreError({
          reason: "corrupt",
          message:
            `Line ${badLine} of the ledger is no entry, but line ${line} is: the file is damaged, not cut off. ` +
            "Repair that line, or move the file away and state the balance anew."
        })
      )
    } else {
      entries.push(decoded.success)
      goodBytes = end + 1
    }
  }
  return Result.succeed({ entries, goodBytes })
}

/**
 * When a ledger file is long, and what it says in few entries.
 *
 *     add(entry) … add(entry) → due → shortened
 *
 * The sums of what a file says are kept beside it, so that shortening it reads nothing.
 */
import type * as Ledger from "../../policy/Ledger.ts"
import * as LedgerCompaction from "../../policy/LedgerCompaction.ts"

/** Keeps the sums of one file. */
export interface Compactor {
  /** Takes an entry that the file holds, in order. */
  readonly add: (entry: Ledger.Entry) => void
  /** Writes few entries that say the same as the file. */
  readonly entries: () => ReadonlyArray<Ledger.Entry>
  /** Writes these entries where the file is long and they halve it; asked again, only once it has doubled. */
  readonly due: () => ReadonlyArray<Ledger.Entry> | undefined
  /** Tells that the file was replaced by one of so many entries. */
  readonly shortened: (count: number) => void
}

/** Makes the compactor of an empty file that is long above so many entries. */
export const make = (compactAbove: number): Compactor => {
  const compaction = LedgerCompaction.make()
  let count = 0
  let tooMany = compactAbove
  return {
    add: (entry) => {
      count++
      compaction.add(entry)
    },
    entries: () => compaction.entries(),
    due: () => {
      if (count <= tooMany) return undefined
      tooMany = 2 * count
      const short = compaction.entries()
      return short.length * 2 <= count ? short : undefined
    },
    shortened: (to) => {
      count = to
      tooMany = compactAbove
    }
  }
}

/**
 * Says the same as a long ledger in few entries, so that a restart need not read every call that ever was.
 *
 *     Reserve 1 · Settle 1 · Reserve 2 · Stated · Settle 2 · Reserve 3 · Refund 3 · Reserve 4
 *     ─────────┬─────────                 │      ──────────────┬──────────────       │
 *          Summary                      Stated              Summary              Reserve 4
 *
 * Calls that ended are summed by what budgets count apart: run, key, label, and
 * the quarter of an hour in which they began, which stands for their day in every
 * time zone. Of each key's statements only the last counts; what ended before it and
 * after it is summed apart, so that the balance is carried forward from the
 * same point. The last that stood in the configuration stays too: the next program
 * compares its own with it. What is still open stays as it is.
 *
 * **Gotchas**: a day that begins at other than a whole quarter of an hour (`dayOffset` of 100 s) may find up to a
 * quarter of an hour of its spending in the day before.
 */
import { type Entry, type Reserve, standsAsDeclared, type Stated, type Summary } from "./LedgerEntry.ts"
import { emptySums, ending, plus, type Sums } from "./LedgerTally.ts"

const quarterSeconds = 900

/** Sums calls by what budgets count apart. */
const makeSums = () => {
  const sums = new Map<string, Summary>()
  return {
    add: ({ at, key, label, run }: Pick<Reserve, "at" | "key" | "label" | "run">, more: Sums): void => {
      const quarter = Math.floor(at / quarterSeconds) * quarterSeconds
      const id = JSON.stringify([quarter, run, key, label])
      const found = sums.get(id) ?? { _tag: "Summary", at: quarter, run, key, label, ...emptySums }
      sums.set(id, plus(found, more))
    },
    entries: (): ReadonlyArray<Summary> => [...sums.values()]
  }
}

/**
 * Writes entries that a ledger folds to the same sums, balances and open reservations.
 *
 * **Details**: in a whole ledger an ending without its reservation changes nothing, and is dropped. Of a part of one, say
 * `"keep"`: the reservation may stand in the part before.
 */
export const compact = (entries: ReadonlyArray<Entry>, loose: "drop" | "keep" = "drop"): ReadonlyArray<Entry> => {
  const lastStated = new Map<string, number>()
  const lastDeclared = new Map<string, Stated>()
  for (const [index, entry] of entries.entries()) {
    if (entry._tag !== "Stated") continue
    lastStated.set(entry.key, index)
    if (standsAsDeclared(entry, lastDeclared.get(entry.key))) lastDeclared.set(entry.key, entry)
  }
  const open = new Map<number, Reserve>()
  const kept: Array<Entry> = []
  const [before, after] = [makeSums(), makeSums()]
  const sumsOf = (key: string, index: number) => index < (lastStated.get(key) ?? 0) ? before : after
  for (const [index, entry] of entries.entries()) {
    switch (entry._tag) {
      case "Reserve":
        // as the ledger counts: the first of an id, while it is open
        if (!open.has(entry.id)) open.set(entry.id, entry)
        break
      case "Stated":
        if (lastStated.get(entry.key) === index || lastDeclared.get(entry.key) === entry) kept.push(entry)
        break
      case "Summary":
        sumsOf(entry.key, index).add(entry, entry)
        break
      case "Settle":
      case "Refund": {
        const reserve = open.get(entry.id)
        if (reserve === undefined) {
          if (loose === "keep") kept.push(entry)
          break
        }
        open.delete(entry.id)
        sumsOf(reserve.key, index).add(reserve, ending(reserve, entry))
      }
    }
  }
  return [...before.entries(), ...kept, ...after.entries(), ...open.values()]
}

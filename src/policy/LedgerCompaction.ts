/**
 * Says the same as a long ledger in few entries, so that a restart need not read every call that ever was.
 *
 *     Reserve 1 · Settle 1 · Reserve 2 · Stated · Settle 2 · Reserve 3 · Refund 3 · Reserve 4
 *     ─────────┬─────────                 │      ──────────────┬──────────────       │
 *          Summary                      Stated              Summary              Reserve 4
 *
 * Calls that ended are summed by what budgets count apart: run, account, label, and
 * the quarter of an hour in which they began, which stands for their day in every
 * time zone. Of each account's statements only the last counts; what ended before it and
 * after it is summed apart, so that the balance is carried forward from the
 * same point. The last that stood in the configuration stays too: the next program
 * compares its own with it. What is still open stays as it is.
 *
 * The short ledger does not list calls in the order in which they began. The ledger forgets past days as it reads later
 * ones (`Ledger`). So if the calls span more than a day, the latest time comes first, in a summary of nothing, so that
 * no day is forgotten while they are read.
 *
 * **Gotchas**: a day that begins at other than a whole quarter of an hour (`dayOffset` of 100 s) may find up to a
 * quarter of an hour of its spending in the day before.
 */
import { type Entry, type Reserve, standsAsDeclared, type Stated, type Summary } from "./LedgerEntry.ts"
import { emptySums, ending, plus, type Sums } from "./LedgerTally.ts"

const quarterSeconds = 900

const daySeconds = 86_400

type Call = Pick<Reserve, "at" | "account" | "label" | "run">

/** Sums calls by what budgets count apart. */
const makeSums = () => {
  const sums = new Map<string, Summary>()
  return {
    add: ({ at, account, label, run }: Call, more: Sums): void => {
      const quarter = Math.floor(at / quarterSeconds) * quarterSeconds
      const id = JSON.stringify([quarter, run, account, label])
      const found = sums.get(id) ?? { _tag: "Summary", at: quarter, run, account, label, ...emptySums }
      sums.set(id, plus(found, more))
    },
    entries: (): ReadonlyArray<Summary> => [...sums.values()]
  }
}

/** Places an entry that stays as it is among the others. */
interface Kept {
  readonly index: number
  readonly entry: Entry
}

/** Takes entries in their order, and says the same in few. */
export interface Compaction {
  readonly add: (entry: Entry) => void
  /** Writes the entries. */
  readonly entries: () => ReadonlyArray<Entry>
}

/**
 * Makes a compaction that holds no more than it will write.
 *
 * **Details**: in a whole ledger an ending without its reservation changes nothing, and is dropped. For a part of a
 * ledger, say `"keep"`, since the reservation may be in the part before.
 */
export const make = (loose: "drop" | "keep" = "drop"): Compaction => {
  const open = new Map<number, Reserve>()
  const lastStated = new Map<string, Kept>()
  const lastDeclared = new Map<string, Kept & { readonly entry: Stated }>()
  const endings: Array<Kept> = []
  const before = makeSums()
  /** What ended since the last statement of each account. */
  const after = new Map<string, ReturnType<typeof makeSums>>()
  let index = 0
  let earliest = Infinity
  let latest: Call | undefined

  const see = (call: Call): void => {
    earliest = Math.min(earliest, call.at)
    if (latest === undefined || call.at > latest.at) latest = call
  }

  /** Begins the latest day before any call is read. */
  const latestDay = (): ReadonlyArray<Summary> => {
    if (latest === undefined || latest.at - earliest <= daySeconds) return []
    const { at, account, label, run } = latest
    return [{ _tag: "Summary", at, run, account, label, ...emptySums }]
  }

  const sum = (call: Call, more: Sums): void => {
    const found = after.get(call.account) ?? makeSums()
    after.set(call.account, found)
    found.add(call, more)
  }

  return {
    add: (entry) => {
      index++
      switch (entry._tag) {
        case "Reserve":
          // as the ledger counts: the first of an id, while it is open
          if (open.has(entry.id)) break
          open.set(entry.id, entry)
          see(entry)
          break
        case "Stated": {
          for (const summary of after.get(entry.account)?.entries() ?? []) before.add(summary, summary)
          after.delete(entry.account)
          lastStated.set(entry.account, { index, entry })
          if (standsAsDeclared(entry, lastDeclared.get(entry.account)?.entry)) {
            lastDeclared.set(entry.account, { index, entry })
          }
          break
        }
        case "Summary":
          see(entry)
          sum(entry, entry)
          break
        case "Settle":
        case "Refund": {
          const reserve = open.get(entry.id)
          if (reserve === undefined) {
            if (loose === "keep") endings.push({ index, entry })
            break
          }
          open.delete(entry.id)
          sum(reserve, ending(reserve, entry))
        }
      }
    },
    entries: () => {
      const kept = new Map(
        [...lastStated.values(), ...lastDeclared.values(), ...endings].map((kept) => [kept.index, kept])
      )
      return [
        ...latestDay(),
        ...before.entries(),
        ...Array.from(kept.values()).toSorted((a, b) => a.index - b.index).map(({ entry }) => entry),
        ...Array.from(after.values()).flatMap((sums) => sums.entries()),
        ...open.values()
      ]
    }
  }
}

/**
 * Writes entries that a ledger folds to the same sums, balances and open reservations; {@link make} says how.
 *
 * **Details**: of days that the ledger has forgotten the compacted entries still know, until a later one begins.
 */
export const compact = (entries: ReadonlyArray<Entry>, loose: "drop" | "keep" = "drop"): ReadonlyArray<Entry> => {
  const compaction = make(loose)
  for (const entry of entries) compaction.add(entry)
  return compaction.entries()
}

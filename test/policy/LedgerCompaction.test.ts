import { describe, expect, it } from "@effect/vitest"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import * as Budget from "../../src/policy/Budget.ts"
import * as BudgetStatus from "../../src/policy/BudgetStatus.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as LedgerCompaction from "../../src/policy/LedgerCompaction.ts"
import * as Price from "../../src/policy/Price.ts"

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A step of a random history over three accounts, three labels, two runs and six days, whose clock jumps as it likes. */
const Step = Schema.Struct({
  kind: Schema.Literals([
    "reserve",
    "unpriced",
    "settle",
    "over",
    "assume",
    "refund",
    "risk",
    "state",
    "declare",
    "earlier",
    "again"
  ]),
  amount: whole(0, 100),
  account: Schema.Literals(["k", "l", "m"]),
  label: Schema.Literals(["", "a", "b"]),
  run: Schema.Literals(["r", "s"]),
  minutes: whole(0, 6 * 24 * 60),
  pick: whole(0, 50)
})

const historyOf = (steps: ReadonlyArray<typeof Step.Type>): ReadonlyArray<Ledger.Entry> => {
  const entries: Array<Ledger.Entry> = []
  const open: Array<Ledger.Reserve> = []
  let id = 1
  for (const { amount, account, kind, label, minutes, pick, run } of steps) {
    const at = minutes * 60
    const high = BigInt(amount)
    const chosen = open[pick % Math.max(1, open.length)]
    if (kind === "reserve" || kind === "unpriced") {
      const base = { _tag: "Reserve", id: id++, at, run, account, label } as const
      const entry = kind === "unpriced" ? base : { ...base, high, expected: high }
      entries.push(entry)
      open.push(entry)
    } else if (kind === "state" || kind === "declare") {
      entries.push({ _tag: "Stated", at, account, balance: high, free: 0n, declared: kind === "declare" })
    } else if (kind === "earlier") entries.push({ _tag: "Stated", at, account, balance: high, free: 0n })
    else if (chosen !== undefined) {
      if (kind !== "again") open.splice(open.indexOf(chosen), 1)
      const [cost, ended] = [kind === "over" ? (chosen.high ?? 0n) + high : high, chosen.id]
      if (kind === "refund" || kind === "risk") {
        entries.push({ _tag: "Refund", id: ended, at, atRisk: kind === "risk" })
      } else if (kind === "again") {
        // an ending of what is not open changes nothing
        entries.push({ _tag: "Settle", id: -1, at, cost, sure: true })
      } else {
        entries.push(Ledger.settlement(chosen, kind === "assume" ? Price.unknown("why") : Price.known(cost), at))
      }
    }
  }
  return entries
}

const budgets = [
  Budget.make({ name: "all", limit: 300n }),
  Budget.perRun(100n),
  Budget.perDay(100n),
  Budget.perAccount(100n),
  Budget.perLabel(100n, "a"),
  Budget.make({ name: "mixed", limit: 50n, per: ["label", "day", "account"] })
]

const days = [0, 1, 2, 3, 4, 5, 6]
const isDaily = ({ budget }: BudgetStatus.BudgetStatus) => budget.per.includes("day")

const fold = (entries: ReadonlyArray<Ledger.Entry>, dayOffsetSeconds: number) =>
  entries.reduce(Ledger.apply, Ledger.make({ budgets, run: "r", dayOffsetSeconds }))

/** Reads all that a ledger is asked for, but what was spent on single days. */
const readings = (entries: ReadonlyArray<Ledger.Entry>, dayOffsetSeconds: number) => {
  const state = fold(entries, dayOffsetSeconds)
  return {
    budgets: BudgetStatus.list(state, 0).filter((status) => !isDaily(status)),
    accounts: ["k", "l", "m"].map((account) => Ledger.tally(state.accounts, account)),
    balances: ["k", "l", "m"].map((account) => Ledger.balance(state, account, 4 * 86_400)),
    declared: ["k", "l", "m"].map((account) => HashMap.get(state.declared, account)),
    open: Array.from(HashMap.values(state.open)).toSorted((a, b) => a.id - b.id)
  }
}

/** Reads what was spent on each day, by counter. */
const daily = (entries: ReadonlyArray<Ledger.Entry>, dayOffsetSeconds: number) => {
  const state = fold(entries, dayOffsetSeconds)
  return days.flatMap((day) => BudgetStatus.list(state, day * 86_400 - dayOffsetSeconds)).filter(isDaily)
    .filter(({ tally }) => tally.calls > 0 || tally.open > 0)
}

/** Finds the counters of which a ledger says less than another. */
const forgotten = (
  less: ReadonlyArray<Ledger.Entry>,
  entries: ReadonlyArray<Ledger.Entry>,
  dayOffsetSeconds: number
) => {
  const { counters } = fold(less, dayOffsetSeconds)
  return daily(entries, dayOffsetSeconds).filter(({ counter, tally }) => {
    const said = Ledger.tally(counters, counter)
    return said.settled < tally.settled || said.reserved < tally.reserved || said.calls < tally.calls
  })
}

/** Reads what was truly spent on the day of the last call: no other day was before it that could have it forgotten. */
const truth = (entries: ReadonlyArray<Ledger.Entry>, dayOffsetSeconds: number) => {
  const calls = entries.filter((entry) => entry._tag === "Reserve")
  const dayOf = (call: Ledger.Reserve) => Budget.dayOf(call.at, dayOffsetSeconds)
  const last = calls.at(-1)
  if (last === undefined) return { statuses: [], now: 0 }
  const others = new Set(calls.filter((call) => dayOf(call) !== dayOf(last)).map(({ id }) => id))
  const ofToday = entries.filter((entry) => !("id" in entry && others.has(entry.id)))
  const statuses = BudgetStatus.list(fold(ofToday, dayOffsetSeconds), last.at).filter(isDaily)
  return { statuses, now: last.at }
}

const reserve = (id: number, at: number): Ledger.Reserve => ({
  _tag: "Reserve",
  id,
  at,
  run: "r",
  account: "k",
  label: "",
  high: 10n
})

describe("LedgerCompaction", () => {
  it("sums what ended, keeps the last statement in its place, and what is open as it is", () => {
    const stated = (balance: bigint): Ledger.Stated => ({ _tag: "Stated", at: 50, account: "k", balance, free: 0n })
    const sum = {
      _tag: "Summary",
      run: "r",
      account: "k",
      label: "",
      uncertain: 0n,
      atRisk: 0n,
      overshoot: 0n,
      unpriced: 0
    }
    expect(LedgerCompaction.compact([
      stated(1n),
      reserve(1, 10),
      { _tag: "Settle", id: 1, at: 20, cost: 3n, sure: true },
      reserve(2, 30),
      stated(2n),
      { _tag: "Settle", id: 2, at: 60, cost: 12n, sure: false },
      reserve(3, 899),
      { _tag: "Refund", id: 3, at: 900, atRisk: true },
      reserve(4, 900),
      { _tag: "Settle", id: 4, at: 901, sure: false },
      reserve(5, 1000)
    ])).toEqual([
      { ...sum, at: 0, settled: 3n, calls: 1 },
      stated(2n),
      { ...sum, at: 0, settled: 12n, uncertain: 12n, overshoot: 2n, atRisk: 10n, calls: 1 },
      { ...sum, at: 900, settled: 0n, calls: 1, unpriced: 1 },
      reserve(5, 1000)
    ])
  })

  it("sums what ended where no balance was stated", () => {
    const reserve: Ledger.Reserve = { _tag: "Reserve", id: 1, at: 10, run: "r", account: "k", label: "", high: 10n }
    expect(LedgerCompaction.compact([reserve, { _tag: "Settle", id: 1, at: 20, cost: 3n, sure: true }])).toMatchObject([
      { _tag: "Summary", account: "k", settled: 3n, calls: 1 }
    ])
  })

  it("keeps the first reservation of an id while it is open, as the ledger does", () => {
    const reserve: Ledger.Reserve = { _tag: "Reserve", id: 1, at: 10, run: "r", account: "k", label: "", high: 10n }
    expect(LedgerCompaction.compact([reserve, { ...reserve, high: 99n }])).toEqual([reserve])
  })

  it("leaves out an ending of what is not open", () => {
    expect(LedgerCompaction.compact([
      { _tag: "Settle", id: 7, at: 20, cost: 3n, sure: true },
      { _tag: "Refund", id: 8, at: 21, atRisk: true }
    ])).toEqual([])
  })

  it("keeps an ending whose reservation stands elsewhere, where it is told to, on its side of the last statement", () => {
    const ending = (id: number): Ledger.Settle => ({ _tag: "Settle", id, at: 20, cost: 3n, sure: true })
    const stated: Ledger.Stated = { _tag: "Stated", at: 50, account: "k", balance: 9n, free: 0n }
    const entries = [ending(7), stated, ending(8)]
    expect(LedgerCompaction.compact(entries, "keep")).toEqual(entries)
    expect(LedgerCompaction.compact(entries)).toEqual([stated])
  })

  it.prop(
    "changes nothing of a part of a history, whatever came before and follows",
    [Schema.Array(Step), whole(0, 100), whole(0, 100)],
    ([steps, from, to]) => {
      const history = historyOf(steps)
      const [start, end] = [from, to].map((percent) => Math.floor(history.length * percent / 100)).toSorted((a, b) =>
        a - b
      )
      const long = history.slice(start, end)
      const part = LedgerCompaction.compact(long, "keep")
      expect(readings([...history.slice(0, start), ...part, ...history.slice(end)], 0)).toEqual(readings(history, 0))
      expect(forgotten(part, long, 0)).toEqual([])
    }
  )

  it.prop(
    "changes no sum, no balance and no open call, whatever follows and in every time zone",
    [Schema.Array(Step), whole(0, 100), whole(-48, 56)],
    ([steps, percent, quarters]) => {
      const history = historyOf(steps)
      const cut = Math.floor(history.length * percent / 100)
      const [past, future] = [history.slice(0, cut), history.slice(cut)]
      const compacted = LedgerCompaction.compact(past)
      const expected = readings(history, quarters * 900)
      expect(readings([...compacted, ...future], quarters * 900)).toEqual(expected)
      expect(forgotten([...compacted, ...future], history, quarters * 900)).toEqual([])
      expect(compacted.length).toBeLessThanOrEqual(past.length + 1)
      // and again, with what was added since
      const again = LedgerCompaction.compact([...compacted, ...future])
      expect(readings(again, quarters * 900)).toEqual(expected)
      expect(forgotten(again, history, quarters * 900)).toEqual([])
    }
  )

  it.prop(
    "knows all that was spent on the present day, however the clock came to it",
    [Schema.Array(Step), whole(-48, 56)],
    ([steps, quarters]) => {
      const history = historyOf(steps)
      const { now, statuses } = truth(history, quarters * 900)
      const state = fold(LedgerCompaction.compact(history), quarters * 900)
      const tallies = statuses.map(({ counter }) => Ledger.tally(state.counters, counter))
      expect(tallies).toEqual(statuses.map(({ tally }) => tally))
      expect(Budget.dayOf(now, state.dayOffsetSeconds)).toBeLessThanOrEqual(state.day)
    }
  )

  it("keeps the day's spending where the clock ran ahead over midnights and was set right", () => {
    const call = (id: number, day: number, account: string, cost: bigint): ReadonlyArray<Ledger.Entry> => [
      { _tag: "Reserve", id, at: day * 86_400, run: "r", account, label: "", high: cost, expected: cost },
      { _tag: "Settle", id, at: day * 86_400, cost, sure: true }
    ]
    const written = [...call(1, 103, "a", 1n), ...call(2, 104, "b", 1n), ...call(3, 101, "a", 90n)]
    const today = (entries: ReadonlyArray<Ledger.Entry>) => {
      const state = entries.reduce(Ledger.apply, Ledger.make({ budgets: [Budget.perDay(100n)], run: "r" }))
      return Ledger.decide(state, { account: "c", label: "", estimate: Price.exactly(20n) }, 101 * 86_400)
    }
    expect(today(written)).toMatchObject({ _tag: "Refused", remaining: 10n })
    expect(today(LedgerCompaction.compact(written))).toEqual(today(written))
  })

  it("puts the latest time first where calls span more than a day", () => {
    const open = [reserve(1, 90_000), reserve(2, 3599)]
    expect(LedgerCompaction.compact(open)).toMatchObject([
      { _tag: "Summary", at: 90_000, settled: 0n, calls: 0 },
      ...open
    ])
    expect(LedgerCompaction.compact([reserve(1, 90_000), reserve(2, 3600)])).toHaveLength(2)
  })
})

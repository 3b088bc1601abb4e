import { describe, expect, it } from "@effect/vitest"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import * as Budget from "../../src/policy/Budget.ts"
import * as BudgetStatus from "../../src/policy/BudgetStatus.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as LedgerCompaction from "../../src/policy/LedgerCompaction.ts"
import * as Price from "../../src/policy/Price.ts"

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A step of a random history over three keys, three labels, two runs and three days. */
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
  key: Schema.Literals(["k", "l", "m"]),
  label: Schema.Literals(["", "a", "b"]),
  run: Schema.Literals(["r", "s"]),
  minutes: whole(0, 3 * 24 * 60),
  pick: whole(0, 50)
})

const historyOf = (steps: ReadonlyArray<typeof Step.Type>): ReadonlyArray<Ledger.Entry> => {
  const entries: Array<Ledger.Entry> = []
  const open: Array<Ledger.Reserve> = []
  let id = 1
  for (const { amount, key, kind, label, minutes, pick, run } of steps) {
    const at = minutes * 60
    const high = BigInt(amount)
    const chosen = open[pick % Math.max(1, open.length)]
    if (kind === "reserve" || kind === "unpriced") {
      const base = { _tag: "Reserve", id: id++, at, run, key, label } as const
      const entry = kind === "unpriced" ? base : { ...base, high, expected: high }
      entries.push(entry)
      open.push(entry)
    } else if (kind === "state" || kind === "declare") {
      entries.push({ _tag: "Stated", at, key, balance: high, free: 0n, declared: kind === "declare" })
    } else if (kind === "earlier") entries.push({ _tag: "Stated", at, key, balance: high, free: 0n })
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
  Budget.perKey(100n),
  Budget.perLabel(100n, "a"),
  Budget.make({ name: "mixed", limit: 50n, per: ["label", "day", "key"] })
]

/** Reads all that a ledger is asked for. */
const readings = (entries: ReadonlyArray<Ledger.Entry>, dayOffsetSeconds: number) => {
  const state = entries.reduce(Ledger.apply, Ledger.make({ budgets, run: "r", dayOffsetSeconds }))
  return {
    budgets: BudgetStatus.list(state, 4 * 86_400),
    keys: ["k", "l", "m"].map((key) => Ledger.tally(state.keys, key)),
    balances: ["k", "l", "m"].map((key) => Ledger.balance(state, key, 4 * 86_400)),
    declared: ["k", "l", "m"].map((key) => HashMap.get(state.declared, key)),
    open: Array.from(HashMap.values(state.open)).toSorted((a, b) => a.id - b.id)
  }
}

describe("LedgerCompaction", () => {
  it("sums what ended, keeps the last statement in its place, and what is open as it is", () => {
    const reserve = (id: number, at: number): Ledger.Reserve => ({
      _tag: "Reserve",
      id,
      at,
      run: "r",
      key: "k",
      label: "",
      high: 10n
    })
    const stated = (balance: bigint): Ledger.Stated => ({ _tag: "Stated", at: 50, key: "k", balance, free: 0n })
    const sum = {
      _tag: "Summary",
      run: "r",
      key: "k",
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
    const reserve: Ledger.Reserve = { _tag: "Reserve", id: 1, at: 10, run: "r", key: "k", label: "", high: 10n }
    expect(LedgerCompaction.compact([reserve, { _tag: "Settle", id: 1, at: 20, cost: 3n, sure: true }])).toMatchObject([
      { _tag: "Summary", key: "k", settled: 3n, calls: 1 }
    ])
  })

  it("keeps the first reservation of an id while it is open, as the ledger does", () => {
    const reserve: Ledger.Reserve = { _tag: "Reserve", id: 1, at: 10, run: "r", key: "k", label: "", high: 10n }
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
    const stated: Ledger.Stated = { _tag: "Stated", at: 50, key: "k", balance: 9n, free: 0n }
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
      const part = LedgerCompaction.compact(history.slice(start, end), "keep")
      expect(readings([...history.slice(0, start), ...part, ...history.slice(end)], 0)).toEqual(readings(history, 0))
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
      expect(compacted.length).toBeLessThanOrEqual(past.length)
      // and again, with what was added since
      expect(readings(LedgerCompaction.compact([...compacted, ...future]), quarters * 900)).toEqual(expected)
    }
  )
})

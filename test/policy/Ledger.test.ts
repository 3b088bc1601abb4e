import { describe, expect, it } from "@effect/vitest"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import * as Money from "../../src/domain/Money.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as BudgetStatus from "../../src/policy/BudgetStatus.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as Price from "../../src/policy/Price.ts"

const empty = (...budgets: ReadonlyArray<Budget.Budget>) => Ledger.make({ budgets, run: "r" })

const request = (high: bigint, label = ""): Ledger.Request => ({
  account: "k",
  label,
  estimate: Price.range(0n, high)
})

const reserved = (state: Ledger.State, high: bigint, now = 0, label = ""): readonly [Ledger.Reserve, Ledger.State] => {
  const decision = Ledger.decide(state, request(high, label), now)
  if (decision._tag !== "Reserved") throw new Error("refused")
  return [decision.entry, Ledger.apply(state, decision.entry)]
}

/** A step of a random history: reserve so much, or end the so-manieth open reservation at so much of its bound. */
const Step = Schema.Struct({
  kind: Schema.Literals(["reserve", "settle", "over", "unknown", "refund", "risk"]),
  amount: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 })),
  pick: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
  label: Schema.Literals(["a", "b"]),
  day: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 }))
})

describe("Ledger", () => {
  describe("decide", () => {
    it("refuses by the first budget without room, and says what is left", () => {
      const wide = Budget.make({ name: "wide", limit: 100n })
      const narrow = Budget.make({ name: "narrow", limit: 10n })
      const [, state] = reserved(empty(wide, narrow), 8n)
      expect(Ledger.decide(state, request(3n), 0)).toEqual({
        _tag: "Refused",
        budget: narrow,
        counter: "narrow",
        reason: "no-room",
        needed: 3n,
        remaining: 2n
      })
      expect(Ledger.decide(state, request(2n), 0)._tag).toBe("Reserved")
    })

    it("lets a call that cannot cost anything pass a limit that was passed", () => {
      const [entry, open] = reserved(empty(Budget.perRun(10n)), 8n)
      const over = Ledger.apply(open, Ledger.settlement(entry, Price.known(12n), 1))
      expect(Ledger.decide(over, request(0n), 2)._tag).toBe("Reserved")
      expect(Ledger.decide(over, request(1n), 2)).toMatchObject({ _tag: "Refused", needed: 1n, remaining: 0n })
    })

    it("counts each day, account and label apart", () => {
      const state = empty(Budget.perDay(10n), Budget.perLabel(10n, "a"))
      const [, first] = reserved(state, 10n, 0, "a")
      expect(Ledger.decide(first, request(1n, "b"), 0)).toMatchObject({ _tag: "Refused", budget: { name: "day" } })
      expect(Ledger.decide(first, request(1n, "b"), 86_400)._tag).toBe("Reserved")
      expect(Ledger.decide(first, request(1n, "a"), 86_400)).toMatchObject({ budget: { name: "label a" } })
    })

    it("refuses an unknown price under a budget, unless allowed", () => {
      const unknown = { account: "k", label: "", estimate: Price.unknown("why") }
      expect(Ledger.decide(empty(Budget.perRun(5n)), unknown, 0)).toMatchObject({
        _tag: "Refused",
        reason: "unknown-price",
        needed: 0n,
        remaining: 5n
      })
      expect(Ledger.decide(empty(Budget.perRun(5n)), unknown, 0, "allow")._tag).toBe("Reserved")
      expect(Ledger.decide(empty(Budget.perLabel(5n, "x")), unknown, 0)._tag).toBe("Reserved")
    })

    it("refuses an offset of the day that is not finite: all days would share one counter", () => {
      expect(() => Ledger.make({ budgets: [], run: "r", dayOffsetSeconds: NaN })).toThrow(
        "Ledger.make: dayOffsetSeconds must be"
      )
    })

    it("refuses two budgets of one name", () => {
      expect(() => empty(Budget.perRun(1n), Budget.perRun(2n))).toThrow(
        "Ledger.make: budget names must be unique, got \"run\" twice"
      )
    })
  })

  describe("apply", () => {
    it("takes a reservation once while it is open", () => {
      const entry: Ledger.Entry = {
        _tag: "Reserve",
        id: 1,
        at: 0,
        run: "r",
        account: "k",
        label: "",
        high: 500_000_000n
      }
      const once = Ledger.apply(Ledger.make({ budgets: [Budget.perRun("$1")], run: "r" }), entry)
      expect(Ledger.apply(once, entry)).toBe(once)
      const ended = Ledger.apply(once, { _tag: "Settle", id: 1, at: 1, cost: 1n, sure: true })
      expect(BudgetStatus.list(ended, 1)[0]).toMatchObject({
        tally: { reserved: 0n, open: 0 },
        remaining: 999_999_999n
      })
    })

    it("ends a reservation once", () => {
      const [entry, open] = reserved(empty(Budget.perRun(10n)), 8n)
      const settled = Ledger.apply(open, Ledger.settlement(entry, Price.known(3n), 1))
      expect(Ledger.apply(settled, Ledger.settlement(entry, Price.known(5n), 2))).toBe(settled)
      expect(Ledger.apply(settled, { _tag: "Refund", id: entry.id, at: 2, atRisk: true })).toBe(settled)
      expect(Ledger.tally(settled.accounts, "k")).toMatchObject({ settled: 3n, reserved: 0n, open: 0, calls: 1 })
    })

    it("counts a call without price and without bound as unpriced", () => {
      const decision = Ledger.decide(empty(), { account: "k", label: "", estimate: Price.unknown("why") }, 0)
      if (decision._tag !== "Reserved") throw new Error("refused")
      const entry = Ledger.settlement(decision.entry, Price.unknown("why"), 1)
      expect(entry).toEqual({ _tag: "Settle", id: 1, at: 1, sure: false })
      const state = Ledger.apply(Ledger.apply(empty(), decision.entry), entry)
      expect(Ledger.tally(state.accounts, "k")).toMatchObject({ settled: 0n, unpriced: 1, calls: 1, open: 0 })
    })

    it.prop("keeps every law after any history, and replays to the same state", [Schema.Array(Step)], ([steps]) => {
      const budgets = [Budget.make({ name: "all", limit: 300n }), Budget.perDay(120n), Budget.perLabel(90n)]
      let state = empty(...budgets)
      const written: Array<Ledger.Entry> = []
      const write = (entry: Ledger.Entry) => {
        written.push(entry)
        state = Ledger.apply(state, entry)
      }
      for (const step of steps) {
        const now = step.day * 86_400
        const open = Array.from(HashMap.values(state.open))
        const chosen = open[step.pick % Math.max(1, open.length)]
        if (step.kind === "reserve") {
          const decision = Ledger.decide(state, request(BigInt(step.amount), step.label), now)
          if (decision._tag === "Reserved") {
            write(decision.entry)
            for (const [budget, counter] of Ledger.countersOf(state, decision.entry)) {
              const { reserved, settled } = Ledger.tally(state.counters, counter)
              expect(step.amount === 0 || settled + reserved <= budget.limit).toBe(true)
            }
          } else expect(decision.needed > decision.remaining).toBe(true)
        } else if (chosen !== undefined) {
          const high = chosen.high ?? 0n
          if (step.kind === "refund" || step.kind === "risk") {
            write({ _tag: "Refund", id: chosen.id, at: now, atRisk: step.kind === "risk" })
          } else {
            const cost = step.kind === "unknown"
              ? Price.unknown("why")
              : Price.known(step.kind === "over" ? high + BigInt(step.amount) : Money.min(high, BigInt(step.amount)))
            write(Ledger.settlement(chosen, cost, now))
          }
        }
        for (const { budget, remaining, tally } of BudgetStatus.list(state, now)) {
          // a limit is passed by no more than what settled above its own bound
          expect(tally.settled + tally.reserved <= budget.limit + tally.overshoot).toBe(true)
          expect(tally.reserved >= 0n && tally.open >= 0 && remaining >= 0n).toBe(true)
        }
        const total = Ledger.tally(state.accounts, "k")
        const openHigh = Array.from(HashMap.values(state.open)).reduce((sum, entry) => sum + (entry.high ?? 0n), 0n)
        expect(total.reserved).toBe(openHigh)
        expect(total.open).toBe(HashMap.size(state.open))
      }
      expect(written.reduce(Ledger.apply, empty(...budgets))).toEqual(state)
    })
  })

  describe("days", () => {
    const reserve = (id: number, day: number): Ledger.Reserve => ({
      _tag: "Reserve",
      id,
      at: day * 86_400,
      run: "r",
      account: "k",
      label: "",
      high: 10n
    })
    const spent = (state: Ledger.State, day: number) => {
      const entry = reserve(state.nextId, day)
      return Ledger.apply(Ledger.apply(state, entry), Ledger.settlement(entry, Price.known(10n), entry.at))
    }

    it("are forgotten before yesterday, but for what is open", () => {
      const opened = reserve(1, 1)
      let state = Ledger.apply(empty(Budget.perRun("$9"), Budget.perDay("$5")), opened)
      for (let day = 1; day <= 100; day++) state = spent(state, day)
      // the run, the first day, whose call is open, yesterday and today
      expect(HashMap.size(state.counters)).toBe(4)
      state = Ledger.apply(state, Ledger.settlement(opened, Price.known(10n), 100 * 86_400))
      expect(HashMap.size(spent(state, 101).counters)).toBe(3)
    })

    it.each([2, 30])("are not forgotten by a clock that ran %d days ahead and comes back", (ahead) => {
      const budget = Budget.perDay(10n)
      const ran = [100, 100 + ahead].reduce(spent, empty(budget))
      const request = { account: "k", label: "", estimate: Price.exactly(1n) }
      expect(Ledger.decide(ran, request, 100 * 86_400)).toMatchObject({ _tag: "Refused" })
      const summary = (day: number): Ledger.Entry => ({
        _tag: "Summary",
        at: day * 86_400,
        run: "r",
        account: "k",
        label: "",
        settled: 10n,
        uncertain: 0n,
        atRisk: 0n,
        overshoot: 0n,
        calls: 1,
        unpriced: 0
      })
      const read = [summary(100), summary(100 + ahead)].reduce<Ledger.State>(Ledger.apply, empty(budget))
      expect(Ledger.decide(spent(read, 100 + ahead), request, 100 * 86_400)).toMatchObject({ _tag: "Refused" })
    })
  })

  describe("crossings", () => {
    it("names the highest threshold that a settlement crossed, once", () => {
      const state = empty(Budget.make({ name: "b", limit: 100n, warnAt: [0.5, 0.8] }))
      const [entry, open] = reserved(state, 85n)
      const after = Ledger.apply(open, Ledger.settlement(entry, Price.known(85n), 1))
      expect(Ledger.crossings(open, after, entry, 0)).toMatchObject([{ threshold: 0.8, settled: 85n, counter: "b" }])
      const [second, open2] = reserved(after, 5n)
      const after2 = Ledger.apply(open2, Ledger.settlement(second, Price.known(5n), 2))
      expect(Ledger.crossings(open2, after2, second, 0)).toEqual([])
    })

    it("leaves out what another run or an earlier day has spent", () => {
      const state = empty(Budget.perRun(100n), Budget.perDay(100n))
      const [entry, open] = reserved(state, 60n)
      const after = Ledger.apply(open, Ledger.settlement(entry, Price.known(60n), 1))
      const named = (state: Ledger.State, now: number) =>
        Ledger.crossings(open, state, entry, now).map(({ budget }) => budget.name)
      expect(named(after, 1)).toEqual(["run", "day"])
      expect(named(after, 86_401)).toEqual(["run"])
      expect(named({ ...after, run: "the next" }, 1)).toEqual(["day"])
    })
  })

  describe("recover", () => {
    it("charges what was open as assumed, or refunds it at risk: nothing stays reserved", () => {
      const [, one] = reserved(empty(Budget.perRun(100n)), 8n)
      const [, two] = reserved(one, 5n)
      const charged = Ledger.recover(two, "charge", 9).reduce(Ledger.apply, two)
      expect(Ledger.tally(charged.accounts, "k")).toMatchObject({ reserved: 0n, open: 0, settled: 13n, uncertain: 13n })
      const refunded = Ledger.recover(two, "refund", 9).reduce(Ledger.apply, two)
      expect(Ledger.tally(refunded.accounts, "k")).toMatchObject({ reserved: 0n, open: 0, settled: 0n, atRisk: 13n })
    })
  })

  describe("balance", () => {
    const stated = (state: Ledger.State) =>
      Ledger.apply(state, { _tag: "Stated", at: 100, account: "k", balance: 1000n, free: 0n })

    it("is nothing until it was stated", () => {
      expect(Ledger.balance(empty(), "k", 0)).toBeUndefined()
    })

    it("is carried forward, and says how old and how certain it is", () => {
      const [before, spent] = reserved(empty(), 50n)
      const state = stated(Ledger.apply(spent, Ledger.settlement(before, Price.known(50n), 50)))
      expect(Ledger.balance(state, "k", 100)).toEqual({
        low: 1000n,
        expected: 1000n,
        high: 1000n,
        stated: 1000n,
        free: 0n,
        spentSince: 0n,
        ageSeconds: 0,
        certainty: "stated",
        unpricedSince: 0
      })
      const [entry, open] = reserved(state, 30n)
      expect(Ledger.balance(open, "k", 160)).toMatchObject({
        low: 970n,
        expected: 1000n,
        ageSeconds: 60,
        certainty: "carried"
      })
      const settled = Ledger.apply(open, Ledger.settlement(entry, Price.known(20n), 170))
      expect(Ledger.balance(settled, "k", 170)).toMatchObject({ low: 980n, expected: 980n, certainty: "carried" })
    })

    it("is uncertain after an assumed cost, a refund at risk, an unpriced call", () => {
      const state = stated(empty())
      const [one, open] = reserved(state, 30n)
      const assumed = Ledger.apply(open, Ledger.settlement(one, Price.unknown("why"), 1))
      expect(Ledger.balance(assumed, "k", 100)).toMatchObject({
        low: 970n,
        expected: 970n,
        high: 1000n,
        certainty: "uncertain"
      })
      const risk = Ledger.apply(open, { _tag: "Refund", id: one.id, at: 1, atRisk: true })
      expect(Ledger.balance(risk, "k", 100)).toMatchObject({ low: 970n, expected: 1000n, certainty: "uncertain" })
      const unpriced = Ledger.decide(state, { account: "k", label: "", estimate: Price.unknown("why") }, 0)
      if (unpriced._tag !== "Reserved") throw new Error("refused")
      const answered = Ledger.apply(
        Ledger.apply(state, unpriced.entry),
        Ledger.settlement(unpriced.entry, Price.unknown("why"), 1)
      )
      expect(Ledger.balance(answered, "k", 100)).toMatchObject({ certainty: "uncertain", unpricedSince: 1 })
      const refused = Ledger.apply(Ledger.apply(state, unpriced.entry), {
        _tag: "Refund",
        id: unpriced.entry.id,
        at: 1,
        atRisk: true
      })
      expect(Ledger.tally(refused.accounts, "k").atRisk).toBe(0n)
    })
  })
})

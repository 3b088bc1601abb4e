import { describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import * as CreditAlerts from "../../src/guard/credits/CreditAlerts.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as Budget from "../../src/policy/Budget.ts"
import type * as Ledger from "../../src/policy/Ledger.ts"
import * as Price from "../../src/policy/Price.ts"
import { cents, probe } from "./credits.ts"

const call = (costCents: number, highCents = costCents) => ({
  estimate: Price.range(0n, cents(highCents)),
  cost: () => Price.known(cents(costCents))
})
const ok = Effect.succeed("answer")

/** Runs under a guard whose alerts are collected. */
const listening = <A, E>(
  options: Credits.Options,
  use: (credits: Credits.Service, alerts: Array<CreditAlerts.Alert>) => Effect.Effect<A, E>
) => {
  const alerts: Array<CreditAlerts.Alert> = []
  return Effect.flatMap(Credits.Credits, (credits) => use(credits, alerts)).pipe(
    Effect.provide(
      Credits.layerAlerts((alert) => Effect.sync(() => void alerts.push(alert))).pipe(
        Layer.provideMerge(Credits.layer(options))
      )
    )
  )
}

describe("CreditAlerts", () => {
  it.effect("tells each threshold of a budget once, and the first refusal", () =>
    listening(
      { budgets: [Budget.make({ name: "run", limit: "$1", per: ["run"], warnAt: [0.5, 0.9] })] },
      (credits, alerts) =>
        Effect.gen(function*() {
          for (let i = 0; i < 10; i++) yield* credits.run(ok, call(10))
          for (let i = 0; i < 3; i++) yield* Effect.flip(credits.run(ok, call(10)))
          yield* Effect.yieldNow
          expect(alerts).toMatchObject([
            { _tag: "BudgetNearLimit", budget: "run", threshold: 0.5, settled: cents(50), limit: cents(100) },
            { _tag: "BudgetNearLimit", threshold: 0.9, message: "Budget \"run\" is 90 % spent: $0.90 of $1.00." },
            { _tag: "BudgetExceeded", budget: "run", needed: cents(10), remaining: 0n }
          ])
        })
    ))

  it.effect("tells whose a counter is, where a budget has one for each account, label and day", () =>
    listening(
      { budgets: [Budget.make({ name: "team", limit: "$1", per: ["account", "label", "day"], warnAt: [0.5] })] },
      (credits, alerts) =>
        Effect.gen(function*() {
          yield* TestClock.setTime(Date.UTC(2026, 0, 31, 12))
          const of = (account: string, amount: number) => ({ ...call(amount), account, label: "search" })
          yield* credits.run(ok, of("acme", 60))
          yield* credits.run(ok, { ...of("tiny", 10), estimate: Price.range(0n, cents(5)) })
          const error = yield* Effect.flip(credits.run(ok, of("acme", 50)))
          yield* Effect.yieldNow
          const dimensions = { account: "acme", label: "search", day: "2026-01-31" }
          const whose = "\"team\" of account \"acme\" and label \"search\""
          expect(alerts).toMatchObject([
            { _tag: "BudgetNearLimit", dimensions, message: `Budget ${whose} is 50 % spent: $0.60 of $1.00.` },
            {
              _tag: "SettledAboveEstimate",
              account: "tiny",
              label: "search",
              message: expect.stringMatching(/^A call of account "tiny" and label "search" cost \$0\.10/)
            },
            { _tag: "BudgetExceeded", dimensions, message: error.message }
          ])
          expect(error.message).toContain(`but budget ${whose} has $0.40 of $1.00 left`)
        })
    ))

  it.effect("tells an account's calls above their estimate once, and again where one exceeds its own by twice as much", () =>
    listening({}, (credits, alerts) =>
      Effect.gen(function*() {
        const above = (by: number, account: string) => ({ ...call(10 + by, 10), account })
        for (const by of [3, 5, 6, 11, 12]) yield* credits.run(ok, above(by, "acme"))
        yield* credits.run(ok, above(1, "tiny"))
        yield* Effect.yieldNow
        expect(alerts).toMatchObject([
          { _tag: "SettledAboveEstimate", account: "acme", reserved: cents(10), cost: cents(13) },
          { _tag: "SettledAboveEstimate", account: "acme", cost: cents(16) },
          { _tag: "SettledAboveEstimate", account: "acme", cost: cents(22) },
          { _tag: "SettledAboveEstimate", account: "tiny", cost: cents(11) }
        ])
        expect(alerts[0]?.message).toBe(
          "A call of account \"acme\" cost $0.13, more than the $0.10 reserved for it: its estimate is too low. Raise " +
            "inputMargin where the input has more tokens than its length suggests, and set max_tokens of a generation."
        )
      })))

  it.effect("ends with the scope of its guard, behind what was told before", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const credits = yield* Scope.provide(Credits.make(), scope)
      const heard = yield* Effect.forkChild(Stream.runCollect(credits.alerts), { startImmediately: true })
      yield* Effect.yieldNow
      yield* credits.suspend()
      yield* Scope.close(scope, Exit.void)
      expect((yield* Fiber.join(heard)).map((alert) => alert._tag)).toEqual(["Suspended"])
      // calls go through the guard as before, and are heard by nobody
      yield* credits.resume()
      expect(yield* credits.run(ok, call(11, 10))).toBe("answer")
      expect(yield* Stream.runCollect(credits.alerts)).toEqual([])
    }))

  it.effect("tells a threshold once where calls settle at the same time and the store is slow", () =>
    listening(
      { budgets: [Budget.make({ name: "run", limit: "$1", warnAt: [0.5] })] },
      (credits, alerts) =>
        Effect.gen(function*() {
          const calls = yield* Effect.forkChild(
            Effect.forEach(Array.from({ length: 8 }), () => credits.run(ok, call(10)), { concurrency: 8 }),
            { startImmediately: true }
          )
          yield* TestClock.adjust("1 minute")
          yield* Fiber.join(calls)
          yield* Effect.yieldNow
          expect(alerts).toMatchObject([{ _tag: "BudgetNearLimit", threshold: 0.5, settled: cents(50) }])
        })
    ).pipe(
      Effect.provideService(LedgerStore.LedgerStore, {
        ...LedgerStore.memory,
        append: () => Effect.sleep("1 second")
      })
    ))

  it.effect("tells a counter that refuses once for each reason, also where it had room in between", () =>
    listening(
      { budgets: [Budget.make({ name: "run", limit: "$1", warnAt: [] })] },
      (credits, alerts) =>
        Effect.gen(function*() {
          const unpriced = { estimate: Price.unknown("no price is known"), cost: () => Price.unknown("none") }
          yield* Effect.flip(credits.run(ok, unpriced))
          for (let i = 0; i < 2; i++) {
            const reservation = yield* credits.reserve({ estimate: Price.range(0n, cents(60)) })
            yield* Effect.flip(credits.reserve({ estimate: Price.range(0n, cents(60)) }))
            yield* reservation.refund()
          }
          yield* Effect.flip(credits.run(ok, unpriced))
          yield* Effect.yieldNow
          expect(alerts.map(({ _tag, message }) => [_tag, message.slice(0, 17)])).toEqual([
            ["BudgetExceeded", "no price is known"],
            ["BudgetExceeded", "The call may cost"]
          ])
        })
    ))

  it.effect("tells a suspension with its remedy, and its end", () =>
    listening(
      { probe, balance: [{ balance: "$3" }], whenSuspended: "wait" },
      (credits, alerts) =>
        Effect.gen(function*() {
          yield* credits.suspend()
          yield* credits.suspend()
          yield* TestClock.adjust("12 seconds")
          yield* credits.resume()
          yield* Effect.yieldNow
          expect(alerts.map((alert) => alert.message)).toEqual([
            "Credit of \"default\" ran out: nothing is sent any more (first probe in 30 s). The ledger expects $3.00 to be " +
            "left: compare with https://api.together.ai/settings/billing. If the balance there is positive, it may be free " +
            "credits only (buy at least $5: free credits alone do not open the platform) or an invoice may be past due (pay " +
            "it there: credits bought after an invoice do not clear it). Sending resumes by itself after the next " +
            "successful probe, or at once by Credits.resume.",
            "\"default\" sends again after 12 s without credit, by hand (refusals: 2, probes: 0)."
          ])
        })
    ))

  it.effect("tells when no probe is planned at all", () =>
    listening(
      { probe: Schedule.upTo(Schedule.spaced("1 second"), { times: 0 }) },
      (credits, alerts) =>
        Effect.gen(function*() {
          yield* credits.suspend()
          yield* Effect.yieldNow
          expect(alerts.map((alert) => alert._tag)).toEqual(["Suspended", "ProbingEnded"])
          expect(alerts[0]?.message).toMatch(/no probe is planned/)
        })
    ))

  it.effect("tells repeated rate limits of a model, once a minute", () =>
    listening({ rateLimitAlert: { count: 3, windowSeconds: 60 } }, (credits, alerts) =>
      Effect.gen(function*() {
        for (let i = 0; i < 9; i++) {
          yield* credits.rateLimited({ model: "a" })
          yield* TestClock.adjust("10 seconds")
        }
        yield* credits.rateLimited({ model: "b" })
        yield* Effect.yieldNow
        expect(alerts.map((alert) => [alert._tag, alert.at])).toEqual([
          ["RepeatedRateLimits", 20],
          ["RepeatedRateLimits", 80]
        ])
        expect(alerts[0]).toMatchObject({ account: "default", model: "a", count: 3, windowSeconds: 60 })
        expect(alerts[0]?.message).toMatch(
          /^3 rate limits of a within 60 s: the load is above what account "default" may/
        )
      })))

  it.effect("tells a low balance once per statement", () =>
    listening(
      { lowBalance: "1 hour", balance: Effect.succeed([{ balance: "$1", free: "$0" }]) },
      (credits, alerts) =>
        Effect.gen(function*() {
          for (let i = 0; i < 20; i++) {
            yield* TestClock.adjust("1 minute")
            yield* credits.run(ok, call(3))
          }
          const low = () => alerts.filter((alert) => alert._tag === "BalanceLow")
          expect(low()).toHaveLength(1)
          expect(low()[0]?.message).toMatch(
            /^Balance of "default": at this rate the balance of \$0\.\d\d lasts \d+ min\. Add/
          )
          yield* credits.stateBalance({ balance: "$1" })
          yield* credits.run(ok, call(3))
          yield* Effect.yieldNow
          expect(low()).toHaveLength(2)
        })
    ))

  it.effect("tells of no low balance in the first minute, but of one that is used up", () =>
    listening({ lowBalance: "1 hour", balance: [{ balance: "$1" }] }, (credits, alerts) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("2 seconds")
        yield* credits.run(ok, call(5))
        yield* Effect.yieldNow
        expect(alerts).toEqual([])
        yield* credits.run(ok, call(95))
        yield* Effect.yieldNow
        expect(alerts).toMatchObject([{ _tag: "BalanceLow", lastsSeconds: 0 }])
      })))

  it.effect("tells a low balance again once the forecast had recovered", () =>
    listening({ lowBalance: "1 hour", balance: [{ balance: "$100" }] }, (credits, alerts) =>
      Effect.gen(function*() {
        const low = () => alerts.filter((alert) => alert._tag === "BalanceLow").length
        const spend = (costCents: number, minutes: number) =>
          Effect.andThen(TestClock.adjust("1 minute"), credits.run(ok, call(costCents))).pipe(
            Effect.repeat({ times: minutes - 1 })
          )
        yield* spend(300, 5)
        yield* Effect.yieldNow
        expect(low()).toBe(1)
        yield* spend(1, 60)
        yield* spend(300, 10)
        yield* Effect.yieldNow
        expect(low()).toBe(2)
      })))

  it.effect("tells a low balance once where the forecast only hovers above the limit", () =>
    listening({ lowBalance: "1 hour", balance: [{ balance: "$100" }] }, (credits, alerts) =>
      Effect.gen(function*() {
        const lasts = Effect.map(credits.forecast(), (forecast) => (forecast?.lastsSeconds ?? NaN) / 3600)
        const spend = (costCents: number) =>
          Effect.andThen(TestClock.adjust("1 minute"), credits.run(ok, call(costCents)))
        while (!((yield* lasts) < 1)) yield* spend(300)
        // it lasts for up to twice as long again, and then no more
        while ((yield* lasts) < 1.4) yield* spend(1)
        expect(yield* lasts).toBeLessThan(2)
        while ((yield* lasts) > 0.9) yield* spend(300)
        yield* Effect.yieldNow
        expect(alerts.filter((alert) => alert._tag === "BalanceLow")).toHaveLength(1)
      })))

  it.effect("tells with the first call what was charged for a program that stopped", () =>
    Effect.gen(function*() {
      const reserve = (id: number): Ledger.Reserve => ({
        _tag: "Reserve",
        id,
        at: 0,
        run: "r",
        account: "default",
        label: "",
        high: cents(30),
        expected: cents(30)
      })
      const store: LedgerStore.Store = { ...LedgerStore.memory, entries: [reserve(1), reserve(2)] }
      yield* listening({ run: "r", budgets: [Budget.perRun("$1")] }, (credits, alerts) =>
        Effect.gen(function*() {
          yield* credits.run(ok, call(1))
          yield* credits.run(ok, call(1))
          yield* Effect.yieldNow
          expect(alerts).toMatchObject([{ _tag: "BudgetNearLimit", threshold: 0.5, settled: cents(60) }])
          const assumed = (yield* Metric.snapshot).find(({ attributes, id }) =>
            id === "effect_together_credits_spent_usd_total" && attributes?.["certainty"] === "assumed"
          )
          expect(assumed?.state).toMatchObject({ count: 0.6 })
        })).pipe(Effect.provideService(LedgerStore.LedgerStore, store))
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("tells nothing of budgets that calls of another run or an earlier day have used up", () =>
    Effect.gen(function*() {
      const entries: ReadonlyArray<Ledger.Entry> = [
        { _tag: "Reserve", id: 1, at: 0, run: "monday", account: "default", label: "", high: cents(96), expected: 0n }
      ]
      const alerts: Array<CreditAlerts.Alert> = []
      yield* TestClock.adjust("30 hours")
      yield* Effect.flatMap(Credits.Credits, (credits) => Effect.andThen(credits.run(ok, call(1)), Effect.yieldNow))
        .pipe(
          Effect.provide(
            Credits.layerAlerts((alert) => Effect.sync(() => void alerts.push(alert))).pipe(
              Layer.provideMerge(Credits.layer({
                run: "tuesday",
                budgets: [Budget.perRun("$1"), Budget.perDay("$1"), Budget.perAccount("$1")]
              })),
              Layer.provide(Layer.succeed(LedgerStore.LedgerStore, { ...LedgerStore.memory, entries }))
            )
          )
        )
      expect(alerts.map(({ message }) => message)).toEqual([
        "Budget \"account\" of account \"default\" is 95 % spent: $0.96 of $1.00."
      ])
    }))

  it.effect("tells with the first call that the ledger could not be written when it was opened", () =>
    Effect.gen(function*() {
      const append = () => Effect.fail(new LedgerStore.LedgerStoreError({ reason: "io", message: "disk full" }))
      const first: ReadonlyArray<(credits: Credits.Service) => Effect.Effect<unknown>> = [
        (credits) => Effect.exit(credits.run(ok, call(1))),
        (credits) => credits.stateBalance({ balance: "$3" })
      ]
      for (const use of first) {
        const alerts = yield* listening({ balance: [{ balance: "$5" }] }, (credits, alerts) =>
          Effect.gen(function*() {
            yield* Effect.yieldNow
            expect(alerts).toEqual([])
            yield* use(credits)
            yield* use(credits)
            yield* Effect.yieldNow
            return alerts
          })).pipe(Effect.provideService(LedgerStore.LedgerStore, { ...LedgerStore.memory, append }))
        expect(alerts).toMatchObject([{ _tag: "LedgerUnwritable", message: "disk full" }])
      }
    }))

  it.effect("logs an alert as a sentence with its fields", () => {
    const logged: Array<string> = []
    const logger = Logger.map(Logger.formatLogFmt, (line) => void logged.push(line))
    return CreditAlerts.log({ _tag: "LedgerUnwritable", at: 7, message: "disk full" }).pipe(
      Effect.andThen(CreditAlerts.log({
        _tag: "Resumed",
        at: 8,
        account: "k",
        by: "hand",
        seconds: 1,
        probes: 0,
        refusals: 1,
        message: "sends again"
      })),
      Effect.andThen(CreditAlerts.log({
        _tag: "BudgetNearLimit",
        at: 9,
        budget: "b",
        dimensions: { account: "acme", day: "2026-01-31" },
        threshold: 0.5,
        settled: 1n,
        limit: 2n,
        message: "half"
      })),
      Effect.andThen(Effect.sync(() => {
        expect(logged[0]).toMatch(/level=WARN .*message="disk full" credits\._tag=LedgerUnwritable credits\.at=7/i)
        expect(logged[1]).toMatch(/level=INFO .*message="sends again" .*credits\.by=hand/i)
        expect(logged[2]).toMatch(/message=half .*credits\.account=acme credits\.day=2026-01-31/)
      })),
      Effect.provide(Logger.layer([logger]))
    )
  })

  it.effect("tells the next alert to a handler that has died, and logs why", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const heard: Array<string> = []
      const handler = ({ _tag }: CreditAlerts.Alert) => {
        heard.push(_tag)
        if (heard.length === 1) throw new Error("the pager is down")
        return heard.length === 2 ? Effect.die(new Error("still down")) : Effect.void
      }
      const logger = Logger.map(Logger.formatLogFmt, (line) => void logged.push(line))
      yield* Effect.gen(function*() {
        const credits = yield* Credits.Credits
        for (let round = 0; round < 2; round++) {
          yield* credits.suspend()
          yield* credits.resume()
          yield* Effect.yieldNow
        }
      }).pipe(
        Effect.provide(Credits.layerAlerts(handler).pipe(Layer.provideMerge(Credits.layer()))),
        Effect.provide(Logger.layer([logger]))
      )
      expect(heard).toEqual(["Suspended", "Resumed", "Suspended", "Resumed"])
      expect(logged).toMatchObject([
        expect.stringMatching(/level=ERROR .*the handler of Suspended has died.*the pager is down/s),
        expect.stringMatching(/level=ERROR .*the handler of Resumed has died.*still down/s)
      ])
    }))
})

describe("Credits", () => {
  it.effect("forecasts the balance and what auto-recharge will buy", () =>
    listening(
      { autoRecharge: AutoRecharge.inIncrements({ threshold: "$5" }), balance: [{ balance: "$20" }] },
      (credits) =>
        Effect.gen(function*() {
          expect(yield* credits.forecast("other")).toBeUndefined()
          for (let i = 0; i < 60; i++) {
            yield* TestClock.adjust("1 minute")
            yield* credits.run(ok, call(10))
          }
          const forecast = yield* credits.forecast()
          expect(forecast?.message).toMatch(
            /^at this rate the balance of \$14\.00 lasts 2 h \d+ min; auto-recharge will buy 6 × \$25\.00 within 24 h/
          )
        })
    ))

  it.effect("judges work against the carried balance", () =>
    listening({}, (credits) =>
      Effect.gen(function*() {
        const work = { _tag: "Calls" as const, count: 10, estimate: Price.exactly(cents(10)) }
        expect(yield* credits.preflight(work)).toMatchObject({ _tag: "Unknown", missing: "balance" })
        yield* credits.stateBalance({ balance: "$1.50" })
        expect(yield* credits.preflight(work)).toMatchObject({ _tag: "Enough", left: cents(50) })
        yield* credits.run(ok, call(60))
        expect(yield* credits.preflight(work)).toMatchObject({ _tag: "Short", shortfall: cents(10), buy: cents(500) })
        expect(yield* credits.preflight(work, { account: "other" })).toMatchObject({ _tag: "Unknown" })
      })))

  it.effect("reports accounts and budgets in order", () =>
    listening(
      { budgets: [Budget.perLabel("$1"), Budget.perRun("$9")], balance: [{ account: "b", balance: "$2" }] },
      (credits) =>
        Effect.gen(function*() {
          for (const label of ["y", "z", "x"]) yield* credits.run(ok, { ...call(10), account: "a", label })
          const report = yield* credits.report
          expect(report.accounts.map(({ account }) => account)).toEqual(["a", "b"])
          expect(report.budgets.map(({ counter, remaining }) => [counter.replace("\u0000", " "), remaining])).toEqual([
            ["label label=x", cents(90)],
            ["label label=y", cents(90)],
            ["label label=z", cents(90)],
            [expect.stringMatching(/^run run=run-/), cents(870)]
          ])
        })
    ))

  it.effect("works through its module functions, data-first and data-last", () =>
    Effect.gen(function*() {
      expect(yield* Credits.run(ok, call(1))).toBe("answer")
      expect(yield* ok.pipe(Credits.run(call(1)))).toBe("answer")
      const perElement = { estimate: Price.exactly(1n), cost: () => Price.known(1n) }
      expect(yield* Stream.runCollect(Credits.stream(Stream.make(1), perElement))).toEqual([1])
      expect(yield* Stream.make(1).pipe(Credits.stream(perElement), Stream.runCollect)).toEqual([1])
      expect(yield* Credits.resume()).toBe(false)
      expect(yield* Credits.preflight({ _tag: "Evaluation", estimates: [] })).toMatchObject({ missing: "balance" })
      const credits = yield* Credits.Credits
      expect((yield* credits.report).accounts[0]?.tally.calls).toBe(4)
    }).pipe(Effect.provide(Credits.layer())))

  it.effect("opens a call in a scope: refused, run again, charged for what arrived", () =>
    Effect.gen(function*() {
      const refused = new InsufficientCreditsError({ message: "no credit" })
      const credits = yield* Credits.make({ whenSuspended: { wait: "1 minute" }, probe })
      const fiber = yield* Effect.forkChild(
        Effect.scoped(Effect.gen(function*() {
          const opened = yield* credits.open({ estimate: Price.exactly(cents(9)) })
          yield* opened.refused(refused)
          yield* Effect.provideService(credits.check(), Credits.CurrentTicket, opened.ticket())
          yield* Effect.provideService(credits.accepted, Credits.CurrentTicket, opened.ticket())
          expect((yield* credits.account())._tag).toBe("Active")
          yield* opened.arrived(Price.known(cents(2)))
        })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(fiber)
      expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
      yield* credits.accepted
    }))

  it.effect("counts money in metrics, by budget and reason, never by account", () =>
    Effect.gen(function*() {
      const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
      yield* credits.run(ok, { ...call(25), account: "secret" })
      yield* credits.run(ok, { ...call(30, 25), account: "secret" })
      yield* credits.run(ok, { estimate: Price.exactly(cents(5)), cost: () => Price.unknown("?"), account: "secret" })
      yield* Effect.flip(credits.run(ok, { ...call(50), account: "secret" }))
      const free = yield* Credits.make({ probe })
      yield* free.run(ok, { estimate: Price.unknown("?"), cost: () => Price.unknown("?") })
      yield* free.suspend()
      yield* TestClock.adjust("30 seconds")
      yield* Effect.flip(free.run(Effect.fail("x" as const), call(1)))
      yield* TestClock.adjust("30 seconds")
      yield* Effect.flip(free.run(Effect.fail(new InsufficientCreditsError({ message: "no" })), call(1)))
      yield* TestClock.adjust("30 seconds")
      yield* free.run(ok, call(1))
      const snapshot = yield* Metric.snapshot
      const values = snapshot.flatMap((metric) => {
        const state: unknown = metric.state
        const value = typeof state === "object" && state !== null && "count" in state
          ? state.count
          : typeof state === "object" && state !== null && "value" in state
          ? state.value
          : undefined
        return metric.id.startsWith("effect_together_credits_")
          ? [`${metric.id} ${JSON.stringify(metric.attributes ?? {})} ${Number(value).toFixed(2)}`]
          : []
      })
      expect(values.toSorted()).toEqual([
        "effect_together_credits_overshoot_usd_total {} 0.05",
        "effect_together_credits_probes_total {\"outcome\":\"answered\"} 1.00",
        "effect_together_credits_probes_total {\"outcome\":\"inconclusive\"} 1.00",
        "effect_together_credits_probes_total {\"outcome\":\"refused\"} 1.00",
        "effect_together_credits_refused_total {\"budget\":\"run\",\"reason\":\"no-room\"} 1.00",
        "effect_together_credits_reserved_usd {} 0.00",
        "effect_together_credits_spent_usd_total {\"certainty\":\"assumed\"} 0.05",
        "effect_together_credits_spent_usd_total {\"certainty\":\"sure\"} 0.56",
        "effect_together_credits_suspended_seconds_total {} 90.00",
        "effect_together_credits_suspensions_total {} 1.00",
        "effect_together_credits_unpriced_total {} 1.00"
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  describe("layerConfig", () => {
    const from = (env: Record<string, string>) =>
      Credits.layerConfig().pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))))

    it.effect("reads budgets, balance and policy, all optional", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.Credits
        yield* credits.run(ok, call(10))
        const { accounts, budgets } = yield* credits.report
        expect(budgets.map(({ budget, counter }) => [budget.name, budget.limit, counter.split("\u0000")[1]])).toEqual([
          ["run", cents(2500), "run=nightly"],
          ["day", cents(50), "day=0"]
        ])
        expect(accounts[0]?.balance?.expected).toBe(cents(2990))
      }).pipe(Effect.provide(from({
        TOGETHER_CREDITS_RUN: "nightly",
        TOGETHER_CREDITS_RUN_BUDGET: "$25",
        TOGETHER_CREDITS_DAY_BUDGET: "0.50",
        TOGETHER_CREDITS_BALANCE: "$30",
        TOGETHER_CREDITS_WHEN_SUSPENDED: "wait"
      }))))

    it.effect("needs none of them, and refuses what is no amount", () =>
      Effect.gen(function*() {
        expect(yield* Effect.provide(Credits.run(ok, call(10)), from({}))).toBe("answer")
        const exit = yield* Effect.exit(
          Effect.provide(Credits.run(ok, call(10)), from({ TOGETHER_CREDITS_RUN_BUDGET: "lots" }))
        )
        expect(Exit.isFailure(exit)).toBe(true)
      }))

    it.effect.each(["TOGETHER_CREDITS_RUN_BUDGET", "TOGETHER_CREDITS_DAY_BUDGET"])(
      "refuses an empty %s from a provider that tells it from one that is not set",
      (name) =>
        Effect.gen(function*() {
          const provider = ConfigProvider.fromEnv({ env: { [name]: "" }, preserveEmptyStrings: true })
          const built = Layer.build(Layer.provide(Credits.layerConfig(), ConfigProvider.layer(provider)))
          expect((yield* Effect.flip(built))._tag).toBe("ConfigError")
        })
    )

    it.effect("reads single options from variables of their own", () =>
      Effect.gen(function*() {
        const limit = Config.map(Config.String("LIMIT"), (usd) => [Budget.perRun(usd)])
        const own = Credits.layerConfig({ budgets: limit, run: Config.succeed("own") })
        const provider = ConfigProvider.layer(ConfigProvider.fromEnvRecord({ LIMIT: "$3" }))
        const credits = yield* Effect.provide(Credits.Credits, Layer.provide(own, provider))
        const { budgets } = yield* credits.report
        expect(budgets.map(({ budget, dimensions }) => [budget.limit, dimensions])).toEqual([[cents(300), {
          run: "own"
        }]])
      }))

    it.effect("refuses an option out of its range as it refuses a variable", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(Credits.layerConfig(Config.succeed({ dayOffset: "25 hours" }))))
        expect(error._tag).toBe("ConfigError")
        expect(error.message).toContain("Credits.make: dayOffset must be above -24 h and below 24 h, got 90000000 ms")
      }))
  })
})

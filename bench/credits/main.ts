/**
 * Measures the credits guard: `node bench/credits/main.ts [seeds]`.
 *
 * 1. a job whose credit ends half-way, with top-ups at every second of a probe's interval
 * 2. a thousand fibers against a budget for five hundred calls, over many seeds
 * 3. what the guard costs per call, without and with a ledger file
 * 4. a restart from every prefix of a ledger file
 */
import { NodeFileSystem } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as BudgetRace from "./budgetRace.ts"
import * as Outage from "./outage.ts"

const seeds = Number(process.argv[2] ?? 1000)

const outage = Effect.gen(function*() {
  console.log("\n1. Credit ends half-way: 2,000 calls, whole client, virtual time")
  console.log("   provider   | ended by      | lost | 402s ≤ in flight + probes | makespan | ideal    | over")
  for (
    const [name, simulation, concurrency] of [
      ["unlimited", Outage.unlimited, 32],
      ["10/s, 3k t/s", Outage.limited, 64]
    ] as const
  ) {
    const job = { calls: 2000, concurrency, simulation }
    const baseline = yield* Outage.run({ ...job, credits: {} })
    const half = baseline.billedUsd / 2
    const print = (how: string, outcome: Outage.Outcome) => {
      const ideal = baseline.makespanSeconds + outcome.closedSeconds
      console.log(
        `   ${name.padEnd(12)}| ${
          how.padEnd(14)
        }| ${outcome.lost}    | ${outcome.refused} ≤ ${outcome.inFlightAtRefusal} + ${outcome.probes}`
          .padEnd(63),
        `| ${outcome.makespanSeconds.toFixed(1)} s | ${ideal.toFixed(1)} s | ${
          ((outcome.makespanSeconds / ideal - 1) * 100).toFixed(2)
        } %`
      )
    }
    for (const afterSeconds of [600, 602, 604, 606, 608]) {
      print(
        `top-up ${afterSeconds} s`,
        yield* Outage.run({
          ...job,
          simulation: { ...simulation, credits: { balanceUsd: half } },
          credits: {},
          topUp: { afterSeconds, usd: 100 }
        })
      )
    }
    for (const mode of ["target", "amount"] as const) {
      const [thresholdUsd, more] = [half / 10, half * 2]
      const settings = { threshold: thresholdUsd.toFixed(9) }
      print(
        `auto (${mode})`,
        yield* Outage.run({
          ...job,
          simulation: {
            ...simulation,
            credits: {
              balanceUsd: half,
              purchaseLagSeconds: 120,
              autoRecharge: mode === "target"
                ? { mode, thresholdUsd, targetUsd: more }
                : { mode, thresholdUsd, amountUsd: more }
            }
          },
          credits: {
            autoRecharge: mode === "target"
              ? AutoRecharge.toTarget({ ...settings, target: more.toFixed(9) })
              : AutoRecharge.inIncrements({ ...settings, amount: more.toFixed(9) })
          }
        })
      )
    }
  }
})

const race = Effect.gen(function*() {
  const started = performance.now()
  let exact = 0
  for (let seed = 0; seed < seeds; seed++) {
    const { mostCommitted, open, refused, sent, spent } = yield* Effect.scoped(
      BudgetRace.race({ seed, fibers: 1000, fits: 500 })
    )
    if (sent === 500 && refused === 500 && open === 0 && spent === 5_000_000_000n && mostCommitted <= spent) exact++
  }
  const seconds = (performance.now() - started) / 1000
  console.log("\n2. 1,000 fibers, a budget for exactly 500 calls")
  console.log(`   exactly 500 sent in ${exact} of ${seeds} seeds, ${seconds.toFixed(0)} s`)
})

const perCall = (credits: Credits.Service, calls: number, concurrency: number) =>
  Effect.gen(function*() {
    const one = credits.run(Effect.void, { estimate: Price.exactly(1000n), cost: () => Price.known(900n) })
    const started = performance.now()
    yield* Effect.forEach(Array.from({ length: calls }), () => one, { concurrency, discard: true })
    return (performance.now() - started) * 1000 / calls
  })

const overhead = Effect.gen(function*() {
  console.log("\n3. Overhead of run, per call")
  const options = { budgets: [Budget.perRun("$100"), Budget.perDay("$100"), Budget.perLabel("$100")] }
  const memory = yield* Credits.make(options)
  yield* perCall(memory, 20_000, 64)
  console.log(`   memory, 3 budgets:             ${(yield* perCall(memory, 50_000, 64)).toFixed(1)} µs`)
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped()}/ledger.jsonl`
  for (const concurrency of [1, 64, 1024]) {
    yield* Effect.gen(function*() {
      const micros = yield* perCall(yield* Credits.Credits, concurrency === 1 ? 500 : 20_000, concurrency)
      console.log(
        `   file with fsync, ${String(concurrency).padStart(4)} in flight: ${micros.toFixed(1).padStart(6)} µs`
      )
    }).pipe(Effect.provide(Layer.provide(Credits.layer(options), LedgerStore.layerFile({ path })), { local: true }))
  }
  const long = `${path}.long`
  yield* Effect.flatMap(Credits.Credits, (credits) => perCall(credits, 20_000, 1024)).pipe(
    Effect.provide(
      Layer.provide(Credits.layer(options), LedgerStore.layerFile({ path: long, compactAbove: Infinity })),
      { local: true }
    )
  )
  for (const what of ["opening, which compacts", "opening again"]) {
    const before = (yield* fs.readFileString(long)).split("\n").length - 2
    const started = performance.now()
    yield* Effect.scoped(LedgerStore.makeFile({ path: long }))
    console.log(`   ${what}: ${before} entries, ${(performance.now() - started).toFixed(0)} ms`)
  }
})

const prefixes = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped()}/ledger.jsonl`
  const guarded = <A, E>(use: (credits: Credits.Service) => Effect.Effect<A, E>) =>
    Effect.flatMap(Credits.Credits, use).pipe(
      Effect.provide(Layer.provide(Credits.layer({ run: "r" }), LedgerStore.layerFile({ path })), { local: true })
    )
  const settled = (credits: Credits.Service) => Effect.map(credits.report, ({ accounts }) => accounts[0]?.tally)
  const acknowledged: Array<readonly [bytes: number, nanoUsd: bigint]> = []
  yield* guarded((credits) =>
    Effect.gen(function*() {
      yield* credits.reserve({ estimate: Price.exactly(1_000_000n) })
      for (let i = 1; i <= 40; i++) {
        yield* credits.run(Effect.void, { estimate: Price.exactly(1000n), cost: () => Price.known(BigInt(i)) })
        acknowledged.push([Number((yield* fs.stat(path)).size), (yield* settled(credits))?.settled ?? 0n])
      }
    })
  )
  const file = yield* fs.readFile(path)
  let [lost, leaked] = [0, 0]
  for (let bytes = 0; bytes <= file.length; bytes++) {
    yield* fs.writeFile(path, file.subarray(0, bytes))
    const after = yield* guarded(settled)
    const floor = acknowledged.findLast(([end]) => end <= bytes)?.[1] ?? 0n
    if ((after?.settled ?? 0n) - (after?.uncertain ?? 0n) < floor) lost++
    if ((after?.open ?? 0) !== 0 || (after?.reserved ?? 0n) !== 0n) leaked++
  }
  console.log("\n4. Killed at any byte of the ledger file, then restarted")
  console.log(`   ${file.length + 1} prefixes: ${lost} lost a settled cost, ${leaked} leaked a reservation`)
})

await Effect.runPromise(
  outage.pipe(
    Effect.andThen(race),
    Effect.andThen(overhead),
    Effect.andThen(prefixes),
    Effect.scoped,
    Effect.provide(NodeFileSystem.layer)
  )
)

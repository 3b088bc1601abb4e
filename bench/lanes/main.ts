/**
 * The lanes benchmark: our lane, an omniscient client and what people use today, on the same simulated provider.
 *
 * `node bench/lanes/main.ts [--seeds 3] [--from 1001] [--calls 2000] [--scenario name] [--peers all|none|name] [--json path]
 * [--hidden] [--trace] [--jitter ms] [--travel ms] [--stall ms]` (the last three: inexact.ts)
 *
 * The raw rows are written where `--json` says; `npm run bench:lanes -- --json bench/results/lanes.json` writes those of
 * the repository, which are of all scenarios and peers.
 *
 * Scenario `tuned` is the ten of the bars, `others` the limits that were not tuned on, `all` both; `spread` are other
 * limits of tokens and other mixes of sizes, `wide` are other providers. Makespan is divided by the ideal: the time of
 * the client who sees the server's buckets (omniscient.ts). Wasted are attempts beyond one per call that the scenario
 * did not force. Which seeds were tuned on stands in docs/benchmarks.md; the default starts at 1001, which was not.
 */
import * as World from "./world.ts"

import * as Effect from "effect/Effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { parseArgs } from "node:util"
import * as Inexact from "./inexact.ts"
import * as Omniscient from "./omniscient.ts"
import * as Outcome from "./outcome.ts"
import { peers } from "./peers.ts"
import * as Provider from "./provider.ts"
import { others, type Scenario, scenarios, spread, wasteBar, wide, workload } from "./scenarios.ts"

void World

const { values } = parseArgs({
  options: {
    ...Inexact.flags,
    seeds: { type: "string", default: "3" },
    from: { type: "string", default: "1001" },
    calls: { type: "string", default: "2000" },
    scenario: { type: "string", default: "all" },
    peers: { type: "string", default: "all" },
    hidden: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    json: { type: "string" }
  }
})
const calls = Number(values.calls)
const options = { ...Inexact.read(values), ...(values.hidden ? { hidden: true } : {}), trace: values.trace }
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => Number(values.from) + i)

interface Row {
  readonly scenario: string
  readonly client: string
  readonly seed: number
  readonly seconds: number
  readonly ideal: number
  readonly ratio: number
  readonly attempts: number
  readonly forced: number
  readonly wasted: number
  readonly lost: number
}

const rows: Array<Row> = []

const push = (
  scenario: Scenario,
  client: string,
  seed: number,
  ideal: number,
  outcome: Omit<Row, "scenario" | "client" | "seed" | "ideal" | "ratio">
): void => {
  const { seconds, ...counts } = outcome
  rows.push({ scenario: scenario.name, client, seed, seconds, ideal, ratio: seconds / ideal, ...counts })
}

const record = (
  scenario: Scenario,
  client: string,
  seed: number,
  provider: Provider.Provider,
  ideal: number,
  seconds: number,
  lost: number
): void => {
  push(scenario, client, seed, ideal, { seconds, ...Outcome.counted(provider, calls, lost) })
}

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`
const worst = (of: ReadonlyArray<Row>, field: "ratio" | "wasted" | "lost"): number =>
  Math.max(...of.map((row) => row[field]))
const mean = (of: ReadonlyArray<Row>, field: "ratio" | "wasted" | "lost"): number =>
  of.reduce((sum, row) => sum + row[field], 0) / of.length

const print = (scenario: Scenario, client: string): void => {
  const mine = rows.filter((row) => row.scenario === scenario.name && row.client === client)
  if (mine.length === 0) return
  const ok = client !== "effect-together" ?
    "" :
    worst(mine, "ratio") <= scenario.ratio && worst(mine, "wasted") / calls <= wasteBar(scenario, calls) &&
      worst(mine, "lost") === 0
    ? "meets its bar"
    : "MISSES its bar"
  console.log(
    "  " + client.padEnd(40),
    `${mean(mine, "ratio").toFixed(3)} (${worst(mine, "ratio").toFixed(3)})`.padStart(18),
    `${percent(mean(mine, "wasted") / calls)} (${percent(worst(mine, "wasted") / calls)})`.padStart(24),
    `${mean(mine, "lost").toFixed(0)}`.padStart(6),
    ok
  )
}

const sets: Readonly<Record<string, ReadonlyArray<Scenario>>> = {
  all: [...scenarios, ...others],
  tuned: scenarios,
  others,
  spread,
  wide
}
const chosen = sets[values.scenario] ??
  [...scenarios, ...others, ...spread, ...wide].filter((scenario) => scenario.name === values.scenario)

console.log(`${calls} calls, seeds ${seeds[0]} to ${seeds.at(-1)}; makespan ÷ ideal, wasted, lost: mean (worst)`)
for (const scenario of chosen) {
  console.log(
    `\n${scenario.title}  [bar ${scenario.ratio.toFixed(2)}, ${percent(scenario.waste)}${
      scenario.inFlight ? " + in flight" : ""
    }, 0]`
  )
  for (const seed of seeds) {
    const work = workload(scenario, calls, seed)
    const make = () => Provider.make(scenario, seed)
    const knowing = make()
    const ideal = Omniscient.makespan(scenario, knowing, work)
    record(scenario, "omniscient", seed, knowing, ideal, ideal, 0)
    const outcome = await Effect.runPromise(Outcome.ours(scenario, seed, work, options))
    push(scenario, "effect-together", seed, ideal, outcome)
    for (const peer of peers) {
      if (values.peers === "none" || (values.peers !== "all" && !peer.name.includes(values.peers))) continue
      const theirs = make()
      const outcome = await peer.run(theirs, work)
      record(scenario, peer.name, seed, theirs, ideal, outcome.seconds, outcome.lost)
    }
  }
  for (const client of ["omniscient", "effect-together", ...peers.map((peer) => peer.name)]) print(scenario, client)
}

// the first table of docs/benchmarks.md
if (scenarios.every((scenario) => chosen.includes(scenario))) {
  const tuned = new Set(scenarios.map((scenario) => scenario.name))
  const span = (of: ReadonlyArray<number>, text: (n: number) => string): string =>
    `${text(Math.min(...of))} to ${text(Math.max(...of))}`
  console.log("\nall ten: lost of all, most lost in one, wasted, makespan ÷ ideal")
  for (const client of new Set(rows.map((row) => row.client))) {
    const of = rows.filter((row) => row.client === client && tuned.has(row.scenario))
    console.log(
      "  " + client.padEnd(40),
      `${of.reduce((sum, row) => sum + row.lost, 0)}`.padStart(6),
      `${worst(of, "lost")}`.padStart(6),
      span(of.map((row) => row.wasted / calls), percent).padStart(22),
      span(of.map((row) => row.ratio), (n) => n.toFixed(3)).padStart(16)
    )
  }
}

if (values.json === undefined) {
  console.log("\nraw rows: add --json PATH")
} else {
  mkdirSync(dirname(values.json), { recursive: true })
  writeFileSync(values.json, JSON.stringify({ calls, seeds, rows }, null, 1) + "\n")
  console.log(`\nraw rows: ${values.json}`)
}

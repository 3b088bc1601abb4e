/**
 * The lane against variants of the ten rows: each keeps the shape of its row and the bar, and draws everything else.
 *
 * `node bench/lanes/variants.ts [--rows fall,tail] [--from 1] [--variants 40] [--calls 2000] [--worst 5] [--json path]
 * [--jitter ms] [--travel ms] [--stall ms] [--trace]`
 *
 * Rates of 2 to 60 per second, jobs of 500 to 4,000 calls (or `--calls`), latencies of half a second to ten, caps,
 * limits of tokens and sizes of calls, shares of 503s, moments and lengths of outages, falls and neighbours, tails; now
 * and then another contract of headers. Prints for each row how its variants are spread and how many meet its bars, and the worst by time
 * and by waste, so that each can be looked at again: `--rows name --from number --variants 1 --trace`.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { parseArgs } from "node:util"
import type { Options } from "../../src/testing/SimulationConfig.ts"
import { chances, percent, play, quantile } from "./drawn.ts"
import * as Inexact from "./inexact.ts"
import { base, type Scenario, scenarios, wasteBar } from "./scenarios.ts"

const { values } = parseArgs({
  options: {
    ...Inexact.flags,
    rows: { type: "string", default: scenarios.map(({ name }) => name).join() },
    from: { type: "string", default: "1" },
    variants: { type: "string", default: "40" },
    calls: { type: "string" },
    worst: { type: "string", default: "5" },
    json: { type: "string" },
    trace: { type: "boolean", default: false }
  }
})

interface Drawn {
  readonly number: number
  readonly calls: number
  readonly scenario: Scenario
}

const rounded = (value: number): number => Number(value.toPrecision(3))

/** Draws the variant of a row that has a number: always the same one. */
const draw = (row: Scenario, number: number): Drawn => {
  const { pick, random } = chances(number * 7919 + 104_729 * scenarios.indexOf(row))
  const between = (low: number, high: number) => rounded(low + (high - low) * random())
  /** As likely to be twice a value as half of it. */
  const scaled = (low: number, high: number) => rounded(low * (high / low) ** random())

  const length = Math.round(scaled(500, 4000))
  const calls = values.calls === undefined ? length : Number(values.calls)
  const perSecond = scaled(2, 60)
  const latency = { kind: "lognormal", median: scaled(0.5, 10), sigma: between(0.2, 0.8) } as const
  const span = calls / perSecond
  const common: Options = {
    ...base,
    latency,
    limits: { requestsPerSecond: perSecond },
    headers: pick("v4", "v4", "v4", "v4", "v4", "v4", "v1", "v2", "v3", "live"),
    reset: pick("integer", "integer", "integer", "fractional"),
    refusalSeconds: scaled(0.02, 0.2)
  }
  const from = between(span * 0.1, span * 0.7)

  const drawn: Readonly<Record<string, () => Partial<Scenario>>> = {
    requests: () => ({ options: common }),
    tokens: () => ({
      options: { ...common, limits: { requestsPerSecond: perSecond, tokensPerSecond: scaled(500, 17_000) } },
      sizes: pick<() => Scenario["sizes"]>(
        () => ({ largeShare: between(0.05, 0.4), small: [80, 150], large: [Math.round(scaled(200, 2000)), 600] }),
        () => ({ median: [Math.round(scaled(50, 500)), 200], sigma: between(0.3, 1) })
      )()
    }),
    cap: () => ({ options: { ...common, limits: { maxInFlight: Math.round(scaled(4, 100)) } } }),
    bare: () => ({ options: { ...common, headers: "none" } }),
    503: () => ({ options: { ...common, faults: [{ probability: between(0.1, 0.5), kind: 503 }] } }),
    outage: () => ({
      options: { ...common, outages: [{ from, to: rounded(from + scaled(5, 120)), kind: 503 }] },
      inFlight: Math.ceil(perSecond * latency.median * Math.exp(latency.sigma ** 2 / 2))
    }),
    fall: () => ({
      options: {
        ...common,
        changes: [
          { at: from, requestsPerSecond: rounded(perSecond * (1 - between(0.2, 0.7))) },
          { at: rounded(from + between(span * 0.1, span)), requestsPerSecond: perSecond }
        ]
      }
    }),
    neighbour: () => ({
      options: { ...common, neighbours: [{ from, to: rounded(from + scaled(20, 200)), share: between(0.2, 0.7) }] }
    }),
    dynamic: () => ({
      options: {
        ...common,
        limits: {},
        dynamic: {
          growth: 2,
          windowSeconds: 20,
          slots: 20,
          floorRequestsPerSecond: scaled(2, 10),
          capRequestsPerSecond: scaled(30, 150)
        }
      }
    }),
    tail: () => {
      const share = between(0.01, 0.05)
      const slow = { ...latency, median: rounded(latency.median * between(5, 15)) }
      const parts = [{ weight: 1 - share, of: latency }, { weight: share, of: slow }] as const
      return { options: { ...common, latency: { kind: "mixture", parts } } }
    }
  }
  return { number, calls, scenario: { ...row, ...drawn[row.name]?.() } }
}

const first = Number(values.from)
const played: Array<Drawn & Awaited<ReturnType<typeof play>>> = []
const rows = values.rows.split(",").map((name) => {
  const found = scenarios.find((row) => row.name === name)
  if (found === undefined) throw new Error(`no row is named ${name}`)
  return found
})
for (const row of rows) {
  for (let number = first; number < first + Number(values.variants); number++) {
    const drawn = draw(row, number)
    played.push({
      ...drawn,
      ...await play(drawn.scenario, number, drawn.calls, { ...Inexact.read(values), trace: values.trace })
    })
  }
}

type Played = typeof played[number]
const share = (of: ReadonlyArray<Played>, holds: (one: Played) => boolean): string =>
  `${Math.round(100 * of.filter(holds).length / of.length)} %`
const inTime = ({ ratio, scenario }: Played): boolean => ratio <= scenario.ratio
const sparing = ({ calls, scenario, wasted }: Played): boolean => wasted <= wasteBar(scenario, calls)
const ofRow = (row: Scenario) => played.filter(({ scenario }) => scenario.name === row.name)

console.log(`variants ${first} to ${first + Number(values.variants) - 1} of each row`)
console.log(
  "| row | bar | variants | makespan ÷ ideal: median | 90 % | most | met | wasted: median | 90 % | most | met | lost |"
)
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
for (const row of rows) {
  const mine = ofRow(row)
  const spread = (by: (one: Played) => number, write: (value: number) => string) =>
    [0.5, 0.9, 1].map((share) => write(quantile(mine.map(by), share))).join(" | ")
  console.log(
    `| ${row.name} | ${row.ratio.toFixed(2)}, ${row.waste * 100} % | ${mine.length} | ${
      spread(({ ratio }) => ratio, (value) => value.toFixed(3))
    } | ${share(mine, inTime)} | ${spread(({ wasted }) => wasted, percent)} | ${share(mine, sparing)} | ${
      mine.reduce((sum, { lost }) => sum + lost, 0)
    } |`
  )
}

const worst = (row: Scenario, title: string, by: (one: Played) => number): void => {
  console.log(`\n${row.name}, ${title}`)
  for (const one of ofRow(row).sort((a, b) => by(b) - by(a)).slice(0, Number(values.worst))) {
    console.log(
      `${one.number} ${one.ratio.toFixed(3)} ${percent(one.wasted)} ${one.calls} calls, ideal ${
        one.ideal.toFixed(1)
      } s`,
      JSON.stringify({ ...one.scenario.options, keys: undefined, sizes: one.scenario.sizes })
    )
  }
}
for (const row of rows) {
  worst(row, "slowest", ({ ratio }) => ratio)
  // what the bar allows differs where an outage catches calls in flight
  worst(row, "most wasted", ({ calls, scenario, wasted }) => wasted - wasteBar(scenario, calls))
}

if (values.json !== undefined) {
  mkdirSync(dirname(values.json), { recursive: true })
  writeFileSync(values.json, JSON.stringify(played, null, 1) + "\n")
}

/**
 * The lane against providers drawn at random: what no list of scenarios thinks of.
 *
 * `node bench/lanes/random.ts [--from 1] [--providers 600] [--calls 1000] [--kind tokens] [--worst 10] [--trace]
 * [--jitter ms] [--travel ms] [--stall ms]`
 *
 * Limits of requests, of tokens, of both, of calls in flight, and limits that grow with success; depths of buckets, times
 * that a refusal takes, contracts of headers, refusals that name nothing, changes, neighbours, outages and faults. Prints
 * how the kinds are spread, and the worst, so that each can be looked at again: `--from number --providers 1 --trace`.
 */
import { parseArgs } from "node:util"
import type { Options } from "../../src/testing/SimulationConfig.ts"
import { chances, percent, play, quantile } from "./drawn.ts"
import * as Inexact from "./inexact.ts"
import { base, type Scenario, sizes } from "./scenarios.ts"

const { values } = parseArgs({
  options: {
    ...Inexact.flags,
    from: { type: "string", default: "1" },
    providers: { type: "string", default: "600" },
    calls: { type: "string", default: "1000" },
    worst: { type: "string", default: "10" },
    kind: { type: "string" },
    trace: { type: "boolean", default: false }
  }
})
const calls = Number(values.calls)

const kinds = ["requests", "tokens", "both", "cap", "grows", "grows-tokens"] as const

interface Drawn {
  readonly number: number
  readonly kind: typeof kinds[number]
  readonly scenario: Scenario
}

/** Draws the provider of a number: always the same one. */
const draw = (number: number): Drawn => {
  const { pick, random } = chances(number * 7919 + 13)
  const perSecond = Number((0.3 * 200 ** random()).toPrecision(2))
  const tokens = perSecond * 350
  const kind = pick<Drawn["kind"]>("requests", ...kinds)
  const growing = {
    growth: pick(1.5, 2, 2, 3),
    windowSeconds: pick(20, 60),
    slots: 20,
    floorRequestsPerSecond: kind === "grows" ? Math.min(perSecond, 10) : 1000,
    capRequestsPerSecond: kind === "grows" ? pick(10, 30, 100) : 1000,
    ...(kind === "grows-tokens" ? { floorTokensPerSecond: Math.min(tokens, 3500), capTokensPerSecond: 35_000 } : {})
  }
  const limits: Record<Drawn["kind"], Options["limits"]> = {
    requests: { requestsPerSecond: perSecond },
    tokens: { tokensPerSecond: tokens },
    both: { requestsPerSecond: perSecond, tokensPerSecond: tokens * pick(0.5, 1, 2) },
    cap: { maxInFlight: Math.ceil(perSecond) },
    grows: {},
    "grows-tokens": {}
  }
  const span = calls / perSecond
  const later = [{ at: span * 0.3, requestsPerSecond: perSecond * pick(0.1, 0.3, 0.5, 2, 5) }]
  const trouble = pick<Partial<Options>>(
    {},
    {},
    kind === "requests" ? { changes: [...later, { at: span * 0.6, requestsPerSecond: perSecond }] } : {},
    { neighbours: [{ from: span * 0.3, to: span * 0.7, share: 0.5 }] },
    { outages: [{ from: span * 0.3, to: span * 0.3 + 20, kind: 503 }] },
    { faults: [{ probability: pick(0.05, 0.3), kind: pick<503 | "reset">(503, "reset") }] }
  )
  return {
    number,
    kind,
    scenario: {
      name: kind,
      title: kind,
      options: {
        ...base,
        latency: { kind: "lognormal", mean: pick(0.5, 3, 3, 10), sigma: 0.4 },
        limits: limits[kind],
        ...(kind.startsWith("grows") ? { dynamic: growing } : {}),
        burstSeconds: pick(0.1, 0.3, 1, 1, 1, 2, 5),
        reset: pick("integer", "integer", "fractional"),
        refusalSeconds: pick(0.05, 0.05, 0.2, 0.5),
        headers: pick("v4", "v4", "v1", "v2", "v3", "live", "none"),
        ...trouble
      },
      sizes: kind.includes("tokens") || kind === "both"
        ? pick<Scenario["sizes"]>(undefined, sizes.log, sizes.two)
        : undefined,
      hidden: random() < 0.3,
      ratio: 1.05,
      waste: 0.01
    }
  }
}

const first = Number(values.from)
const played: Array<Drawn & Awaited<ReturnType<typeof play>>> = []
for (let number = first; number < first + Number(values.providers); number++) {
  const drawn = draw(number)
  if (values.kind !== undefined && values.kind !== drawn.kind) continue
  played.push({
    ...drawn,
    ...await play(drawn.scenario, number, calls, { ...Inexact.read(values), trace: values.trace })
  })
}

console.log(`${calls} calls against providers ${first} to ${first + played.length - 1}`)
console.log("| kind | providers | makespan ÷ ideal: median | 90 % | most | wasted: median | 90 % | lost |")
console.log("| --- | --- | --- | --- | --- | --- | --- | --- |")
for (const kind of kinds) {
  const mine = played.filter((one) => one.kind === kind)
  const ratios = mine.map(({ ratio }) => ratio)
  const wasted = mine.map((one) => one.wasted)
  console.log(
    `| ${kind} | ${mine.length} | ${[0.5, 0.9, 1].map((share) => quantile(ratios, share).toFixed(2)).join(" | ")} | ${
      [0.5, 0.9].map((share) => percent(quantile(wasted, share))).join(" | ")
    } | ${mine.reduce((sum, { lost }) => sum + lost, 0)} |`
  )
}
const worst = (by: (one: typeof played[number]) => number): void => {
  for (const one of [...played].sort((a, b) => by(b) - by(a)).slice(0, Number(values.worst))) {
    console.log(
      `${one.number} ${one.kind} ${one.ratio.toFixed(2)} ${percent(one.wasted)}`,
      JSON.stringify({ ...one.scenario.options, keys: undefined }),
      one.scenario.hidden === true ? "hidden" : ""
    )
  }
}
console.log("\nslowest")
worst(({ ratio }) => ratio)
console.log("\nmost wasted")
worst(({ wasted }) => wasted)

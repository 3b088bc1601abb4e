/**
 * The scenarios of the lanes benchmark: providers, workloads, and the bars to meet.
 *
 * Every scenario is 2,000 calls (or `--calls`), all known at the start, against the simulated provider of
 * `effect-together/testing`. Clients are told nothing about limits.
 */
import type { Options } from "../../src/testing/SimulationConfig.ts"

/** Describes one call of the workload. */
export interface Work {
  readonly id: number
  readonly inputTokens: number
  readonly maxTokens: number
}

/** Describes a scenario. */
export interface Scenario {
  readonly name: string
  readonly title: string
  readonly options: Options
  /** Share of calls that are large and what a call takes, or medians of a log-normal draw and its sigma. */
  readonly sizes?: {
    readonly largeShare: number
    readonly small: readonly [number, number]
    readonly large: readonly [number, number]
  } | {
    readonly median: readonly [number, number]
    readonly sigma: number
  } | undefined
  /** Bars: makespan ÷ ideal, wasted share of calls, and on top what is in flight when an outage begins. */
  readonly ratio: number
  readonly waste: number
  readonly inFlight?: number | undefined
  /** Hides the words of the refusal from our client, so that it must infer the scope. */
  readonly hidden?: boolean | undefined
}

const latency = { kind: "lognormal", mean: 3, sigma: 0.4 } as const
const model = "openai/gpt-oss-20b"
/** The model that all calls name. */
export const modelName = model

/** What every scenario begins with. */
export const base: Options = { latency, headers: "v4", keys: {} }

const requests = (perSecond: number): Options => ({ ...base, limits: { requestsPerSecond: perSecond } })

/** Lists the ten scenarios of the bars. */
export const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "requests",
    title: "requests limit unknown, reset only on 429",
    options: requests(10),
    ratio: 1.03,
    waste: 0.01
  },
  {
    name: "tokens",
    title: "requests and tokens limits, mixed sizes",
    options: { ...base, limits: { requestsPerSecond: 10, tokensPerSecond: 3000 } },
    sizes: { largeShare: 0.2, small: [80, 150], large: [800, 600] },
    ratio: 1.04,
    waste: 0.01
  },
  {
    name: "cap",
    title: "concurrency cap 16 unknown",
    options: { ...base, limits: { maxInFlight: 16 } },
    ratio: 1.03,
    waste: 0.01
  },
  {
    name: "bare",
    title: "no headers at all",
    options: { ...requests(10), headers: "none" },
    ratio: 1.03,
    waste: 0.01,
    hidden: true
  },
  {
    name: "503",
    title: "30 % of attempts answer 503",
    options: { ...requests(10), faults: [{ probability: 0.3, kind: 503 }] },
    ratio: 1.03,
    waste: 0.01
  },
  {
    name: "outage",
    title: "outage of 30 s",
    options: { ...requests(10), outages: [{ from: 60, to: 90, kind: 503 }] },
    ratio: 1.03,
    waste: 0.01,
    inFlight: 30
  },
  {
    name: "fall",
    title: "limit falls 10 → 3 per s, later back",
    options: { ...requests(10), changes: [{ at: 60, requestsPerSecond: 3 }, { at: 160, requestsPerSecond: 10 }] },
    ratio: 1.05,
    waste: 0.02
  },
  {
    name: "neighbour",
    title: "noisy neighbour takes half for 100 s",
    options: { ...requests(10), neighbours: [{ from: 40, to: 140, share: 0.5 }] },
    ratio: 1.05,
    waste: 0.03
  },
  {
    name: "dynamic",
    title: "dynamic limit 5 → 100 per s growing with success",
    options: {
      ...base,
      limits: {},
      dynamic: { growth: 2, windowSeconds: 20, slots: 20, floorRequestsPerSecond: 5, capRequestsPerSecond: 100 }
    },
    ratio: 1.10,
    waste: 0.01
  },
  {
    name: "tail",
    title: "slow tail (2 % of calls 10 times slower)",
    options: {
      ...requests(10),
      latency: {
        kind: "mixture",
        parts: [{ weight: 98, of: latency }, { weight: 2, of: { kind: "lognormal", mean: 30, sigma: 0.4 } }]
      }
    },
    ratio: 1.05,
    waste: 0.01
  }
]

/** Lists limits that the lane was not tuned on. */
export const others: ReadonlyArray<Scenario> = [0.5, 3, 40, 300].map((rate) => ({
  name: `rate-${rate}`,
  title: `requests limit ${rate} per s`,
  options: requests(rate),
  ratio: 1.03,
  waste: 0.01
}))

/** Draws a uniform number in [0, 1) that depends on nothing but its arguments. */
export const uniform = (seed: number, index: number): number => {
  let t = (Math.imul(seed, 0x9E3779B1) + Math.imul(index + 1, 0x85EBCA6B)) | 0
  t = Math.imul(t ^ (t >>> 15), 1 | t)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const normal = (seed: number, index: number): number =>
  Math.sqrt(-2 * Math.log(1 - uniform(seed, 2 * index))) * Math.cos(2 * Math.PI * uniform(seed, 2 * index + 1))

/** Mixes of sizes: a fifth six times larger, and log-normal. */
export const sizes = {
  two: { largeShare: 0.2, small: [80, 150], large: [800, 600] },
  log: { median: [200, 200], sigma: 0.8 }
} as const
const { log, two } = sizes

const other = (name: string, title: string, options: Options, sizes?: Scenario["sizes"]): Scenario => ({
  name,
  title,
  options: { ...base, ...options },
  sizes,
  ratio: sizes === undefined ? 1.03 : 1.04,
  waste: 0.01
})

const moved = (...steps: ReadonlyArray<readonly [at: number, perSecond: number]>): Options => ({
  ...requests(10),
  changes: steps.map(([at, requestsPerSecond]) => ({ at, requestsPerSecond }))
})

const growing = (dynamic: Partial<NonNullable<Options["dynamic"]>>): Options => ({
  limits: {},
  dynamic: {
    growth: 2,
    windowSeconds: 20,
    slots: 20,
    floorRequestsPerSecond: 5,
    capRequestsPerSecond: 100,
    ...dynamic
  }
})

/** Lists other providers: shallower and deeper buckets, other answers, limits that move otherwise. */
export const wide: ReadonlyArray<Scenario> = [
  ...[0.1, 0.3, 0.5, 2, 5, 60].map((seconds) =>
    other(`burst-${seconds}`, `10 requests/s, bucket of ${seconds} s`, { ...requests(10), burstSeconds: seconds })
  ),
  other("fractional", "10 requests/s, hints to the millisecond", { ...requests(10), reset: "fractional" }),
  other("refusals-0.2", "10 requests/s, refusals after 0.2 s", { ...requests(10), refusalSeconds: 0.2 }),
  other("slow-refusals", "10 requests/s, refusals after half a second", { ...requests(10), refusalSeconds: 0.5 }),
  other("refused-counts", "10 requests/s, refusals count", { ...requests(10), refusedCounts: true }),
  other("shallow-503", "10 requests/s, bucket of 0.1 s, 30 % answer 503", {
    ...requests(10),
    burstSeconds: 0.1,
    faults: [{ probability: 0.3, kind: 503 }]
  }),
  ...[3, 10].map((perSecond) =>
    other(`counted-503-${perSecond}`, `${perSecond} requests/s, 30 % answer 503 and use up a request`, {
      ...requests(perSecond),
      faults: [{ probability: 0.3, kind: 503, stage: "engine" }]
    })
  ),
  other("chance-429", "10 requests/s and 3,000 tokens/s, one in five refused by chance", {
    ...base,
    faults: [{ probability: 0.2, kind: 429 }]
  }),
  other("chance-429-limit", "10 requests/s, one in ten refused by chance", {
    ...requests(10),
    faults: [{ probability: 0.1, kind: 429 }]
  }),
  ...([["fixed-window", 1], ["fixed-window", 60], ["sliding-window", 1], ["sliding-window", 60]] as const).flatMap((
    [counting, windowSeconds]
  ) =>
    (["v4", "none"] as const).map((headers) =>
      other(
        `${counting}-${windowSeconds}${headers === "none" ? "-bare" : ""}`,
        `10 requests/s counted in a ${counting.replace("-", " ")} of ${windowSeconds} s${
          headers === "none" ? ", no headers" : ""
        }`,
        { ...requests(10), counting, windowSeconds, headers }
      )
    )
  ),
  other("falls", "10 requests/s fall to 3 for good", moved([60, 3])),
  other("rises", "10 requests/s rise to 20", moved([60, 20])),
  other("deep-fall", "10 requests/s fall to 1 for 40 s, then 30", moved([20, 1], [60, 30])),
  other("flapping", "10 requests/s, a neighbour takes half every other 20 s", {
    ...requests(10),
    neighbours: [20, 60, 100, 140, 180, 220].map((from) => ({ from, to: from + 20, share: 0.5 }))
  }),
  other("long-outage", "10 requests/s, outage of 300 s", {
    ...requests(10),
    outages: [{ from: 60, to: 360, kind: 503 }]
  }),
  other("grows-slowly", "limit grows to 1.5 times the success", growing({ growth: 1.5 })),
  other("grows-long", "limit grows to twice the success of a minute", growing({ windowSeconds: 60, slots: 60 })),
  other("grows-from-1", "limit grows from 1 per second", growing({ floorRequestsPerSecond: 1 })),
  other(
    "grows-hourly",
    "limit grows from 1 per second to twice the success of an hour",
    growing({ floorRequestsPerSecond: 1, windowSeconds: 3600, slots: 60 })
  ),
  other("grows-from-half", "limit grows from 1 in two seconds", growing({ floorRequestsPerSecond: 0.5 })),
  other(
    "grows-from-1-long",
    "limit grows from 1 per second to twice the success of a minute",
    growing({ floorRequestsPerSecond: 1, windowSeconds: 60, slots: 60 })
  ),
  other(
    "grows-from-1-slowly",
    "limit grows from 1 per second to 1.5 times the success",
    growing({ floorRequestsPerSecond: 1, growth: 1.5 })
  ),
  ...([[0.1, log], [0.25, log], [0.25, two], [0.5, log], [5, two], [60, log]] as const).map(([seconds, sizes]) =>
    other(
      `tokens-${sizes === two ? "two" : "log"}-${seconds}`,
      `180k tokens/min, bucket of ${seconds} s, ${sizes === two ? "a fifth six times larger" : "log-normal sizes"}`,
      { limits: { tokensPerSecond: 3000 }, burstSeconds: seconds },
      sizes
    )
  ),
  ...(["fixed-window", "sliding-window"] as const).map((counting) =>
    other(`tokens-${counting}`, `180k tokens/min counted in a ${counting.replace("-", " ")} of a second`, {
      limits: { tokensPerSecond: 3000 },
      counting
    }, log)
  ),
  other("tokens-503", "180k tokens/min, 30 % answer 503", {
    limits: { tokensPerSecond: 3000 },
    faults: [{ probability: 0.3, kind: 503 }]
  }, log),
  other("tokens-prompt", "180k tokens/min, output charged when it is done", {
    limits: { tokensPerSecond: 3000 },
    tokenCharge: "prompt"
  }, log),
  other("tokens-rise", "60k tokens/min rise to 180k", {
    limits: { tokensPerSecond: 1000 },
    changes: [{ at: 60, tokensPerSecond: 3000 }]
  }, log),
  other("tokens-neighbour", "180k tokens/min, a neighbour takes half for 100 s", {
    limits: { tokensPerSecond: 3000 },
    neighbours: [{ from: 40, to: 140, share: 0.5 }]
  }, log)
]

/** Lists token limits and mixes of sizes that the lane was not tuned on, per minute as providers state them. */
export const spread: ReadonlyArray<Scenario> = [
  ...([[10_000, 10], [60_000, 10], [180_000, 10], [500_000, 10], [500_000, 30]] as const).flatMap((
    [perMinute, perSecond]
  ) =>
    [
      {
        name: `log-${perMinute / 1000}k-${perSecond}`,
        title: `${perMinute / 1000}k tokens/min, ${perSecond} requests/s, log-normal sizes`,
        options: { ...base, limits: { requestsPerSecond: perSecond, tokensPerSecond: perMinute / 60 } },
        sizes: log,
        ratio: 1.04,
        waste: 0.01
      },
      {
        name: `two-${perMinute / 1000}k-${perSecond}`,
        title: `${perMinute / 1000}k tokens/min, ${perSecond} requests/s, a fifth six times larger`,
        options: { ...base, limits: { requestsPerSecond: perSecond, tokensPerSecond: perMinute / 60 } },
        sizes: two,
        ratio: 1.04,
        waste: 0.01
      }
    ] as const
  ),
  {
    name: "tokens-only",
    title: "180k tokens/min, no limit of requests, log-normal sizes",
    options: { ...base, limits: { tokensPerSecond: 3000 } },
    sizes: log,
    ratio: 1.04,
    waste: 0.01
  },
  {
    name: "even-tokens",
    title: "180k tokens/min, calls alike",
    options: { ...base, limits: { requestsPerSecond: 20, tokensPerSecond: 3000 } },
    sizes: { largeShare: 0, small: [300, 200], large: [1, 1] },
    ratio: 1.04,
    waste: 0.01
  },
  {
    name: "fall-tokens",
    title: "180k tokens/min falls to a third at 60 s, back at 160 s, log-normal sizes",
    options: {
      ...base,
      limits: { tokensPerSecond: 3000 },
      changes: [{ at: 60, tokensPerSecond: 1000 }, { at: 160, tokensPerSecond: 3000 }]
    },
    sizes: log,
    ratio: 1.05,
    waste: 0.02
  },
  {
    name: "hidden-tokens",
    title: "180k tokens/min, a fifth larger, refusals name nothing",
    options: { ...base, limits: { requestsPerSecond: 10, tokensPerSecond: 3000 } },
    sizes: two,
    hidden: true,
    ratio: 1.04,
    waste: 0.01
  }
]

/** Computes the share of calls that the bar of a scenario lets be wasted. */
export const wasteBar = ({ inFlight = 0, waste }: Scenario, calls: number): number => waste + inFlight / calls

/** Draws the workload of a scenario. */
export const workload = (scenario: Scenario, calls: number, seed: number): ReadonlyArray<Work> =>
  Array.from({ length: calls }, (_, id) => {
    const sizes = scenario.sizes
    if (sizes === undefined) return { id, inputTokens: 100, maxTokens: 200 }
    if ("median" in sizes) {
      const [input, output] = sizes.median
      return {
        id,
        inputTokens: Math.max(1, Math.round(input * Math.exp(sizes.sigma * normal(seed, id)))),
        maxTokens: Math.max(1, Math.round(output * Math.exp(sizes.sigma * normal(seed, calls + id))))
      }
    }
    const [inputTokens, maxTokens] = uniform(seed, id) < sizes.largeShare ? sizes.large : sizes.small
    return { id, inputTokens, maxTokens }
  })

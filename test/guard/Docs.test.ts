import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { globSync, readFileSync } from "node:fs"
import { RateLimitError, ServerError } from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Hedge from "../../src/guard/Hedge.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"

const read = (path: string) => readFileSync(new URL(`../../docs/${path}`, import.meta.url), "utf8")

/** Reads the second cell of the row whose first cell is the option. */
const cell = (text: string, option: string): string => {
  const row = text.split("\n").find((line) => line.startsWith(`| \`${option}\` |`))
  if (row === undefined) throw new Error(`no row for ${option}`)
  return row.split("|")[2]?.trim() ?? ""
}

const worded = (value: Duration.Duration | number | string): string => {
  if (!Duration.isDuration(value)) return String(value)
  const millis = Duration.toMillis(value)
  if (millis < 1000) return `${millis} millis`
  if (millis < 60_000 || millis % 60_000 !== 0 || millis === 60_000) {
    return millis === 1000 ? "1 second" : `${millis / 1000} seconds`
  }
  return `${millis / 60_000} minutes`
}

describe("docs", () => {
  it("list every metric, each under the prefix of the package", () => {
    const src = new URL("../../src/", import.meta.url)
    const defined = globSync("**/*.ts", { cwd: src }).flatMap((path) =>
      [...readFileSync(new URL(path, src), "utf8").matchAll(/Metric\.(counter|gauge|histogram)\(\s*"(\w+)"/g)]
        .map(([, kind, name]) => `| \`${name}\` | ${kind} |`)
    )
    const listed = ["credits.md", "lanes.md", "resilience.md", "retry.md"].flatMap((page) =>
      read(page).match(/^\| `effect_together_\w+` \| \w+ \|/gm) ?? []
    )
    expect(defined.length).toBeGreaterThan(20)
    expect(listed.toSorted()).toEqual(defined.toSorted())
  })

  it("lanes.md says the same as the kernel of what each sample does", () => {
    const kernel = readFileSync(new URL("../../src/policy/lane/LaneKernel.ts", import.meta.url), "utf8")
    const rows = (text: string) =>
      [...text.matchAll(/^(?: \* )?(\| `?(?:sample|Success|Throttled|Overloaded|TimedOut|Ignored)\b.*\|)$/gm)]
        .map(([, row = ""]) => row.replaceAll("`", ""))
    const ofPage = rows(read("lanes.md").split("## What each sample does")[1]?.split("\n## ")[0] ?? "")
    expect(ofPage.at(-1)).toMatch(/^\| Throttled \[by chance\]/)
    expect(ofPage.slice(0, -1)).toEqual(rows(kernel))
    expect(ofPage.length).toBe(11)
  })

  it("retry.md states the defaults", () => {
    const text = read("retry.md")
    const stated = {
      "base": Retry.defaults.base,
      "throttledBase": Retry.defaults.throttledBase,
      "factor": Retry.defaults.factor,
      "cap": Retry.defaults.cap,
      "jitter": Retry.defaults.jitter,
      "floor": Retry.defaults.floor,
      "retryAfter.cap": Retry.defaults.hintCap,
      "retryAfter.spread": Retry.defaults.hintSpread,
      "maxAttempts": Retry.defaults.maxAttempts
    }
    expect(text).toContain(`no more than ${Retry.defaults.maxFailures} of them may end otherwise`)
    for (const [option, value] of Object.entries(stated)) {
      expect([option, cell(text, option)]).toEqual([option, worded(value)])
    }
  })

  it("retry.md shows the default document", () => {
    const documents = [...read("retry.md").matchAll(/```json\n([\s\S]*?)```/g)].map((match) =>
      JSON.parse(match[1] ?? "")
    )
    expect(documents).toContainEqual(Retry.defaultDocument)
  })

  it.effect("retry.md shows no whole document that never gives up", () =>
    Effect.gen(function*() {
      const texts = [...read("retry.md").matchAll(/```json\n([\s\S]*?)```/g)].map((match) => match[1] ?? "")
      expect(texts.length).toBeGreaterThan(1)
      for (const text of texts) {
        const schedule = yield* Retry.fromJson(text)
        expect(yield* Retry.preview(schedule, { attempts: 100 })).toHaveLength(4)
      }
    }))

  it("resilience.md states the defaults of the breaker", () => {
    const text = read("resilience.md")
    const options = ["threshold", "size", "minimumCalls", "openFor", "maxOpenFor", "idleTimeToLive"] as const
    for (const option of options) {
      expect([option, cell(text, option).split(",")[0]]).toEqual([option, worded(Breaker.defaults[option])])
    }
    expect(Hedge.defaults.delay).toMatchObject({ maxExtraLoad: 0.05, minSamples: 20, windowSeconds: 10, windows: 3 })
    expect(Hedge.defaults.budget).toMatchObject({ reward: 0.05, cost: 1 })
  })

  it.effect("examples/retry.json is a schedule", () =>
    Effect.gen(function*() {
      const schedule = yield* Retry.fromJson(read("examples/retry.json"))
      const server = new ServerError({ message: "500" })
      const limited = new RateLimitError({ message: "429", scope: "tokens", retryAfter: Duration.seconds(90) })
      const delays = yield* Retry.preview(schedule, { inputs: [server, limited, server, server, server], seed: 1 })
      const seconds = delays.map((delay) => Duration.toSeconds(delay))
      expect(seconds).toHaveLength(5)
      expect(seconds[1]).toBeGreaterThanOrEqual(90)
      expect(seconds[1]).toBeLessThanOrEqual(99)
      expect(seconds[4]).toBeGreaterThanOrEqual(12)
      expect(seconds[4]).toBeLessThanOrEqual(18)
    }))
})

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Outcome from "../../bench/lanes/outcome.ts"
import { others, type Scenario, scenarios, wasteBar, wide, workload } from "../../bench/lanes/scenarios.ts"

const seed = 7

/** Names what half of the calls show as well: the same bars hold, and the same changes break them. */
const half: ReadonlySet<string> = new Set([
  "requests",
  "cap",
  "dynamic",
  "tail",
  "tokens-sliding-window",
  "counted-503-3"
])

const callsOf = (scenario: Scenario): number => half.has(scenario.name) ? 1000 : 2000

const played = (scenario: Scenario, calls = callsOf(scenario), from = seed) =>
  Effect.gen(function*() {
    const work = workload(scenario, calls, from)
    const { lost, seconds, wasted } = yield* Outcome.ours(scenario, from, work)
    return { lost, ratio: seconds / Outcome.ideal(scenario, from, work), wasted: wasted / calls }
  })

const named = (name: string): Scenario => {
  const found = [...scenarios, ...wide, ...others].find((scenario) => scenario.name === name)
  if (found === undefined) throw new Error(`no scenario is named ${name}`)
  return found
}

describe("Lane, against a provider that tells it nothing", () => {
  it.live.each(scenarios)("meets the bar of $name", (scenario) =>
    Effect.gen(function*() {
      const { lost, ratio, wasted } = yield* played(scenario)
      expect(lost).toBe(0)
      expect(ratio).toBeLessThan(scenario.ratio)
      // one seed: a thousandth of the calls above the bar is one refusal or two
      expect(wasted).toBeLessThan(wasteBar(scenario, callsOf(scenario)) + 0.001)
    }))

  it.live.each(
    [["grows-from-1", 1.8], ["grows-from-half", 2.8], ["grows-from-1-long", 1.5], ["grows-from-1-slowly", 1.9]] as const
  )(
    "follows a limit that %s with success, and never stays at its first one",
    ([name, most]) =>
      Effect.gen(function*() {
        const { lost, ratio } = yield* played(named(name))
        expect(lost).toBe(0)
        expect(ratio).toBeLessThan(most)
      })
  )

  it.live.each(
    [
      ["rate-0.5", 1.02, 0.01],
      ["rate-3", 1.01, 0.01],
      ["burst-0.1", 1.08, 0.01],
      ["counted-503-3", 1.08, 0.025],
      ["deep-fall", 1.2, 0.017],
      ["tokens-sliding-window", 1.2, 0.01],
      ["tokens-neighbour", 1.1, 0.025]
    ] as const
  )(
    "meets the limit of %s in %d of the ideal time",
    ([name, most, waste]) =>
      Effect.gen(function*() {
        const { lost, ratio, wasted } = yield* played(named(name))
        expect(lost).toBe(0)
        expect(ratio).toBeLessThan(most)
        expect(wasted).toBeLessThan(waste)
      })
  )

  it.live("takes no bucket of tokens for a window, where it was first refused at ten times its rate", () =>
    Effect.gen(function*() {
      const { lost, ratio } = yield* played(named("tokens"), 600, 420_006)
      expect(lost).toBe(0)
      expect(ratio).toBeLessThan(1.08)
    }))

  it.live(
    "follows a limit that doubles with the success of an hour, though each probe finds little more",
    () =>
      Effect.gen(function*() {
        const { lost, ratio } = yield* played(named("grows-hourly"), 6000)
        expect(lost).toBe(0)
        expect(ratio).toBeLessThan(1.25)
      }),
    60_000
  )
})

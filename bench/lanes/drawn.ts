/**
 * What benchmarks of drawn providers share: chances that depend on a number alone, one run, and how runs are spread.
 */
import * as Effect from "effect/Effect"
import type * as Ours from "./ours.ts"
import * as Outcome from "./outcome.ts"
import { type Scenario, uniform, workload } from "./scenarios.ts"

/** Draws from a seed: the same draws, in order, each time. */
export const chances = (seed: number) => {
  let draws = 0
  const random = () => uniform(seed, draws++)
  return {
    random,
    // the index is below the length
    pick: <A>(...choices: ReadonlyArray<A>): A => choices[Math.floor(random() * choices.length)] as A
  }
}

/** Plays a drawn provider: its number is the seed. Wasted is a share of the calls. */
export const play = async (scenario: Scenario, number: number, calls: number, options: Ours.Options) => {
  const work = workload(scenario, calls, number)
  const ideal = Outcome.ideal(scenario, number, work)
  const { lost, seconds, wasted } = await Effect.runPromise(Outcome.ours(scenario, number, work, options))
  return { ideal, seconds, ratio: seconds / ideal, wasted: wasted / calls, lost }
}

/** Reads the number below which a share of the numbers lies. */
export const quantile = (numbers: ReadonlyArray<number>, share: number): number =>
  [...numbers].sort((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ?? NaN

/** Writes a share. */
export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

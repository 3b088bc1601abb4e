/**
 * What one run over a scenario came to: its time, what it sent in vain, what it lost.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Omniscient from "./omniscient.ts"
import * as Ours from "./ours.ts"
import * as Provider from "./provider.ts"
import type { Scenario, Work } from "./scenarios.ts"

/** Counts attempts, those that the scenario forced, and those in vain: beyond one for each call that was not lost. */
export const counted = (provider: Pick<Provider.Provider, "counters">, calls: number, lost: number) => {
  const { arrivals, refused } = provider.counters()
  return { attempts: arrivals, forced: refused.fault, wasted: arrivals - refused.fault - (calls - lost), lost }
}

/** Computes the makespan of the client who knows everything, in seconds. */
export const ideal = (scenario: Scenario, seed: number, work: ReadonlyArray<Work>): number =>
  Omniscient.makespan(scenario, Provider.make(scenario, seed), work)

/** Runs the workload through a lane, in virtual time; a run that fails has lost all of it. */
export const ours = (
  scenario: Scenario,
  seed: number,
  work: ReadonlyArray<Work>,
  options: Ours.Options = {}
) =>
  Effect.gen(function*() {
    const provider = Provider.make(scenario, seed)
    const { elapsed, exit } = yield* VirtualClock.run(Ours.run(scenario, provider, work, options, seed))
    const lost = exit._tag === "Success" ? exit.value.lost : work.length
    return { seconds: Duration.toSeconds(elapsed), ...counted(provider, work.length, lost) }
  })

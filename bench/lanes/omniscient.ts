/**
 * The client who sees the server's buckets: it sends each call, in order, at the first moment it will be admitted.
 *
 * It knows limits, their changes and outages, wastes nothing and never sleeps too long. A fault by chance it meets like
 * everyone else, and tries again at once. Its makespan is the ideal of the benchmark: the fluid bound, with the latency
 * of the last calls as drawn for this seed.
 */
import type { Provider } from "./provider.ts"
import type { Scenario, Work } from "./scenarios.ts"

/** Computes the makespan of the client who knows everything, in seconds. */
export const makespan = (scenario: Scenario, provider: Provider, work: ReadonlyArray<Work>): number => {
  const fresh = [...work]
  let head = 0
  let retries: Array<{ readonly at: number; readonly work: Work }> = []
  const ends: Array<number> = []
  let now = 0
  let last = 0
  const outages = scenario.options.outages ?? []
  while (head < fresh.length || retries.length > 0) {
    const outage = outages.find((one) => (one.from ?? 0) <= now && now < (one.to ?? Infinity))
    if (outage !== undefined) now = outage.to ?? Infinity
    retries = retries.sort((a, b) => a.at - b.at)
    const due = retries[0] !== undefined && retries[0].at <= now + 1e-9
    const next = due ? retries[0]?.work : fresh[head]
    if (next === undefined) {
      now = retries[0]?.at ?? now
      continue
    }
    const oracle = provider.oracle(next, now)
    if (oracle.inFlight >= oracle.maxInFlight) {
      now = Math.max(now, Math.min(...ends.filter((end) => end > now - 1e-9)))
      ends.splice(0, ends.length, ...ends.filter((end) => end > now + 1e-9))
      provider.oracle(next, now + 1e-9)
      now += 1e-9
      continue
    }
    if (oracle.waitSeconds > 0) {
      // a dynamic limit may grow before the wait is over: look again at every tenth of a second
      const step = scenario.options.dynamic === undefined ? oracle.waitSeconds : Math.min(oracle.waitSeconds, 0.1)
      now = Math.min(now + step + 1e-9, due ? Infinity : retries[0]?.at ?? Infinity)
      continue
    }
    const reply = provider.arrive(next, now)
    if (due) retries.shift()
    else head++
    const end = now + reply.latencySeconds
    if (reply._tag === "Answer") {
      ends.push(end)
      last = Math.max(last, end)
    } else retries.push({ at: end, work: next })
  }
  return last
}

import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as LaneSpacing from "../../../src/policy/lane/LaneSpacing.ts"
import { seeded } from "../events.ts"

interface Provider {
  /** Attempts that its bucket holds; it admits ten per second. */
  readonly depth: number
  /** Whether what fails uses up the limit, and seconds after which it is heard of. */
  readonly counts: boolean
  readonly after: number
}

const calls = 1500
const share = 0.3

/** Lets three in ten fail; answers come after three seconds, refusals after 50 ms with a hint of a second. */
const run = ({ after, counts, depth }: Provider, seed: number) => {
  const random = seeded(seed)
  let state = Kernel.make()
  let now = 0
  let level = depth
  let filledAt = 0
  let refused = 0
  let succeeded = 0
  let failed = 0
  let under: Array<readonly [at: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []
  const attempt = (): readonly [number, Kernel.Sample] => {
    level = Math.min(depth, level + 10 * (now - filledAt))
    filledAt = now
    if (level < 1) return [0.05, { _tag: "Throttled", scope: "requests", retryAfter: 1 }]
    const fails = random() < share
    if (!fails || counts) level--
    return fails ? [after, { _tag: "Overloaded" }] : [3, { _tag: "Success" }]
  }
  while (succeeded < calls) {
    for (const [at, ticket, sample] of under.filter(([at]) => at <= now).sort(([a], [b]) => a - b)) {
      state = Kernel.settle(state, ticket, sample, at)[1]
      if (sample._tag === "Throttled") refused++
      if (sample._tag === "Overloaded") failed++
      if (sample._tag === "Success") succeeded++
    }
    under = under.filter(([at]) => at > now)
    state = Kernel.advance(state, now)[1]
    const [seconds, by] = Kernel.wait(state, now)
    if (seconds === 0) {
      const [ticket, next] = Kernel.admit(state, 0, by ?? "requests", now)
      state = next
      const [heardAfter, sample] = attempt()
      under.push([now + heardAfter, ticket, sample])
    } else now = Math.min(now + seconds, ...under.map(([at]) => at))
  }
  const taken = counts ? succeeded + failed : succeeded
  return { ratio: 10 * now / taken, refused, counted: state.requests.failures.areCounted }
}

const worst = (provider: Provider) => {
  const runs = Array.from({ length: 5 }, (_, i) => run(provider, i + 1))
  return {
    ratio: Math.max(...runs.map(({ ratio }) => ratio)),
    refused: Math.max(...runs.map(({ refused }) => refused)),
    counted: runs.filter(({ counted }) => counted).length
  }
}

describe("a lane, where three in ten attempts fail", () => {
  it("finds that they count against the limit, and takes none of them back", () => {
    const deep = worst({ depth: 10, counts: true, after: 0.3 })
    expect(deep.counted).toBe(5)
    expect(deep.ratio).toBeLessThan(1.06)
    expect(deep.refused).toBeLessThan(0.025 * calls)
    const shallow = worst({ depth: 1.7, counts: true, after: 0.3 })
    expect(shallow.ratio).toBeLessThan(1.5)
    expect(shallow.refused).toBeLessThan(0.08 * calls)
  })

  it("measures again what fails after a refusal", () => {
    const late = worst({ depth: 1.7, counts: false, after: 3 })
    expect(late.ratio).toBeLessThan(2.1)
    expect(late.refused).toBeLessThan(0.1 * calls)
  })
})

describe("LaneSpacing", () => {
  it("gives back no more than was owed ever since", () => {
    const first = LaneSpacing.send(LaneSpacing.begin(0), 0, 1, 10, 0)
    const full = LaneSpacing.send(first, 1, 1, 10, 0.1)
    expect(LaneSpacing.owed(LaneSpacing.giveBack(full, 0, 10, 0.1), 10, 0.1)).toBe(1)
    const busy = LaneSpacing.send(first, 1, 1, 10, 0.05)
    expect(LaneSpacing.owed(LaneSpacing.giveBack(busy, 0, 10, 0.05), 10, 0.05)).toBe(1)
    expect(LaneSpacing.owed(LaneSpacing.giveBack(busy, 1, 10, 0.05), 10, 0.05)).toBe(0.5)
    expect(LaneSpacing.owed(busy, Infinity, 0.05)).toBe(0)
  })

  it("remembers few moments, however long it is sent at the rate, or above it", () => {
    for (const pace of [9.99, 10, 10.001, 11]) {
      // a clock whose time since 1970 drifts by its last digits
      let now = 1.79e9
      let state = LaneSpacing.begin(now)
      for (let i = 0; i < 10_000; i++) {
        now += 1 / pace
        state = LaneSpacing.send(state, i, 1, 10, now)
      }
      let moments = 0
      for (let low = state.lows; low !== undefined; low = low.before) moments++
      expect(moments).toBeLessThan(260)
    }
  })
})

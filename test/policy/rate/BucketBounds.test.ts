import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as Episode from "../../../src/policy/rate/Episode.ts"
import * as BucketBounds from "../../../src/policy/rate/BucketBounds.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"
import { changed } from "../learner.ts"

/** A provider's bucket, full at the start. */
const provider = (rate: number, depth: number) => {
  let level = depth
  let then = 0
  return (at: number): boolean => {
    level = Math.min(depth, level + rate * (at - then))
    then = at
    if (level < 1) return false
    level -= 1
    return true
  }
}

interface Climb {
  readonly from: number
  /** Times by which the rate of sending grows per second. */
  readonly growth: number
}

/** Sends faster and faster until one is refused, waits a second, and begins again: each climb is one episode. */
const climbed = (rate: number, depth: number, climbs: ReadonlyArray<Climb>) => {
  const admits = provider(rate, depth)
  let state = BucketBounds.empty
  let now = 0
  for (const { from, growth } of climbs) {
    let speed = from
    for (;;) {
      state = BucketBounds.send(state, 1, now)
      if (!admits(now)) break
      now += 1 / speed
      speed *= growth ** (1 / speed)
    }
    state = BucketBounds.refuse(state, now, 1, speed, false)
    now += 1
  }
  return state
}

describe("BucketBounds", () => {
  it("says nothing after one refusal, which a deep bucket explains as well as a shallow one", () => {
    expect(BucketBounds.bounds(BucketBounds.empty)).toBeUndefined()
    expect(BucketBounds.bounds(climbed(10, 10, [{ from: 10, growth: 4 }]))).toBeUndefined()
  })

  const climbs = [{ from: 20, growth: 4 }, { from: 32, growth: 1.1 }, { from: 36, growth: 1.05 }, {
    from: 36,
    growth: 2
  }]

  it.each([0.1, 0.3, 1, 2])("finds a limit of 40 per second over a bucket of %d s, through pauses", (seconds) => {
    const found = BucketBounds.bounds(climbed(40, 40 * seconds, climbs))
    expect(found?.lowest).toBeGreaterThan(36)
    expect(found?.lowest).toBeLessThanOrEqual(40)
    expect(found?.highest).toBeGreaterThanOrEqual(40)
    expect(found?.highest).toBeLessThan(46)
    expect(found?.episodes).toBe(4)
    expect(found?.depth).toBeGreaterThanOrEqual(40 * seconds)
    expect(found?.depth).toBeLessThan(40 * seconds * 1.3 + 6)
    expect(found?.holds).toBeLessThanOrEqual(40 * seconds)
    expect(found?.holds).toBeGreaterThan(40 * seconds * 0.7 - 3)
  })

  it("never rules the true rate out, and never finds it too shallow, whatever was sent", () => {
    for (let seed = 1; seed <= 120; seed++) {
      const random = seeded(seed)
      const rate = 0.5 * 200 ** random()
      const depth = 1 + random() * rate * 2
      const admits = provider(rate, depth)
      let state = BucketBounds.empty
      let now = 0
      for (let i = 0; i < 250; i++) {
        now += random() * random() * (random() < 0.03 ? 20 : 3) / rate
        state = BucketBounds.send(state, 1, now)
        if (random() < 0.1) state = BucketBounds.withdraw(state, now)
        else if (!admits(now)) {
          state = BucketBounds.refuse(state, now, 1, rate * 3, false)
          const found = BucketBounds.bounds(state)
          law(found?.lowest ?? 0).toBeLessThanOrEqual(rate)
          law(found?.highest ?? Infinity).toBeGreaterThanOrEqual(rate)
          // the depth belongs to the rate found, and a lower rate needs a deeper bucket
          law(found?.depth ?? Infinity).toBeGreaterThan(depth - 1)
          law(found?.holds ?? 0).toBeLessThanOrEqual(depth + 1e-9)
        }
      }
      law(state.episodes.length).toBeLessThanOrEqual(BucketBounds.defaults.remembered)
    }
  })

  it("hears the last episodes alone where the limit has moved", () => {
    const before = climbed(10, 10, [{ from: 10, growth: 4 }, { from: 9, growth: 2 }, { from: 9, growth: 1.5 }])
    const first = BucketBounds.bounds(before)?.lowest ?? 0
    // three refusals by a bucket of one at 4 per second
    let state = before
    const began = before.since + 5
    const admits = provider(4, 1)
    for (let episode = 0; episode < 3; episode++) {
      for (let i = 0; i < 60; i++) {
        const at = began + episode * 100 + i * (0.4 - 0.05 * episode) * 0.985 ** i
        state = BucketBounds.send(state, 1, at)
        if (!admits(at - began)) {
          state = BucketBounds.refuse(state, at, 1, 6, false)
          break
        }
      }
    }
    expect(first).toBeGreaterThan(8)
    expect(BucketBounds.bounds(state)?.lowest).toBeLessThan(4)
    expect(BucketBounds.bounds(state)?.lowest).toBeGreaterThan(3)
  })

  it("hears none of the earlier episodes where it is told that the limit moved, but counts what explains them all", () => {
    let state = BucketBounds.empty
    const next = (moved: boolean) => {
      for (let n = 1; n <= 10; n++) state = BucketBounds.send(state, 1, state.since + n)
      return state = BucketBounds.refuse(state, state.since + 10.5, 1, 2, moved)
    }
    next(false)
    expect(BucketBounds.bounds(next(false))?.episodes).toBe(2)
    const moved = next(true)
    expect([BucketBounds.bounds(moved), BucketBounds.explains(moved)]).toEqual([undefined, 3])
    expect([BucketBounds.bounds(next(false))?.episodes, BucketBounds.explains(state)]).toEqual([2, 4])
  })

  it("forgets all episodes where the rate is out of all proportion", () => {
    const state = climbed(40, 4, climbs)
    for (const rate of [state.lowest * 30, state.lowest * 1.5]) {
      const other = BucketBounds.refuse(state, state.since + 1, 1, rate, false)
      expect(other.episodes).toHaveLength(1)
      expect(other.lowest).toBe(rate / BucketBounds.defaults.span)
    }
  })

  it("withdraws the one attempt that is named, and no other", () => {
    const sent = [1, 2, 3].reduce((state, at) => BucketBounds.send(state, 1, at), BucketBounds.empty)
    const times = ({ last }: BucketBounds.State): ReadonlyArray<number> => {
      const all: Array<number> = []
      for (let one = last; one !== undefined; one = one.before) all.push(one.at)
      return all
    }
    expect(times(BucketBounds.withdraw(sent, 2))).toEqual([3, 1])
    expect(times(BucketBounds.withdraw(sent, 3))).toEqual([2, 1])
    expect(BucketBounds.withdraw(sent, 2).count).toBe(2)
    expect(BucketBounds.withdraw(sent, 2.5)).toBe(sent)
    expect(BucketBounds.withdraw(sent, 0)).toBe(sent)
  })

  it.each([5, 900])(
    "measures a refusal again after an attempt before it has failed, and %d more were sent",
    (count) => {
      const sent = (state: BucketBounds.State, from: number, count: number) =>
        Array.from({ length: count }, (_, n) => from + n / 100).reduce(
          (all, at) => BucketBounds.send(all, 1, at),
          state
        )
      const began = sent(BucketBounds.fail(BucketBounds.empty, -1), 0, 50)
      const refused = (state: BucketBounds.State, at: number) => BucketBounds.refuse(state, at, 1, 100, false)
      const late = BucketBounds.fail(sent(refused(began, 0.49), 1, count), 0.2)
      const early = sent(refused(BucketBounds.fail(began, 0.2), 0.49), 1, count)
      const last = 1 + (count - 1) / 100
      const measures = (state: BucketBounds.State) => state.episodes.map(({ measure }) => measure)
      expect(measures(refused(late, last))).toEqual(measures(refused(early, last)))
      expect(refused(late, last).debts).toEqual(refused(early, last).debts)
    }
  )

  it("looks up to a highest rate where that at which it was sent is a guess", () => {
    const refused = (state: BucketBounds.State, at: number, rate: number) => {
      let next = state
      for (let i = 0; i < 20; i++) next = BucketBounds.send(next, 1, at - 1 + i / 20)
      return BucketBounds.refuse(next, at, 1, rate, false, 4 * rate)
    }
    const first = refused(BucketBounds.empty, 1, 8)
    expect(first.lowest).toBeCloseTo(32 / 20, 9)
    const second = refused(first, 3, 20)
    expect([second.lowest, second.episodes.length]).toEqual([first.lowest, 2])
    // far below it begins anew
    expect(refused(second, 5, 3)).toMatchObject({ lowest: 12 / 20, episodes: [{ cost: 1 }] })
  })

  it("remembers so many attempts and no more", () => {
    const { kept, most } = BucketBounds.defaults
    let state: BucketBounds.State = { ...BucketBounds.empty, debts: [5] }
    for (let i = 0; i < most; i++) state = BucketBounds.send(state, 1, i)
    expect([state.count, state.debts]).toEqual([most, [5]])
    state = BucketBounds.send(state, 1, most)
    expect([state.count, state.debts, state.last?.at]).toEqual([kept, [], most])
    expect(BucketBounds.refuse(state, most, 1, 2, false).episodes).toHaveLength(1)
  })
})

describe("AdaptiveRate, over a bucket of unknown depth", () => {
  /** Paces attempts at the learned rate against a bucket; a refusal pauses for a second. */
  const learned = (rate: number, depth: number, seconds: number): AdaptiveRate.State => {
    const admits = provider(rate, depth)
    let state = AdaptiveRate.make()
    let now = 0
    while (now < seconds) {
      state = AdaptiveRate.advance(state, now)[1]
      const sent = state.traffic.sent
      state = AdaptiveRate.send(state, 1, true, now)
      if (admits(now)) now += 1 / state.rate
      else {
        state = AdaptiveRate.refuse(state, { at: now, sent, cost: 1 }, now + 0.05)[1]
        now += 1.05
      }
    }
    return state
  }

  it.each([0.1, 0.3, 0.5, 1])("comes within a tenth of a limit of 20 per second over a bucket of %d s", (depth) => {
    const { rate } = learned(20, 20 * depth, 120)
    expect(rate).toBeGreaterThan(18)
    expect(rate).toBeLessThan(22)
  })

  it("believes in half the burst where what was made up for a pause is refused", () => {
    const holding = changed(AdaptiveRate.make({ initial: 10, known: true }), {
      traffic: { mean: 1, largest: 1 },
      bucket: { empty: { at: 0, admitted: 0 }, burst: 8 }
    })
    const [move, next] = AdaptiveRate.refuse(holding, { at: 1, sent: 3, cost: 1 }, 1.05)
    expect([move?.reason, next.bucket.burst, next.streak.early]).toEqual(["limit-drifted", 4, 1])
  })

  it("tries half of the rate before again where a bucket was empty for long and then admits one", () => {
    let state = changed(AdaptiveRate.make({ initial: 100, known: true }), {
      // nothing held that a return could go back to
      high: { rate: 0, at: 0, proved: true },
      traffic: { mean: 1, largest: 1 },
      bucket: { empty: { at: 0, admitted: 0 } }
    })
    for (let i = 1; i <= 9; i++) {
      state = AdaptiveRate.refuse(state, { at: i, sent: state.traffic.refused, cost: 1 }, i + 0.05)[1]
    }
    expect(state.streak.early).toBeGreaterThanOrEqual(Episode.defaults.emptied)
    const slow = state.rate
    expect(slow).toBeLessThan(5)
    expect(AdaptiveRate.advance(state, 60)[0]).toBeUndefined()
    const sent = AdaptiveRate.send(state, 1, true, 60)
    expect(AdaptiveRate.advance(sent, 60.1)[0]).toBeUndefined()
    const [move, next] = AdaptiveRate.advance(sent, 60.3)
    expect(move).toMatchObject({ reason: "probe-began", from: slow })
    expect([next.rate, next.limit]).toEqual([state.streak.from / 2, slow])
    expect(AdaptiveRate.refuse(next, { at: 60.4, sent: next.traffic.sent, cost: 1 }, 60.5)[1].rate).toBeLessThan(
      slow * 1.05
    )
  })

  it("forgets an attempt that the provider did not count", () => {
    const sent = AdaptiveRate.send(AdaptiveRate.make(), 1, true, 3)
    expect(AdaptiveRate.withdraw(sent, 1, 3)).toMatchObject({ traffic: { sent: 0 }, bounds: { count: 0 } })
  })
})

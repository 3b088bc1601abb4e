import { describe, expect, it } from "@effect/vitest"
import * as Guesses from "../../src/policy/BucketGuesses.ts"
import * as Mirror from "../../src/policy/BucketMirror.ts"
import { seeded } from "./events.ts"

const known = { admitted: 3200, seconds: 0.2, cost: 600, later: 0, lowest: 0.02, next: 10, mean: 400 }

interface Bucket {
  readonly rate: (now: number) => number
  /** Seconds of its rate that it holds. */
  readonly seconds: number
}

interface Outcome {
  readonly mirror: Mirror.State
  readonly reasons: ReadonlyArray<Mirror.Reason>
  readonly refusals: number
  /** Seconds that it took, divided by what the rate allows. */
  readonly ratio: number
}

/** Sends calls through a mirror to a real bucket, one at a time; a refusal comes after 50 ms and asks for whole seconds. */
const play = (bucket: Bucket, cost: (random: () => number) => number, calls: number, seed: number): Outcome => {
  const random = seeded(seed)
  const reasons: Array<Mirror.Reason> = []
  let level = bucket.rate(0) * bucket.seconds
  let now = 0
  let admitted = 0
  let mirror: Mirror.State | undefined
  let seq = 0
  let refusals = 0
  const pass = (seconds: number): void => {
    const rate = bucket.rate(now)
    now += seconds
    level = Math.min(rate * bucket.seconds, level + rate * seconds)
  }
  for (let done = 0; done < calls;) {
    const size = cost(random)
    for (let tries = 0; tries < 100; tries++, seq++) {
      if (mirror !== undefined) {
        mirror = Mirror.advance(mirror, now, 0.2)
        const wait = Mirror.wait(mirror, size, now)
        pass(wait)
        mirror = Mirror.send(mirror, seq, size, wait > 0, now)
      } else pass(0.02)
      if (level >= Math.min(size, bucket.rate(now) * bucket.seconds) - 1e-9) {
        level -= size
        admitted += size
        done++
        break
      }
      refusals++
      if (mirror === undefined) {
        const first = { admitted, seconds: now, cost: size, later: 0, lowest: 0.02, next: seq + 1, mean: size }
        mirror = Mirror.make(first, now)
      } else {
        const [reason, next] = Mirror.refuse(mirror, seq, size)
        mirror = next
        reasons.push(reason)
      }
      const need = Math.min(size, bucket.rate(now) * bucket.seconds)
      pass(0.05 + Math.max(1, Math.ceil((need - level) / bucket.rate(now))))
    }
  }
  if (mirror === undefined) throw new Error("never refused")
  return { mirror, reasons, refusals, ratio: now * bucket.rate(now) / (admitted - bucket.rate(0) * bucket.seconds) }
}

const mixed = (random: () => number): number => random() < 0.2 ? 1400 : 230
const constant = (rate: number, seconds = 1): Bucket => ({ rate: () => rate, seconds })

describe("BucketMirror", () => {
  it("uses nearly all that a bucket gives to calls of mixed size, and is rarely refused", () => {
    for (const seed of [1, 2, 3]) {
      const { ratio, refusals } = play(constant(3000), mixed, 1500, seed)
      expect(ratio).toBeLessThan(1.06)
      expect(refusals).toBeLessThan(25)
    }
  })

  it("does so where the bucket holds five seconds, or twenty", () => {
    for (const seconds of [5, 20]) {
      const { ratio, refusals } = play(constant(3000, seconds), mixed, 1500, 4)
      expect(ratio).toBeLessThan(1.08)
      expect(refusals).toBeLessThan(30)
    }
  })

  it("finds the rate where every call is larger than the bucket", () => {
    for (const seed of [1, 2, 3]) {
      const { mirror, ratio, refusals } = play(constant(200), (random) => 400 + 400 * random(), 300, seed)
      expect(ratio).toBeLessThan(1.2)
      expect(refusals).toBeLessThan(15)
      expect(Math.abs(Mirror.rate(mirror) / 200 - 1)).toBeLessThan(0.1)
    }
  })

  it("follows a limit that falls, and looks for its return", () => {
    const fallen: Bucket = { rate: (now) => now > 100 && now < 250 ? 900 : 3000, seconds: 1 }
    const { mirror, reasons } = play(fallen, mixed, 2500, 6)
    expect(reasons).toContain("limit-fell")
    expect(reasons).toContain("limit-rose")
    expect(Math.abs(Mirror.rate(mirror) / 3000 - 1)).toBeLessThan(0.2)
  })

  it("probes after calls that had to wait, twice as seldom with each probe that finds nothing", () => {
    let state = Mirror.make(known, 0)
    for (let i = 0; i < Mirror.defaults.interval; i++) {
      state = { ...Mirror.send(state, 10 + i, 400, true, 0), pending: [] }
    }
    expect([state.probing, state.calm]).toEqual([0, 0])
    const waits = Mirror.wait(state, 300, 0)
    for (let i = 0; i < 60; i++) state = { ...Mirror.send(state, 500 + i, 400, true, 0), pending: [] }
    expect(state.probing).toBe(60)
    expect(Mirror.wait(state, 300, 0)).toBeLessThan(waits)
    // a call larger than most would end the probe before it tells anything
    expect(Mirror.wait(state, 5000, 0)).toBeGreaterThan(waits)
    const [reason, next] = Mirror.refuse(state, 9999, 400)
    expect([reason, next.probing, next.interval]).toEqual(["probe-confirmed", -1, 2 * Mirror.defaults.interval])
    expect(Mirror.send(next, 1, 400, false, 0).calm).toBe(0)
  })

  it("keeps a rate that stood for a while as the one to compare with", () => {
    const calm = { ...Mirror.make(known, 0), calm: Mirror.defaults.settled }
    const [, stood] = Mirror.refuse(calm, 9999, 400)
    expect(stood.before).toBe(Mirror.rate(stood))
    expect(Mirror.refuse({ ...calm, calm: 1 }, 9999, 400)[1].before).toBe(0)
    const [reason, fell] = Mirror.refuse({ ...calm, before: 1e6 }, 9999, 400)
    expect([reason, fell.interval]).toEqual(["limit-fell", Mirror.defaults.eager])
  })

  it("takes silence for admission, in order of sending, and nothing else", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 1)
    const two = Mirror.send(one, 11, 400, true, 1.1)
    expect(Mirror.advance(two, 1.15, 0.2)).toBe(two)
    const heard = Mirror.advance(two, 1.25, 0.2)
    expect(heard.pending.map((pending) => pending.seq)).toEqual([11])
    expect(heard.guesses.at).toBe(1)
  })

  it("forgets an attempt that was not counted, and corrects one that was", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 0)
    expect(Mirror.credit(one, 10, 400, 400, 0.05).pending).toEqual([])
    const more = Mirror.credit(one, 10, 400, -100, 0.05)
    expect(more.pending).toEqual(one.pending)
    expect(more.guesses.levels[0]).toBeCloseTo((one.guesses.levels[0] ?? 0) - 100, 9)
    const idle = Mirror.make(known, 0)
    const back = Mirror.credit(idle, 3, 400, 1e9, 1)
    expect(back.guesses.levels[0]).toBeCloseTo((idle.guesses.rates[0] ?? 0) * (idle.guesses.seconds[0] ?? 0), 6)
  })

  it("counts a late refusal back in, and forgets what was sent before it", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 1)
    const two = Mirror.send(one, 11, 600, true, 1.1)
    const three = Mirror.send(two, 12, 600, true, 1.2)
    expect(Mirror.refuse(three, 11, 600)[1].pending.map((pending) => pending.seq)).toEqual([12])
    const late = Mirror.advance(three, 5, 0.2)
    expect(Mirror.refuse(late, 11, 600)[1].pending).toEqual([])
  })

  it("expects the refusal of what the bucket cannot hold, and of nothing that is not under way", () => {
    const idle = Mirror.make(known, 0)
    const crowd = [1, 2, 3, 4, 5].reduce((state, n) => Mirror.send(state, 10 + n, 3000, true, 0), idle)
    expect(Mirror.expected(crowd, 15)).toBeCloseTo(1, 6)
    expect(Mirror.expected(Mirror.send(idle, 10, 1, true, 60), 10)).toBeLessThan(0.05)
    expect(Mirror.expected(crowd, 99)).toBe(0)
  })

  it("moves to a stated limit at once", () => {
    const told = Mirror.told(Mirror.make(known, 0), 9000)
    expect(Math.abs(Mirror.rate(told) / 9000 - 1)).toBeLessThan(0.01)
    expect(told.before).toBe(9000)
  })

  it("waits the longer the more is asked, and never for what the bucket surely holds", () => {
    const state = Mirror.make(known, 0)
    expect(Mirror.wait(state, 1, 60)).toBe(0)
    const waits = [500, 2000, 8000].map((cost) => Mirror.wait(state, cost, 0))
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits[0]).toBeGreaterThan(0)
    expect(Number.isFinite(Mirror.wait(Mirror.make({ ...known, admitted: 0, mean: 0, cost: 0 }, 0), 1e6, 0))).toBe(true)
  })
})

describe("BucketGuesses", () => {
  const lawful = (guesses: Guesses.Guesses): void => {
    let total = 0
    for (let i = 0; i < guesses.rates.length; i++) {
      total += guesses.weights[i] ?? NaN
      const depth = (guesses.rates[i] ?? NaN) * (guesses.seconds[i] ?? NaN)
      if (!((guesses.rates[i] ?? NaN) >= guesses.lowest)) throw new Error(`rate ${guesses.rates[i]}`)
      if (!((guesses.levels[i] ?? NaN) <= depth + 1e-6 * depth)) {
        throw new Error(`level ${guesses.levels[i]} of ${depth}`)
      }
    }
    expect(total).toBeCloseTo(1, 6)
  }

  it("keeps weights that sum to one, rates above the lowest and levels below the depth, after any list of events", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed)
      const rate = random() < 0.5 ? undefined : 1 + random() * 5000
      let guesses = Guesses.make({ ...known, admitted: random() * 5000, later: random() * 900, rate }, 0)
      lawful(guesses)
      let now = 0
      for (let i = 0; i < 60; i++) {
        now += random() * random() * 2
        const cost = random() * random() * 5000
        const draft = Guesses.draft(guesses)
        Guesses.flow(draft, now)
        const refused = random() < 0.4
        if (refused) Guesses.refused(draft, cost, 50)
        else Guesses.admitted(draft, cost, 50)
        if (random() < 0.3) Guesses.credited(draft, (random() - 0.3) * 1000)
        guesses = Guesses.done(draft, refused ? -1 : 1)
        lawful(guesses)
      }
    }
  })

  it("leaps the way of the evidence where no guess explains it", () => {
    const guesses = Guesses.make(known, 0)
    const before = Guesses.rate(guesses)
    const up = Guesses.draft(guesses)
    for (let i = 0; i < 50; i++) Guesses.admitted(up, 3000, 1)
    expect(Guesses.rate(Guesses.done(up, 1))).toBeGreaterThan(before * 1.1)
    const down = Guesses.draft(guesses)
    Guesses.flow(down, 600)
    Guesses.refused(down, 1, 1)
    expect(Guesses.rate(Guesses.done(down, -1))).toBeLessThan(before * 0.9)
  })

  it("changes nothing but the time where the evidence is what all guesses expected", () => {
    const guesses = Guesses.make(known, 0)
    const draft = Guesses.draft(guesses)
    Guesses.flow(draft, 600)
    Guesses.flow(draft, 500)
    Guesses.admitted(draft, 1e-3, 50)
    const next = Guesses.done(draft, 1)
    expect([next.at, next.weights, next.rates]).toEqual([600, guesses.weights, guesses.rates])
  })

  it("gives the same guesses for the same events", () => {
    expect(play(constant(3000), mixed, 300, 9).mirror).toEqual(play(constant(3000), mixed, 300, 9).mirror)
  })

  it("begins near a rate that is known", () => {
    const near = Guesses.make({ ...known, rate: 5000 }, 0)
    expect(near.rates.filter((rate) => Math.abs(rate / 5000 - 1) < 0.5).length).toBeGreaterThan(90)
  })
})

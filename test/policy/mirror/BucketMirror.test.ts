import { describe, expect, it } from "@effect/vitest"
import * as Guesses from "../../../src/policy/mirror/BucketGuesses.ts"
import * as Mirror from "../../../src/policy/mirror/BucketMirror.ts"
import * as Succession from "../../../src/policy/mirror/BucketSuccession.ts"
import * as Marks from "../../../src/policy/lane/LaneMarks.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"

const known = { admitted: 3200, seconds: 0.2, cost: 600, later: 0, lowest: 0.02, mean: 400 }

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
  let marks: Marks.Marks = [{ at: 0, requests: 0, tokens: 0 }]
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
      marks = Marks.add(marks, { at: now, requests: 0, tokens: admitted })
      if (level >= Math.min(size, bucket.rate(now) * bucket.seconds) - 1e-9) {
        level -= size
        admitted += size
        done++
        break
      }
      refusals++
      if (mirror === undefined) {
        const first = { admitted, seconds: now, cost: size, later: 0, lowest: 0.02, mean: size }
        mirror = Mirror.make(first, now)
      } else {
        const [reason, next] = Mirror.refuse(mirror, seq, size, Marks.stretches(marks, "tokens", admitted, now))
        mirror = next
        reasons.push(reason)
      }
      marks = Marks.add(marks, { at: now, requests: 0, tokens: admitted, empty: "tokens" })
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
    const played = [1, 2, 3, 4, 5].map((seed) => play(constant(3000), mixed, 1500, seed))
    const middle = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[2]!
    expect(middle(played.map((one) => one.ratio))).toBeLessThan(1.04)
    expect(middle(played.map((one) => one.refusals))).toBeLessThan(20)
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

  it("guesses windows only where it is told to, and none is left where a bucket saves for a pause", () => {
    expect(Mirror.make(known, 0).guesses.windows).not.toContain(true)
    const windowed = Mirror.make({ ...known, windowed: true }, 0)
    expect(windowed.guesses.windows.filter((one) => one)).toHaveLength(Guesses.defaults.windows)
    // 9,000 within a second: no window admits that which refused the first 3,800
    let state = windowed
    for (let i = 0; i < 15; i++) state = Mirror.send(state, i, 600, false, 10 + i / 20)
    state = Mirror.advance(state, 20, 0.2)
    expect(state.guesses.windows).not.toContain(true)
    expect(state.guesses.counted).toEqual([])
  })

  it("begins with the depth of another limit in three guesses of four, and with usual ones in the rest", () => {
    const near = ({ guesses }: Mirror.State) =>
      guesses.seconds.filter((one) => Math.abs(Math.log(one / 0.3)) < 0.5).length
    const alone = Mirror.make(known, 0)
    const beside = Mirror.make({ ...known, depth: { seconds: 0.3, spread: 0.05 } }, 0)
    expect(near(alone)).toBeLessThan(0.4 * Guesses.defaults.count)
    expect(near(beside)).toBeGreaterThan(0.74 * Guesses.defaults.count)
    expect(Math.max(...beside.guesses.seconds)).toBeGreaterThan(3)
  })

  it("knows how deep a bucket is that holds several calls, once its guesses agree, and never of one that holds none", () => {
    expect(Mirror.depth(Mirror.make(known, 0))).toBe(undefined)
    const { mirror } = play({ rate: () => 1000, seconds: 2 }, (random) => 200 + 400 * random(), 300, 1)
    expect(Math.abs(Math.log((Mirror.depth(mirror)?.seconds ?? 0) / 2))).toBeLessThan(0.2)
    const shallow = play({ rate: () => 1000, seconds: 0.3 }, (random) => 200 + 400 * random(), 300, 1)
    expect(Mirror.depth(shallow.mirror)).toBe(undefined)
  })

  it("takes a window for what fits where bursts are refused that a bucket would have saved for", () => {
    let state = Mirror.make({ ...known, admitted: 3000, seconds: 0.2, windowed: true }, 0)
    let counted: ReadonlyArray<{ readonly at: number; readonly cost: number }> = []
    let now = 1.2
    let refusals = 0
    for (let seq = 0; seq < 600; seq++) {
      const cost = 100 + 400 * ((seq * 7919) % 100) / 100
      state = Mirror.advance(state, now, 0.2)
      const wait = Mirror.wait(state, cost, now)
      now += wait
      state = Mirror.send(state, seq, cost, wait > 0, now)
      counted = counted.filter((one) => one.at > now - 1)
      if (counted.reduce((sum, one) => sum + one.cost, cost) <= 3000) counted = [...counted, { at: now, cost }]
      else {
        state = Mirror.refuse(state, seq, cost, [])[1]
        refusals++
        now += 1
      }
    }
    expect(state.guesses.weights.reduce((sum, weight, i) => state.guesses.windows[i]! ? sum + weight : sum, 0))
      .toBeGreaterThan(0.9)
    expect(Math.abs(Mirror.rate(state) / 3000 - 1)).toBeLessThan(0.1)
    expect(refusals).toBeLessThan(20)
  })

  it("believes no rate that explains none of the last refusals", () => {
    const state = Mirror.make(known, 0)
    const free = Mirror.refuse(state, 9999, 400, [])[1]
    const bounded = Mirror.refuse(state, 9999, 400, [], 0.02, 0.9 * Mirror.rate(free))[1]
    expect(Mirror.rate(bounded)).toBeLessThan(Mirror.rate(free))
  })

  it("follows a limit that falls, and looks for its return", () => {
    const fallen: Bucket = { rate: (now) => now > 100 && now < 250 ? 900 : 3000, seconds: 1 }
    const { mirror, reasons } = play(fallen, mixed, 2500, 6)
    expect(reasons).toContain("limit-fell")
    expect(reasons).toContain("limit-rose")
    expect(Math.abs(Mirror.rate(mirror) / 3000 - 1)).toBeLessThan(0.2)
  })

  it("probes after calls that had to wait, more seldom with each probe that finds nothing", () => {
    let state = Mirror.make(known, 0)
    for (let i = 0; i < Mirror.defaults.firstProbe; i++) {
      state = { ...Mirror.send(state, 10 + i, 400, true, 0), pending: [] }
    }
    expect([state.probing, state.calm]).toEqual([0, 0])
    const waits = Mirror.wait(state, 300, 0)
    for (let i = 0; i < 60; i++) state = { ...Mirror.send(state, 500 + i, 0, true, 0), pending: [] }
    expect(state.probing).toBe(60)
    expect(Mirror.wait({ ...state, mean: 400 }, 300, 0)).toBeLessThan(waits)
    // a call larger than most would end the probe before it tells anything
    expect(Mirror.wait({ ...state, mean: 400 }, 5000, 0)).toBeGreaterThan(waits)
    const [reason, next] = Mirror.refuse(state, 9999, 400, [])
    expect([reason, next.probing, next.interval]).toEqual(["probe-confirmed", -1, Mirror.defaults.secondProbe])
    const probed = (interval: number) => Mirror.refuse({ ...state, interval }, 9999, 400, [])[1].interval
    expect([probed(120), probed(240), probed(480)]).toEqual([240, 480, Mirror.defaults.probeMost])
    expect(Mirror.send(next, 1, 400, false, 0).calm).toBe(0)
  })

  it("takes fewer risks where a refusal asks for a minute, and probes only where what it may find pays for that", () => {
    const free = Mirror.make(known, 0)
    const dear = Mirror.asks(free, 60)
    expect([Mirror.isDear(free), Mirror.isDear(Mirror.asks(free, 2)), Mirror.isDear(dear)]).toEqual([
      false,
      false,
      true
    ])
    const owing = (state: Mirror.State) => Mirror.wait(Mirror.send(state, 1, 400, true, 0), 400, 0)
    expect(owing(dear)).toBeGreaterThan(owing(free))
    const probesAfter = (state: Mirror.State): number => {
      let next = state
      let calls = 0
      while (next.probing < 0 && calls < 5000) {
        next = { ...Mirror.send(next, ++calls, 400, true, 0), pending: [] }
      }
      return calls
    }
    expect(probesAfter(free)).toBe(Mirror.defaults.firstProbe)
    expect(probesAfter(dear)).toBeGreaterThan(500)
    expect(probesAfter({ ...dear, eager: 1 })).toBeGreaterThan(500)
  })

  it("probes eagerly after the limit moved: as often, and faster, until none is left", () => {
    const fallen = {
      ...Mirror.make(known, 0),
      probing: 12,
      before: 1e6,
      eager: 2,
      interval: Mirror.defaults.eagerProbe
    }
    const [reason, once] = Mirror.refuse(fallen, 9999, 400, [])
    expect([reason, once.eager, once.interval]).toEqual(["probe-confirmed", 1, Mirror.defaults.eagerProbe])
    const [, last] = Mirror.refuse({ ...once, probing: 12 }, 9999, 400, [])
    expect([last.eager, last.interval]).toEqual([0, Mirror.defaults.secondProbe])
    const waits = (eager: number) =>
      Mirror.wait({ ...Mirror.make({ ...known, later: 900 }, 0), probing: 12, eager }, 300, 0)
    expect(waits(2)).toBeLessThan(waits(0))
    const [rose, found] = Mirror.refuse({ ...fallen, before: 1 }, 9999, 400, [])
    expect([rose, found.eager]).toEqual(["limit-rose", Mirror.defaults.eagerAfterRise])
  })

  it("keeps a rate that stood for a while as the one to compare with", () => {
    const calm = { ...Mirror.make(known, 0), calm: Mirror.defaults.settled }
    const [, stood] = Mirror.refuse(calm, 9999, 400, [])
    expect(stood.before).toBe(Mirror.rate(stood))
    expect(Mirror.refuse({ ...calm, calm: 1 }, 9999, 400, [])[1].before).toBe(0)
    const [reason, fell] = Mirror.refuse({ ...calm, before: 1e6 }, 9999, 400, [])
    expect([reason, fell.interval, fell.eager]).toEqual([
      "limit-fell",
      Mirror.defaults.eagerProbe,
      Mirror.defaults.eagerAfterFall
    ])
  })

  it("goes on with what it knew, of a bucket that is empty by now", () => {
    const { mirror } = play({ rate: () => 3000, seconds: 1 }, () => 300, 400, 1)
    const later = mirror.guesses.at + 100
    const resumed = Mirror.resume(Mirror.send(mirror, 9999, 300, true, later - 1), later)
    expect(Mirror.rate(resumed)).toBeCloseTo(Mirror.rate(mirror), 6)
    expect(resumed.guesses.seconds).toEqual(mirror.guesses.seconds)
    expect(resumed.pending).toEqual([])
    expect(Mirror.wait(mirror, 300, later)).toBe(0)
    expect(Mirror.wait(resumed, 300, later)).toBeGreaterThan(0.05)
  })

  it("takes silence for admission, in order of sending, and nothing else", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 1)
    const two = Mirror.send(one, 11, 400, true, 1.1)
    expect(Mirror.advance(two, 1.15, 0.2)).toBe(two)
    const heard = Mirror.advance(two, 1.25, 0.2)
    expect(heard.pending.map((pending) => pending.seq)).toEqual([11])
    expect(heard.guesses.at).toBe(1)
  })

  it("forgets an attempt that was not counted, and corrects one that was when its turn comes", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 0)
    expect(Mirror.credit(one, 10, 400, 400, 0.05).pending).toEqual([])
    const more = Mirror.credit(one, 10, 400, -100, 0.05)
    expect(more.pending).toEqual([...one.pending, { seq: -1, at: 0.05, cost: 0, back: -100 }])
    expect(more.guesses).toBe(one.guesses)
    const passed = (state: Mirror.State) => Mirror.advance(state, 9, 0.2).guesses
    const lower = passed(more).levels.filter((level, i) => level < (passed(one).levels[i] ?? NaN))
    expect(lower.length).toBeGreaterThan(30)
    const idle = Mirror.make(known, 0)
    const back = Mirror.advance(Mirror.credit(idle, 3, 400, 1e9, 1), 9, 0.2)
    expect(back.guesses.levels[0]).toBeCloseTo((idle.guesses.rates[0] ?? 0) * (idle.guesses.seconds[0] ?? 0), 6)
  })

  it("sees what lies ahead as it will have happened: in order, with what was given back", () => {
    for (let seed = 1; seed <= 15; seed++) {
      const random = seeded(seed)
      let state = Mirror.make(known, 0)
      let now = 0
      for (let i = 0; i < 40; i++) {
        now += random() * 0.1
        const what = random()
        if (what < 0.6) state = Mirror.send(state, 100 + i, random() * 900, random() < 0.5, now)
        else if (what < 0.8) state = Mirror.credit(state, 100 + i - 5, 400, random() * 300 - 50, now)
        else state = Mirror.advance(state, now, 0.2)
        const wholly = Guesses.outlook(state.guesses, state.guesses, state.pending)
        const at = Math.max(wholly.at, state.ahead.at)
        const levels = (outlook: Guesses.Outlook) =>
          outlook.levels.map((level, n) => {
            const rate = state.guesses.rates[n] ?? NaN
            return Math.min(rate * (state.guesses.seconds[n] ?? NaN), level + rate * (at - outlook.at))
          })
        levels(state.ahead).forEach((level, n) => law(level).toBeCloseTo(levels(wholly)[n] ?? NaN, 6))
      }
    }
  })

  it("believes in more once more is admitted than it guesses, and sees ahead by what it believes then", () => {
    let state = Mirror.make({ ...known, admitted: 10, seconds: 1, cost: 1, mean: 1 }, 0)
    expect(Mirror.rate(state)).toBeLessThan(10)
    for (let i = 1; i <= 50; i++) state = Mirror.advance(Mirror.send(state, i, 1, true, i / 50), i / 50, 0.2)
    expect(Mirror.rate(state)).toBeGreaterThan(40)
    expect(state.pending.length).toBeGreaterThan(0)
    expect(state.ahead).toEqual(Guesses.outlook(state.guesses, state.guesses, state.pending))
  })

  it("does not lend to a second large call what a full bucket turned away before the first", () => {
    const shallow = { ...known, admitted: 30, seconds: 0.05, cost: 800 }
    const state = Mirror.make(shallow, 0)
    const waits = Mirror.wait(state, 800, 60)
    const one = Mirror.send(state, 10, 800, true, 60)
    expect(waits).toBe(0)
    expect(Mirror.wait(one, 800, 60.01)).toBeGreaterThan(0.1)
  })

  it("counts a late refusal back in, and forgets what was sent before it", () => {
    const one = Mirror.send(Mirror.make(known, 0), 10, 400, true, 1)
    const two = Mirror.send(one, 11, 600, true, 1.1)
    const three = Mirror.send(two, 12, 600, true, 1.2)
    expect(Mirror.refuse(three, 11, 600, [])[1].pending.map((pending) => pending.seq)).toEqual([12])
    const late = Mirror.advance(three, 5, 0.2)
    expect(Mirror.refuse(late, 11, 600, [])[1].pending).toEqual([])
  })

  it("expects the refusal of what the bucket cannot hold, and of nothing that is not under way", () => {
    const idle = Mirror.make(known, 0)
    const crowd = [1, 2, 3, 4, 5].reduce((state, n) => Mirror.send(state, 10 + n, 3000, true, 0), idle)
    expect(Mirror.expected(crowd, 15)).toBeCloseTo(1, 6)
    expect(Mirror.expected(Mirror.send(idle, 10, 1, true, 60), 10)).toBeLessThan(0.05)
    expect(Mirror.expected(crowd, 99)).toBe(0)
  })

  it("begins with full buckets around a limit that is known, and takes its first call for the usual one", () => {
    const state = Mirror.around({ rate: 3000, lowest: 0.02 }, 5)
    expect([state.guesses.at, state.before, state.mean]).toEqual([5, 3000, 0])
    expect(Math.abs(Mirror.rate(state) / 3000 - 1)).toBeLessThan(0.02)
    state.guesses.levels.forEach((level, i) =>
      expect(level).toBe((state.guesses.rates[i] ?? NaN) * (state.guesses.seconds[i] ?? NaN))
    )
    expect(Mirror.send(state, 0, 700, false, 5).mean).toBe(700)
    expect(Mirror.wait(state, 100, 5)).toBe(0)
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

/** A mirror of 1,000 per second whose limit is shut: calls of 100 are refused at these times, and none is admitted. */
const shut = (times: ReadonlyArray<number>): Mirror.State =>
  times.reduce((mirror, at, seq) => {
    const sent = Mirror.send(mirror, seq, 100, true, at)
    const stretches = [{ seconds: at, units: 0, empty: true }]
    return Mirror.refuse(sent, seq, 100, stretches)[1]
  }, Mirror.around({ rate: 1000, lowest: 0.02 }, 0))

describe("BucketMirror, where attempts fail", () => {
  it("carries another that takes what fails the other way, and tells once that explains the refusals better", () => {
    const random = seeded(7)
    let mirror = Mirror.around({ rate: 100, lowest: 1 }, 0)
    expect([mirror.other, Mirror.swapped(mirror)]).toEqual([undefined, mirror])
    let level = 100
    let now = 0
    let refusals = 0
    for (let seq = 0; !Mirror.isDoubted(mirror) && refusals < 30; seq++) {
      const seconds = Math.max(0.05, Mirror.wait(mirror, 30, now))
      now += seconds
      level = Math.min(100, level + 100 * seconds)
      mirror = Mirror.send(Mirror.advance(mirror, now, 0.2), seq, 30, true, now)
      if (level < 30) {
        mirror = Mirror.refuse(mirror, seq, 30, [{ seconds: 1, units: 100, empty: true }])[1]
        refusals++
        continue
      }
      level -= 30
      // it is counted, and the mirror takes it back
      if (random() < 0.3) mirror = Mirror.fail(mirror, seq, 30, false, now)
    }
    expect(refusals).toBeGreaterThan(1)
    expect(refusals).toBeLessThan(10)
    const swapped = Mirror.swapped(mirror)
    expect([swapped.doubt, Mirror.isDoubted(swapped), swapped.other?.other]).toEqual([0, false, undefined])
    expect([swapped.guesses, swapped.other?.guesses]).toEqual([mirror.other?.guesses, mirror.guesses])
    // from then on the other one takes back
    const failed = Mirror.fail(Mirror.send(swapped, 1e6, 30, true, now), 1e6, 30, true, now)
    expect([failed, failed.other].map((one) => one?.pending.some(({ seq }) => seq === 1e6))).toEqual([true, false])
  })
})

describe("BucketMirror, of a limit that was shut", () => {
  const opened = (mirror: Mirror.State, at: number): Mirror.State =>
    Mirror.advance(Mirror.send(mirror, 99, 100, true, at), at + 0.2, 0.2)

  it("begins anew between half of the rate before, or what is left, and twice what held, with a call in the bucket", () => {
    const before = shut([1, 2, 4, 8])
    const { guesses, inVain } = opened(before, 12)
    const tried = Math.max(Mirror.rate(before), Mirror.afterVain(before))
    expect(Math.min(...guesses.rates) / tried).toBeCloseTo(1, 1)
    expect(Math.max(...guesses.rates) / (2 * Math.max(tried, 1000 * 2 ** (-12.2 / 180)))).toBeCloseTo(1, 1)
    expect(Math.max(...guesses.levels)).toBeLessThanOrEqual(100)
    expect(inVain).toBe(0)
  })

  it("goes on as it is after two refusals, or where hardly a call would have gone through", () => {
    expect(opened(shut([1, 2]), 4).inVain).toBe(2)
    expect(opened(shut([0.1, 0.2, 0.3]), 4).inVain).toBe(3)
    expect(opened(shut([0.1, 0.2, 0.6]), 4).inVain).toBe(0)
  })

  it("tries between a quarter of what held and twice that, with a call in the bucket, where the rate fell and calls wait", () => {
    const low = {
      ...Mirror.told(shut([1]), 100),
      back: { ...shut([1]).back, high: { rate: 1000, at: 8, proved: true } }
    }
    const calm = Mirror.advance(Mirror.send(low, 98, 100, true, 8), 8.2, 0.2)
    expect(calm.back.under).toMatchObject({ at: 8.2, from: -1 })
    expect(Math.min(...calm.guesses.rates)).toBeCloseTo(250, -1)
    expect(Math.max(...calm.guesses.rates)).toBeCloseTo(2000, -2)
    expect(Math.max(...calm.guesses.levels)).toBeLessThanOrEqual(100)
    expect(Mirror.advance(Mirror.send(low, 98, 100, false, 8), 8.2, 0.2).back.under).toBeUndefined()
  })
})

const stretchesOf = (random: () => number, now: number): ReadonlyArray<Succession.Stretch> =>
  Array.from({ length: Math.floor(random() * 6) }, (_, i) => ({
    seconds: 0.01 + now / (1 + i),
    units: random() < 0.3 ? 0 : random() * 9000,
    empty: random() < 0.5
  }))

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
    for (let seed = 1; seed <= 30; seed++) {
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
        guesses = Succession.done(draft, refused ? { cost, stretches: stretchesOf(random, now) } : undefined)
        lawful(guesses)
      }
    }
  })

  it("gives the same guesses for the same events", () => {
    expect(play(constant(3000), mixed, 300, 9).mirror).toEqual(play(constant(3000), mixed, 300, 9).mirror)
  })

  it("begins near a rate that is known", () => {
    const near = Guesses.make({ ...known, rate: 5000 }, 0)
    expect(near.rates.filter((rate) => Math.abs(rate / 5000 - 1) < 0.5).length).toBeGreaterThan(90)
  })
})

describe("BucketSuccession", () => {
  const refusedAt = (now: number, cost: number, stretches: ReadonlyArray<Succession.Stretch>) => {
    const draft = Guesses.draft(Guesses.make(known, 0))
    Guesses.flow(draft, now)
    Guesses.refused(draft, cost, 1)
    return Succession.done(draft, { cost, stretches })
  }
  const near = (guesses: Guesses.Guesses, rate: number, within: number) =>
    guesses.rates.filter((one) => Math.abs(one / rate - 1) < within).length

  it("leaps the way of the evidence where no guess explains it", () => {
    const guesses = Guesses.make(known, 0)
    const up = Guesses.draft(guesses)
    for (let i = 0; i < 50; i++) Guesses.admitted(up, 3000, 1)
    expect(Succession.done(up).rate).toBeGreaterThan(guesses.rate * 1.1)
    expect(refusedAt(600, 1, []).rate).toBeLessThan(guesses.rate * 0.9)
  })

  it("leaps to what was measured: between two refusals, or since the bucket was full", () => {
    const between = refusedAt(600, 10, [{ seconds: 30, units: 9000, empty: true }])
    expect(near(between, 300, 0.05)).toBeGreaterThan(70)
    const since = refusedAt(600, 10, [{ seconds: 30, units: 9000, empty: false }])
    expect(near(since, 9000 / 31, 0.1)).toBeGreaterThan(50)
    // of several stretches the one that proves the highest rate
    const both = refusedAt(600, 10, [
      { seconds: 60, units: 9000, empty: false },
      { seconds: 30, units: 9000, empty: true }
    ])
    expect(near(both, 300, 0.05)).toBeGreaterThan(70)
  })

  it("measures a limit that moved since it moved: some look back no further than the last refusal", () => {
    const moved = refusedAt(600, 10, [
      { seconds: 300, units: 900_000, empty: true },
      { seconds: 30, units: 3000, empty: true }
    ])
    expect(near(moved, 100, 0.05)).toBeGreaterThan(15)
    expect(near(moved, 3000, 0.05)).toBeGreaterThan(30)
  })

  it("takes some buckets for being in debt where nothing was admitted since the last refusal", () => {
    const stuck = refusedAt(600, 10, [{ seconds: 2, units: 0, empty: true }])
    const inDebt = stuck.levels.filter((level, i) => level < -0.4 * (stuck.rates[i] ?? NaN)).length
    expect(inDebt).toBeGreaterThan(25)
    const flowing = refusedAt(600, 10, [{ seconds: 2, units: 5000, empty: true }])
    expect(flowing.levels.filter((level) => level < 0)).toEqual([])
  })

  it("draws some near what was measured at a refusal that was foreseen too", () => {
    const guesses = Guesses.make(known, 0)
    const draft = Guesses.draft(guesses)
    Guesses.refused(draft, 600, 1e9)
    const next = Succession.done(draft, { cost: 600, stretches: [{ seconds: 100, units: 5e6, empty: true }] })
    expect(near(next, 50_000, 0.05)).toBe(Math.ceil(Guesses.defaults.count / Succession.defaults.measured))
  })

  it("changes nothing but the time where the evidence is what all guesses expected", () => {
    const guesses = Guesses.make(known, 0)
    const draft = Guesses.draft(guesses)
    Guesses.flow(draft, 600)
    Guesses.flow(draft, 500)
    Guesses.admitted(draft, 1e-3, 50)
    const next = Succession.done(draft)
    expect([next.at, next.weights, next.rates]).toEqual([600, guesses.weights, guesses.rates])
  })
})

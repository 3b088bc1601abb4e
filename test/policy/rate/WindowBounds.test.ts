import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import type { Attempt } from "../../../src/policy/rate/BucketBounds.ts"
import * as WindowBounds from "../../../src/policy/rate/WindowBounds.ts"
import * as WindowGuess from "../../../src/policy/rate/WindowGuess.ts"
import { seeded } from "../events.ts"

/** Says whether a provider admits an attempt that arrives at a time. */
type Provider = (at: number) => boolean

const sliding = (n: number, seconds: number): Provider => {
  let sent: Array<number> = []
  return (at) => {
    sent = sent.filter((one) => one > at - seconds + 1e-9)
    return sent.length < n && sent.push(at) > 0
  }
}

const fixed = (n: number, seconds: number, phase: number): Provider => {
  let window = -1
  let used = 0
  return (at) => {
    const now = Math.floor((at + phase) / seconds + 1e-9)
    used = now === window ? used : 0
    window = now
    return used < n && used++ >= 0
  }
}

const bucket = (rate: number, depth: number): Provider => {
  let level = depth
  let last = 0
  return (at) => {
    level = Math.min(depth, level + rate * (at - last))
    last = at
    return level >= 1 && level-- > 0
  }
}

/** Sends as a lane does: at the learned rate, or as a window admits; a refusal is heard of at once. */
const run = (
  provider: Provider,
  until: number,
  options: { asked?: number; pause?: number; cost?: (n: number) => number } = {}
) => {
  const { asked = 0, cost = () => 1, pause = 0.3 } = options
  let state = AdaptiveRate.make()
  let refused = 0
  let admitted = 0
  let refusedAt = 0
  for (let at = 0, n = 0; at < until; n++) {
    state = AdaptiveRate.send(AdaptiveRate.advance(state, at)[1], cost(n), at > 0, at)
    const shut = (seconds: number): number => {
      const { rate, windows: { known } } = state
      if (known === undefined) return seconds
      const most = Math.max(1, Math.floor(rate * known.seconds + 1e-6))
      return Math.max(seconds, WindowBounds.wait(known, most, 1, at))
    }
    if (provider(at)) {
      admitted++
      at += shut(cost(n) / ((state.windows.known === undefined ? 1 : 3) * state.rate))
    } else {
      refused++
      refusedAt = at
      state = AdaptiveRate.refuse(state, { at, sent: state.traffic.sent - cost(n), cost: cost(n), asked }, at)[1]
      at += shut(Math.max(asked, pause))
    }
  }
  return { state, refused, admitted, refusedAt }
}

const known = ({ state }: ReturnType<typeof run>) =>
  state.windows.known && [state.windows.known.n, state.windows.known.seconds]

const heard = (
  state: WindowBounds.State,
  at: number,
  fresh: ReadonlyArray<Attempt>,
  more: Partial<WindowBounds.Refusal> = {}
) =>
  WindowBounds.refuse(state, {
    at,
    cost: 1,
    mean: 1,
    asked: 0,
    fresh,
    later: [],
    back: [],
    forgot: false,
    explained: 1,
    compared: 8,
    ...more
  })

/** So many attempts from a time on, a hundredth of a second apart. */
const burst = (n: number, at: number, cost = 1): ReadonlyArray<Attempt> =>
  Array.from({ length: n }, (_, i) => ({ at: at + i / 100, cost }))

const unitsOf = (state: WindowBounds.State): number => state.known?.sent.reduce((sum, { cost }) => sum + cost, 0) ?? 0

describe("rate/WindowBounds", () => {
  it.each([[20, 1], [40, 1], [120, 10], [300, 60]])("knows a sliding window of %s in %s s", (n, seconds) => {
    const played = run(sliding(n, seconds), 40 + 6 * seconds)
    expect(known(played)).toEqual([n, seconds])
    expect(played.state.rate).toBeGreaterThan(0.98 * n / seconds)
  })

  it.each([[20, 1, 0.3], [40, 1, 0.77], [120, 10, 4], [300, 60, 33]])(
    "knows a fixed window of %s in %s s that began %s s before",
    (n, seconds, phase) => {
      const played = run(fixed(n, seconds, phase), 40 + 6 * seconds)
      const [found = 0, length] = known(played) ?? []
      expect(length).toBe(seconds)
      expect(found).toBeGreaterThan(0.94 * n)
      expect(found).toBeLessThanOrEqual(n)
    }
  )

  it.each([[10, 1], [10, 10], [40, 4], [40, 40], [12, 60]])(
    "takes no bucket of %s per second that holds %s for one",
    (rate, depth) => {
      for (const asked of [0, 1]) expect(known(run(bucket(rate, depth), 100, { asked }))).toBeUndefined()
    }
  )

  it("is hardly refused any more once it is known", () => {
    const provider = fixed(40, 1, 0.4)
    const early = run(provider, 60, { asked: 1 })
    const late = run(fixed(40, 1, 0.4), 120, { asked: 1 })
    expect(known(late)).toBeDefined()
    expect(late.refused - early.refused).toBeLessThan(3)
    expect(late.admitted - early.admitted).toBeGreaterThan(0.93 * 60 * 40)
  })

  it("follows a window that admits less, and one that admits more", () => {
    const [few, many] = [sliding(20, 1), sliding(60, 1)]
    const fewer = run((at) => (at < 60 ? many : few)(at), 130)
    expect(fewer.state.rate).toBeLessThan(22)
    const more = run((at) => (at < 60 ? few : many)(at), 200)
    expect(more.state.rate).toBeGreaterThan(50)
  })

  it("looks for none where attempts differ in size", () => {
    const random = seeded(1)
    const played = run(sliding(20, 1), 100, { cost: () => 1 + random() })
    expect(played.state.windows).toEqual(WindowBounds.empty)
  })

  it("believes two refusals only where the window was shut for long", () => {
    const first = heard(WindowBounds.empty, 1, burst(50, 0))
    const again = [2, 4, 8].reduce((state, at) => heard(state, at, []), first)
    const believed = heard(again, 11.5, burst(50, 11))
    expect(believed.known).toMatchObject({ seconds: 10, n: 50 })
    // those of before count no more
    expect(unitsOf(believed)).toBe(50)
    expect(heard(first, 11.5, burst(50, 11)).known).toBeUndefined()
    // a hint tells as much
    const told = heard(WindowBounds.empty, 1, burst(50, 0), { asked: 9 })
    expect(heard(told, 11.5, burst(50, 11)).known?.n).toBe(50)
    // unless a bucket explains as much
    expect(heard(told, 11.5, burst(50, 11), { explained: 2 }).known).toBeUndefined()
  })

  it("believes none that explains no more than a bucket of those refusals that its rates were compared with", () => {
    const twice = [0, 11].reduce((state, at) => heard(state, at + 0.5, burst(50, at)), WindowBounds.empty)
    const thrice = (more: Partial<WindowBounds.Refusal>) => heard(twice, 22.5, burst(50, 22), more).known?.n
    expect([thrice({}), thrice({ compared: 2 }), thrice({ compared: 1 })]).toEqual([50, 50, undefined])
    // no bucket explains that nothing was admitted for so long
    const shut = heard(twice, 20, [])
    expect(heard(shut, 22.5, burst(50, 22), { compared: 1 }).known?.n).toBe(50)
  })

  it("believes the next window later, once one was disproved", () => {
    const played = (from: number, before: WindowBounds.State) =>
      heard(heard(before, from + 1, burst(50, from), { asked: 9 }), from + 11.5, burst(50, from + 11))
    const once = played(0, WindowBounds.empty)
    expect([once.known?.n, once.wrong]).toEqual([50, 0])
    const disproved = heard(once, 40, [])
    expect([disproved.known, disproved.wrong]).toEqual([undefined, 1])
    const twice = played(100, disproved)
    expect(twice.known).toBeUndefined()
    const more = [122, 133].reduce((state, at) => heard(state, at + 0.5, burst(50, at)), twice)
    expect(more.known?.n).toBe(50)
  })

  it("disproves a window that is kept to and admits little before each of three refusals", () => {
    const known = heard(heard(WindowBounds.empty, 1, burst(50, 0), { asked: 9 }), 11.5, burst(50, 11))
    const early = [21.1, 21.2].reduce((state, at) => heard(state, at, burst(10, at - 0.1)), known)
    expect([early.known?.n, early.early, early.wrong]).toEqual([50, 2, 0])
    // one in vain counts no further, one with a full window before it makes good
    expect(heard(early, 21.3, []).early).toBe(2)
    expect(heard(early, 31.7, burst(50, 31.1)).early).toBe(0)
    const disproved = heard(early, 21.3, burst(10, 21.2))
    expect([disproved.known, disproved.early, disproved.wrong]).toEqual([undefined, 0, 1])
    expect(disproved.guesses).toEqual(WindowBounds.empty.guesses)
  })

  it("remembers what was sent after the refused attempt, for the window counts it", () => {
    const told = heard(WindowBounds.empty, 1, burst(50, 0), { asked: 9 })
    const { known } = heard(told, 11.5, burst(50, 11), { later: [{ at: 11.6, cost: 1 }] })
    expect(known?.sent.at(-1)?.at).toBe(11.6)
  })

  it.each([28.4, 33.5])("is hardly refused by a bucket of %s per second, which many a window resembles", (rate) => {
    const { refused, state } = run(bucket(rate, rate), 100, { pause: 0.01 })
    expect(refused).toBeLessThan(40)
    expect(state.windows.known).toBeUndefined()
  })

  it("counts no refusal twice between which little was admitted", () => {
    let state = heard(WindowBounds.empty, 0.5, burst(50, 0))
    for (let i = 0; i < 5; i++) state = heard(state, 10.005 + i / 100, burst(1, 10 + i / 100))
    expect(state.guesses[1]?.sliding).toEqual({ episodes: 1, least: 50, below: 51 })
  })

  it("forgets what does not explain that nothing is admitted", () => {
    const first = heard(WindowBounds.empty, 0.6, burst(50, 0))
    const state = heard(first, 20, [])
    expect(state.guesses[0]?.fixed).toEqual({ episodes: 0, ends: [] })
    expect(state.guesses[1]?.sliding.episodes).toBe(0)
    expect(state.guesses[2]?.fixed.ends.map(({ least }) => least)).toContain(50)
    expect(state.since).toBe(0.6)
  })

  it("makes nothing of a time that it does not remember", () => {
    const state = heard(heard(WindowBounds.empty, 0.6, burst(50, 0)), 30, burst(60, 29), { forgot: true })
    expect(state.sent).toHaveLength(60)
    expect(state.guesses[1]?.sliding).toEqual({ episodes: 0, least: 0, below: Infinity })
    expect(state.guesses[1]?.fixed.ends.at(-1)?.least).toBe(50)
    // it remembers the last second
    const most = heard(WindowBounds.empty, 30, burst(3000, 0))
    expect(most.sent).toHaveLength(WindowBounds.defaults.most)
    expect(most.guesses[0]?.sliding.episodes).toBe(1)
    expect(most.guesses[2]?.sliding.episodes).toBe(0)
  })

  it("takes out what was refused or not counted", () => {
    const first = heard(heard(WindowBounds.empty, 1, burst(50, 0), { asked: 9 }), 11.5, burst(50, 11))
    const sent = WindowBounds.send(WindowBounds.send(first, 1, 12), 1, 12.5)
    expect([unitsOf(first), unitsOf(sent)]).toEqual([50, 52])
    const less = WindowBounds.withdraw(sent, 1, 12)
    expect(less.known?.sent.at(-1)).toEqual({ from: 12.5, at: 12.5, cost: 1 })
    expect(unitsOf(less)).toBe(51)
    expect(WindowBounds.withdraw(less, 1, 12)).toEqual(less)
    expect(WindowBounds.withdraw(less, 1, 11.2).sent).toHaveLength(99)
    expect(WindowBounds.refuseAgain(sent, 1, 12.5).refusedAt).toBe(12.5)
    expect(WindowBounds.refuseAgain(sent, 1, 3).refusedAt).toBe(11.5)
    expect(WindowBounds.refuseAgain(WindowBounds.empty, 1, 3)).toEqual(WindowBounds.empty)
    // and what counts no more
    expect(WindowBounds.send(sent, 1, 60).known?.sent).toEqual([{ from: 60, at: 60, cost: 1 }])
  })

  it("waits until a window has room", () => {
    const sent = [0, 0.1, 0.2, 0.3].map((at) => ({ from: at, at, cost: 1 }))
    const window: WindowBounds.Window = { seconds: 1, n: 4, sent }
    expect(WindowBounds.wait(window, 4, 1, 0.5)).toBeCloseTo(0.51, 9)
    expect(WindowBounds.wait(window, 5, 1, 0.5)).toBe(0)
    expect(WindowBounds.wait(window, 4, 3, 0.5)).toBeCloseTo(0.71, 9)
    // what is larger than the window has it to itself
    expect(WindowBounds.wait(window, 4, 9, 0.5)).toBeCloseTo(0.81, 9)
    expect(WindowBounds.wait(window, 4, 1, 3)).toBe(0)
  })

  it("knows how many units a window admits whose attempts differ in size, fixed or sliding", () => {
    const random = seeded(7)
    for (const isFixed of [false, true]) {
      let state = WindowBounds.empty
      let fresh: Array<Attempt> = []
      let all: Array<Attempt> = []
      let waits = 0
      for (let at = 0.013; state.known === undefined; at += 0.01) {
        const cost = random() < 0.2 ? 60 : 10
        const from = isFixed ? Math.floor((at - 0.4) / 1) + 0.4 : at - 1
        all = all.filter((one) => one.at > from)
        if (at < waits) continue
        if (all.reduce((sum, one) => sum + one.cost, cost) <= 600) {
          all.push({ at, cost })
          fresh.push({ at, cost })
          continue
        }
        state = heard(state, at, fresh, { cost, mean: 20 })
        fresh = []
        waits = at + 0.1
        expect(at).toBeLessThan(60)
      }
      expect(state.known.seconds).toBe(1)
      expect(state.known.n).toBeGreaterThan(400)
      expect(state.known.n).toBeLessThanOrEqual(600)
    }
  })

  it("takes nothing for the end of a window that may have gone into the same one", () => {
    const small = heard(WindowBounds.empty, 0.6, burst(50, 0), { cost: 9, mean: 1 })
    // eight are less than was refused
    const more = heard(small, 0.7, burst(8, 0.61), { cost: 9, mean: 1 })
    expect(more.guesses[0]?.fixed).toEqual(small.guesses[0]?.fixed)
    const over = heard(more, 1.7, burst(50, 1.1), { cost: 9, mean: 1 })
    expect(over.guesses[0]?.fixed).not.toEqual(small.guesses[0]?.fixed)
  })

  it("begins anew where too many windows explain what was refused, as where that is larger than all the others", () => {
    const large = { cost: 1e6, mean: 1 }
    const first = heard(WindowBounds.empty, 16, burst(1500, 0), large)
    expect(first.guesses[2]?.fixed.ends).toHaveLength(1500)
    const next = heard(first, 76.005, burst(1500, 60.003, 1000), large)
    expect(next.guesses[2]?.fixed.episodes).toBe(1)
    expect(next.guesses[2]?.fixed.ends.length).toBeLessThanOrEqual(WindowGuess.defaults.most)
  })

  it("counts what came back no more", () => {
    const back = [{ at: 0, cost: 1 }, { at: 0.1, cost: 1 }, { at: 0.1, cost: 1 }, { at: 5, cost: 1 }]
    const state = heard(WindowBounds.empty, 1, burst(50, 0, 2), { back })
    expect(state.sent.reduce((sum, { cost }) => sum + cost, 0)).toBe(97)
    expect(state.guesses[0]?.sliding).toEqual({ episodes: 1, least: 97, below: 98 })
    // also of what was sent before the last refusal
    expect(heard(state, 2, [], { back: [{ at: 0.2, cost: 1 }] }).sent[20]?.cost).toBe(1)
    const told = heard(heard(WindowBounds.empty, 1, burst(50, 0), { asked: 9 }), 11.5, burst(50, 11))
    expect(unitsOf(WindowBounds.credit(told, 0.25, 11.2))).toBe(49.75)
    expect(WindowBounds.credit(WindowBounds.empty, 1, 1)).toBe(WindowBounds.empty)
  })

  it("believes one refusal where another limit is counted in such a window", () => {
    const first = heard(WindowBounds.empty, 1, burst(50, 0), { other: 10, explained: Infinity })
    expect(first.known).toMatchObject({ seconds: 10, n: 50 })
    // one more where it was wrong before, and the number of the last refusal while it is believed
    const wrong = { ...first, known: undefined, wrong: 1, guesses: WindowBounds.empty.guesses }
    expect(heard(wrong, 30, burst(60, 25), { other: 10 }).known).toBeUndefined()
    expect(heard(first, 30, burst(60, 25), { other: 10 }).known).toMatchObject({ seconds: 10 })
    expect(heard(first, 30, burst(20, 25)).known).toBeUndefined()
  })

  it("takes a refusal for evidence after little was admitted, where it was shut for long before", () => {
    const sent = [{ at: 0, cost: 1 }, { at: 0.5, cost: 49 }]
    const first = heard(WindowBounds.empty, 1, sent, { asked: 60 })
    const state = heard(first, 60.2, [{ at: 60.15, cost: 1 }])
    expect(state.guesses[2]?.sliding).toEqual({ episodes: 2, least: 50, below: 51 })
    // but not where it was shut for longer than the window is
    expect(state.guesses[1]?.sliding.episodes).toBe(1)
  })

  it("makes nothing of the time before the first refusal where nobody counted then", () => {
    const lost = heard(WindowBounds.empty, 5, [], { forgot: true })
    expect([lost.first, lost.since]).toEqual([5, 5])
    const next = heard(lost, 15, burst(50, 13))
    expect(next.guesses.map(({ sliding }) => sliding.episodes)).toEqual([1, 0, 0])
    // a fixed window that began since is known
    expect(next.guesses[1]?.fixed.ends.at(-1)?.least).toBe(50)
  })

  it("reads when a long window would open, the shortest first", () => {
    const state = heard(WindowBounds.empty, 100, burst(50, 99))
    expect(WindowBounds.opens(state, 101)).toBeCloseTo(9.05, 9)
    expect(WindowBounds.opens(state, 111)).toBeCloseTo(49.05, 9)
    expect(WindowBounds.opens(state, 161)).toBe(Infinity)
    expect(WindowBounds.opens(WindowBounds.empty, 1)).toBe(Infinity)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Places from "../../../src/policy/lane/LanePlaces.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"

/** One caller after the other takes the only place of a provider that frees it `delay` seconds after the answer. */
const play = (delay: (n: number) => number, price: number, calls = 600, from = Places.initial) => {
  let state = from
  let now = 0
  let refused = 0
  let place: Places.Place | undefined
  for (let n = 0; n < calls; n++) {
    // an answer
    state = Places.answer(state, place, now - price, price, now)
    const answeredAt = now
    const free = now + delay(n)
    while (true) {
      const wait = Places.wait(state, now)
      if (wait < Infinity) now += wait
      ;[place, state] = Places.take(state, now)
      if (now >= free) break
      refused++
      const taken = place ?? { at: answeredAt, tried: -1, readyAt: 0 }
      const [isLate, next] = Places.refuse(state, taken, { at: now, limit: 1, sure: true }, price, now + 0.05)
      law(isLate).toBe(true)
      // the price of learning is not what is tested here
      state = { ...next, misfit: 0 }
      now += 0.05
    }
    now += price
  }
  return { state, refused: refused / calls }
}

describe("LanePlaces", () => {
  it("holds a place back for little longer than it takes to be free", () => {
    for (const delay of [0.005, 0.02, 0.05, 0.1, 0.2, 0.5]) {
      const { refused, state } = play(() => delay, 1)
      const most = Math.max(0.06, 1.3 * delay)
      expect([delay, state.hold >= delay, state.hold < most, refused < 0.02]).toEqual([delay, true, true, true])
    }
  })

  it("holds it back for nearly as long as the longest delay where delays differ", () => {
    const random = seeded(1)
    const { refused, state } = play(() => 0.2 * random(), 3)
    expect([state.hold > 0.15, state.hold < 0.3, refused < 0.05]).toEqual([true, true, true])
  })

  it("holds none back where one in ten is late by as long as an answer takes", () => {
    const { refused, state } = play((n) => n % 10 === 0 ? 0.3 : 0, 0.3)
    expect([state.hold < 0.15, refused < 0.15]).toEqual([true, true])
  })

  it("finds out that places are free sooner than they were", () => {
    const late = play(() => 0.4, 1).state
    const { refused, state } = play(() => 0.02, 1, 2000, { ...late, places: [] })
    expect([state.hold < late.hold / 3, refused < 0.01]).toEqual([true, true])
  })

  it("knows nothing, and holds nothing back, while no place was late", () => {
    expect(Places.answer(Places.initial, undefined, 0, 3, 3)).toBe(Places.initial)
    expect(Places.take(Places.initial, 3)).toEqual([undefined, Places.initial])
    expect([Places.held(Places.initial, 3), Places.wait(Places.initial, 3)]).toEqual([0, Infinity])
  })

  const place = (at: number, readyAt: number, tried = -1): Places.Place => ({ at, tried, readyAt })
  const known = Places.refuse(Places.initial, place(0, 0), { at: 0, limit: 4, sure: true }, 3, 0.05)[1]
  const having = (...places: ReadonlyArray<Places.Place>): Places.State => ({ ...known, places })

  it("takes the oldest first, in whose stead one waits that is tried sooner", () => {
    const state = having(place(1, 1.4), place(1.1, 1.2), place(1.2, 1.6))
    expect([Places.held(state, 1.2), Places.wait(state, 1.2)]).toEqual([2, 1.4 - 1.2])
    const [taken, left] = Places.take(state, 1.2)
    expect(taken).toEqual(place(1, 1.4))
    expect(left.places).toEqual([place(1.1, 1.4), place(1.2, 1.6)])
  })

  it("passes over one that was refused until it is ready, and forgets those that are surely free", () => {
    const [taken, left] = Places.take(having(place(0, 0.2), place(2, 2.9, 0.1), place(2.1, 2.2)), 2.3)
    expect([taken, left.places]).toEqual([place(2.1, 2.2), [place(2, 2.9, 0.1)]])
    expect(Places.take(having(place(2, 2.9)), 2.3)).toEqual([undefined, having(place(2, 2.9))])
  })

  it("puts a place back where it was in the order of answers, and learns how late it is at the least", () => {
    const [isLate, state] = Places.refuse(
      having(place(1, 1.1), place(3, 3.1)),
      place(2, 2),
      {
        at: 2.1,
        limit: 4,
        sure: false
      },
      3,
      2.15
    )
    expect([isLate, state.places.map(({ at }) => at), state.hold > 0.1]).toEqual([true, [1, 2, 3], true])
    expect(state.places[1]?.tried).toBeCloseTo(0.1)
    expect(state.places[1]?.readyAt).toBeGreaterThan(2.1)
  })

  it("does not explain what was refused long after the answer, unless it can be nothing else", () => {
    const punctual = play((n) => n < 1 ? 0.02 : 0, 3).state
    const refuse = (sure: boolean, age: number) =>
      Places.refuse({ ...punctual, places: [] }, place(0, 0), { at: age, limit: 4, sure }, 3, 2)[0]
    expect([refuse(false, 0.9), refuse(true, 0.9), refuse(true, 2)]).toEqual([false, true, false])
  })

  it("explains no more refusals once there were too many of them, until enough was answered", () => {
    const refuse = (state: Places.State, n: number) =>
      Places.refuse(state, place(n, n), { at: n + 0.01, limit: 16, sure: false }, 3, n + 0.05)
    let state = Places.initial
    let n = 0
    for (let isLate = true; isLate; n++) [isLate, state] = refuse(state, n)
    // 8, one more for each eight calls, and the one that is not explained
    expect([n, Places.isKnown(state)]).toEqual([11, false])
    expect(refuse(state, n)).toEqual([false, state])
    let answers = 0
    while (!refuse(state, n)[0]) {
      state = Places.answer(state, undefined, n, 3, n + 3)
      answers++
    }
    expect([answers > 50, answers < 100]).toEqual([true, true])
  })

  it("holds its bounds after any list of events", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed)
      let state = Places.initial
      let now = 1000
      const taken: Array<Places.Place> = []
      for (let i = 0; i < 300; i++) {
        now += random() * random()
        const chance = random()
        const one = taken.pop()
        if (chance < 0.3) {
          const [next, left] = Places.take(state, now)
          state = left
          if (next !== undefined) taken.push(next)
        } else if (chance < 0.6) state = Places.answer(state, one, now - random(), 3 * random(), now)
        else {
          const at = now - 0.1 * random()
          const attempt = { at, limit: 8, sure: random() < 0.5 }
          state = Places.refuse(state, one ?? place(at - 2 * random(), 0), attempt, 3 * random(), now)[1]
        }
        if (Places.isKnown(state)) law(state.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6)
        law(state.weights.every((weight) => weight >= 0)).toBe(true)
        law(state.hold >= 0 && state.hold < 1.1 * Places.longest).toBe(true)
        law(state.places.map(({ at }) => at)).toEqual(state.places.map(({ at }) => at).toSorted((a, b) => a - b))
        law(state.misfit).toBeGreaterThanOrEqual(0)
      }
    }
  })
})

describe("LaneKernel, under a cap whose places are free late", () => {
  /** Sends calls through a lane to a provider; counts the attempts, and the seconds until the last answer. */
  const run = (cap: (now: number) => number, delay: (n: number) => number, calls = 1000, chance = 0) => {
    const random = seeded(7)
    let state = Kernel.make()
    let [now, attempts, done] = [0, 0, 0]
    let waiting = calls
    let busy: Array<number> = []
    let flights: Array<{ at: number; ticket: Kernel.Ticket; sample: Kernel.Sample }> = []
    while (done < calls) {
      state = Kernel.advance(state, now)[1]
      const wait = waiting > 0 ? Kernel.wait(state, now, 1)[0] : Infinity
      if (wait === 0) {
        const [ticket, next] = Kernel.admit(state, 1, undefined, now)
        state = next
        waiting--
        attempts++
        busy = busy.filter((until) => until > now + 1e-9)
        const admitted = busy.length < cap(now) && !(chance > 0 && random() < chance)
        const at = now + (admitted ? 1 + 2 * random() : 0.05)
        if (admitted) busy.push(at + delay(attempts))
        flights.push({
          at,
          ticket,
          sample: admitted ? { _tag: "Success" } : { _tag: "Throttled", scope: "concurrency" }
        })
        continue
      }
      now = Math.min(now + wait, ...flights.map(({ at }) => at))
      for (const { sample, ticket } of flights.filter(({ at }) => at <= now)) {
        state = Kernel.settle(state, ticket, sample, now)[1]
        if (sample._tag === "Success") done++
        else waiting++
      }
      flights = flights.filter(({ at }) => at > now)
    }
    return { wasted: (attempts - calls) / calls, seconds: now, state }
  }

  it("is refused seldom, and as fast as the delay lets it be", () => {
    for (const delay of [0, 0.02, 0.05, 0.2, 0.5]) {
      for (const cap of [4, 16]) {
        const { seconds, wasted } = run(() => cap, () => delay)
        const punctual = run(() => cap, () => 0).seconds
        expect([delay, cap, wasted < 0.02, seconds < 1.08 * punctual * (2 + delay) / 2]).toEqual([
          delay,
          cap,
          true,
          true
        ])
      }
    }
  })

  it("is refused seldom where some places are late, and where delays differ", () => {
    const random = seeded(3)
    const some = run(() => 16, (n) => n % 10 === 0 ? 0.2 : 0)
    const differ = run(() => 16, () => 0.1 * random())
    const punctual = run(() => 16, () => 0).seconds
    expect([some.wasted < 0.02, some.seconds < 1.2 * punctual]).toEqual([true, true])
    expect([differ.wasted < 0.02, differ.seconds < 1.1 * punctual]).toEqual([true, true])
  })

  it("takes places that are held back for taken: chance refuses in the name of a cap, which stays", () => {
    const { seconds, wasted } = run(() => 64, () => 0, 2000, 0.05)
    const punctual = run(() => 64, () => 0, 2000).seconds
    expect([seconds < 1.5 * punctual, wasted < 0.08]).toEqual([true, true])
  })

  it("follows a cap that falls, and takes it for no delay", () => {
    for (const [before, after] of [[16, 8], [16, 15], [4, 2]] as const) {
      const { state, wasted } = run((now) => now < 30 ? before : after, () => 0)
      expect([after, state.inFlight.limit, state.inFlight.late.hold < 0.05, wasted < 0.03]).toEqual([
        after,
        after,
        true,
        true
      ])
    }
  })
})

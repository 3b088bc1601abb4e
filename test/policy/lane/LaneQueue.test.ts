import { describe, expect, it } from "@effect/vitest"
import * as Queue from "../../../src/policy/lane/LaneQueue.ts"
import { seeded } from "../events.ts"
import { law } from "../law.ts"

const entry = (level: number, over: Partial<Queue.Entry> = {}): Queue.Entry => ({
  level,
  retry: false,
  stream: false,
  tokens: 1,
  order: 0,
  gone: false,
  ...over
})

const filled = (...entries: ReadonlyArray<Queue.Entry>): Queue.LaneQueue<Queue.Entry> => {
  const queue = Queue.make<Queue.Entry>()
  for (const one of entries) Queue.add(queue, one)
  return queue
}

const many = (count: number, level: number, over: Partial<Queue.Entry> = {}): ReadonlyArray<Queue.Entry> =>
  Array.from({ length: count }, () => entry(level, over))

/** Draws an entry; few are retried, or streams. */
const drawn = (random: () => number): Queue.Entry =>
  entry([0, 200, 400][Math.floor(random() * 3)] ?? 0, {
    retry: random() < 0.2,
    stream: random() < 0.3,
    tokens: Math.floor(random() * 50)
  })

const rank = ({ level, retry }: Queue.Entry): number => 2 * level + (retry ? 0 : 1)

/** Holds what waits in one list, and looks through all of it each time. */
class Model {
  waiting: Array<Queue.Entry> = []
  readonly passed = new Map([[true, 0], [false, 0]])

  of(streams: boolean): ReadonlyArray<Queue.Entry> {
    return this.waiting.filter((one) => streams || !one.stream)
  }

  next(streams: boolean): Queue.Entry | undefined {
    const all = this.of(streams)
    const best = Math.min(...all.map(rank))
    const over = (this.passed.get(streams) ?? 0) < Queue.fairness
      ? undefined
      : all.find((one) => rank(one) > best)
    return over ?? all.find((one) => rank(one) === best)
  }

  probe(streams: boolean): Queue.Entry | undefined {
    return this.of(streams).findLast((one) => !one.retry) ?? this.next(streams)
  }

  take(taken: Queue.Entry, streams: boolean): void {
    const ranks = this.of(streams).map(rank)
    const passes = Math.min(...ranks) === rank(taken) && Math.max(...ranks) > rank(taken)
    this.passed.set(streams, passes ? (this.passed.get(streams) ?? 0) + 1 : 0)
    this.remove(taken)
  }

  remove(one: Queue.Entry): void {
    this.waiting = this.waiting.filter((other) => other !== one)
  }

  sums(): ReadonlyArray<number> {
    const tokens = this.waiting.reduce((sum, one) => sum + one.tokens, 0)
    return [this.waiting.length, this.waiting.filter((one) => one.stream).length, tokens]
  }
}

describe("LaneQueue", () => {
  describe("streams", () => {
    it("are served in their turn among the others, and left out where the queue is read without them", () => {
      const all = [
        entry(200, { stream: true }),
        entry(200),
        entry(200, { stream: true, retry: true }),
        entry(200, { retry: true }),
        entry(0, { stream: true })
      ]
      const [a, b, c, d, e] = all
      const queue = filled(...all)
      expect([queue.size, queue.streams]).toEqual([5, 3])
      expect(Queue.peek(queue, false)).toBe(d)
      expect(Array.from({ length: 5 }, () => Queue.take(queue))).toEqual([e, c, d, a, b])
      const other = filled(...all.map((one) => ({ ...one, gone: false })))
      expect([Queue.take(other, false)?.retry, Queue.take(other, false)?.retry]).toEqual([true, false])
      expect([Queue.peek(other, false), Queue.take(other, false)]).toEqual([undefined, undefined])
      expect([other.size, other.streams]).toEqual([3, 3])
    })

    it("change nothing in the order of the others, after any list of additions, removals and takes", () => {
      for (let seed = 1; seed <= 20; seed++) {
        const random = seeded(seed)
        const mixed = Queue.make<Queue.Entry>()
        const short = Queue.make<Queue.Entry>()
        const waiting: Array<readonly [Queue.Entry, Queue.Entry | undefined]> = []
        const twin = new Map<Queue.Entry, Queue.Entry>()
        for (let i = 0; i < 400; i++) {
          const what = random()
          if (what < 0.5) {
            const one = drawn(random)
            const other = one.stream ? undefined : { ...one }
            Queue.add(mixed, one)
            if (other !== undefined) {
              Queue.add(short, other)
              twin.set(one, other)
            }
            waiting.push([one, other])
          } else if (what < 0.6) {
            const [pair] = waiting.splice(Math.floor(random() * waiting.length), 1)
            if (pair === undefined) continue
            Queue.remove(mixed, pair[0])
            if (pair[1] !== undefined) Queue.remove(short, pair[1])
          } else {
            const taken = Queue.take(mixed, false)
            law(taken && twin.get(taken)).toBe(Queue.take(short))
          }
          law(mixed.size - mixed.streams).toBe(short.size)
        }
      }
    })

    it("of a worse level get their turn, however few admissions are open to them", () => {
      const passed = entry(400, { stream: true })
      const queue = filled(passed)
      let open = 0
      for (let i = 0; !passed.gone; i++) {
        Queue.add(queue, entry(0))
        Queue.add(queue, entry(400))
        Queue.add(queue, entry(0, { stream: true }))
        if (i % 10 === 9) open++
        Queue.take(queue, i % 10 === 9)
        expect(open).toBeLessThanOrEqual(Queue.fairness + 1)
      }
      expect(open).toBe(Queue.fairness + 1)
    })
  })

  describe("fairness", () => {
    it("lets fresh work through that retried work of its own level passes over", () => {
      const queue = filled(...many(100, 200, { retry: true }), entry(200))
      const order = Array.from({ length: 101 }, () => Queue.take(queue)?.retry)
      expect(order.indexOf(false)).toBe(Queue.fairness)
    })

    it("gives the turn of a worse level to who waits longest there, fresh or retried", () => {
      const queue = filled(...many(100, 0), entry(400), ...many(100, 400, { retry: true }))
      const order = Array.from({ length: 101 }, () => Queue.take(queue))
      expect(order.findIndex((one) => one?.level === 400)).toBe(Queue.fairness)
      expect(order[Queue.fairness]?.retry).toBe(false)
    })

    it("probes with the newest fresh work, else with whose turn is next, and counts that as nobody's turn", () => {
      const retried = many(2, 0, { retry: true })
      const [old, given, stream] = [entry(0), entry(400), entry(200, { stream: true })]
      const last = entry(400)
      const queue = filled(...retried, old, last, stream, given)
      Queue.remove(queue, given)
      const probed = (streams: boolean) => {
        const one = Queue.probe(queue, streams)
        if (one !== undefined) Queue.remove(queue, one)
        return one
      }
      expect([probed(false), probed(true), probed(true)]).toEqual([last, stream, old])
      expect([probed(true), probed(true), probed(true)]).toEqual([...retried, undefined])
      expect([queue.size, queue.passed, queue.passedShort]).toEqual([0, 0, 0])
      const after = entry(0)
      Queue.add(queue, after)
      expect(Queue.take(queue)).toBe(after)
    })
  })

  it("is what one list of all entries would be, after any list of additions, removals, takes and probes", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed)
      const queue = Queue.make<Queue.Entry>()
      const model = new Model()
      for (let i = 0; i < 400; i++) {
        const what = random()
        const streams = random() < 0.6
        if (what < 0.5) {
          const one = drawn(random)
          Queue.add(queue, one)
          model.waiting.push(one)
        } else if (what < 0.6) {
          const one = model.waiting[Math.floor(random() * model.waiting.length)]
          if (one === undefined) continue
          Queue.remove(queue, one)
          model.remove(one)
        } else if (what < 0.7) {
          const one = Queue.probe(queue, streams)
          law(one).toBe(model.probe(streams))
          if (one === undefined) continue
          Queue.remove(queue, one)
          model.remove(one)
        } else {
          const next = Queue.peek(queue, streams)
          law(next).toBe(model.next(streams))
          law(Queue.take(queue, streams)).toBe(next)
          if (next !== undefined) model.take(next, streams)
        }
        law([queue.size, queue.streams, queue.tokens]).toEqual(model.sums())
        law([queue.passed, queue.passedShort]).toEqual([model.passed.get(true), model.passed.get(false)])
      }
    }
  })

  describe("ahead", () => {
    it("counts better lines and its own, and one in 17 of worse ones", () => {
      const queue = filled(
        ...many(3, 0, { tokens: 10 }),
        ...many(2, 200, { retry: true, tokens: 100 }),
        ...many(4, 200, { tokens: 1000 }),
        ...many(9, 400)
      )
      expect(Queue.ahead(queue, entry(0))).toEqual({ requests: 3, tokens: 30, streams: 0 })
      expect(Queue.ahead(queue, entry(0, { retry: true }))).toEqual({ requests: 0, tokens: 0, streams: 0 })
      expect(Queue.ahead(queue, entry(200))).toEqual({ requests: 9, tokens: 4230, streams: 0 })
      expect(Queue.ahead(queue, entry(200, { retry: true }))).toEqual({ requests: 5, tokens: 230, streams: 0 })
      expect(Queue.ahead(queue, entry(100))).toEqual({ requests: 3, tokens: 30, streams: 0 })
      expect(Queue.whole(queue)).toEqual({ requests: 18, tokens: 4239, streams: 0 })
    })

    it("counts of the line of one that waits what came before it, without those that gave up", () => {
      const line = [...many(3, 200, { tokens: 10 }), ...many(2, 200, { stream: true }), ...many(5, 200, { tokens: 30 })]
      const queue = filled(...many(4, 0), ...line)
      const last = line.at(-1)!
      const before = (streams: boolean) => Queue.ahead(queue, last, streams, last.order)
      // seven of eight short calls, and so much of their tokens
      expect(before(true)).toEqual({ requests: 13, tokens: 4 + (180 * 7) / 8 + 2, streams: 2 })
      expect(before(false)).toEqual({ requests: 11, tokens: 4 + (180 * 7) / 8, streams: 0 })
      for (const one of line.slice(0, 5)) Queue.remove(queue, one)
      expect(before(true)).toEqual({ requests: 8, tokens: 4 + (150 * 4) / 5, streams: 0 })
      expect(Queue.ahead(queue, last)).toMatchObject({ requests: 9 })
      expect(Queue.ahead(queue, line[5]!, true, line[5]!.order)).toMatchObject({ requests: 4 })
    })

    it("counts one in 17 of a worse level in between", () => {
      const queue = filled(...many(40, 0), ...many(9, 400, { tokens: 100 }))
      expect(Queue.ahead(queue, entry(0))).toEqual({ requests: 42, tokens: 240, streams: 0 })
    })

    it("counts no more than comes before its turn among those passed over", () => {
      const queue = filled(...many(1000, 0, { tokens: 10 }))
      expect(Queue.ahead(queue, entry(400))).toEqual({ requests: 16, tokens: 160, streams: 0 })
      for (let i = 0; i < 10; i++) Queue.take(queue)
      // nobody was passed over so far
      expect(Queue.ahead(queue, entry(400)).requests).toBe(16)
      Queue.add(queue, entry(400))
      for (let i = 0; i < 10; i++) Queue.take(queue)
      expect(Queue.ahead(queue, entry(400)).requests).toBeCloseTo(23, 9)
    })

    it("leaves streams out where they are not to be sent", () => {
      const queue = filled(...many(5, 0, { stream: true, tokens: 7 }), ...many(2, 0))
      expect(Queue.ahead(queue, entry(0))).toEqual({ requests: 7, tokens: 37, streams: 5 })
      expect(Queue.ahead(queue, entry(0), false)).toEqual({ requests: 2, tokens: 2, streams: 0 })
    })

    it("counts the short calls in front of all streams", () => {
      const better = many(3, 0)
      const queue = filled(...better, ...many(2, 200), entry(200, { stream: true }), ...many(4, 200))
      expect(Queue.front(queue, entry(0))).toBe(3)
      expect(Queue.front(queue, entry(200))).toBe(5)
      expect(Queue.front(queue, entry(200, { retry: true }))).toBe(3)
      expect(Queue.front(queue, entry(400))).toBe(5)
      Queue.take(queue)
      expect(Queue.front(queue, entry(200))).toBe(4)
    })

    it("is limited to as many streams as are sent before a call", () => {
      const queue = filled(...many(5, 0, { stream: true, tokens: 7 }), ...many(2, 0))
      const at = (streams: number) =>
        Queue.atMost(Queue.ahead(queue, entry(0)), Queue.ahead(queue, entry(0), false), streams)
      expect(at(0)).toEqual({ requests: 2, tokens: 2, streams: 0 })
      expect(at(2)).toEqual({ requests: 4, tokens: 16, streams: 2 })
      expect(at(9)).toEqual({ requests: 7, tokens: 37, streams: 5 })
    })

    it("counts none of a line that is empty by the time at which a call is alone among those passed over", () => {
      const queue = filled(...many(60, 0), ...many(30, 200), ...many(40, 400, { retry: true }))
      // 90 are gone, and then it waits for one turn
      expect(Queue.ahead(queue, entry(400)).requests).toBeCloseTo(106, 9)
    })

    it("is where a call comes up, within a turn of those passed over, in any queue", () => {
      for (let seed = 1; seed <= 300; seed++) {
        const random = seeded(seed)
        const queue = Queue.make<Queue.Entry>()
        const size = random() * 300
        const retried = random()
        for (let i = 0; i < size; i++) Queue.add(queue, { ...drawn(random), retry: random() < retried })
        for (let i = random() * 40; i > 0; i--) Queue.take(queue)
        const streams = random() < 0.5
        const call = { ...drawn(random), retry: random() < 0.5, stream: streams && random() < 0.5 }
        const { requests } = Queue.ahead(queue, call, streams)
        Queue.add(queue, call)
        let before = 0
        while (Queue.take(queue, streams) !== call) before++
        expect(Math.abs(requests - before), `seed ${seed}`).toBeLessThan(Queue.fairness)
      }
    })
  })
})

import { describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import { laws, seeded, whole } from "../events.ts"
import { law } from "../law.ts"

/** Each run of these is long. */
const some = { arbitrary: { ...laws.arbitrary, runs: 15 } } as const

/** What a provider does for a while: how attempts end that are not answered, their share, and the seconds they take. */
interface Mood {
  readonly kind: number
  readonly share: number
  readonly seconds: number
  readonly idle: number
}

const moods = Arbitrary.array(
  Arbitrary.all({ kind: whole(0, 5), share: whole(0, 5), seconds: whole(0, 3), idle: whole(0, 5) }),
  { maxLength: 8 }
)

const throttled = (scope: "unknown" | "requests" | "tokens" | "concurrency", retryAfter?: number): Kernel.Sample => ({
  _tag: "Throttled",
  scope,
  retryAfter
})

const bad: ReadonlyArray<ReadonlyArray<Kernel.Sample>> = [
  [throttled("unknown")],
  [throttled("unknown", 5), throttled("requests", 60), throttled("requests", 0)],
  [throttled("tokens"), throttled("unknown"), throttled("concurrency")],
  [{ _tag: "TimedOut" }],
  [{ _tag: "Overloaded" }, { _tag: "Failed" }, { _tag: "Overloaded", retryAfter: 1e9 }],
  [{ _tag: "Ignored", sent: true }, { _tag: "Ignored", sent: false }, { _tag: "TimedOut" }, throttled("unknown")]
]

const starts: ReadonlyArray<Kernel.Options> = [
  {},
  {},
  { requests: { initial: 1, known: true } },
  { requests: { ceiling: 2 }, maxInFlight: 4 },
  { tokens: { initial: 1000, known: true }, inFlight: 8 },
  { requests: { initial: 20, known: true }, tokens: { initial: 100, known: true } }
]

/** Names the numbers of a state that are none. */
const nans = (value: unknown, path = ""): ReadonlyArray<string> =>
  typeof value === "number"
    ? Number.isNaN(value) ? [path] : []
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([key, one]) => nans(one, `${path}.${key}`))
    : []

/** Drives a lane as its dispatcher does, and checks each step. */
class Driven {
  state: Kernel.State
  now = 0
  #blocker: Kernel.Blocker | undefined
  #open: ReadonlyArray<readonly [at: number, ticket: Kernel.Ticket, sample: Kernel.Sample]> = []

  constructor(options: Kernel.Options) {
    this.state = Kernel.make(options)
  }

  idle(seconds: number): void {
    this.now += seconds
    this.#blocker = undefined
    this.#settle()
  }

  /** Sends one attempt as soon as the lane lets it, and says what it met at that time; false where it may never be. */
  send(tokens: number, ends: () => readonly [seconds: number, sample: Kernel.Sample]): boolean {
    for (let looks = 0; looks < 10_000; looks++) {
      this.#settle()
      this.state = Kernel.advance(this.state, this.now)[1]
      const [seconds, by] = Kernel.wait(this.state, this.now, tokens)
      law(seconds >= 0).toBe(true)
      if (seconds === 0) {
        const [ticket, sent] = Kernel.admit(this.state, tokens, this.#blocker, this.now)
        const [after, sample] = ends()
        this.state = sent
        this.#blocker = undefined
        this.#open = [...this.#open, [this.now + after, ticket, sample]]
        return true
      }
      this.#blocker = by
      const next = this.#open.reduce((first, [at]) => Math.min(first, at), Infinity)
      this.now = Math.min(this.now + seconds, Math.max(next, this.now))
      if (this.now === Infinity) return false
    }
    return false
  }

  /** Ends all that is under way. */
  end(): void {
    for (const [at] of this.#open) this.now = Math.max(this.now, at)
    this.#settle()
  }

  #settle(): void {
    const due = this.#open.filter(([at]) => at <= this.now)
    this.#open = this.#open.filter(([at]) => at > this.now)
    for (const [, ticket, sample] of due) {
      const before = this.state
      const [decisions, after] = Kernel.settle(before, ticket, sample, this.now)
      this.state = after
      law(after.count).toBe(before.count - 1)
      law(after.requests.rate).toBeLessThanOrEqual(after.requests.ceiling)
      law(after.requests.rate).toBeGreaterThanOrEqual(after.requests.lowestProved)
      law(after.inFlight.limit).toBeGreaterThanOrEqual(1)
      if (sample._tag === "Success") continue
      law(after.inFlight.limit).toBeLessThanOrEqual(before.inFlight.limit)
      // where what fails proves to use up the limit, the rate is that of all attempts from now on
      if (decisions.some(({ reason }) => reason === "failures-counted")) continue
      law(after.tokens.rate).toBeLessThanOrEqual(before.tokens.rate)
      // calls in flight explain the refusals before a cap, too: what those taught of the rate is forgotten
      if (decisions.every(({ reason }) => reason !== "cap-found")) {
        law(after.requests.rate).toBeLessThanOrEqual(before.requests.rate)
      }
    }
  }
}

describe("a lane under whatever a provider does", () => {
  it.prop(
    "keeps its bounds and plain numbers, and goes on once everything is answered",
    { start: whole(0, starts.length - 1), seed: whole(0, 1000), moods },
    ({ moods, seed, start }) => {
      const random = seeded(seed)
      const lane = new Driven(starts[start] ?? {})
      const ends = ({ kind, seconds, share }: Mood) => (): readonly [number, Kernel.Sample] => {
        const among = bad[kind] ?? []
        const sample = among[Math.floor(random() * among.length)]
        return [
          [0.001, 0.05, 1, 20][seconds]! * (0.5 + random()),
          sample === undefined || random() >= [0, 0.02, 0.1, 0.3, 0.7, 1][share]! ? { _tag: "Success" } : sample
        ]
      }
      for (const mood of moods) {
        lane.idle([0, 0, 0, 1, 60, 7200][mood.idle]!)
        for (let i = 0; i < 40; i++) law(lane.send(random() < 0.1 ? 0 : 100 * random(), ends(mood))).toBe(true)
      }
      lane.end()
      law(lane.state.count).toBe(0)
      const from = lane.now
      for (let i = 0; i < 100; i++) law(lane.send(10, () => [0.05, { _tag: "Success" }])).toBe(true)
      // a limit may have fallen to one call in fifty seconds
      law(lane.now - from).toBeLessThanOrEqual(7200)
      law(nans(lane.state)).toEqual([])
    },
    some
  )
})

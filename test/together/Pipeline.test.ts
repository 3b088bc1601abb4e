import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Money from "../../src/domain/Money.ts"
import * as Usage from "../../src/domain/Usage.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import type * as Hedge from "../../src/guard/Hedge.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as CallWatch from "../../src/together/CallWatch.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import * as Together from "../../src/together/Together.ts"
import { recorded } from "./spans.ts"

const model = "openai/gpt-oss-120b"
const request = (n: number) => ({
  model,
  messages: [{ role: "user" as const, content: `question ${n}` }],
  max_tokens: 500
})

/** Every answer is as long as `max_tokens` allows: an attempt costs nearly what was reserved for it. */
const longest: Simulation.Options = { limits: {}, outputTokens: { kind: "constant", value: 500 } }

interface World {
  readonly together: Together.Service
  readonly credits: Credits.Service
  readonly lanes: Lanes.Service
  /** What the provider has billed, once all it is at work on has ended. */
  readonly billed: Effect.Effect<bigint>
  readonly arrivals: Effect.Effect<number>
}

const world = <A, E>(
  use: (world: World) => Effect.Effect<A, E>,
  options: {
    readonly limit: string
    readonly provider: Simulation.Options
    readonly client?: Partial<Together.Options>
    readonly lanes?: Lanes.Options
    readonly seed?: number
  }
) =>
  VirtualClock.run(Effect.scoped(Effect.gen(function*() {
    const { client, control } = SimulatedProvider.make({ ...longest, ...options.provider }, options.seed)
    const credits = yield* Credits.make({ budgets: [Budget.perRun(options.limit)] })
    const lanes = yield* Lanes.make(options.lanes)
    const together = yield* Together.make({ apiKey: Redacted.make("key"), ...options.client }).pipe(
      Effect.provideService(HttpClient.HttpClient, client),
      Effect.provideService(Credits.Credits, credits),
      Effect.provideService(Lanes.Lanes, lanes)
    )
    const counters = Effect.andThen(Effect.sleep("10 minutes"), control.counters)
    return yield* use({
      together,
      credits,
      lanes,
      billed: Effect.map(counters, ({ billedNanoUsd }) => billedNanoUsd),
      arrivals: Effect.map(control.counters, ({ arrivals }) => arrivals)
    })
  })))

const tally = (credits: Credits.Service) => Effect.map(credits.report, ({ budgets }) => budgets[0]?.tally)

/** The upper bound of one call: 301,350 nano-dollars. */
const high = 301_350n

describe("Pipeline", () => {
  describe("money", () => {
    it.effect("charges an attempt that timed out though the next one answers", () =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ arrivals, billed, credits, together }) =>
            Effect.gen(function*() {
              yield* together.chat(request(1))
              const after = yield* tally(credits)
              expect(after).toMatchObject({ uncertain: high, atRisk: 0n, reserved: 0n, open: 0 })
              expect(yield* billed).toBeLessThanOrEqual(after?.settled ?? 0n)
              return yield* arrivals
            }),
          {
            limit: "$1",
            provider: { faults: [{ to: 2, probability: 1, kind: "hang", stage: "engine" }] },
            client: { timeouts: { headers: "9 seconds" } }
          }
        )
        expect(exit).toEqual(Exit.succeed(2))
      }))

    it.effect.each<[string, Simulation.Options, number, bigint]>([
      ["nothing where nothing connects", { outages: [{ kind: "refused" }] }, 5, 0n],
      ["nothing where it is refused", { outages: [{ kind: 503 }] }, 12, 0n],
      ["every attempt whose connection is cut", { outages: [{ kind: "reset" }] }, 5, 5n * high]
    ])("of a call that fails charges %s", ([, provider, attempts, charged]) =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ arrivals, credits, together }) =>
            Effect.gen(function*() {
              yield* Effect.flip(together.chat(request(1)))
              return [yield* arrivals, yield* tally(credits)] as const
            }),
          { limit: "$1", provider }
        )
        expect(Exit.getSuccess(exit)).toMatchObject({
          value: [attempts, { settled: charged, uncertain: charged, atRisk: 0n, reserved: 0n, open: 0 }]
        })
      }))

    it.effect("sends no retry that the budget has no room for beside what was lost", () =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ arrivals, credits, together }) =>
            Effect.gen(function*() {
              const error = yield* Effect.flip(together.chat(request(1)))
              return [error._tag, yield* arrivals, (yield* tally(credits))?.settled] as const
            }),
          { limit: "$0.0007", provider: { outages: [{ kind: "reset" }] } }
        )
        expect(exit).toEqual(Exit.succeed(["BudgetExceededError", 2, 2n * high]))
      }))

    it.effect("hedges only where the budget has room, and then pays for both", () =>
      Effect.gen(function*() {
        for (const [limit, arrived, outcome] of [["$0.0007", 2, "lost"], ["$0.0005", 1, "no-permit"]] as const) {
          const outcomes: Array<Hedge.Outcome> = []
          const { exit } = yield* world(
            ({ arrivals, billed, credits, together }) =>
              Effect.gen(function*() {
                yield* together.chat(request(1))
                const after = yield* tally(credits)
                expect(after).toMatchObject({ uncertain: outcome === "lost" ? high : 0n, reserved: 0n, open: 0 })
                expect(yield* billed).toBeLessThanOrEqual(after?.settled ?? 0n)
                return yield* arrivals
              }),
            {
              limit,
              provider: { latency: { kind: "constant", value: 3 }, credits: { balanceUsd: 100, cancelled: "full" } },
              client: {
                hedge: { delay: "1 second", onOutcome: (seen) => Effect.sync(() => void outcomes.push(seen)) }
              }
            }
          )
          expect([exit, outcomes]).toEqual([Exit.succeed(arrived), [outcome]])
        }
      }))

    it.effect("bills never pass what the ledger has settled, nor that the budget", () =>
      Effect.gen(function*() {
        const seen = new Set<string>()
        const short = { max_tokens: 100 }
        for (let seed = 1; seed <= 8; seed++) {
          const limit = Money.from(seed % 2 === 0 ? "$0.0009" : "$1")
          const { exit } = yield* world(
            ({ billed, credits, together }) =>
              Effect.gen(function*() {
                yield* Effect.forEach(Array.from({ length: 24 }, (_, n) => n), (n) => {
                  const call = n % 4 === 0
                    ? Stream.runDrain(together.chatStream({ ...request(n), ...short }))
                    : Effect.asVoid(together.chat({ ...request(n), ...short }))
                  const left = n % 5 === 0 ? Effect.timeout(call, 1000 + n * 97) : call
                  return Effect.tap(
                    Effect.result(left),
                    (result) =>
                      Effect.sync(() => seen.add(result._tag === "Success" ? "answered" : result.failure._tag))
                  )
                }, { concurrency: 6 })
                const after = yield* tally(credits)
                const { open, overshoot = 0n, reserved, settled = 0n } = after ?? {}
                expect([seed, open, reserved]).toEqual([seed, 0, 0n])
                expect(settled - overshoot).toBeLessThanOrEqual(limit)
                const bill = yield* billed
                expect(bill).toBeLessThanOrEqual(settled)
                expect(bill).toBeLessThanOrEqual(limit)
              }),
            {
              seed,
              limit: Money.toUsd(limit),
              provider: {
                latency: { kind: "uniform", min: 1, max: 4 },
                outputTokens: { kind: "constant", value: short.max_tokens },
                credits: { balanceUsd: 100, cancelled: seed % 3 === 0 ? "full" : "generated" },
                faults: (["reset", "cut", "hang", "stall", "error-frame", 500, 503, 429, "refused"] as const)
                  .map((kind, i) => ({ probability: 0.06, kind, stage: i < 6 ? "engine" as const : "edge" as const }))
              },
              client: {
                hedge: { delay: "1500 millis" },
                timeouts: { headers: "3 seconds", firstToken: "2 seconds", idle: "2 seconds" },
                deadline: "20 seconds"
              }
            }
          )
          expect(Exit.isFailure(exit) ? [seed, String(exit.cause)] : []).toEqual([])
        }
        expect([...seen]).toEqual(expect.arrayContaining(["answered", "BudgetExceededError", "TimeoutError"]))
      }), 60_000)
  })

  describe("hedge", () => {
    it.effect("gives back the reservation of a second try that its own budget refuses", () =>
      Effect.gen(function*() {
        const budget = { balance: Effect.succeed(1), tryWithdraw: Effect.succeed(false) }
        const { exit } = yield* world(
          ({ arrivals, credits, together }) =>
            Effect.gen(function*() {
              yield* Effect.forkChild(together.chat(request(1)), { startImmediately: true })
              yield* Effect.sleep("2 seconds")
              return [yield* arrivals, (yield* tally(credits))?.reserved] as const
            }),
          {
            limit: "$1",
            provider: { latency: { kind: "constant", value: 3 } },
            client: { hedge: { delay: "1 second", budget } }
          }
        )
        expect(exit).toEqual(Exit.succeed([1, high]))
      }))

    it.effect("begins no second try once nothing more is to be sent", () =>
      Effect.gen(function*() {
        const outcomes: Array<Hedge.Outcome> = []
        const { exit } = yield* world(
          ({ arrivals, together }) =>
            Effect.gen(function*() {
              let isStopped = false
              yield* Effect.forkChild(Effect.delay(Effect.sync(() => isStopped = true), "500 millis"))
              const watch = { onWire: true, attempts: undefined, isStopped: () => isStopped }
              yield* Effect.provideService(together.chat(request(1)), CallWatch.Current, watch)
              return yield* arrivals
            }),
          {
            limit: "$1",
            provider: { latency: { kind: "constant", value: 3 } },
            client: { hedge: { delay: "1 second", onOutcome: (seen) => Effect.sync(() => void outcomes.push(seen)) } }
          }
        )
        expect([exit, outcomes]).toEqual([Exit.succeed(1), ["no-permit"]])
      }))

    it.effect("gives back the slot of a second try that was not sent", () =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ lanes, together }) =>
            Effect.gen(function*() {
              yield* together.chat(request(1))
              const lane = yield* lanes.get(`default/${model}`)
              const [waited] = yield* Effect.timed(lane.acquire({ tokens: 1 }))
              return Duration.toMillis(waited)
            }),
          {
            limit: "$0.0005",
            provider: { latency: { kind: "constant", value: 1.5 } },
            lanes: { requestsPerMinute: 60, start: { requestsPerMinute: 60 } },
            client: { hedge: { delay: "1200 millis" } }
          }
        )
        expect(exit).toEqual(Exit.succeed(0))
      }))

    it.effect("takes the last place of a lane, and gives back two where it wins", () =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ lanes, together }) =>
            Effect.gen(function*() {
              const stalled = yield* Effect.forkChild(together.chat(request(1)), { startImmediately: true })
              yield* Effect.sleep("1100 millis")
              const lane = yield* lanes.get(`default/${model}`)
              const full = (yield* lane.status).inFlight
              const both = yield* Effect.all([together.chat(request(2)), together.chat(request(3))], {
                concurrency: "unbounded"
              }).pipe(Effect.timed)
              yield* Fiber.join(stalled)
              return [full, (yield* lane.status).inFlight, Duration.toSeconds(both[0])] as const
            }),
          {
            limit: "$1",
            provider: {
              latency: { kind: "constant", value: 0.5 },
              faults: [{ to: 0.5, probability: 1, kind: "hang", stage: "engine" }]
            },
            lanes: { maxInFlight: 2, start: { requestsPerMinute: 60_000 } },
            client: { hedge: { delay: "1 second" } }
          }
        )
        expect(exit).toEqual(Exit.succeed([2, 0, expect.closeTo(0.9, 2)]))
      }))

    it.effect("takes headers and usage from the try that answered", () =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ credits, together }) =>
            Effect.gen(function*() {
              const { usage } = yield* together.chat(request(1))
              const cost = Price.ofUsage(PriceTable.shippedLookup(model), model, Usage.fromWire(usage))
              return [(yield* tally(credits))?.settled, high + (cost._tag === "Known" ? cost.nanoUsd : 0n)]
            }),
          {
            limit: "$1",
            provider: { faults: [{ to: 0.5, probability: 1, kind: "hang", stage: "engine" }] },
            client: { hedge: { delay: "1 second" } }
          }
        )
        const [settled, expected] = Exit.isSuccess(exit) ? exit.value : []
        expect(settled).toBe(expected)
      }))
  })
})

describe("the cost of a stream", () => {
  const price = Price.stated({ model: "m", inputUsdPerMillion: 0, outputUsdPerMillion: 1 })
  const chunk = (content: string, rest: object = {}) => ({ choices: [{ index: 0, delta: { content } }], ...rest })
  const last = { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
  const usage = (completion_tokens: number) => ({ usage: { prompt_tokens: 1, completion_tokens } })
  // a character is less than a token of the estimate
  const words = Array.from({ length: 100 }, () => chunk("token"))

  /** Streams a reply, or so many of its chunks; gives what was charged, in tokens of output. */
  const charged = (reply: Reply.Reply, maxTokens: number | undefined, chunks = Infinity) =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(reply)
        const together = yield* Together.Together
        const stream = together.chatStream({ ...request(1), model: "m", max_tokens: maxTokens })
        yield* Effect.exit(Stream.runDrain(Stream.take(stream, chunks)))
        const { budgets } = yield* (yield* Credits.Credits).report
        const { settled, uncertain } = budgets[0]!.tally
        return { settled: Number(settled) / 1000, uncertain: Number(uncertain) / 1000 }
      }).pipe(
        Effect.provide(
          TogetherTest.layer({ together: { prices: () => price } }).pipe(
            Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$1")] }))
          )
        )
      )
    )

  it.effect.each<[string, Reply.Reply, number | undefined, number, { settled: number; uncertain: number }]>([
    ["as said, where it ended", Reply.events([...words, { ...last, ...usage(7) }]), 100, Infinity, {
      settled: 7,
      uncertain: 0
    }],
    ["by its length, as assumed, where it said no usage", Reply.events([...words.slice(0, 18), last]), 100, Infinity, {
      settled: 25,
      uncertain: 25
    }],
    ["as assumed, where it was left", Reply.events([...words, last]), 100, 18, { settled: 25, uncertain: 25 }],
    ["no higher than max_tokens, where it was cut", Reply.cutAt(Reply.events(words), 99), 100, Infinity, {
      settled: 100,
      uncertain: 100
    }],
    ["by its length, where it sets none", Reply.cutAt(Reply.events(words), 90), undefined, Infinity, {
      settled: 125,
      uncertain: 125
    }],
    [
      "by the bytes of another script",
      Reply.events(Array.from({ length: 100 }, () => chunk("\u5929\u6c14"))),
      200,
      54,
      {
        settled: 90,
        uncertain: 90
      }
    ],
    ["by its pieces, where these are short", Reply.events(Array.from({ length: 100 }, () => chunk("7"))), 200, 54, {
      settled: 54,
      uncertain: 54
    }],
    [
      "by its length, where usage says nothing came of it",
      Reply.events([...words.slice(0, 18), { ...last, ...usage(0) }]),
      100,
      Infinity,
      {
        settled: 25,
        uncertain: 25
      }
    ],
    ["by its length, where usage is of its beginning", Reply.events([chunk("", usage(0)), ...words]), 200, 37, {
      settled: 50,
      uncertain: 50
    }]
  ])("is %s", ([, reply, maxTokens, chunks, expected]) =>
    Effect.gen(function*() {
      expect(yield* charged(reply, maxTokens, chunks)).toEqual(expected)
    }))
})

describe("what a call reserves", () => {
  const needed = (client: Partial<Together.Options>, maxTokens?: number) =>
    Effect.map(
      world(({ together }) => Effect.flip(together.chat({ ...request(1), max_tokens: maxTokens })), {
        limit: "$0.000000001",
        provider: {},
        client
      }),
      ({ exit }) =>
        Exit.isSuccess(exit) && exit.value._tag === "BudgetExceededError" ? Number(exit.value.neededNanoUsd) : undefined
    )
  const price = (inputUsdPerMillion: number, outputUsdPerMillion: number, contextTokens?: number) => () =>
    Price.stated({ model, inputUsdPerMillion, outputUsdPerMillion, contextTokens })

  it.effect("raises the input by the client's margin", () =>
    Effect.gen(function*() {
      const prices = price(1, 0)
      const exact = yield* needed({ prices, inputMargin: 0 })
      expect(yield* needed({ prices, inputMargin: 1 })).toBe(2 * exact!)
      expect(exact).toBeGreaterThan(0)
    }))

  it.effect("takes max_tokens, else the model's context, else what is assumed", () =>
    Effect.gen(function*() {
      expect(yield* needed({ prices: price(0, 1, 131_072) }, 500)).toBe(500_000)
      expect(yield* needed({ prices: price(0, 1, 131_072) })).toBe(131_072_000)
      expect(yield* needed({ prices: price(0, 1) })).toBe(8_192_000)
    }))

  it.effect("takes what it has learned from 20 answers for a call without max_tokens, not the model's context", () =>
    Effect.gen(function*() {
      const open = (n: number) => ({ ...request(n), max_tokens: undefined })
      const reserved = (limit: string, maxTokens?: number) =>
        Effect.map(
          world(({ credits, together }) =>
            Effect.gen(function*() {
              // the budget holds the context of one call
              yield* Effect.forEach(
                Array.from({ length: 20 }, (_, n) => n),
                (n) => together.chat({ ...request(n), max_tokens: maxTokens })
              )
              const calls = Effect.forEach(
                Array.from({ length: 10 }, (_, n) => n),
                (n) => Effect.ignore(together.chat(open(n))),
                { concurrency: "unbounded" }
              )
              const before = yield* tally(credits)
              yield* Effect.forkChild(calls, { startImmediately: true })
              yield* Effect.sleep("1 millis")
              const during = yield* tally(credits)
              return [before?.overshoot, during?.open, during?.reserved]
            }), { limit, provider: {}, client: { prices: price(0, 1, 131_072) } }),
          ({ exit }) => exit
        )
      expect(yield* reserved("$0.15")).toEqual(Exit.succeed([0n, 10, 81_920_000n]))
      // what max_tokens may have cut says nothing of them
      expect(yield* reserved("$0.15", 16)).toEqual(Exit.succeed([0n, 1, 131_072_000n]))
    }))

  it.effect("refuses a margin that is none", () =>
    Effect.gen(function*() {
      const { exit } = yield* world(() => Effect.void, { limit: "$1", provider: {}, client: { inputMargin: -1 } })
      expect(exit).toEqual(
        Exit.die(new RangeError("Together.make: inputMargin must be a finite number >= 0, got -1"))
      )
    }))
})

describe("the deadline of a call", () => {
  /** A call in 10 s. */
  const slow = {
    limit: "$1",
    provider: { latency: { kind: "constant", value: 0.001 } },
    lanes: { requestsPerMinute: 6, start: { requestsPerMinute: 6 } }
  } as const

  it.effect.each([{ seconds: 11, sent: 1 }, { seconds: 12, sent: 2 }])(
    "of $seconds s, 10 of which it waits for its turn, lets an attempt be sent that has time enough: $sent in all",
    ({ seconds, sent }) =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ arrivals, together }) =>
            Effect.gen(function*() {
              yield* together.chat(request(1))
              yield* Effect.exit(together.chat(request(2), { deadline: Duration.seconds(seconds) }))
              return yield* arrivals
            }),
          // the default leaves a tenth of the deadline to the attempt
          slow
        )
        expect(exit).toEqual(Exit.succeed(sent))
      })
  )

  it.effect.each([{ seconds: 11, sent: 1 }, { seconds: 12, sent: 2 }])(
    "of $seconds s, 10 of which a stream waits for its turn, lets it be sent if it has time enough: $sent in all",
    ({ seconds, sent }) =>
      Effect.gen(function*() {
        const { exit } = yield* world(
          ({ arrivals, together }) =>
            Effect.gen(function*() {
              yield* together.chat(request(1))
              const [waited] = yield* Effect.timed(Effect.exit(Stream.runDrain(
                together.chatStream(request(2), { deadline: Duration.seconds(seconds) })
              )))
              return [yield* arrivals, Duration.toSeconds(waited) < 1]
            }),
          slow
        )
        // what cannot be sent in time is refused at once
        expect(exit).toEqual(Exit.succeed([sent, sent === 1]))
      })
  )

  it.effect("ends a stream whose consumer pulls no more: the next call is sent, nothing stays reserved, the next pull fails", () =>
    Effect.gen(function*() {
      const { exit } = yield* world(
        ({ arrivals, credits, lanes, together }) =>
          Effect.gen(function*() {
            const pull = yield* Stream.toPull(together.chatStream(request(1), { deadline: "2 seconds" }))
            yield* pull
            const next = yield* Effect.forkChild(together.chat(request(2)), { startImmediately: true })
            yield* Effect.sleep("1999 millis")
            expect(yield* arrivals).toBe(1)
            yield* Effect.sleep("2 millis")
            expect(yield* arrivals).toBe(2)
            yield* Fiber.join(next)
            const error = yield* Effect.flip(pull)
            const [lane] = yield* lanes.all
            const { inFlight, queued } = lane === undefined ? {} : yield* lane.status
            const { open, reserved } = (yield* tally(credits)) ?? {}
            return [error, inFlight, queued, open, reserved]
          }).pipe(Effect.scoped),
        {
          limit: "$1",
          provider: { firstToken: { kind: "constant", value: 0 }, tokensPerSecond: { kind: "constant", value: 100 } },
          lanes: { maxInFlight: 1 }
        }
      )
      const error: unknown = expect.objectContaining({ _tag: "RequestTimeoutError", phase: "deadline", started: true })
      expect(exit).toEqual(Exit.succeed([error, 0, 0, 0, 0n]))
    }))

  it.effect.each<[number, number, ...Array<Hedge.Outcome>]>([[8.9, 2], [9.1, 1, "no-permit"]])(
    "of 10 s lets a second try that is due after %d s be sent if it has time enough: %d in all",
    ([after, sent, ...refused]) =>
      Effect.gen(function*() {
        const outcomes: Array<Hedge.Outcome> = []
        const { exit } = yield* world(
          ({ arrivals, together }) =>
            Effect.gen(function*() {
              yield* Effect.exit(together.chat(request(1), { deadline: "10 seconds", retry: Schedule.recurs(0) }))
              return yield* arrivals
            }),
          {
            limit: "$1",
            provider: { faults: [{ probability: 1, kind: "hang", stage: "engine" }] },
            client: {
              timeouts: { headers: "9500 millis" },
              hedge: {
                delay: Duration.seconds(after),
                onOutcome: (seen) => Effect.sync(() => void outcomes.push(seen))
              }
            }
          }
        )
        // a call that its deadline ends has no outcome
        expect([exit, outcomes]).toEqual([Exit.succeed(sent), refused])
      })
  )
})

describe("the span of a call", () => {
  it.effect("is of a client's kind, streamed or not: no other span leaves the process", () =>
    Effect.gen(function*() {
      const { spans, tracer } = recorded()
      yield* world(
        ({ together }) =>
          Effect.andThen(together.chat(request(1)), Stream.runDrain(together.chatStream(request(1)))).pipe(
            Effect.provideService(Tracer.Tracer, tracer)
          ),
        { limit: "$1", provider: {} }
      )
      expect(spans.map(({ kind, name }) => [name, kind])).toEqual([
        ["Together.chat", "client"],
        ["Together.chatStream", "client"]
      ])
    }))
})

describe("the span of a stream", () => {
  it.effect("says what the stream cost, and no other span does", () =>
    Effect.gen(function*() {
      const { spans, tracer } = recorded()
      yield* world(
        ({ together }) =>
          Effect.forEach(
            ["first", "second"],
            (label) => Stream.runDrain(together.chatStream({ ...request(1), model: "openai/gpt-oss-20b" }, { label })),
            { concurrency: 2, discard: true }
          ).pipe(Effect.withSpan("handler"), Effect.provideService(Tracer.Tracer, tracer)),
        { limit: "$1", provider: {} }
      )
      const costs = spans.map((span) => [span.name, span.attributes.get("credits.label")])
      expect(costs.toSorted()).toEqual([
        ["Together.chatStream", "first"],
        ["Together.chatStream", "second"],
        ["handler", undefined]
      ])
      expect(spans.filter((span) => span.attributes.has("credits.cost_usd")).length).toBe(2)
    }))
})

describe("the socket of a stream", () => {
  it.effect("is let go after a failure before the first token, before the next try", () =>
    Effect.gen(function*() {
      const encode = (text: string) => new TextEncoder().encode(text)
      let left = 0
      const leftAtArrival: Array<number> = []
      const event = (data: unknown) => encode(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`)
      const bodies = [
        [event({ error: { message: "overloaded", type: "overloaded" } })],
        [event({ choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] }), event("[DONE]")]
      ]
      const client = HttpClient.make((sent) =>
        Effect.sync(() => {
          const chunks = bodies[leftAtArrival.length] ?? []
          leftAtArrival.push(left)
          // never ends by itself, as a connection that is kept open
          const body = new ReadableStream<Uint8Array>({
            start: (controller) => chunks.forEach((chunk) => controller.enqueue(chunk)),
            cancel: () => void left++
          })
          return HttpClientResponse.fromWeb(
            sent,
            new Response(body, { headers: { "content-type": "text/event-stream" } })
          )
        })
      )
      const { exit } = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
        const together = yield* Together.make({ apiKey: Redacted.make("key") }).pipe(
          Effect.provideService(HttpClient.HttpClient, client)
        )
        return yield* Stream.runCollect(together.chatStream(request(1)))
      })))
      expect(Exit.isSuccess(exit)).toBe(true)
      expect(leftAtArrival).toEqual([0, 1])
    }))
})

describe("a retry", () => {
  it.effect("is sent before fresh calls that wait", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.error(500))
        yield* TogetherTest.always("*", Reply.after(Reply.chat("answer"), "10 seconds"))
        const together = yield* Together.Together
        yield* Effect.forEach([1, 2, 3], (n) => together.chat(request(n)), { concurrency: 3, discard: true })
        const asked = (yield* TogetherTest.log).map(({ sent }) => /question \d/.exec(sent.text)?.[0].at(-1))
        expect(asked).toEqual(["1", "2", "1", "3"])
      }).pipe(
        Effect.provide(
          TogetherTest.layer({
            verifyOnClose: false,
            together: { retry: Schedule.spaced("1 second"), lanes: { maxInFlight: 1 } }
          })
        )
      )
    ))
})

describe("a call that waits in its lane", () => {
  it.effect("is not sent once its account is suspended", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.after(Reply.outOfCredits, "1 second"))
        const together = yield* Together.Together
        const ends = yield* Effect.forEach([1, 2, 3], (n) => Effect.flip(together.chat(request(n))), { concurrency: 3 })
        expect(ends.map(({ _tag, status }) => [_tag, status])).toEqual(
          [402, undefined, undefined].map((status) => ["InsufficientCreditsError", status])
        )
        expect(yield* TogetherTest.log).toHaveLength(1)
      }).pipe(Effect.provide(Layer.provideMerge(
        TogetherTest.layer({ verifyOnClose: false, together: { lanes: { maxInFlight: 1 } } }),
        Credits.layer()
      )))
    ))
})

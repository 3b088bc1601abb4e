import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { Breaker, Budget, Credits, Lanes, RetryBudget, Together, TogetherEmbeddingModel } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { EmbeddingModel } from "effect/ai"

type Service = Together.Service

const request = { model: "m", messages: [{ role: "user", content: "?" }] }
const client = TogetherTest.layer({ verifyOnClose: false })
const once = { retry: Schedule.recurs(0) }
const chat = (together: Service) => together.chat(request)
const chatStream = (together: Service) => Stream.runDrain(together.chatStream(request))

/** Runs a call that fails, and says how and after how many requests. */
const ending = <A>(call: (together: Service) => Effect.Effect<A, { readonly _tag: string }>, reply: Reply.Reply) =>
  Effect.gen(function*() {
    yield* TogetherTest.always("*", reply)
    const error = yield* Effect.flip(Effect.flatMap(Together.Together, call))
    return [error._tag, (yield* TogetherTest.log).length]
  })

const noMoney = Credits.layer({ budgets: [Budget.perRun("$0.000001")] })

describe("ContextGuards", () => {
  it.effect.each<[string, {
    readonly guard: Layer.Layer<never>
    readonly call: (together: Service) => Effect.Effect<unknown, { readonly _tag: string }>
    readonly reply?: Reply.Reply
    readonly ending: readonly [tag: string, sent: number]
  }]>([
    ["Credits", { guard: noMoney, call: chat, ending: ["BudgetExceededError", 0] }],
    ["Credits, for a stream", { guard: noMoney, call: chatStream, ending: ["BudgetExceededError", 0] }],
    ["Lanes", {
      guard: Lanes.layer({ maxQueue: 0 }),
      call: (together) => Effect.andThen(chat(together), chat(together)),
      ending: ["LaneOverflowError", 1]
    }],
    ["a Breaker", {
      guard: Breaker.layer({ size: 1, minimumCalls: 1 }),
      call: (together) => Effect.andThen(Effect.exit(together.chat(request, once)), together.chat(request, once)),
      reply: Reply.error(500),
      ending: ["CircuitOpenError", 1]
    }],
    ["a RetryBudget", {
      guard: RetryBudget.layer({ ratio: 0, minPerSecond: 0 }),
      call: chat,
      reply: Reply.error(500),
      ending: ["ServerError", 1]
    }]
  ])(
    "lets %s guard a call from beside the client, from below it and from around the call",
    ([, tried]) =>
      Effect.gen(function*() {
        const failing = ending(tried.call, tried.reply ?? Reply.chat("Rhine"))
        const { guard } = tried
        const ends = yield* Effect.forEach([
          Effect.provide(failing, Layer.mergeAll(client, guard)),
          Effect.provide(failing, Layer.provideMerge(client, guard)),
          Effect.provide(failing, Layer.provide(client, guard)),
          failing.pipe(Effect.provide(guard), Effect.provide(client))
        ], (program) => VirtualClock.wrap(program))
        expect(ends).toEqual([tried.ending, tried.ending, tried.ending, tried.ending])
      })
  )

  it.effect("stand behind the lanes and the retry budget that the client is given", () =>
    Effect.gen(function*() {
      const own = TogetherTest.layer({
        verifyOnClose: false,
        together: { lanes: {}, retryBudget: yield* RetryBudget.make() }
      })
      const ambient = Layer.mergeAll(Lanes.layer({ maxQueue: 0 }), RetryBudget.layer({ ratio: 0, minPerSecond: 0 }))
      const failing = ending(
        (together) => Effect.andThen(Effect.exit(chat(together)), chat(together)),
        Reply.error(500)
      )
      const ends = yield* Effect.forEach(
        [Layer.mergeAll(own, ambient), Layer.provide(own, ambient)],
        (layer) => VirtualClock.wrap(Effect.provide(failing, layer))
      )
      expect(ends).toEqual([["ServerError", 10], ["ServerError", 10]])
    }))

  it.effect.each<[string, {
    readonly given: Layer.Layer<never>
    readonly other: Layer.Layer<never>
    readonly call: (together: Service) => Effect.Effect<unknown, { readonly _tag: string }>
    readonly reply?: Reply.Reply
    readonly ending: readonly [tag: string, sent: number]
  }]>([
    ["Credits", { given: noMoney, other: Credits.layer(), call: chat, ending: ["BudgetExceededError", 0] }],
    ["Credits, for a stream", {
      given: noMoney,
      other: Credits.layer(),
      call: chatStream,
      ending: ["BudgetExceededError", 0]
    }],
    ["Lanes", {
      given: Lanes.layer({ maxQueue: 0 }),
      other: Lanes.layer(),
      call: (together) => Effect.andThen(chat(together), chat(together)),
      ending: ["LaneOverflowError", 1]
    }],
    ["a Breaker", {
      given: Breaker.layer({ size: 1, minimumCalls: 1 }),
      other: Breaker.layer(),
      call: (together) => Effect.andThen(Effect.exit(together.chat(request, once)), together.chat(request, once)),
      reply: Reply.error(500),
      ending: ["CircuitOpenError", 1]
    }],
    ["a RetryBudget", {
      given: RetryBudget.layer({ ratio: 0, minPerSecond: 0 }),
      other: RetryBudget.layer(),
      call: chat,
      reply: Reply.error(500),
      ending: ["ServerError", 1]
    }]
  ])("keeps %s that the client was given in force under another of the fiber", ([, tried]) =>
    Effect.gen(function*() {
      const failing = ending(tried.call, tried.reply ?? Reply.chat("Rhine")).pipe(Effect.provide(tried.other))
      const under = Layer.provide(client, tried.given)
      expect(yield* VirtualClock.wrap(Effect.provide(failing, under))).toEqual(tried.ending)
    }))

  it.effect("charges the Credits that the client was given, else those of the fiber, and no other beside them", () =>
    Effect.gen(function*() {
      const priced = { ...request, model: "openai/gpt-oss-20b" }
      const charged = (credits: Credits.Service) => Effect.map(credits.report, ({ accounts }) => accounts.length)
      const spent = Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.chat("Rhine"))
        const outer = yield* Credits.Credits
        const inner = yield* Effect.provide(
          Effect.gen(function*() {
            yield* Effect.flatMap(Together.Together, (together) => together.chat(priced))
            return yield* charged(yield* Credits.Credits)
          }),
          Credits.layer()
        )
        return [yield* charged(outer), inner]
      })
      const [below, beside] = yield* Effect.forEach(
        [Layer.provideMerge(client, Credits.layer()), Layer.merge(client, Credits.layer())],
        (layer) => VirtualClock.wrap(Effect.provide(spent, layer))
      )
      expect({ below, beside }).toEqual({ below: [1, 0], beside: [0, 1] })
    }))

  it.effect("gives texts under other Credits a request of their own", () =>
    Effect.gen(function*() {
      yield* TogetherTest.always("*", Reply.embeddings([[1, 0]]))
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      yield* Effect.all([embed("a"), Effect.provide(embed("b"), Credits.layer())], { concurrency: "unbounded" })
      expect((yield* TogetherTest.log).length).toBe(2)
    }).pipe(
      Effect.provide(TogetherEmbeddingModel.model("intfloat/multilingual-e5-large-instruct")),
      Effect.provide(client),
      VirtualClock.wrap
    ))
})

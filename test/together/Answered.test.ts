import { describe, expect, it } from "@effect/vitest"
import { Credits, Price, Together } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { Effect, Layer, Stream } from "effect"

const request = { model: "a", messages: [{ role: "user", content: "Name three rivers." }] }
const price = Price.stated({ model: "a", inputUsdPerMillion: 1, outputUsdPerMillion: 1 })

const virtually = <A, E>(
  effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>,
  together: TogetherTest.LayerOptions["together"] = {}
) => VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer({ verifyOnClose: false, together })))

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

describe("Answered", () => {
  it.effect("tells of an answer without usage what the ledger assumes of it", () =>
    virtually(
      Effect.gen(function*() {
        const told: Array<Together.Answered["cost"]> = []
        const onAnswered = ({ cost }: Together.Answered) => Effect.sync(() => void told.push(cost))
        const silent = Reply.json({ id: "1", choices: [{}] })
        const [limited, stream] = [{ ...request, max_tokens: 100 }, Reply.stream(["x"], { usage: {} })]
        yield* TogetherTest.reply(silent, stream, silent)
        const calls = Effect.all([
          use((t) => t.chat(limited, { onAnswered })),
          use((t) => Stream.runDrain(t.chatStream(limited, { onAnswered })))
        ])
        const credits = yield* Layer.build(Credits.layer())
        yield* Effect.provide(calls, credits)
        const { settled, uncertain } = yield* Effect.provide(
          Effect.flatMap(Credits.Credits, (credits) => credits.tally()),
          credits
        )
        yield* use((t) => t.chat(limited, { onAnswered }))
        const amounts = told.map((cost) => cost._tag === "Unknown" ? undefined : cost.nanoUsd)
        expect(told.map(({ _tag }) => _tag)).toEqual(["Assumed", "Assumed", "Unknown"])
        expect([amounts[0]! + amounts[1]!, amounts[0]! > 100_000n, amounts[1]! < 50_000n]).toEqual([
          settled,
          true,
          true
        ])
        expect(uncertain).toBe(settled)
      }).pipe(Effect.scoped),
      { prices: () => price }
    ))
})

import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Together, type TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

const virtually = <A, E>(effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>) =>
  VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer()))

describe("a request for a job", () => {
  type Call = (together: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>

  it.effect.each<[string, string, Call]>([
    ["batches.create", "[\"input_file_id\"]", (t) => t.batches.create({ endpoint: "/v1/chat/completions" } as never)],
    [
      "fineTunes.create",
      "[\"suffix\"]",
      (t) => t.fineTunes.create({ model: "m", training_file: "f", suffix: "x".repeat(65) })
    ],
    ["fineTunes.estimatePrice", "[\"training_file\"]", (t) => t.fineTunes.estimatePrice({ training_file: "" })],
    ["evaluations.create", "[\"type\"]", (t) => t.evaluations.create({ type: 1, parameters: {} } as never)]
  ])(
    "is not sent by %s where it does not fit, and its field is named",
    ([operation, field, call]) =>
      virtually(Effect.gen(function*() {
        const error = yield* Effect.flip(use(call))
        expect(error).toMatchObject({ _tag: "InvalidRequestError", operation, sent: false })
        expect(error.message).toContain(`does not fit ${operation}`)
        expect(error.message).toContain(field)
        expect(yield* TogetherTest.sent).toEqual([])
      }))
  )

  it.effect("asks for the price of one that goes on from a checkpoint, without a model", () =>
    virtually(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.json({ estimated_total_price: 4 }))
      const { estimated_total_price } = yield* use((t) =>
        t.fineTunes.estimatePrice({ training_file: "f", from_checkpoint: "ft-1" })
      )
      expect(estimated_total_price).toBe(4)
      expect((yield* TogetherTest.sent).map(({ body }) => body)).toEqual([{
        training_file: "f",
        from_checkpoint: "ft-1"
      }])
    })))
})

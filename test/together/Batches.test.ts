import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Together } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

const virtually = <A, E>(
  effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>
) => VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer({ verifyOnClose: false })))

describe("a creation", () => {
  it.effect("that is answered without an id fails: what it created runs, and nobody could find it", () =>
    virtually(Effect.gen(function*() {
      const batch = { endpoint: "/v1/chat/completions", input_file_id: "file-1" }
      for (
        const body of [{}, { job: null }, { job: {} }, { job: { id: "" } }, { id: "batch-1", status: "VALIDATING" }]
      ) {
        yield* TogetherTest.reply(Reply.json(body, { status: 201 }))
        const error = yield* Effect.flip(use((together) => together.batches.create(batch)))
        expect(error).toMatchObject({ _tag: "DecodeError", status: 201, body: JSON.stringify(body) })
      }
      for (const body of [{ status: "pending" }, { workflow_id: null }, { workflow_id: "" }]) {
        yield* TogetherTest.reply(Reply.json(body))
        const error = yield* Effect.flip(
          use((together) => together.evaluations.create({ type: "score", parameters: {} }))
        )
        expect(error).toMatchObject({ _tag: "DecodeError", status: 200 })
      }
      expect((yield* TogetherTest.log).every(({ attempt }) => attempt === 1)).toBe(true)
    })))
})

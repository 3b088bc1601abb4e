import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Together, type TogetherError } from "effect-together"
import { TogetherTest } from "effect-together/testing"

type Way = readonly [
  operation: string,
  ask: (t: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>
]

describe("ObjectCalls: an id", () => {
  it.effect.each(["", ".", ".."])(
    "of %j is not sent: its path is the list's, or another's",
    (id) =>
      Effect.gen(function*() {
        const ways: ReadonlyArray<Way> = [
          ["files.get", (t) => t.files.get(id)],
          ["files.content", (t) => t.files.content(id)],
          ["files.content", (t) => t.files.bytes(id)],
          ["files.delete", (t) => t.files.delete(id)],
          ["batches.get", (t) => t.batches.get(id)],
          ["batches.cancel", (t) => t.batches.cancel(id)],
          ["fineTunes.get", (t) => t.fineTunes.get(id)],
          ["fineTunes.cancel", (t) => t.fineTunes.cancel(id)],
          ["evaluations.get", (t) => t.evaluations.get(id)],
          ["evaluations.status", (t) => t.evaluations.status(id)]
        ]
        for (const [operation, ask] of ways) {
          const error = yield* Effect.flip(Effect.flatMap(Together.Together, ask))
          const message = `The request was not sent: ${operation} needs an id, got ${
            JSON.stringify(id)
          }. Correct the request.`
          expect(error).toMatchObject({ _tag: "InvalidRequestError", operation, sent: false, message })
        }
        expect(yield* TogetherTest.log).toEqual([])
      }).pipe(Effect.provide(TogetherTest.layer()))
  )
})

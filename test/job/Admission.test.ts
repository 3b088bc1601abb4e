import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { InvalidRequestError } from "../../src/domain/TogetherError.ts"
import { errors, ids, line, provider, questionOf, reply, results, run, setup } from "./jobs.ts"

const invalid = new InvalidRequestError({ message: "bad field", status: 400, attempts: 1 })

describe("Admission", () => {
  it.effect("journals a failed row that is sent again under the request that was sent", () =>
    Effect.gen(function*() {
      const disk = yield* setup(line("a", "old"))
      yield* run(disk, { send: provider(() => Effect.fail(invalid)).send })
      yield* disk.fs.writeFileString("in.jsonl", line("a", "new"))
      const second = provider()
      yield* run(disk, { send: second.send, changed: "keep", retryErrors: true })
      expect(second.sent).toEqual(["a"])
      for (const changed of ["stop", "resend"] as const) {
        const again = provider()
        yield* run(disk, { send: again.send, changed })
        expect([changed, again.sent]).toEqual([changed, []])
      }
      expect(results(disk).map((row) => row.response?.body.text)).toEqual(["new"])
    }))

  it.effect("keeps the answer of a changed row, and sends no answered row again with the failed ones", () =>
    Effect.gen(function*() {
      const disk = yield* setup(line("a", "old"))
      yield* run(disk, { send: provider().send })
      yield* disk.fs.writeFileString("in.jsonl", line("a", "new"))
      const { send, sent } = provider()
      yield* run(disk, { send, changed: "keep", retryErrors: true })
      expect(sent).toEqual([])
    }))

  it.effect("names the line that had an id before, where a part of the input repeats it", () =>
    Effect.gen(function*() {
      const disk = yield* setup(line("a", "one") + line("b") + line("a", "three"))
      yield* run(disk, { send: provider().send, select: (n) => n <= 2 })
      const { send, sent } = provider()
      const error = yield* Effect.flip(run(disk, { send, select: (n) => n === 3 }))
      expect(error).toMatchObject({ _tag: "JournalError", reason: "id-reused" })
      expect(error.message).toContain("line 3: custom_id \"a\" was answered on line 1 already, for another request")
      expect(error.message).toContain("Give each row its own custom_id")
      expect(sent).toEqual([])
      // the same line, with other options, is told apart
      const other = yield* Effect.flip(run(disk, { send, select: (n) => n === 1, row: { body: { max_tokens: 9 } } }))
      expect(other.message).toContain("line 1 (custom_id \"a\") asks for something else than when it was answered")
    }))

  it.effect("says where a row without an id would get the id of another one", () =>
    Effect.gen(function*() {
      const bare = `${JSON.stringify({ prompt: "no id", model: "m" })}\n`
      const disk = yield* setup(line("line-2") + bare + bare + line("line-3"))
      const { send } = provider()
      yield* run(disk, { send, concurrency: 1 })
      expect(ids(results(disk))).toEqual(["line-2", "line-3"])
      expect(errors(disk).map((row) => [row.line, row.error?.message])).toEqual([
        [
          2,
          "line 2 has no custom_id, and \"line-2\", which it would get, is that of line 1; it is not sent. Give it a " +
          "custom_id"
        ],
        [
          4,
          "line 4: custom_id \"line-3\" was used on line 3 already (a row without one gets line-<number>); it is not " +
          "sent. Give each row its own custom_id"
        ]
      ])
    }))
})

describe("Twins", () => {
  it.effect("takes no answer of a row that was changed since and kept", () =>
    Effect.gen(function*() {
      const disk = yield* setup(line("a", "old") + line("c", "same"))
      yield* run(disk, { send: provider((row) => Effect.succeed(reply(row))).send })
      yield* disk.fs.writeFileString(
        "in.jsonl",
        line("a", "new") + line("c", "same") + line("b", "new") + line("d", "same")
      )
      const asked: Array<string> = []
      const { send } = provider((row) => {
        asked.push(questionOf(row))
        return Effect.succeed(reply(row))
      })
      yield* run(disk, { send, changed: "keep", dedupe: true })
      expect(asked).toEqual(["new"])
      expect(results(disk).map((row) => [row.custom_id, row.response?.body.text]).sort()).toEqual([
        ["a", "old"],
        ["b", "new"],
        ["c", "same"],
        ["d", "same"]
      ])
    }))
})

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { InvalidRequestError } from "../../src/domain/TogetherError.ts"
import type * as Row from "../../src/job/Row.ts"
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

  it.effect("keeps no answer of a row that is known by its line for another request", () =>
    Effect.gen(function*() {
      const bare = (prompt: string) => `${JSON.stringify({ prompt, model: "m" })}\n`
      const disk = yield* setup(["one", "two", "three"].map(bare).join(""))
      yield* run(disk, { send: provider().send })
      yield* disk.fs.writeFileString("in.jsonl", bare("two") + bare("three"))
      const kept = provider()
      const error = yield* Effect.flip(run(disk, { send: kept.send, changed: "keep", retryErrors: true }))
      expect(error).toMatchObject({ _tag: "JournalError", reason: "row-moved" })
      expect(error.message).toContain("line 1 has no custom_id and is known by its number")
      expect(kept.sent).toEqual([])
      const { send, sent } = provider()
      yield* run(disk, { send, changed: "resend", concurrency: 1 })
      expect(sent).toEqual(["line-1", "line-2"])
    }))

  it.effect("sends no row twice that moved into the place of a bad line", () =>
    Effect.gen(function*() {
      const bare = (prompt: string) => `${JSON.stringify({ prompt, model: "m" })}\n`
      const disk = yield* setup(`${bare("one")}no json\n${bare("three")}`)
      yield* run(disk, { send: provider().send })
      yield* disk.fs.writeFileString("in.jsonl", bare("one") + bare("three"))
      const moved = provider()
      const error = yield* Effect.flip(run(disk, { send: moved.send, changed: "keep" }))
      expect(error).toMatchObject({ _tag: "JournalError", reason: "row-moved" })
      expect(error.message).toContain("line 2 has no custom_id and is known by its number, and asks what line 3 was")
      expect(moved.sent).toEqual([])
      for (const second of ["\n", bare("two")]) {
        yield* disk.fs.writeFileString("in.jsonl", bare("one") + second + bare("three") + bare("four"))
        const { send, sent } = provider()
        yield* run(disk, { send, changed: "keep" })
        expect(sent).toEqual([second === "\n" ? "line-4" : "line-2"])
      }
    }))

  it.effect("sends a row like one further down, where nothing has moved", () =>
    Effect.gen(function*() {
      const bare = (prompt: string) => `${JSON.stringify({ prompt, model: "m" })}\n`
      const same = bare("same")
      const last = (line: number) => line > 1
      const third = (line: number) => line === 3
      const cases = [
        // one prompt sampled a few times, of which the first was not answered when the run was killed
        { before: same.repeat(3), answered: last, after: same.repeat(3), sent: ["line-1"] },
        { before: same.repeat(3), answered: last, after: same.repeat(5), sent: ["line-1", "line-4", "line-5"] },
        // a bad line that was corrected in its place
        { before: `no json\n${same}`, after: same.repeat(2), sent: ["line-1"] },
        // only what is chosen is in doubt, and the whole input tells what has moved
        { before: same.repeat(3), answered: third, after: bare("one") + same, chosen: 1, sent: ["line-1"] },
        { before: same.repeat(3), answered: third, after: same.repeat(2), chosen: 2, sent: [] },
        { before: same.repeat(3), answered: third, after: same.repeat(3), chosen: 2, sent: ["line-2"] }
      ]
      for (const { after, answered, before, chosen, sent } of cases) {
        const disk = yield* setup(before)
        yield* run(disk, { send: provider().send, select: answered })
        yield* disk.fs.writeFileString("in.jsonl", after)
        const again = provider()
        const select = chosen === undefined ? undefined : (line: number) => line === chosen
        const ended = yield* Effect.result(run(disk, { send: again.send, changed: "keep", select, concurrency: 1 }))
        expect(again.sent).toEqual(sent)
        expect(ended._tag).toBe(sent.length === 0 ? "Failure" : "Success")
      }
    }))

  it.effect("sends a failed row again that is known by its line, when it was corrected there", () =>
    Effect.gen(function*() {
      const bare = (prompt: string) => `${JSON.stringify({ prompt, model: "m" })}\n`
      const disk = yield* setup(bare("one") + bare("wrong"))
      const fails = (row: Row.Row) => row.line === 2 ? Effect.fail(invalid) : Effect.succeed(reply(row))
      yield* run(disk, { send: provider(fails).send })
      yield* disk.fs.writeFileString("in.jsonl", bare("one") + bare("right"))
      const { send, sent } = provider()
      yield* run(disk, { send, changed: "keep", retryErrors: true })
      expect([sent, results(disk).length]).toEqual([["line-2"], 2])
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

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Meaning from "../../src/cli/Meaning.ts"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import { InputError, JournalError, OutputError } from "../../src/job/JobError.ts"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

describe("explain", () => {
  it("has a cause and a fix for every error", () => {
    for (const tag of TogetherError.tags) {
      expect(Meaning.ofTag[tag].why.length).toBeGreaterThan(20)
      expect(Meaning.ofTag[tag].fix.length).toBeGreaterThan(5)
    }
  })

  const known: ReadonlyArray<readonly [what: string, tag: string]> = [
    ["429", "RateLimitError"],
    ["402", "InsufficientCreditsError"],
    ["524", "ServerError"],
    ["rate_limit", "RateLimitError"],
    ["ECONNRESET", "ConnectionError"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "ConnectionError"],
    ["UND_ERR_HEADERS_TIMEOUT", "RequestTimeoutError"],
    ["AuthError", "AuthError"],
    ["{\"error\":{\"code\":\"context_length\",\"message\":\"x\"}}", "ContextLengthError"],
    ["{\"error\":{\"message\":\"Credit limit exceeded\",\"type\":\"credit_limit\"}}", "InsufficientCreditsError"],
    ["{\"error\":{\"message\":\"Invalid API key provided\",\"code\":\"invalid_api_key\"}}", "AuthError"]
  ]
  it.effect.each(known)("knows %s", ([what, tag]) =>
    live(Effect.gen(function*() {
      const { code, out } = yield* Shell.open().run(["explain", what])
      expect([code, out.split("\n")[0]?.split(" ")[0]]).toEqual([0, tag])
      expect(out).toContain("fix ")
    })))

  it.effect("says of a row that no call failed that it was not sent, or was in a batch", () =>
    live(Effect.gen(function*() {
      const explain = (code: string) => {
        const row = { custom_id: "a", error: { code, message: "line 2 is not JSON" }, line: 2 }
        return Shell.open().run(["explain", JSON.stringify(row)])
      }
      const bad = yield* explain("bad_row_json")
      expect([bad.code, bad.out.split("\n").slice(0, 2)]).toEqual([
        0,
        ["bad_row_json  not sent", "line 2 is not JSON"]
      ])
      expect(bad.out).not.toContain("Together says")
      const batch = yield* explain("batch_failed")
      expect([batch.code, batch.out.split("\n")[0]]).toEqual([0, "batch_failed  in a batch"])
      expect((yield* explain("rate_limit")).out).toContain("RateLimitError")
    })))

  it.effect("knows the codes of rows, and the errors of a job by name and by reason", () =>
    live(Effect.gen(function*() {
      const reasons = [InputError, JournalError, OutputError].flatMap((each) => each.fields.reason.literals)
      expect(reasons).toEqual(expect.arrayContaining(Object.keys(Meaning.ofReason)))
      for (const what of ["batch_failed", "bad_row_json", "not_answered", "InputError", "OutputError", ...reasons]) {
        const { code, out } = yield* Shell.open().run(["explain", what])
        expect([code, out.split(" ")[0]]).toEqual([0, what])
        expect(out).toContain("fix ")
      }
    })))

  it.effect("knows the reasons of errors, and the kinds that a provider names", () =>
    live(Effect.gen(function*() {
      const kinds = {
        dynamic_token_limited: "RateLimitError",
        credit_limit: "InsufficientCreditsError",
        insufficient_quota: "InsufficientCreditsError",
        model_not_available: "ModelUnavailableError",
        routing_error: "ModelUnavailableError",
        context_length_exceeded: "ContextLengthError",
        request_too_large: "PayloadTooLargeError"
      }
      for (const [what, tag] of Object.entries({ ...Meaning.ofErrorReason, ...kinds })) {
        const { code, out } = yield* Shell.open().run(["explain", what])
        expect([code, out.split(/\s/)[0]]).toEqual([0, tag])
      }
      expect(yield* Shell.open().run(["explain", "no_such_kind"])).toMatchObject({ code: 2 })
    })))

  it.effect("takes no body that says nothing for a refusal", () =>
    live(Effect.gen(function*() {
      for (const what of ["[]", "{}", "null"]) {
        expect(yield* Shell.open().run(["explain", what])).toMatchObject({ code: 2 })
      }
      expect(yield* Shell.open().run(["explain", "[{\"error\":{\"message\":\"x\"}}]"])).toMatchObject({ code: 0 })
    })))

  it.effect("needs no settings, so that a broken file of them does not matter", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      shell.write(".effect-together.json", "{broken")
      expect(yield* shell.run(["explain", "429"])).toMatchObject({ code: 0, err: "" })
      const input = shell.write("in.jsonl", Shell.prompts(1))
      expect(yield* shell.run(["plan", input])).toEqual({
        code: 2,
        out: "",
        err: expect.stringMatching(/^error \S+\.effect-together\.json is not JSON\. Correct it, or remove it\.\n$/)
      })
    })))

  it.effect("explains each code of an errors file on standard input once", () =>
    live(Effect.gen(function*() {
      const row = (code: string, line: number) => `${JSON.stringify({ error: { code, message: `m${line}` }, line })}\n`
      const input = row("bad_row_json", 1) + row("rate_limit", 2) + row("bad_row_json", 3) + row("odd_code", 4)
      const { code, out } = yield* Shell.open().run(["explain", "-"], {}, undefined, input)
      expect(code).toBe(0)
      expect(out.match(/^\w+ {2}\d.*$/gm)).toEqual([
        "bad_row_json  2 rows, lines 1, 3",
        "rate_limit  1 row, line 2",
        "odd_code  1 row, line 4"
      ])
    })))
})

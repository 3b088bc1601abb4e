import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import type * as Patience from "../../src/job/Patience.ts"
import * as Report from "../../src/job/Report.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { line, prompts, setup } from "./jobs.ts"

/** What a provider does with a request: a status, or no connection. */
type Does = number | "refuses"

const answers: Record<number, object> = {
  200: { choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hi" } }] },
  402: { error: { message: "Credit limit exceeded.", type: "credit_limit" } },
  503: { error: { message: "overloaded", type: "overloaded" } }
}

/** Runs rows through the real client to a provider that tells by the second, and the model, what it does, and how slowly. */
const ran = (
  does: (seconds: number, model: string) => Does,
  rows = prompts(300),
  slowly: (model: string) => number = () => 100,
  patience: Patience.Options = {}
) =>
  VirtualClock.wrap(Effect.gen(function*() {
    const disk = yield* setup(rows)
    const began = yield* Clock.currentTimeMillis
    const client = HttpClient.make((request) =>
      Effect.gen(function*() {
        const { model } = JSON.parse(new TextDecoder().decode((request.body as { readonly body: Uint8Array }).body)) // ours: bytes of JSON
        yield* Effect.sleep(slowly(model))
        const now = yield* Clock.currentTimeMillis
        const status = does((now - began) / 1000, model)
        if (status === "refuses") {
          const cause = Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" })
          return yield* new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({ request, cause })
          })
        }
        return HttpClientResponse.fromWeb(request, Response.json(answers[status], { status }))
      })
    )
    const layer = Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
      Layer.provideMerge(Credits.layer({ whenSuspended: "wait" }))
    )
    return yield* Effect.gen(function*() {
      const report = Report.make(0)
      const send = yield* Sender.together({ report })
      const { stop } = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, report, patience }).pipe(
        Effect.provideService(FileSystem.FileSystem, disk.fs)
      )
      const seconds = ((yield* Clock.currentTimeMillis) - began) / 1000
      return { stop: stop?._tag, ok: report.ok, failed: report.failed, seconds }
    }).pipe(Effect.provide(layer))
  }))

describe("A job whose provider is down", () => {
  it.effect("stops after a minute where nothing ever came back, though no row has had all its retries", () =>
    Effect.gen(function*() {
      const { seconds, ...rest } = yield* ran(() => "refuses")
      expect(rest).toEqual({ stop: "Unreachable", ok: 0, failed: 0 })
      expect(seconds).toBeGreaterThanOrEqual(60)
      expect(seconds).toBeLessThan(120)
    }))

  // many rows share the few attempts of an outage, a few have all their retries in it
  it.effect.each([
    ["never with an answer", () => 503, 300],
    ["never with an answer to the few rows", () => 503, 3],
    ["only at times", (seconds) => seconds % 60 < 20 ? 503 : "refuses", 3]
  ] as ReadonlyArray<[string, (seconds: number) => Does, number]>)(
    "stops after ten minutes where it responds, but %s",
    ([, does, rows]) =>
      Effect.gen(function*() {
        const { seconds, ...rest } = yield* ran(does, prompts(rows))
        expect(rest).toEqual({ stop: "Unreachable", ok: 0, failed: 0 })
        expect(seconds).toBeGreaterThanOrEqual(600)
        expect(seconds).toBeLessThan(720)
      })
  )

  it.effect("stops after ten minutes where it did answer before", () =>
    Effect.gen(function*() {
      const { seconds, stop, failed } = yield* ran((seconds) => seconds < 2 ? 200 : "refuses")
      expect([stop, failed]).toEqual(["Unreachable", 0])
      expect(seconds).toBeGreaterThanOrEqual(600)
      expect(seconds).toBeLessThan(720)
    }))

  it.effect("goes on where it is back in time", () =>
    Effect.gen(function*() {
      const { failed, ok, seconds, stop } = yield* ran((seconds) => seconds < 2 || seconds > 560 ? 200 : "refuses")
      expect([stop, ok, failed]).toEqual([undefined, 300, 0])
      expect(seconds).toBeLessThan(660)
    }))

  it.effect("does not stop for failures while it waits for credit", () =>
    Effect.gen(function*() {
      const { ok, seconds, stop } = yield* ran((seconds) =>
        seconds < 2 || seconds > 3600 ? 200 : seconds % 400 < 40 ? "refuses" : 402
      )
      expect([stop, ok]).toEqual([undefined, 300])
      expect(seconds).toBeGreaterThan(3600)
    }))

  it.effect("does not stop while something that may be answered is on the wire", () =>
    Effect.gen(function*() {
      for (const others of [200, 2]) {
        const { ok, stop } = yield* ran(
          (_, model) => model === "slow" ? 200 : "refuses",
          `${line("slow", "slow", "slow")}${prompts(others)}`,
          (model) => model === "slow" ? 40_000 : 100,
          { beforeFirst: "5 seconds" }
        )
        expect([others, stop, ok]).toEqual([others, "Unreachable", 1])
      }
    }))
})

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Connection from "../../src/cli/Connection.ts"
import * as Report from "../../src/job/Report.ts"

describe("Connection", () => {
  it.effect("counts the attempts of rows, and no request of the catalogue", () =>
    Effect.gen(function*() {
      const report = Report.make(0)
      const refusing = HttpClient.make((request) =>
        Effect.succeed(HttpClientResponse.fromWeb(request, new Response("", { status: 503 })))
      )
      const client = Connection.counted(report)(refusing)
      const base = "http://127.0.0.1:9/v1"
      yield* client.get(`${base}/models`)
      yield* client.get(`${base}/models?dedicated=true`)
      expect([report.refusals.size, report.overloaded, report.timeline.steps.length]).toEqual([0, 0, 0])
      yield* client.post(`${base}/chat/completions`)
      expect([Array.from(report.refusals), report.overloaded]).toEqual([[["503", 1]], 1])
    }))
})

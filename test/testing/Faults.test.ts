import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Fault from "../../src/testing/Fault.ts"
import * as Faults from "../../src/testing/Faults.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as Sent from "../../src/testing/Sent.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Wiretap from "../../src/testing/Wiretap.ts"

const provider = (reply: Reply.Reply) => HttpClient.make((request) => Reply.send(reply, request))
const post = HttpClientRequest.post("https://api.together.ai/v1/chat/completions").pipe(
  HttpClientRequest.bodyJsonUnsafe({ model: "m", stream: true })
)
const get = HttpClientRequest.get("https://api.together.ai/v1/models")

const codeOf = (error: HttpClientError.HttpClientError): string =>
  /code: '?(\w+)|(E[A-Z]{4,}|UND_\w+|CERT_\w+)/.exec(String(
    (error.reason.cause as Error)?.cause instanceof Error
      ? ((error.reason.cause as Error).cause as { code: string }).code
      : ""
  ))?.[0] ?? error.reason._tag

/** Tells how an exchange under a fault ends, in one word, with the body as it came. */
const underFault = (fault: Fault.Fault, reply: Reply.Reply = Reply.raw("0123456789", { contentType: "text/plain" })) =>
  VirtualClock.run(Effect.gen(function*() {
    const tap = Wiretap.make(yield* Faults.wrap(provider(reply), Faults.plan([fault])))
    const chunks: Array<string> = []
    const outcome = yield* tap.client.execute(post).pipe(
      Effect.flatMap((response) =>
        Effect.as(
          Stream.runForEach(
            response.stream,
            (chunk) => Effect.sync(() => chunks.push(new TextDecoder().decode(chunk)))
          ),
          `${response.status} ${response.headers["content-type"] ?? ""}`.trim()
        )
      ),
      Effect.catch((error) => Effect.succeed(codeOf(error))),
      Effect.timeoutOrElse({ duration: "1 hour", orElse: () => Effect.succeed("silence") })
    )
    return { outcome, chunks, open: tap.open().length }
  })).pipe(Effect.map((result) => ({
    ...Exit.getSuccess(result.exit).pipe((option) =>
      option._tag === "Some" ? option.value : { outcome: "died", chunks: [], open: -1 }
    ),
    millis: Duration.toMillis(result.elapsed)
  })))

const stream = Reply.stream(["a", "b", "c"])
const frames = stream.parts.map((part) => String(part.data))

describe("Fault", () => {
  describe("in the provider's place", () => {
    it.effect.each(
      [
        [Fault.status(503), "503 application/json"],
        [Fault.status(502, { body: "<html>" }), "502 text/plain"],
        [Fault.status(200), "200"],
        [Fault.rateLimited(), "429 application/json"],
        [Fault.outOfCredits, "402 application/json"],
        [Fault.broken(), "ECONNRESET"],
        [Fault.broken("dns"), "ENOTFOUND"],
        [Fault.broken("tls"), "CERT_HAS_EXPIRED"],
        [Fault.broken("refused"), "ECONNREFUSED"],
        [Fault.broken("connect-timeout"), "UND_ERR_CONNECT_TIMEOUT"],
        [Fault.hang, "silence"]
      ] as const
    )("%o", ([fault, expected]) =>
      Effect.gen(function*() {
        const { open, outcome } = yield* underFault(fault)
        expect(outcome).toBe(expected)
        expect(open).toBe(0)
      }))

    it.effect("does not ask the provider", () =>
      Effect.gen(function*() {
        let asked = 0
        const counting = HttpClient.make((request) => {
          asked++
          return Reply.send(Reply.raw("x"), request)
        })
        for (const fault of [Fault.status(503), Fault.rateLimited({ reset: 1 }), Fault.broken()]) {
          yield* Effect.ignore((yield* Faults.wrap(counting, Faults.plan([fault]))).execute(get))
        }
        expect(asked).toBe(0)
        yield* Effect.ignore((yield* Faults.wrap(counting, Faults.plan([Fault.lost]))).execute(get))
        expect(asked).toBe(1)
      }))

    it.effect("sends headers and body as given", () =>
      Effect.gen(function*() {
        const client = yield* Faults.wrap(
          provider(stream),
          Faults.plan([
            Faults.when(Fault.status(503, { body: { error: "flat" }, headers: { "Retry-After": "3" } }), { nth: 1 }),
            Faults.when(Fault.rateLimited({ reset: 4 }), { nth: 2 })
          ])
        )
        const one = yield* client.execute(get)
        expect([one.headers["retry-after"], yield* one.json]).toStrictEqual(["3", { error: "flat" }])
        expect((yield* client.execute(get)).headers["x-ratelimit-reset"]).toBe("4")
      }))
  })

  describe("on the body", () => {
    it.effect.each(
      [
        [Fault.cutAtByte(4), "UND_ERR_SOCKET", "0123"],
        [Fault.cutAtByte(0), "UND_ERR_SOCKET", ""],
        [Fault.cutAtByte(99), "UND_ERR_SOCKET", "0123456789"],
        [Fault.endAtByte(4), "200 text/plain", "0123"],
        [Fault.stallAtByte(4), "silence", "0123"],
        [Fault.contentType("text/html"), "200 text/html", "0123456789"],
        [Fault.chopped(3), "200 text/plain", "012|345|678|9"]
      ] as const
    )("%o", ([fault, outcome, body]) =>
      Effect.gen(function*() {
        const found = yield* underFault(fault)
        expect([found.outcome, found.chunks.filter((chunk) => chunk !== "").join("|")]).toStrictEqual([outcome, body])
        expect(found.open).toBe(0)
      }))

    it.effect("takes the time it says", () =>
      Effect.gen(function*() {
        expect((yield* underFault(Fault.slowHeaders("3 seconds"))).millis).toBe(3000)
        expect((yield* underFault(Fault.slowBody("1 second"), stream)).millis).toBe(5000)
        expect((yield* underFault(Fault.latency({ kind: "constant", value: 2 }))).millis).toBe(2000)
      }))
  })

  describe("on events", () => {
    const events = (fault: Fault.Fault) => underFault(fault, stream)

    it.effect.each(
      [
        [Fault.cutAtEvent(2), "UND_ERR_SOCKET", [0, 1]],
        [Fault.cutAtEvent(0), "UND_ERR_SOCKET", []],
        [Fault.endAtEvent(2), "200 text/event-stream;charset=utf-8", [0, 1]],
        [Fault.stallAtEvent(1), "silence", [0]],
        [Fault.duplicateEvent(2), "200 text/event-stream;charset=utf-8", [0, 1, 1, 2, 3, 4]],
        [Fault.reorderEvents(1), "200 text/event-stream;charset=utf-8", [1, 0, 2, 3, 4]],
        [Fault.reorderEvents(5), "200 text/event-stream;charset=utf-8", [0, 1, 2, 3, 4]],
        [Fault.duplicateEvent(99), "200 text/event-stream;charset=utf-8", [0, 1, 2, 3, 4]]
      ] as const
    )("%o", ([fault, outcome, indices]) =>
      Effect.gen(function*() {
        const found = yield* events(fault)
        expect(found.outcome).toBe(outcome)
        expect(found.chunks).toStrictEqual(indices.map((index) => frames[index]))
        expect(found.open).toBe(0)
      }))

    it.effect("tears a frame, and goes on", () =>
      Effect.gen(function*() {
        const { chunks } = yield* events(Fault.malformedFrame(2))
        expect(chunks).toHaveLength(5)
        expect(() => JSON.parse(chunks[1]!.slice(6))).toThrow()
        expect(chunks[2]).toBe(frames[2])
      }))

    it.effect("sends an error frame, and nothing after it", () =>
      Effect.gen(function*() {
        const object = yield* events(Fault.errorFrame(2))
        expect(object.chunks).toHaveLength(2)
        expect(JSON.parse(object.chunks[1]!.slice(6))).toMatchObject({ error: { type: "server_error" } })
        const text = yield* events(Fault.errorFrame(1, "gone"))
        expect(text.chunks).toStrictEqual(["data: {\"error\":\"gone\"}\n\n"])
      }))

    it.effect("finds events whatever the chunking and the line ends", () =>
      Effect.gen(function*() {
        const whole = Reply.raw(frames.join("").replaceAll("\n", "\r\n"), { contentType: "text/event-stream" })
        const client = yield* Faults.wrap(provider(whole), Faults.plan([Fault.chopped(7), Fault.endAtEvent(2)]))
        const text = yield* (yield* client.execute(post)).text
        expect(text.replaceAll("\r\n", "\n")).toBe(frames.slice(0, 2).join(""))
      }))
  })

  describe("the answer that is not read", () => {
    /** Counts how often the provider's body is given up before its end. */
    const leaving = () => {
      let left = 0
      const body = Stream.make(Reply.bytes(frames[0]!)).pipe(Stream.concat(Stream.never))
      const client = HttpClient.make((request) =>
        Effect.sync(() =>
          HttpServerResponse.toClientResponse(
            HttpServerResponse.stream(Stream.ensuring(body, Effect.sync(() => void left++))),
            { request }
          )
        )
      )
      return { client, left: () => left }
    }

    it.effect.each(
      [
        Fault.cutAtByte(0),
        Fault.endAtByte(0),
        Fault.stallAtByte(0),
        Fault.cutAtEvent(0),
        Fault.endAtEvent(0),
        Fault.stallAtEvent(0)
      ]
    )("is given up where nothing of it is kept: %o", (fault) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { client, left } = leaving()
        const response = yield* (yield* Faults.wrap(client, Faults.plan([fault]))).execute(get)
        const reader = yield* Effect.forkChild(Effect.ignore(Stream.runDrain(response.stream)))
        yield* Effect.sleep("1 second")
        expect(left()).toBe(1)
        yield* Fiber.interrupt(reader)
      })))

    it.effect.each(
      [Fault.slowHeaders("1 minute"), Fault.latency({ kind: "constant", value: 60 })]
    )(
      "is given up where the caller leaves before its headers: %o",
      (fault) =>
        VirtualClock.wrap(Effect.gen(function*() {
          const { client, left } = leaving()
          const faulty = yield* Faults.wrap(client, Faults.plan([fault]))
          yield* Effect.ignore(Effect.timeout(faulty.execute(get), "1 second"))
          expect(left()).toBe(1)
        }))
    )
  })

  describe("clockSkew", () => {
    it.effect("shifts Date and a Retry-After that is a date", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const dated = Reply.error(503, {
          headers: { date: "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:10 GMT" }
        })
        const read = (fault: Fault.Fault, reply: Reply.Reply) =>
          Effect.map(
            Effect.flatMap(Faults.wrap(provider(reply), Faults.plan([fault])), (client) => client.execute(get)),
            ({ headers }) => [headers["date"], headers["retry-after"]]
          )
        expect(yield* read(Fault.clockSkew("1 hour"), dated)).toStrictEqual([
          "Thu, 01 Jan 2026 01:00:00 GMT",
          "Thu, 01 Jan 2026 01:00:10 GMT"
        ])
        expect(yield* read(Fault.clockSkew({ behind: "1 hour" }), Reply.raw("x"))).toStrictEqual([
          "Wed, 31 Dec 2025 23:00:00 GMT",
          undefined
        ])
      })))
  })

  it("refuses arguments that make no sense", () => {
    expect(() => Fault.status(99)).toThrow("Fault.status: status must be an integer in [200, 599], got 99")
    expect(() => Fault.cutAtByte(-1)).toThrow("Fault.cutAtByte: bytes must be an integer >= 0, got -1")
    expect(() => Fault.malformedFrame(0)).toThrow("Fault.malformedFrame: event must be an integer >= 1, got 0")
    expect(() => Fault.chopped(0.5)).toThrow("bytes must be an integer >= 1, got 0.5")
  })
})

describe("Faults", () => {
  /** Sends `n` requests a second apart and lists the statuses. */
  const statuses = (
    plan: Faults.Plan,
    n: number,
    requests: ReadonlyArray<HttpClientRequest.HttpClientRequest> = [get]
  ) =>
    VirtualClock.wrap(Effect.gen(function*() {
      const client = yield* Faults.wrap(provider(Reply.raw("ok")), plan)
      const found: Array<number> = []
      for (let i = 0; i < n; i++) {
        found.push((yield* client.execute(requests[i % requests.length]!)).status)
        yield* Effect.sleep("1 second")
      }
      return found
    }))

  const fault = Fault.status(503)

  it.effect.each(
    [
      [{ nth: 2 }, [200, 503, 200, 200, 200]],
      [{ nth: [1, 3] }, [503, 200, 503, 200, 200]],
      [{ from: 3 }, [200, 200, 503, 503, 503]],
      [{ every: 2 }, [200, 503, 200, 503, 200]],
      [{ times: 2 }, [503, 503, 200, 200, 200]],
      [{ since: "1 second", until: "3 seconds" }, [200, 503, 503, 200, 200]],
      [{ from: 2, times: 1 }, [200, 503, 200, 200, 200]],
      [{ probability: 0 }, [200, 200, 200, 200, 200]],
      [{ probability: 1 }, [503, 503, 503, 503, 503]],
      [{}, [503, 503, 503, 503, 503]]
    ] as const
  )("strikes when %o", ([when, expected]) =>
    Effect.gen(function*() {
      expect(yield* statuses(Faults.plan([Faults.when(fault, when)]), 5)).toStrictEqual(expected)
    }))

  it.effect("counts only what its matcher picks", () =>
    Effect.gen(function*() {
      const plan = Faults.plan([Faults.when(fault, { match: "chatStream", nth: 2 })])
      expect(yield* statuses(plan, 6, [get, post])).toStrictEqual([200, 200, 200, 503, 200, 200])
    }))

  it.effect("draws from its seed: same seed, same strikes, and the share it was told", () =>
    Effect.gen(function*() {
      const drawn = (seed: number) => statuses(Faults.plan([Faults.when(fault, { probability: 0.3 })], { seed }), 1000)
      const one = yield* drawn(1)
      expect(yield* drawn(1)).toStrictEqual(one)
      expect(yield* drawn(2)).not.toStrictEqual(one)
      const struck = one.filter((status) => status === 503).length
      expect(struck).toBeGreaterThan(240)
      expect(struck).toBeLessThan(360)
    }))

  it.effect("knows bursts, outages and credit exhaustion", () =>
    Effect.gen(function*() {
      expect(yield* statuses(Faults.plan([Faults.burst({ since: "1 second", for: "2 seconds", reset: 2 })]), 4))
        .toStrictEqual([200, 429, 429, 200])
      expect(yield* statuses(Faults.plan([Faults.outage({ for: "1 second" })]), 2)).toStrictEqual([503, 200])
      expect(yield* statuses(Faults.plan([Faults.outage({ for: "1 second", fault: Fault.status(502) })]), 2))
        .toStrictEqual([502, 200])
      expect(yield* statuses(Faults.plan([Faults.creditExhaustion({ since: "1 second", until: "3 seconds" })]), 4))
        .toStrictEqual([200, 402, 402, 200])
    }))

  it.effect("lets rules strike one after the other", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(Effect.gen(function*() {
        const client = yield* Faults.wrap(
          provider(Reply.raw("ok")),
          Faults.plan([Fault.status(503), Fault.slowHeaders("2 seconds"), Fault.contentType("text/html")])
        )
        const response = yield* client.execute(get)
        return [response.status, response.headers["content-type"]]
      }))
      expect(result.exit).toStrictEqual(Exit.succeed([503, "text/html"]))
      expect(Duration.toMillis(result.elapsed)).toBe(2000)
    }))

  it.effect("lists its strikes", () =>
    Effect.gen(function*() {
      const injector = yield* Faults.make(Faults.plan([Faults.when(fault, { nth: 2 })]))
      const client = injector.wrap(provider(Reply.raw("ok")))
      yield* Effect.andThen(client.execute(get), client.execute(post))
      expect(injector.strikes().map(({ request, rule, sent }) => [request, rule, sent.operation])).toStrictEqual([
        [2, 0, "chatStream"]
      ])
    }))

  it.effect("leaves what it does not strike untouched", () =>
    Effect.gen(function*() {
      const client = yield* Faults.wrap(provider(stream), Faults.plan([Faults.when(fault, { nth: 99 })]))
      const response = yield* client.execute(post)
      expect(yield* response.text).toBe(frames.join(""))
      const bad = yield* Effect.flip(client.execute(HttpClientRequest.get("http://[bad")))
      expect(bad.reason._tag).toBe("InvalidUrlError")
    }))

  it.effect("wraps the client of a layer", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.execute(get)
      expect(response.status).toBe(503)
    }).pipe(Effect.provide(
      Faults.layer(Faults.plan([fault])).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, provider(Reply.raw("ok"))))
      )
    )))

  it.effect("frees the provider's connection when a stalled body is given up", () =>
    Effect.gen(function*() {
      const inner = Wiretap.make(provider(stream))
      const client = yield* Faults.wrap(inner.client, Faults.plan([Fault.stallAtEvent(1)]))
      const fiber = yield* Effect.forkChild(
        Effect.flatMap(client.execute(post), (response) => Stream.runDrain(response.stream)),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      expect(inner.open()).toHaveLength(0)
    }))

  describe("middleware", () => {
    const app = Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const body = yield* request.text
      return HttpServerResponse.text(`echo ${body}`)
    })

    const call = (plan: Faults.Plan, body: string) =>
      Effect.gen(function*() {
        const faulty = yield* Faults.middleware(plan)
        const handler = HttpEffect.toWebHandler(Effect.orDie(faulty(app)))
        return yield* Effect.promise(() =>
          handler(
            new Request("http://localhost/v1/chat/completions", {
              method: "POST",
              body,
              headers: { "content-type": "application/json" }
            })
          )
        )
      })

    it.effect("strikes a server's answers, and leaves the app its request", () =>
      Effect.gen(function*() {
        const body = JSON.stringify({ model: "m" })
        const struck = yield* call(Faults.plan([Faults.when(fault, { match: { body: { model: "m" } } })]), body)
        expect(struck.status).toBe(503)
        const passed = yield* call(Faults.plan([Faults.when(fault, { match: { body: { model: "x" } } })]), body)
        expect([passed.status, yield* Effect.promise(() => passed.text())]).toStrictEqual([200, `echo ${body}`])
        const spoiled = yield* call(Faults.plan([Fault.endAtByte(4)]), body)
        expect(yield* Effect.promise(() => spoiled.text())).toBe("echo")
      }))

    it.effect("tears the answer where a connection is to break", () =>
      Effect.gen(function*() {
        const response = yield* call(Faults.plan([Fault.broken()]), "{}")
        const torn = yield* Effect.exit(Effect.tryPromise(() => response.text()))
        expect(Exit.isFailure(torn)).toBe(true)
      }))

    it.effect("ends a fault that waits when the client leaves, where the server's handlers are uninterruptible", () =>
      Effect.gen(function*() {
        const request = HttpServerRequest.fromWeb(new Request("http://localhost/v1/models"))
        const handled = (plan: Faults.Plan, app: typeof idle) =>
          Effect.flatMap(Faults.middleware(plan), (faulty) => Effect.uninterruptible(faulty(app))).pipe(
            Effect.provideService(HttpServerRequest.HttpServerRequest, request)
          )
        const idle = Effect.as(Effect.sleep("1 minute"), HttpServerResponse.text("done"))
        for (const [plan, took] of [[Faults.plan([Fault.hang]), 1], [Faults.plan([]), 60]] as const) {
          const { elapsed } = yield* VirtualClock.run(Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(handled(plan, idle), { startImmediately: true })
            yield* Effect.sleep("1 second")
            yield* Fiber.interrupt(fiber)
          }))
          expect(Duration.toSeconds(elapsed)).toBe(took)
        }
      }))

    it.effect("interrupts a handler whose client leaves", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const faulty = yield* Faults.middleware(Faults.plan([]))
        const handled = faulty(Effect.as(Effect.sleep("1 minute"), HttpServerResponse.empty())).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://localhost/v1/models"))
          )
        )
        const fiber = yield* Effect.forkChild(handled, { startImmediately: true })
        const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
        expect(Duration.toSeconds(took)).toBe(0)
      })))

    it.effect("gives up the answer to a client who left while a handler could not be interrupted", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        let left = 0
        const body = Stream.ensuring(Stream.never, Effect.sync(() => void left++))
        const faulty = yield* Faults.middleware(Faults.plan([]))
        const handled = Effect.uninterruptible(
          faulty(Effect.as(Effect.sleep("1 minute"), HttpServerResponse.stream(body)))
        ).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://localhost/v1/models"))
          )
        )
        const fiber = yield* Effect.forkChild(handled, { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        expect(left).toBe(1)
      })))
  })

  describe("toCode", () => {
    const all: ReadonlyArray<Fault.Fault> = [
      Fault.status(503),
      Fault.status(429, { body: { error: "x" }, headers: { "x-ratelimit-reset": "2" } }),
      Fault.rateLimited(),
      Fault.rateLimited({ reset: 2 }),
      Fault.outOfCredits,
      Fault.hang,
      Fault.broken("dns"),
      Fault.lost,
      Fault.slowHeaders("1 second"),
      Fault.latency({ kind: "lognormal", mean: 1, sigma: 0.5 }),
      Fault.slowBody(5),
      Fault.stallAtByte(1),
      Fault.stallAtEvent(1),
      Fault.cutAtByte(1),
      Fault.cutAtEvent(1),
      Fault.endAtByte(1),
      Fault.endAtEvent(1),
      Fault.malformedFrame(1),
      Fault.errorFrame(2, "gone"),
      Fault.errorFrame(2),
      Fault.duplicateEvent(1),
      Fault.reorderEvents(1),
      Fault.chopped(1),
      Fault.contentType("text/html"),
      Fault.clockSkew("1 hour"),
      Fault.clockSkew({ behind: "1 hour" })
    ]

    // evaluates printed code with the real modules in scope: what it makes must be what it was printed from
    const evaluate = (code: string): unknown => new Function("Fault", "Faults", `return ${code}`)(Fault, Faults)

    it.each(all)("prints %o as the code that makes it", (fault) => {
      expect(evaluate(Fault.toCode(fault))).toStrictEqual(fault)
    })

    it("prints a plan as the code that makes it", () => {
      const plan = Faults.plan([
        fault,
        Faults.when(Fault.hang, { match: { operation: "chat", path: /chat/ }, nth: [1, 2], probability: 0.5 }),
        Faults.outage({ since: "1 minute", for: "30 seconds" })
      ], { seed: 9 })
      const code = Faults.toCode(plan)
      expect(Faults.toCode(evaluate(code) as Faults.Plan)).toBe(code)
      expect(code).toContain("path: /chat/")
      expect(code).toContain("{ seed: 9 }")
      expect(Faults.toCode(Faults.plan([Faults.when(Fault.hang, { match: () => true, nth: 1 })]))).toContain(
        "a predicate"
      )
    })
  })

  it("refuses rules that make no sense", () => {
    expect(() => Faults.when(fault, { nth: 0 })).toThrow("Faults.when: nth must be an integer >= 1, got 0")
    expect(() => Faults.when(fault, { probability: 2 })).toThrow("Faults.when: probability must be in [0, 1], got 2")
    expect(() => Faults.when(fault, { every: 1.5 })).toThrow("every must be an integer >= 1, got 1.5")
    expect(() => Faults.when(fault, { nth: [] })).toThrow("nth must be an integer >= 1, or a list of some, got []")
    expect(() => Faults.when(fault, { since: "1 minut" as "1 minute" })).toThrow("since must be a duration")
    expect(() => Faults.when(fault, { since: "2 minutes", until: "1 minute" })).toThrow("until must be after since")
    expect(() => Faults.burst({ for: "5 second s" as "5 seconds" })).toThrow("Faults.burst: for must be a duration")
    expect(() => Faults.outage({ for: 0 })).toThrow("Faults.outage: for must be above 0, got 0 ms")
    expect(() => Faults.plan([], { seed: Number.NaN })).toThrow("Faults.plan: seed must be a finite number, got NaN")
    expect(() => Faults.plan([{ fault, when: { nth: 0 } }])).toThrow("nth must be an integer >= 1, got 0")
  })

  it("refuses faults and replies that make no sense", () => {
    const cases: ReadonlyArray<readonly [make: () => unknown, message: string]> = [
      [() => Fault.latency({ kind: "uniform", min: 5, max: 1 }), "Fault.latency: min must be at most max"],
      [() => Fault.latency({ kind: "lognormal", sigma: 1 }), "exactly one of median and mean"],
      [() => Fault.latency({ kind: "constant", value: -5 }), "greater than or equal to 0"],
      [() => Fault.rateLimited({ reset: Number.NaN }), "Fault.rateLimited: reset must be a finite number of seconds"],
      [() => Reply.rateLimited({ reset: -1 }), "Reply.rateLimited: reset must be a finite number of seconds"],
      [() => Fault.slowHeaders(-1), "Fault.slowHeaders: wait must be at least 0, got -1 ms"],
      [() => Fault.broken("foo" as "reset"), "kind must be one of reset, refused, dns, tls, connect-timeout, got foo"],
      [() => Fault.contentType("a\nb"), "Fault.contentType: contentType must be a header's text"],
      [() => Reply.cutAt(Reply.stream(["a"]), -1), "Reply.cutAt: parts must be an integer >= 0, got -1"],
      [() => Reply.stallAt(Reply.stream(["a"]), Number.NaN), "Reply.stallAt: parts must be an integer >= 0"],
      [() => Reply.after(Reply.hang, -1), "Reply.after: wait must be at least 0, got -1 ms"]
    ]
    for (const [make, message] of cases) expect(make).toThrow(message)
  })

  it.effect("counts windows from the first request, whatever clock the plan was made under", () =>
    Effect.gen(function*() {
      const client = yield* Faults.wrap(
        provider(Reply.raw("ok")),
        Faults.plan([Faults.outage({ since: "10 seconds", for: "1 minute" })])
      )
      const statuses = yield* VirtualClock.wrap(Effect.gen(function*() {
        const first = yield* client.execute(get)
        yield* Effect.sleep("11 seconds")
        const second = yield* client.execute(get)
        yield* Effect.sleep("1 minute")
        return [first.status, second.status, (yield* client.execute(get)).status]
      }))
      expect(statuses).toStrictEqual([200, 503, 200])
    }))

  it.effect("reads an upload once, and lets it fail as it would fail", () =>
    Effect.gen(function*() {
      let runs = 0
      const upload = (body: Stream.Stream<Uint8Array, unknown>) =>
        HttpClientRequest.post("https://api.together.ai/v1/files/x", { body: HttpBody.stream(body) })
      const reader = HttpClient.make((request) =>
        Effect.map(Sent.make(request, new URL(request.url)), (sent) =>
          HttpServerResponse.toClientResponse(HttpServerResponse.text(sent.text), { request }))
      )
      const client = yield* Faults.wrap(reader, Faults.plan([]))
      const bytes = Stream.suspend(() =>
        Stream.succeed(new TextEncoder().encode(`run ${++runs}`))
      )
      expect(yield* Effect.flatMap(client.execute(upload(bytes)), (response) => response.text)).toBe("run 1")
      expect(runs).toBe(1)
      const error = yield* Effect.flip(client.execute(upload(Stream.fail(new Error("no such file")))))
      expect(error.reason).toMatchObject({ _tag: "TransportError", cause: { message: "no such file" } })
    }))

  it.effect("gives a second reader of a spoiled body the same", () =>
    Effect.gen(function*() {
      let reads = 0
      const body = Stream.suspend(() => ++reads === 1 ? Stream.succeed(new TextEncoder().encode("{}")) : Stream.empty)
      const once = HttpClient.make((request) =>
        Effect.succeed(HttpServerResponse.toClientResponse(HttpServerResponse.stream(body), { request }))
      )
      const response = yield* (yield* Faults.wrap(once, Faults.plan([Fault.chopped(1)]))).execute(get)
      expect([yield* response.json, yield* response.text]).toStrictEqual([{}, "{}"])
    }))
})

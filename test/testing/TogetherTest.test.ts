import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Together from "../../src/together/Together.ts"
import * as Fault from "../../src/testing/Fault.ts"
import * as Faults from "../../src/testing/Faults.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as Sent from "../../src/testing/Sent.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Wiretap from "../../src/testing/Wiretap.ts"

const chatRequest = (prompt: string, extra?: object) =>
  HttpClientRequest.post("https://api.together.ai/v1/chat/completions", {
    headers: { authorization: "Bearer secret-key" }
  }).pipe(
    HttpClientRequest.bodyJsonUnsafe({ model: "m", messages: [{ role: "user", content: prompt }], ...extra })
  )

const ask = (prompt: string, extra?: object) => HttpClient.execute(chatRequest(prompt, extra))

const textOf = (prompt: string, extra?: object) => Effect.flatMap(ask(prompt, extra), (response) => response.text)

const defectOf = <A, E>(exit: Exit.Exit<A, E>): unknown =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isDieReason)?.defect : undefined

describe("TogetherTest", () => {
  describe("script", () => {
    it.effect("answers requests in the order of the replies", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.rateLimited({ reset: 2 }), Reply.chat("Paris"))
        const first = yield* ask("capital?")
        expect([first.status, first.headers["x-ratelimit-reset"]]).toStrictEqual([429, "2"])
        yield* first.text
        const second = yield* ask("capital?")
        const body = yield* second.json
        expect(body).toMatchObject({
          choices: [{ message: { content: "Paris" }, finish_reason: "stop" }],
          usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 }
        })
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("picks each request alike by a global pattern", () =>
      Effect.gen(function*() {
        yield* TogetherTest.always({ path: /chat/g }, Reply.raw("Paris"))
        for (let i = 0; i < 3; i++) expect(yield* textOf("capital?")).toBe("Paris")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("picks rules by operation, pattern and predicate, first rule first", () =>
      Effect.gen(function*() {
        yield* TogetherTest.on({ body: { messages: [{ content: /weather/ }] } }, Reply.raw("rain"))
        yield* TogetherTest.on((sent) => sent.text.includes("time"), Reply.raw("noon"))
        yield* TogetherTest.always("chat", Reply.raw("other"))
        expect(yield* textOf("what time?")).toBe("noon")
        expect(yield* textOf("the weather?")).toBe("rain")
        expect(yield* textOf("the weather?")).toBe("other")
        expect(yield* textOf("what time?")).toBe("other")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("computes replies from what was sent", () =>
      Effect.gen(function*() {
        yield* TogetherTest.always("chat", (sent) => Reply.raw(`for ${sent.model}`))
        yield* TogetherTest.on("chatStream", () => Effect.as(Effect.sleep("1 second"), Reply.raw("late")))
        expect(yield* textOf("hi")).toBe("for m")
        const fiber = yield* Effect.forkChild(textOf("hi", { stream: true }), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toBe("late")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("dies on a request that nothing expects, and shows how the closest rule differs", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Effect.gen(function*() {
            yield* TogetherTest.on({ operation: "chat", body: { max_tokens: 10 } }, Reply.chat("short"))
            yield* ask("hi", { max_tokens: 99 })
          }).pipe(Effect.provide(TogetherTest.layerHttp({ verifyOnClose: false })))
        )
        const defect = defectOf(exit)
        expect(defect).toBeInstanceOf(TogetherTest.UnexpectedRequestError)
        const { message } = defect as TogetherTest.UnexpectedRequestError
        expect(message).toContain("unexpected request chat (POST /chat/completions) model m")
        expect(message).toContain("-    \"max_tokens\": 10")
        expect(message).toContain("+    \"max_tokens\": 99")
        expect(message).not.toContain("secret-key")
      }))

    it.effect("shows the closest of many rules, names the others, and no field that a pattern allows", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Effect.gen(function*() {
            yield* TogetherTest.always("rerank", Reply.raw("ranked"))
            yield* TogetherTest.on(() => false, Reply.raw("never"))
            yield* TogetherTest.on({ body: { messages: [{ content: /^h/ }, {}] } }, Reply.raw("two messages"))
            yield* TogetherTest.on({ operation: "chat", model: "n", body: { max_tokens: 1 } }, Reply.raw("far"))
            for (let n = 0; n < 12; n++) yield* TogetherTest.on({ operation: "embeddings" }, Reply.raw("no"))
            yield* ask("hi")
          }).pipe(Effect.provide(TogetherTest.layerHttp({ verifyOnClose: false })))
        )
        expect(String(defectOf(exit))).toBe([
          "UnexpectedRequestError: TogetherTest: unexpected request chat (POST /chat/completions) model m",
          "  {\"body\":{\"messages\":[{\"content\":\"/^h/\"},{}]}} (1 left) does not match:",
          "    --- expected",
          "    +++ sent",
          "    @@ -4,6 +4,5 @@",
          "           {",
          "             \"content\": \"/^h/\"",
          "    -      },",
          "    -      {}",
          "    +      }",
          "         ]",
          "       }",
          "  {\"operation\":\"chat\",\"model\":\"n\",\"body\":{\"max_tokens\":1}} (1 left) does not match",
          "  a predicate (1 left) does not match",
          "  rerank (any number left) does not match",
          ...Array.from({ length: 7 }, () => "  {\"operation\":\"embeddings\"} (1 left) does not match"),
          "  … and 5 more",
          "  Script it with TogetherTest.reply or TogetherTest.on, or answer by hand with { unmatched: \"await\" }."
        ].join("\n"))
      }))

    it.effect("says when a rule matches but its replies are used up", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Effect.gen(function*() {
            yield* TogetherTest.on("chat", Reply.chat("one"))
            yield* Effect.andThen(textOf("hi"), textOf("hi"))
          }).pipe(Effect.provide(TogetherTest.layerHttp({ verifyOnClose: false })))
        )
        expect(String(defectOf(exit))).toContain("chat: matches, but all its replies are used")
      }))

    it.effect("fails the test when a scripted reply is never used", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          TogetherTest.reply(Reply.chat("unused")).pipe(Effect.provide(TogetherTest.layerHttp()))
        )
        expect(String(defectOf(exit))).toContain("1 scripted reply for any request never used")
      }))

    it.effect("says when an earlier rule answers all that a scripted reply was meant for", () =>
      Effect.gen(function*() {
        const unusedAfter = (matcher: Sent.Matcher, isLast = false) =>
          Effect.gen(function*() {
            const always = TogetherTest.always({ operation: "chat" }, Reply.chat("hello"))
            const on = TogetherTest.on(matcher, Reply.chat("a"), Reply.chat("b"))
            yield* Effect.andThen(isLast ? on : always, isLast ? always : on)
            yield* textOf("hi")
          }).pipe(Effect.provide(TogetherTest.layerHttp()), Effect.exit, Effect.map((exit) => String(defectOf(exit))))
        expect(yield* unusedAfter("*")).toContain(
          "2 scripted replies for any request never used, since an earlier always ({\"operation\":\"chat\"}) answers these " +
            "requests: script it last\n"
        )
        expect(yield* unusedAfter("models")).toContain("2 scripted replies for models never used\n")
        expect(yield* unusedAfter(() => true)).toContain("2 scripted replies for a predicate never used\n")
        expect(yield* unusedAfter("*", true)).toContain("1 scripted reply for any request never used\n")
      }))

    it.effect("fails the test when the program swallows an unexpected request", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Effect.ignoreCause(ask("hi")).pipe(Effect.provide(TogetherTest.layerHttp()))
        )
        expect(String(defectOf(exit))).toContain("unexpected request chat")
      }))

    it.effect("verifies on demand, with the log", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("one"), Reply.chat("two"))
        yield* textOf("hi")
        const error = yield* Effect.flip(TogetherTest.verify)
        expect(error.message).toContain("1 scripted reply")
        expect(error.message).toContain("#1  call 1  attempt 1")
        yield* textOf("hi")
        yield* TogetherTest.verify
      }).pipe(Effect.provide(TogetherTest.layerHttp())))
  })

  describe("two-ended", () => {
    it.effect("hands over a request, lets the test look, and answers later", () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(textOf("by hand"), { startImmediately: true })
        const pending = yield* TogetherTest.next
        expect(pending.sent.body).toMatchObject({ messages: [{ content: "by hand" }] })
        expect(fiber.pollUnsafe()).toBeUndefined()
        yield* pending.answer(Reply.raw("done"))
        expect(yield* Fiber.join(fiber)).toBe("done")
      }).pipe(Effect.provide(TogetherTest.layerHttp({ unmatched: "await" }))))

    it.effect("answers out of order", () =>
      Effect.gen(function*() {
        const one = yield* Effect.forkChild(textOf("one"), { startImmediately: true })
        const two = yield* Effect.forkChild(textOf("two"), { startImmediately: true })
        const [first, second] = [yield* TogetherTest.next, yield* TogetherTest.next]
        yield* second.answer(Reply.raw("2"))
        expect(yield* Fiber.join(two)).toBe("2")
        yield* first.answer(Reply.raw("1"))
        expect(yield* Fiber.join(one)).toBe("1")
      }).pipe(Effect.provide(TogetherTest.layerHttp({ unmatched: "await" }))))

    it.effect("takes a request for a waiting test even where unmatched requests fail", () =>
      Effect.gen(function*() {
        const waiting = yield* Effect.forkChild(TogetherTest.next, { startImmediately: true })
        const fiber = yield* Effect.forkChild(textOf("hi"), { startImmediately: true })
        yield* (yield* Fiber.join(waiting)).answer(Reply.raw("caught"))
        expect(yield* Fiber.join(fiber)).toBe("caught")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("dies on a second request while one next waits", () =>
      Effect.gen(function*() {
        const waiting = yield* Effect.forkChild(TogetherTest.next, { startImmediately: true })
        const first = yield* Effect.forkChild(textOf("one"), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.exit(textOf("two")), { startImmediately: true })
        expect(defectOf(yield* Fiber.join(second))).toBeInstanceOf(TogetherTest.UnexpectedRequestError)
        yield* (yield* Fiber.join(waiting)).answer(Reply.raw("1"))
        expect(yield* Fiber.join(first)).toBe("1")
        expect((yield* Effect.flip(TogetherTest.verify)).message).toContain("unexpected request chat")
      }).pipe(Effect.provide(TogetherTest.layerHttp({ verifyOnClose: false }))))

    it.effect("takes as many requests as nexts wait", () =>
      Effect.gen(function*() {
        const nexts = Effect.all([TogetherTest.next, TogetherTest.next], { concurrency: 2 })
        const waiting = yield* Effect.forkChild(nexts, { startImmediately: true })
        const asking = yield* Effect.forkChild(Effect.all([textOf("one"), textOf("two")], { concurrency: 2 }))
        const [one, two] = yield* Fiber.join(waiting)
        yield* one.answer(Reply.raw("1"))
        yield* two.answer(Reply.raw("2"))
        expect(yield* Fiber.join(asking)).toStrictEqual(["1", "2"])
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("fails the test while a request waits for a next, not once it is taken or given up", () =>
      Effect.gen(function*() {
        const [one, two] = [yield* Effect.forkChild(textOf("one")), yield* Effect.forkChild(textOf("two"))]
        yield* Effect.yieldNow
        yield* TogetherTest.next
        const { message } = yield* Effect.flip(TogetherTest.verify)
        expect(message.match(/waits for a next that never came/g)).toHaveLength(1)
        yield* Fiber.interrupt(two)
        yield* TogetherTest.verify
        yield* Fiber.interrupt(one)
      }).pipe(Effect.provide(TogetherTest.layerHttp({ unmatched: "await" }))))

    it.effect("counts the first answer only", () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(textOf("hi"), { startImmediately: true })
        const pending = yield* TogetherTest.next
        yield* pending.answer(Reply.raw("first"))
        yield* pending.answer(Reply.raw("second"))
        expect(yield* Fiber.join(fiber)).toBe("first")
      }).pipe(Effect.provide(TogetherTest.layerHttp({ unmatched: "await" }))))
  })

  describe("log", () => {
    it.effect("tells calls from attempts, with times, hints and outcomes", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(
            Reply.after(Reply.rateLimited({ reset: 2 }), "1 second"),
            Reply.after(Reply.chat("a"), "500 millis"),
            Reply.broken("reset"),
            Reply.chat("b")
          )
          yield* textOf("one")
          yield* Effect.sleep("2 seconds")
          yield* textOf("one")
          yield* Effect.ignore(textOf("two"))
          yield* textOf("two")
          const log = yield* TogetherTest.log
          expect(log.map((entry) => [entry.index, entry.call, entry.attempt, entry.status, entry.failure]))
            .toStrictEqual([
              [1, 1, 1, 429, undefined],
              [2, 1, 2, 200, undefined],
              [3, 2, 1, undefined, "ECONNRESET"],
              [4, 2, 2, 200, undefined]
            ])
          const start = log[0]!.startedAt
          expect(log.map((entry) => entry.startedAt - start)).toStrictEqual([0, 3000, 3500, 3500])
          expect(log.map((entry) => entry.lane)).toStrictEqual(["m", "m", "m", "m"])
          expect(log[0]!.hintMillis).toBe(2000)
          expect(log[1]!.hintMillis).toBeUndefined()
          const table = yield* TogetherTest.table
          expect(table.split("\n")[0]).toBe(
            "#1  call 1  attempt 1  at 0.000s  took 1.000s  chat (POST /chat/completions) model m  429, asks to wait 2.000s"
          )
          expect(table).not.toContain("secret-key")
        }).pipe(Effect.provide(TogetherTest.layerHttp()))
      ))

    it.effect("counts equal requests that both succeed as two calls", () =>
      Effect.gen(function*() {
        yield* TogetherTest.always("chat", Reply.chat("a"))
        yield* Effect.andThen(textOf("same"), textOf("same"))
        expect((yield* TogetherTest.log).map((entry) => [entry.call, entry.attempt])).toStrictEqual([[1, 1], [2, 1]])
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("holds the bodies that were sent", () =>
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.empty(204))
        const form = new FormData()
        form.append("purpose", "batch-api")
        form.append("file", new File(["{}"], "in.jsonl", { type: "application/jsonl" }))
        yield* HttpClient.execute(
          HttpClientRequest.post("http://localhost/v1/files/upload?a=1").pipe(HttpClientRequest.bodyFormData(form))
        )
        yield* HttpClient.execute(
          HttpClientRequest.put("http://localhost/x").pipe(
            HttpClientRequest.bodyStream(Stream.make(new TextEncoder().encode("not json")))
          )
        )
        yield* HttpClient.get("http://localhost/v1/models")
        const [upload, put, get] = yield* TogetherTest.sent
        expect(upload!.operation).toBe("files.upload")
        expect(upload!.query).toStrictEqual({ a: "1" })
        expect(upload!.body).toStrictEqual({
          purpose: "batch-api",
          file: { name: "in.jsonl", size: 2, type: "application/jsonl", text: "{}" }
        })
        expect([put!.operation, put!.body]).toStrictEqual(["PUT /x", "not json"])
        expect([get!.operation, get!.body]).toStrictEqual(["models", undefined])
      }).pipe(Effect.provide(TogetherTest.layerHttp())))
  })

  describe("faults", () => {
    const busyTwice = Faults.plan([Faults.when(Fault.status(503), { nth: [1, 2] })])

    it.effect("stand behind the log, which holds the attempts they answered and the time between them", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("Paris"))
        const together = yield* Together.Together
        yield* together.chat({ model: "m", messages: [{ role: "user", content: "capital?" }] })
        const log = yield* TogetherTest.log
        expect(log.map(({ attempt, call, status }) => [call, attempt, status])).toStrictEqual([
          [1, 1, 503],
          [1, 2, 503],
          [1, 3, 200]
        ])
        expect(log.slice(1).map(({ startedAt }, index) => startedAt - log[index]!.endedAt!)).toStrictEqual([500, 1000])
        expect(yield* TogetherTest.sent).toHaveLength(3)
      }).pipe(
        Effect.provide(TogetherTest.layer({
          faults: busyTwice,
          together: { retry: Retry.policy({ base: "500 millis", jitter: "none" }) }
        })),
        VirtualClock.wrap
      ))

    it.effect("leave the script to the requests that reach it", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.raw("one"))
        const statuses = yield* Effect.forEach(
          ["a", "b", "c"],
          (prompt) => Effect.flatMap(ask(prompt), (response) => Effect.as(response.text, response.status))
        )
        expect(statuses).toStrictEqual([503, 503, 200])
        expect(yield* TogetherTest.open).toStrictEqual([])
        yield* TogetherTest.verify
      }).pipe(Effect.provide(TogetherTest.layerHttp({ faults: busyTwice }))))
  })

  describe("sockets", () => {
    it.effect("are free after the body is read, and held while nobody reads it", () =>
      Effect.gen(function*() {
        yield* TogetherTest.always("chat", Reply.chat("a"))
        const response = yield* ask("hi")
        expect((yield* TogetherTest.open).length).toBe(1)
        yield* response.json
        expect((yield* TogetherTest.open).length).toBe(0)
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("are free when a stream is given up, cut, or ends", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(
          Reply.stream(["a", "b"]),
          Reply.cutAt(Reply.stream(["a", "b"]), 1),
          Reply.endAt(Reply.stream(["a", "b"]), 1)
        )
        yield* Stream.runDrain(Stream.take((yield* ask("hi")).stream, 1))
        expect((yield* TogetherTest.open).length).toBe(0)
        const error = yield* Effect.flip(Stream.runDrain((yield* ask("hi")).stream))
        expect(HttpClientError.isHttpClientError(error) && error.reason._tag).toBe("DecodeError")
        expect(yield* Stream.mkString(Stream.decodeText((yield* ask("hi")).stream))).toContain("\"a\"")
        expect((yield* TogetherTest.open).length).toBe(0)
        expect((yield* TogetherTest.log)[1]!.failure).toBe("UND_ERR_SOCKET")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))

    it.effect("are free when the request is interrupted, and when its scope closes", () =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.hang, Reply.chat("unread"))
        const fiber = yield* Effect.forkChild(ask("hi"), { startImmediately: true })
        expect((yield* TogetherTest.open).length).toBe(1)
        yield* Fiber.interrupt(fiber)
        expect((yield* TogetherTest.open).length).toBe(0)
        const client = yield* HttpClient.HttpClient
        yield* Effect.scoped(Effect.gen(function*() {
          yield* HttpClient.withScope(client).execute(chatRequest("other"))
          expect((yield* TogetherTest.open).length).toBe(1)
        }))
        expect((yield* TogetherTest.open).length).toBe(0)
        expect((yield* TogetherTest.log)[0]!.failure).toBe("interrupted")
      }).pipe(Effect.provide(TogetherTest.layerHttp())))
  })
})

describe("Reply", () => {
  const url = new URL("http://localhost/v1/chat/completions")
  const request = HttpClientRequest.post(url)
  const events = (reply: Reply.Answer) =>
    Effect.flatMap(
      Reply.send(reply, request),
      (response) => Effect.map(response.text, (text) => text.split("\n\n").slice(0, -1))
    )

  it.effect("streams chunks, then usage on the finish chunk, then [DONE]", () =>
    Effect.gen(function*() {
      const frames = yield* events(Reply.stream(["Pa", "ris"]))
      expect(frames.length).toBe(4)
      expect(frames[3]).toBe("data: [DONE]")
      expect(JSON.parse(frames[2]!.slice(6))).toMatchObject({
        choices: [{ finish_reason: "stop", delta: { content: "" } }],
        usage: { completion_tokens: 2 }
      })
      expect(yield* events(Reply.stream(["Pa"], { done: false }))).toHaveLength(2)
    }))

  it.effect("keeps the pace of a stream", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(
        events(Reply.after(Reply.stream(["a", "b", "c"], { every: "100 millis" }), "1 second"))
      )
      expect(Duration.toMillis(result.elapsed)).toBe(1400)
    }))

  it.effect("stalls for ever where told", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(events(Reply.stallAt(Reply.stream(["a", "b"]), 1)))
      expect(VirtualClock.hang(result.exit)?.reason).toBe("deadlock")
      const never = yield* VirtualClock.run(events(Reply.after(Reply.hang, "1 second") as never))
      expect(VirtualClock.hang(never.exit)?.reason).toBe("deadlock")
    }))

  it.effect.each(
    [
      ["reset", "ECONNRESET"],
      ["refused", "ECONNREFUSED"],
      ["dns", "ENOTFOUND"],
      ["tls", "CERT_HAS_EXPIRED"],
      ["connect-timeout", "UND_ERR_CONNECT_TIMEOUT"]
    ] as const
  )("breaks a connection as Fetch reports it: %s", ([kind, code]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Reply.send(Reply.broken(kind), request))
      expect(error.reason._tag).toBe("TransportError")
      expect(error.reason.cause).toMatchObject({ message: "fetch failed", cause: { code } })
    }))

  it.effect("knows the shapes of the other operations", () =>
    Effect.gen(function*() {
      const body = (reply: Reply.Answer) => Effect.flatMap(Reply.send(reply, request), (response) => response.json)
      expect(yield* body(Reply.embeddings([[1, 2]]))).toMatchObject({ data: [{ index: 0, embedding: [1, 2] }] })
      expect(yield* body(Reply.rerank([[1, 0.5]]))).toMatchObject({ results: [{ index: 1, relevance_score: 0.5 }] })
      expect(yield* body(Reply.images(["u"]))).toMatchObject({ data: [{ url: "u" }] })
      expect(yield* body(Reply.models(["a/b"]))).toMatchObject([{ id: "a/b", organization: "a" }])
      expect(yield* body(Reply.whoami())).toMatchObject({ organization_id: "organization-1" })
      expect(yield* body(Reply.completion("x"))).toMatchObject({ choices: [{ text: "x" }] })
      expect(yield* body(Reply.error(402))).toMatchObject({ error: { type: "credit_limit" } })
      expect(yield* body(Reply.error(503, { body: { error: "flat" } }))).toStrictEqual({ error: "flat" })
      expect(yield* body(Reply.error(418))).toMatchObject({ error: { message: "Status 418" } })
      expect(yield* body(Reply.chat("x", { reasoning: "r", toolCalls: [{ id: "c" }] }))).toMatchObject({
        choices: [{ message: { reasoning: "r", tool_calls: [{ id: "c" }] } }]
      })
      const page = yield* Reply.send(Reply.error(502, { body: "<html>" }), request)
      expect([page.headers["content-type"], yield* page.text]).toStrictEqual(["text/plain", "<html>"])
      const lines = yield* Reply.send(Reply.jsonl([{ a: 1 }, { b: 2 }]), request)
      expect(yield* lines.text).toBe("{\"a\":1}\n{\"b\":2}\n")
      expect(yield* events(Reply.completionStream(["x"]))).toHaveLength(3)
    }))

  it.effect("streams reasoning and tool calls in pieces, as Together does, and finishes for them", () =>
    Effect.gen(function*() {
      const call = { id: "c", type: "function", function: { name: "f", arguments: "{\"a\":1}" } }
      const reply = Reply.stream(["x"], { reasoning: "r", toolCalls: [call, { ...call, id: "d", index: 4 }, "odd"] })
      const seen = (yield* events(reply)).slice(0, -1).map((event) =>
        JSON.parse(event.slice("data: ".length)).choices[0]
      )
      const deltas = seen.map(({ delta }) => delta)
      expect(deltas.slice(0, 2)).toMatchObject([{ reasoning: "r", content: "" }, { content: "x" }])
      expect(deltas.slice(2).flatMap(({ tool_calls = [] }) => tool_calls)).toEqual([
        { index: 0, id: "c", type: "function", function: { name: "f", arguments: "" } },
        { index: 0, function: { arguments: "{\"a\"" } },
        { index: 0, function: { arguments: ":1}" } },
        { index: 4, id: "d", type: "function", function: { name: "f", arguments: "" } },
        { index: 4, function: { arguments: "{\"a\"" } },
        { index: 4, function: { arguments: ":1}" } },
        "odd"
      ])
      expect(seen.map(({ finish_reason }) => finish_reason)).toEqual([...deltas.slice(1).map(() => null), "tool_calls"])
    }))

  it("takes no option that its answer does not carry", () => {
    // @ts-expect-error a plain completion calls no tool
    expect(Reply.completion("x", { toolCalls: [] })).toEqual(Reply.completion("x"))
    // @ts-expect-error nor does its stream
    expect(Reply.completionStream(["x"], { reasoning: "r" })).toEqual(Reply.completionStream(["x"]))
    // @ts-expect-error what is embedded does not finish
    expect(Reply.embeddings([[1]], { finishReason: "stop" })).toEqual(Reply.embeddings([[1]]))
    // @ts-expect-error pictures are told no usage
    expect(Reply.images(["u"], { usage: {} })).toEqual(Reply.images(["u"]))
  })

  it("refuses a status that is none", () => {
    expect(() => Reply.empty(99)).toThrow("Reply: status must be an integer in [200, 599], got 99")
  })
})

describe("Sent", () => {
  const sent = (method: string, path: string, body?: unknown): string => Sent.operationOf(method, path, body)

  it("names operations by method and path", () => {
    expect(sent("POST", "/chat/completions", { stream: true })).toBe("chatStream")
    expect(sent("POST", "/completions")).toBe("completions")
    expect(sent("GET", "/batches/b-1")).toBe("batches.get")
    expect(sent("GET", "/nowhere")).toBe("GET /nowhere")
  })

  it("matches lists whole and objects in part", () => {
    expect(Sent.includes({ a: [1, { b: 2, c: 3 }] }, { a: [1, { b: 2 }] })).toBe(true)
    expect(Sent.includes({ a: [1, 2] }, { a: [1] })).toBe(false)
    expect(Sent.includes({ a: 1 }, { b: 1 })).toBe(false)
    expect(Sent.includes([1], { 0: 1 })).toBe(false)
    expect(Sent.includes("text", /^te/)).toBe(true)
  })

  it.effect("reads raw bodies, and shows lists and predicates in a diff", () =>
    Effect.gen(function*() {
      const url = new URL("https://api.together.ai/v1/x?a=1")
      const raw = (body: unknown) =>
        Sent.make(HttpClientRequest.post(url).pipe(HttpClientRequest.setBody(HttpBody.raw(body))), url)
      expect((yield* raw("{\"a\":1}")).body).toStrictEqual({ a: 1 })
      expect((yield* raw(7)).body).toBe(7)
      const sent = yield* raw("{\"list\":[{\"a\":1,\"b\":2},3]}")
      expect(Sent.describe(sent)).toBe("POST /x (POST /x?a=1)")
      expect(Sent.diff({ body: { list: [{ a: 9 }] } }, sent)).toContain("+        \"a\": 1")
      expect(Sent.diff({ body: { list: [{ a: 9 }] } }, sent)).not.toContain("\"b\"")
      expect(Sent.diff({ body: { list: { a: 9 } } }, sent)).toContain("-      \"a\": 9")
      expect(Sent.diff({ body: { missing: { a: /x/ } } }, sent)).toContain("-      \"a\": \"/x/\"")
      expect(Sent.diff(() => false, sent)).toContain("a predicate said no")
      expect(Sent.diff({ path: /x/ }, sent)).toBe("")
    }))

  it("prints matchers", () => {
    expect(Sent.describeMatcher("*")).toBe("any request")
    expect(Sent.describeMatcher({ path: /x/ })).toBe("{\"path\":\"/x/\"}")
    expect(Sent.describeMatcher(function isLate() {
      return true
    })).toBe("a predicate (isLate)")
  })
})

describe("TogetherTest, over requests that end early", () => {
  it.effect("hands out no request whose program has left", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const impatient = yield* Effect.forkChild(Effect.timeoutOption(textOf("first"), "1 second"))
        expect((yield* Fiber.join(impatient))._tag).toBe("None")
        const patient = yield* Effect.forkChild(textOf("second"))
        const next = yield* TogetherTest.next
        yield* next.answer(Reply.raw("for you"))
        expect(yield* Fiber.join(patient)).toBe("for you")
      }).pipe(Effect.provide(TogetherTest.layerHttp({ unmatched: "await" })))
    ))

  it.effect("prints no key that a rule compares", () =>
    Effect.gen(function*() {
      yield* TogetherTest.on({ headers: { authorization: "Bearer other" } }, Reply.raw("x"))
      const message = String(defectOf(yield* Effect.exit(textOf("hello"))))
      expect(message).toContain("-    \"authorization\": \"Bearer other\"")
      expect(message).toContain("+    \"authorization\": \"[key]\"")
      expect(message).not.toContain("secret-key")
    }).pipe(Effect.provide(TogetherTest.layerHttp({ verifyOnClose: false }))))
})

describe("Wiretap", () => {
  it.effect("takes uploads of different files for different calls, and of the same for attempts", () =>
    Effect.gen(function*() {
      const tap = Wiretap.make(HttpClient.make((request) => Reply.send(Reply.overloaded, request)))
      const upload = (content: string) => {
        const form = new FormData()
        form.append("file", new File([content], "rows.jsonl"))
        return tap.client.execute(HttpClientRequest.post("https://api.together.ai/v1/files/upload", {
          body: HttpBody.formData(form)
        }))
      }
      for (const content of ["a", "b", "a"]) yield* upload(content)
      expect(tap.entries().map(({ attempt, call }) => [call, attempt])).toStrictEqual([[1, 1], [2, 1], [1, 2]])
    }))

  it("prints an empty log", () => {
    expect(Wiretap.table([])).toBe("no requests\n")
  })

  it.effect("tells every way an exchange can stand or end", () =>
    Effect.gen(function*() {
      const replies = [Reply.hang, Reply.chat("unread"), Reply.cutAt(Reply.stream(["a"]), 1)]
      const tap = Wiretap.make(HttpClient.make((request) => {
        const reply = replies.shift()
        return reply === undefined ? Effect.die("a bug\nin two lines") : Reply.send(reply, request)
      }))
      const waiting = yield* Effect.forkChild(tap.client.execute(chatRequest("1")), { startImmediately: true })
      yield* tap.client.execute(chatRequest("2"))
      yield* Effect.ignore(Effect.flatMap(tap.client.execute(chatRequest("3")), (response) => response.text))
      yield* Effect.exit(tap.client.execute(chatRequest("4")))
      const outcomes = Wiretap.table(tap.entries()).trimEnd().split("\n").map((line) => line.split(/ {2,}/).at(-1))
      expect(outcomes).toStrictEqual(["no answer", "200, body unread", "200, then UND_ERR_SOCKET", "defect: a bug"])
      expect(tap.open().map(({ index }) => index)).toStrictEqual([1, 2])
      yield* Fiber.interrupt(waiting)
      const bad = yield* Effect.flip(tap.client.execute(HttpClientRequest.get("http://[bad")))
      expect(bad.reason._tag).toBe("InvalidUrlError")
    }))
})

describe("TogetherTest.mock", () => {
  const mocked = TogetherTest.mock({
    models: () => Effect.succeed([{ id: "a/model" }]),
    files: { content: (id) => Effect.succeed(`text of ${id}`) }
  })
  const use = <A, E>(f: (together: Together.Service) => Effect.Effect<A, E>) =>
    Effect.provide(Effect.flatMap(Together.Together, f), mocked)

  it.effect("answers with what was given", () =>
    Effect.gen(function*() {
      expect(yield* use((together) => together.models())).toEqual([{ id: "a/model" }])
      expect(yield* use(({ files }) => files.content("f"))).toBe("text of f")
    }))

  it("can be awaited", async () => {
    const together = await Effect.runPromise(use(Effect.succeed))
    const files = await Effect.runPromise(use(({ files }) => Effect.succeed(files)))
    expect(await Effect.runPromise(Effect.all([together.files.content("a"), files.content("b")])))
      .toEqual(["text of a", "text of b"])
  })

  it.effect("dies of what was not given, and names it", () =>
    Effect.gen(function*() {
      const defectOf = <A, E>(f: (together: Together.Service) => Effect.Effect<A, E>) =>
        Effect.map(Effect.exit(use(f)), (exit) => Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "succeeds")
      const request = { model: "m", messages: [] }
      const defects = [
        yield* defectOf((together) => together.chat(request)),
        yield* defectOf((together) => Stream.runDrain(together.chatStream(request))),
        yield* defectOf(({ files }) => files.get("f")),
        yield* defectOf(({ batches }) => batches.get("b"))
      ]
      expect(defects).toEqual([
        "UnimplementedError: effect-together/Together: Unimplemented method \"chat\"",
        "UnimplementedError: effect-together/Together: Unimplemented method \"chatStream\"",
        "UnimplementedError: Together.files: Unimplemented method \"get\"",
        "UnimplementedError: Together.batches: Unimplemented method \"get\""
      ])
    }))
})

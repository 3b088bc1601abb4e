import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as CallWatch from "../../src/together/CallWatch.ts"
import * as Shortcut from "../../src/together/transport/Shortcut.ts"
import * as Together from "../../src/together/Together.ts"

const request = { model: "openai/gpt-oss-20b", max_tokens: 9, messages: [{ role: "user" as const, content: "Hi" }] }
const text = JSON.stringify({
  choices: [{ index: 0, finish_reason: "stop", message: { content: "Hello" } }],
  usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 }
})

/** Makes a watch that a test reads and stops. */
const make = () => {
  const watch = {
    onWire: true,
    attempts: undefined as number | undefined, // no call yet
    stopped: false,
    isStopped: (): boolean => watch.stopped
  }
  return watch
}

/** Answers each request with the next status, the last one for ever; remembers what a watch says as it sends. */
const transport = (
  watch: CallWatch.CallWatch,
  answers: ReadonlyArray<readonly [status: number, millis: number]> = [[200, 400]]
) => {
  const seen: Array<boolean> = []
  const client = HttpClient.make((request) => {
    const [status, millis] = answers[Math.min(seen.length, answers.length - 1)]!
    seen.push(watch.onWire)
    const response = status === 200 ? new Response(text) : Response.json({ error: { message: "no" } }, { status })
    return Effect.as(Effect.sleep(millis), HttpClientResponse.fromWeb(request, response))
  })
  return { seen, client }
}

const layer = (client: HttpClient.HttpClient, options: Partial<Together.Options> = {}, lanes: Lanes.Options = {}) =>
  Together.layerHttp({ apiKey: Redacted.make("k"), ...options }).pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
    Layer.provideMerge(Lanes.layer(lanes))
  )

const chat = Effect.flatMap(Together.Together, (client) => client.chat(request))

const watched = <A, E, R>(self: Effect.Effect<A, E, R>, watch: CallWatch.CallWatch) =>
  Effect.provideService(self, CallWatch.Current, watch)

describe("CallWatch", () => {
  it.effect("says that a call is on the wire once it is sent, until its end, and that it waits before", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const [first, second] = [make(), make()]
      const { client, seen } = transport(second)
      yield* Effect.gen(function*() {
        const one = yield* Effect.forkChild(watched(chat, first))
        yield* Effect.sleep("100 millis")
        const other = yield* Effect.forkChild(watched(chat, second))
        yield* Effect.sleep("100 millis")
        // the lane has one place
        expect([first.onWire, second.onWire]).toEqual([true, false])
        yield* Effect.forEach([one, other], Fiber.join)
        expect([first.onWire, second.onWire, seen[1]]).toEqual([true, true, true])
      }).pipe(Effect.provide(layer(client, {}, { maxInFlight: 1 })))
    })))

  it.effect("says so of a call past the client, and of a stream", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const watch = make()
      const { client, seen } = transport(watch)
      const quick = Shortcut.attach(client, (_, receiver) => {
        seen.push(watch.onWire)
        receiver.onHeaders(200, {})
        receiver.onText(text)
        return () => {}
      })
      const stream = Effect.flatMap(Together.Together, (client) => Stream.runDrain(client.chatStream(request)))
      yield* Effect.andThen(watched(chat, watch), watched(Effect.ignore(stream), watch)).pipe(
        Effect.provide(layer(quick))
      )
      expect(seen).toEqual([true, true])
    })))

  it.effect("says that a call waits between two attempts, and ends it with its failure once it is stopped", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const watch = make()
      const { client, seen } = transport(watch, [[500, 400]])
      const fiber = yield* Effect.forkChild(Effect.flip(watched(chat, watch)).pipe(Effect.provide(layer(client))))
      yield* Effect.sleep("401 millis")
      expect(watch.onWire).toBe(false)
      while (seen.length < 2) yield* Effect.sleep("50 millis")
      expect(watch.onWire).toBe(true)
      watch.stopped = true
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ServerError", attempts: 2 })
      expect(seen).toEqual([true, true])
    })))

  it.effect("interrupts a call that begins once it is stopped, and sends nothing", () =>
    Effect.gen(function*() {
      const watch = make()
      watch.stopped = true
      const { client, seen } = transport(watch)
      const exit = yield* Effect.exit(
        watched(chat, watch).pipe(Effect.provide(layer(client, { deadline: "1 minute" })))
      )
      expect([Exit.hasInterrupts(exit), seen]).toEqual([true, []])
    }))

  it.effect("interrupts a call that is refused for want of credit once it is stopped, and not to wait for some", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const watch = make()
      const { client, seen } = transport(watch, [[402, 400]])
      const fiber = yield* Effect.forkChild(
        watched(chat, watch).pipe(
          Effect.provide(Layer.merge(layer(client), Credits.layer({ whenSuspended: "wait" })))
        )
      )
      yield* Effect.sleep("200 millis")
      watch.stopped = true
      yield* Effect.sleep("201 millis")
      expect([fiber.pollUnsafe() !== undefined, seen.length]).toEqual([true, 1])
      expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
    })))

  it.effect("sends nothing of a call whose interruption is put off, and gives back its permit and its money", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const [first, second] = [make(), make()]
      const { client, seen } = transport(first)
      yield* Effect.gen(function*() {
        const one = yield* Effect.forkChild(watched(chat, first))
        yield* Effect.sleep("100 millis")
        const other = yield* Effect.forkChild(Effect.uninterruptible(watched(chat, second)))
        yield* Effect.sleep("100 millis")
        second.stopped = true
        other.interruptUnsafe()
        const exits = yield* Effect.forEach([one, other], Fiber.await)
        expect([exits.map(Exit.hasInterrupts), second.onWire, seen.length]).toEqual([[false, true], false, 1])
        const [lane] = yield* (yield* Lanes.Lanes).all
        const { accounts } = yield* (yield* Credits.Credits).report
        expect(yield* lane!.status).toMatchObject({ inFlight: 0, queued: 0 })
        expect(accounts.map(({ tally }) => [tally.open, tally.uncertain])).toEqual([[0, 0n]])
      }).pipe(Effect.provide(Layer.merge(layer(client, {}, { maxInFlight: 1 }), Credits.layer())))
    })))

  it.effect("says that a hedged call is on the wire though its second try has ended", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const watch = make()
      const { client, seen } = transport(watch, [[200, 400], [500, 50]])
      const hedged = layer(client, { hedge: { delay: "100 millis" } })
      const fiber = yield* Effect.forkChild(watched(chat, watch).pipe(Effect.provide(hedged)))
      yield* Effect.sleep("200 millis")
      expect([watch.onWire, seen]).toEqual([true, [true, true]])
      expect(yield* Fiber.join(fiber)).toMatchObject({ choices: [{ message: { content: "Hello" } }] })
      expect([watch.onWire, seen.length]).toEqual([true, 2])
    })))
})

/**
 * Stands in for Together in a test: replies are scripted, or given by hand, and everything sent is on record.
 *
 * ```
 *  your program ── HttpClient ──▶ log ──▶ faults ──┬─ a rule picks it        ──▶ its next Reply
 *                                                  ├─ somebody awaits `next` ──▶ the Reply the test gives
 *                                                  └─ neither                ──▶ defect, with the closest rule's diff
 * ```
 *
 * The log stands before the faults: it holds every attempt, also those that a fault answered in place of the script.
 *
 * Time is the `Clock` service: a `TestClock`, or a `VirtualClock` that moves by itself.
 *
 * Strict in both directions: a request that nothing expects dies on the spot, and when the layer closes, rules whose
 * replies were not all used, unexpected requests that the program swallowed, and requests that still wait for `next`,
 * fail the test.
 *
 * **Example** (A program's test in three lines)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Chat, Together } from "effect-together"
 * import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
 *
 * const test = Effect.gen(function*() {
 *   yield* TogetherTest.reply(Reply.overloaded, Reply.chat("Paris"))
 *   const together = yield* Together.Together
 *   const answer = yield* together.chat({ model: "m", messages: [{ role: "user", content: "Capital of France?" }] })
 *   console.log(Chat.text(answer), (yield* TogetherTest.log).length) // Paris 2
 * })
 * await Effect.runPromise(VirtualClock.wrap(Effect.provide(test, TogetherTest.layer())))
 * ```
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Enumeration from "../domain/Enumeration.ts"
import * as Together from "../together/Together.ts"
import * as Faults from "./Faults.ts"
import { answering } from "./internal/answering.ts"
import type * as Reply from "./Reply.ts"
import * as Sent from "./Sent.ts"
import * as Wiretap from "./Wiretap.ts"

/** Answers one request: a reply, or a way to find one. */
export type Responder =
  | Reply.Reply
  | ((sent: Sent.Sent) => Reply.Reply | Effect.Effect<Reply.Reply>)

/** Holds one request that waits for the test to answer it. */
export interface Pending {
  readonly sent: Sent.Sent
  /** Answers the request. Only the first answer counts. */
  readonly answer: (reply: Reply.Reply) => Effect.Effect<void>
}

/** Reports a request that nothing expected. It is a defect: a program should not be able to handle it. */
export class UnexpectedRequestError extends Data.TaggedError("UnexpectedRequestError")<{
  readonly message: string
  readonly sent: Sent.Sent
}> {}

/** Reports, when the test ends, what was scripted and not used, or sent and not expected. */
export class ScriptError extends Data.TaggedError("ScriptError")<{
  readonly message: string
}> {}

/** Configures the stand-in. */
export interface Options {
  /**
   * Says what becomes of a request that no rule picks. `"fail"` (default): it dies. `"await"`: it waits for
   * {@link next}, for tests that answer by hand.
   */
  readonly unmatched?: "fail" | "await" | undefined
  /**
   * Checks, when the layer closes, that every scripted reply was used, nothing unexpected was sent and no request
   * waits for {@link next}. Default true.
   */
  readonly verifyOnClose?: boolean | undefined
  /**
   * Spoils what the script answers, from the moment the stand-in is made. A fault that answers by itself uses up no
   * scripted reply; {@link log} shows what the program met. Default: nothing is spoiled.
   */
  readonly faults?: Faults.Plan | undefined
}

/** Holds every default of this module. */
export const defaults = {
  unmatched: "fail",
  verifyOnClose: true
} as const

interface Rule {
  readonly matcher: Sent.Matcher
  readonly responders: Array<Responder>
  readonly forever: boolean
}

/** Describes the stand-in of one test. */
export interface Service {
  readonly client: HttpClient.HttpClient
  readonly on: (matcher: Sent.Matcher, replies: ReadonlyArray<Responder>) => Effect.Effect<void>
  readonly always: (matcher: Sent.Matcher, reply: Responder) => Effect.Effect<void>
  readonly next: Effect.Effect<Pending>
  readonly log: Effect.Effect<ReadonlyArray<Wiretap.Entry>>
  readonly open: Effect.Effect<ReadonlyArray<Wiretap.Entry>>
  readonly verify: Effect.Effect<void, ScriptError>
}

/** Stands in for Together in one test; most tests take the functions of this module in its place. */
export class TogetherTest extends Context.Service<TogetherTest, Service>()("effect-together/testing/TogetherTest") {}

/** Bounds the rules that are named beside the closest one. */
const mostNamed = 10

const isUsedUp = (rule: Rule): boolean => !rule.forever && rule.responders.length === 0

/** Says why no rule answered a request: how it differs from the closest of them, and what the others are. */
const explain = (sent: Sent.Sent, rules: ReadonlyArray<Rule>): string => {
  const told = rules.map((rule) => {
    const matcher = Sent.describeMatcher(rule.matcher)
    if (isUsedUp(rule) && Sent.matches(rule.matcher, sent)) {
      return { distance: 0, line: `  ${matcher}: matches, but all its replies are used`, diff: "" }
    }
    const left = rule.forever ? "any number" : `${rule.responders.length}`
    const { distance, text } = Sent.difference(rule.matcher, sent)
    const diff = text.trimEnd().split("\n").map((line) => `    ${line}`).join("\n")
    return { distance, line: `  ${matcher} (${left} left) does not match`, diff }
  }).toSorted((a, b) => a.distance - b.distance)
  const [closest, ...others] = told
  return [
    `TogetherTest: unexpected request ${Sent.describe(sent)}`,
    ...(closest === undefined
      ? ["  nothing is scripted"]
      : closest.diff === ""
      ? [closest.line]
      : [`${closest.line}:`, closest.diff]),
    ...Enumeration.first(others.map(({ line }) => line), mostNamed, (more) => `  … and ${more} more`),
    "  Script it with TogetherTest.reply or TogetherTest.on, or answer by hand with { unmatched: \"await\" }."
  ].join("\n")
}

/** Makes a stand-in. */
export const make = (options?: Options): Effect.Effect<Service> =>
  Effect.gen(function*() {
    const unmatched = options?.unmatched ?? defaults.unmatched
    const rules: Array<Rule> = []
    const unexpected: Array<UnexpectedRequestError> = []
    /** What rules without an end answered: a rule after them never saw it. */
    const taken: Array<{ readonly sent: Sent.Sent; readonly by: Rule }> = []
    const pending = yield* Queue.unbounded<Pending>()
    /** Requests that wait, and that nobody has looked at yet. */
    const parked = new Set<Sent.Sent>()
    let awaiting = 0

    const responderFor = (sent: Sent.Sent): Responder | undefined => {
      for (const rule of rules) {
        if (isUsedUp(rule) || !Sent.matches(rule.matcher, sent)) continue
        if (!rule.forever) return rule.responders.shift()
        taken.push({ sent, by: rule })
        return rule.responders[0]
      }
      return undefined
    }

    const park = (sent: Sent.Sent): Effect.Effect<Reply.Reply> =>
      Effect.gen(function*() {
        const reply = yield* Deferred.make<Reply.Reply>()
        parked.add(sent)
        yield* Queue.offer(pending, {
          sent,
          answer: (value) => Effect.asVoid(Deferred.succeed(reply, value))
        })
        return yield* Effect.ensuring(Deferred.await(reply), Effect.sync(() => void parked.delete(sent)))
      })

    /** Takes the next request whose program still waits for it. */
    const fresh: Effect.Effect<Pending> = Effect.filterOrElse(
      Queue.take(pending),
      (next) => parked.delete(next.sent),
      () => fresh
    )

    const decide = (sent: Sent.Sent): Effect.Effect<Reply.Reply> => {
      const responder = responderFor(sent)
      if (responder !== undefined) {
        if (typeof responder !== "function") return Effect.succeed(responder)
        const reply = responder(sent)
        return Effect.isEffect(reply) ? reply : Effect.succeed(reply)
      }
      // a request that was handed over and not yet taken has its `next`: another needs another
      if (unmatched === "await" || awaiting > parked.size) return park(sent)
      const error = new UnexpectedRequestError({ message: explain(sent, rules), sent })
      unexpected.push(error)
      return Effect.die(error)
    }

    const scripted = answering(decide)
    const tap = Wiretap.make(options?.faults === undefined ? scripted : yield* Faults.wrap(scripted, options.faults))

    /** Says which `always` answered what a later rule would have picked; a predicate is not asked again. */
    const shadow = (rule: Rule): string => {
      const after = (by: Rule) => rules.indexOf(by) < rules.indexOf(rule)
      const first = typeof rule.matcher === "function"
        ? undefined
        : taken.find(({ by, sent }) => after(by) && Sent.matches(rule.matcher, sent))
      return first === undefined
        ? ""
        : `, since an earlier always (${Sent.describeMatcher(first.by.matcher)}) answers these requests: script it last`
    }

    const problems = (): ReadonlyArray<string> => [
      ...unexpected.map((error) => error.message),
      ...Array.from(parked, (sent) => `TogetherTest: ${Sent.describe(sent)} waits for a next that never came`),
      ...rules.filter((rule) => !rule.forever && !isUsedUp(rule)).map((rule) =>
        `TogetherTest: ${rule.responders.length} scripted ${rule.responders.length === 1 ? "reply" : "replies"} for ${
          Sent.describeMatcher(rule.matcher)
        } never used${shadow(rule)}`
      )
    ]

    return TogetherTest.of({
      client: tap.client,
      on: (matcher, replies) =>
        Effect.sync(() => void rules.push({ matcher, responders: [...replies], forever: false })),
      always: (matcher, reply) => Effect.sync(() => void rules.push({ matcher, responders: [reply], forever: true })),
      next: Effect.suspend(() => {
        awaiting++
        return Effect.ensuring(fresh, Effect.sync(() => void awaiting--))
      }),
      log: Effect.sync(tap.entries),
      open: Effect.sync(tap.open),
      verify: Effect.suspend(() => {
        const found = problems()
        if (found.length === 0) return Effect.void
        return Effect.fail(
          new ScriptError({ message: `${found.join("\n")}\nSent so far:\n${Wiretap.table(tap.entries())}` })
        )
      })
    })
  })

const acquire = (options: Options | undefined): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.acquireRelease(
    make(options),
    (test) => options?.verifyOnClose ?? defaults.verifyOnClose ? Effect.orDie(test.verify) : Effect.void
  )

/** Provides the stand-in and its `HttpClient`: for programs that bring their own client on top. */
export const layerHttp = (options?: Options): Layer.Layer<TogetherTest | HttpClient.HttpClient> =>
  Layer.effectContext(
    Effect.map(acquire(options), (test) =>
      Context.make(TogetherTest, test).pipe(Context.add(HttpClient.HttpClient, test.client)))
  )

/** Configures the stand-in and the client on top of it. */
export interface LayerOptions extends Options {
  /** Options of the client; it has a fake key. */
  readonly together?: Omit<Together.Options, "apiKey"> | undefined
}

/** Provides a real `Together` client over the stand-in, with a fake key: all a program's test needs. */
export const layer = (options?: LayerOptions): Layer.Layer<Together.Together | TogetherTest | HttpClient.HttpClient> =>
  Together.layerHttp({ ...options?.together, apiKey: Redacted.make("test-key-not-a-real-one") }).pipe(
    // the key is given, and a wrong base URL is a mistake of the test itself
    Layer.orDie,
    Layer.provideMerge(layerHttp(options))
  )

/** Answers the next requests, whatever they are, in this order. */
export const reply = (...replies: ReadonlyArray<Responder>): Effect.Effect<void, never, TogetherTest> =>
  TogetherTest.use((test) => test.on("*", replies))

/**
 * Answers the requests that a matcher picks, in this order.
 *
 * **Details**
 *
 * Rules are asked in the order in which they were given; one whose replies are used up is passed over.
 */
export const on = (
  matcher: Sent.Matcher,
  ...replies: ReadonlyArray<Responder>
): Effect.Effect<void, never, TogetherTest> => TogetherTest.use((test) => test.on(matcher, replies))

/** Answers every request that a matcher picks, as often as it comes. */
export const always = (matcher: Sent.Matcher, reply: Responder): Effect.Effect<void, never, TogetherTest> =>
  TogetherTest.use((test) => test.always(matcher, reply))

/**
 * Awaits the next request that no rule picks, to look at it and answer it when the test likes.
 *
 * **Gotchas**
 *
 * Fork the program first, and build the layer with `{ unmatched: "await" }` if it may send before the test awaits.
 */
export const next: Effect.Effect<Pending, never, TogetherTest> = TogetherTest.use((test) => test.next)

/**
 * Lists all exchanges so far, with their call, attempt, lane, times and outcome, as the program met them.
 *
 * **Gotchas**
 *
 * `Faults.layer` over this layer stands before the log, which then lacks what a fault answered: give the plan as the
 * option `faults`.
 */
export const log: Effect.Effect<ReadonlyArray<Wiretap.Entry>, never, TogetherTest> = TogetherTest.use((test) =>
  test.log
)

/** Lists all requests so far. */
export const sent: Effect.Effect<ReadonlyArray<Sent.Sent>, never, TogetherTest> = Effect.map(
  log,
  (entries) => entries.map((entry) => entry.sent)
)

/** Lists the exchanges that hold a socket now. */
export const open: Effect.Effect<ReadonlyArray<Wiretap.Entry>, never, TogetherTest> = TogetherTest.use((test) =>
  test.open
)

/** Prints all exchanges so far, one line each. */
export const table: Effect.Effect<string, never, TogetherTest> = Effect.map(log, Wiretap.table)

/** Fails unless every scripted reply was used, nothing unexpected was sent and no request waits for {@link next}. */
export const verify: Effect.Effect<void, ScriptError, TogetherTest> = TogetherTest.use((test) => test.verify)

type Group = "files" | "batches" | "fineTunes" | "evaluations"

/** Describes the part of the client that a test needs: any operations, also of files, batches, fine-tunes and evaluations. */
export type Mock =
  & { readonly [K in Exclude<keyof Together.Service, Group>]?: Together.Service[K] }
  & { readonly [G in Group]?: Partial<Together.Service[G]> }

/** Keeps a mock, which has every property, from looking like a promise that `await` would wait for. */
const noPromise = { then: undefined }

/** Mocks one group of operations, which `Layer.mock` of the whole service takes for a plain value. */
const mockGroup = <G extends Group>(group: G, given: Mock): Effect.Effect<Together.Service[G]> => {
  const key = Context.Service<Together.Service[G]>(`Together.${group}`)
  // every operation is an effect or returns one or a stream, so each may be left out
  return Effect.provide(Effect.service(key), Layer.mock(key, { ...given[group], ...noPromise } as never))
}

/**
 * Provides a client of which a test writes some operations itself, as `Layer.mock` does; the others die when used.
 *
 * **When to use**
 *
 * For code that only looks at values. Nothing of the client runs: no retry, no lane, no classification. What answers over
 * HTTP is {@link layer}.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Together } from "effect-together"
 * import { TogetherTest } from "effect-together/testing"
 *
 * const program = Effect.gen(function*() {
 *   const { files, models } = yield* Together.Together
 *   return [(yield* models())[0]?.id, yield* files.content("file-1")]
 * })
 *
 * const mock = TogetherTest.mock({
 *   models: () => Effect.succeed([{ id: "a/model" }]),
 *   files: { content: () => Effect.succeed("some text") }
 * })
 * await Effect.runPromise(Effect.provide(program, mock)) // => ["a/model", "some text"]
 * ```
 */
export const mock = (given: Mock): Layer.Layer<Together.Together> =>
  Layer.unwrap(Effect.map(
    Effect.all({
      files: mockGroup("files", given),
      batches: mockGroup("batches", given),
      fineTunes: mockGroup("fineTunes", given),
      evaluations: mockGroup("evaluations", given)
    }),
    (groups) => Layer.mock(Together.Together, { ...given, ...groups, ...noPromise })
  ))

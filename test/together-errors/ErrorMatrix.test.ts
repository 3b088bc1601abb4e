/**
 * Reaches every error tag through every operation: 19 tags, 27 operations. Where a tag cannot come from an operation,
 * the table says why.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import type * as Together from "../../src/together/Together.ts"
import { type Operation, operations } from "./operations.ts"

type Tag = TogetherError.TogetherError["_tag"]

type Client = ReturnType<typeof TogetherTest.layer>

interface Case {
  /** What the provider does with every request. */
  readonly reply: (operation: Operation) => Reply.Reply
  readonly options?: TogetherTest.LayerOptions["together"]
  /** Gives the client services of its context. */
  readonly around?: (client: Client) => Client
  /** Makes the trouble, where a reply does not: runs beside the operation. */
  readonly program?: (operation: Operation) => Effect.Effect<unknown, TogetherError.TogetherError, Together.Together>
  /** Says why an operation cannot end like this. */
  readonly cannot?: (operation: Operation) => string | undefined
}

const always = (reply: Reply.Reply) => ({ reply: () => reply })
const body = (status: number, message: string, type = "invalid_request_error", code: string | null = null) =>
  always(Reply.error(status, { body: { error: { message, type, param: null, code } } }))

const cases: Readonly<Record<Tag, Case>> = {
  RateLimitError: always(Reply.rateLimited({ reset: 1 })),
  AuthError: always(Reply.error(401)),
  InsufficientCreditsError: always(Reply.outOfCredits),
  OverloadedError: always(Reply.overloaded),
  ServerError: always(Reply.error(500)),
  RequestTimeoutError: always(Reply.hang),
  ConnectionError: always(Reply.broken("dns")),
  ContextLengthError: body(400, "This model's maximum context length is 4096 tokens."),
  InvalidRequestError: body(422, "temperature must be a number"),
  PermissionDeniedError: always(Reply.error(403, { body: "<html>error code: 1010</html>" })),
  NotFoundError: always(Reply.error(404)),
  ModelUnavailableError: body(
    400,
    "Unable to access non-serverless model m.",
    "invalid_request_error",
    "model_not_available"
  ),
  ConflictError: always(Reply.error(409)),
  PayloadTooLargeError: always(Reply.error(413, { body: "<html>Request entity too large</html>" })),
  StreamError: {
    reply: (operation) => Reply.cutAt(operation.ok, 1),
    cannot: (operation) => operation.streams ? undefined : "it does not stream"
  },
  DecodeError: {
    reply: () => Reply.raw("<!doctype html><title>Welcome</title>", { contentType: "text/html" }),
    cannot: (operation) => operation.name === "files.content" ? "any text is content" : undefined
  },
  CircuitOpenError: {
    reply: () => Reply.error(500),
    // the breaker opens at the first failure, and the retry meets it
    around: Layer.provide(Breaker.layer({
      size: 1,
      minimumCalls: 1,
      openFor: "1 hour",
      maxOpenFor: "1 hour"
    })),
    program: (operation) => Effect.andThen(Effect.ignore(operation.run()), operation.run())
  },
  BudgetExceededError: {
    reply: (operation) => operation.ok,
    options: {
      prices: (model) =>
        PriceTable.shipped.find((price) => price.model === model) ?? { ...PriceTable.shipped[0]!, model }
    },
    around: Layer.provide(Credits.layer({
      budgets: [Budget.make({ name: "job", limit: 1n })],
      unknownPrice: "refuse"
    })),
    cannot: (operation) => operation.priced ? undefined : "it is free of charge, or its price is not known before"
  },
  LaneOverflowError: {
    reply: () => Reply.hang,
    options: { lanes: { maxInFlight: 1, maxQueue: 0 } },
    program: (operation) => Effect.race(operation.run(), operation.run())
  }
}

const Text = Schema.fromJsonString(TogetherError.TogetherError)

const ends = (operation: Operation, tag: Tag) => {
  const test = cases[tag]
  const client = TogetherTest.layer({ verifyOnClose: false, together: test.options })
  const layer = test.around === undefined ? client : test.around(client)
  return VirtualClock.wrap(
    Effect.gen(function*() {
      yield* TogetherTest.always("*", test.reply(operation))
      const failing = test.program?.(operation) ?? operation.run()
      const error = yield* Effect.flip(failing)
      return { error, open: (yield* TogetherTest.open).length, log: yield* TogetherTest.log }
    }).pipe(Effect.provide(layer))
  )
}

describe("every operation", () => {
  describe.each(operations)("$name", (operation) => {
    it.effect("succeeds on its own answer, as named on the wire", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(operation.ok)
          yield* operation.run()
          const [sent] = yield* TogetherTest.sent
          expect(sent!.operation).toBe(operation.name === "request" ? "GET /custom" : operation.name)
          expect(yield* TogetherTest.open).toStrictEqual([])
        }).pipe(Effect.provide(TogetherTest.layer()))
      ))

    it.effect.each(TogetherError.tags.filter((tag) => cases[tag].cannot?.(operation) === undefined))(
      "ends in %s",
      (tag) =>
        Effect.gen(function*() {
          const { error, log, open } = yield* ends(operation, tag)
          expect(error._tag).toBe(tag)
          const encoded = yield* Schema.encodeEffect(Text)(error)
          const decoded = yield* Schema.decodeEffect(Text)(encoded)
          expect(Equal.equals(decoded, error), encoded).toBe(true)
          expect(encoded).toContain(tag)
          expect(encoded).not.toContain("Name three rivers")
          expect(encoded).not.toContain("test-key")
          expect(open).toBe(0)
          if (log.length > 0 && tag !== "CircuitOpenError" && tag !== "LaneOverflowError") {
            expect(error.operation).toBe(operation.name)
          }
        })
    )
  })

  it("leaves out no tag but for a reason", () => {
    const reached = operations.flatMap((operation) =>
      TogetherError.tags.filter((tag) => cases[tag].cannot?.(operation) === undefined)
    )
    expect(new Set(reached)).toStrictEqual(new Set(TogetherError.tags))
    // 27 operations × 19 tags, less 25 that do not stream, 1 whose content may be anything, 20 that are free
    expect(reached).toHaveLength(27 * 19 - 25 - 1 - 20)
  })
})

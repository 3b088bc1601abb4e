/**
 * The laws of money, for random programs of calls against a provider that keeps its own bill. What an attempt is billed
 * stands in the table `replies` and in `billOf`, written from docs/credits.md alone.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as Price from "../../src/policy/Price.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const below = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: most }))

/** Dollars per million tokens, of input, output and cached input. */
interface Rates {
  readonly input: number
  readonly output: number
  readonly cached?: number
}

/** Is what a model may cost: much, next to nothing, nothing, less for cached input; one has no price. */
const rates: Readonly<Record<string, Rates | undefined>> = {
  plain: { input: 1, output: 3 },
  cached: { input: 2, output: 5, cached: 0.25 },
  tiny: { input: 0.000001, output: 0.000003 },
  huge: { input: 900_000, output: 2_000_000 },
  free: { input: 0, output: 0 },
  unknown: undefined
}

const prices: Price.Lookup = (model) => {
  const found = rates[model]
  return found && Price.stated({
    model,
    inputUsdPerMillion: found.input,
    outputUsdPerMillion: found.output,
    ...(found.cached === undefined ? {} : { cachedInputUsdPerMillion: found.cached })
  })
}

interface Tokens {
  readonly input: number
  readonly cached: number
  readonly output: number
}

/** Computes a bill in nano-dollars, to the nearest. All rates are whole millionths of a dollar per million tokens. */
const billOf = (model: string, { cached, input, output }: Tokens): bigint => {
  const rate = rates[model] ?? { input: 0, output: 0 }
  const millionths = (usd: number) => BigInt(Math.round(usd * 1_000_000))
  const sum = millionths(rate.input) * BigInt(input - cached) +
    millionths(rate.cached ?? rate.input) * BigInt(cached) + millionths(rate.output) * BigInt(output)
  return (sum + 500n) / 1000n
}

/** Says how an attempt ends, and what of it is billed: all, what arrived of a stream, or nothing. */
const kinds = {
  answer: "all",
  slow: "all",
  late: "all",
  silent: "all",
  absurd: "all",
  junk: "all",
  reset: "all",
  cut: "arrived",
  stall: "arrived",
  early: "arrived",
  frame: "arrived",
  refusedFrame: "nothing",
  refused: "nothing",
  "402": "nothing",
  "429": "nothing",
  "503": "nothing",
  "500": "nothing",
  "400": "nothing",
  "408": "all",
  "504": "all"
} as const
type Kind = keyof typeof kinds

/** Are the kinds of answers that say what they used, where they arrive whole. */
const tells: ReadonlySet<Kind> = new Set(["answer", "slow", "late"])

const maxTokens = 30
/** Is what every prompt is estimated at: texts of 3.6 bytes to a token, and 4 for the message. */
const promptTokens = 88
const words = "w".repeat(300)

const Answer = Schema.Struct({
  kind: Schema.Literals(Object.keys(kinds) as ReadonlyArray<Kind>), // its keys are of its type
  input: below(promptTokens),
  cached: below(promptTokens),
  output: below(30),
  at: below(30)
})

const Call = Schema.Struct({
  model: Schema.Literals(Object.keys(rates)),
  fallback: Schema.Literals(["plain", "cached", "none"]),
  how: Schema.Literals(["chat", "stream", "part of a stream"]),
  /** Left after so many tenths of a second; 0: never. */
  left: below(40),
  pause: below(20)
})

const Program = Schema.Struct({
  answers: Schema.NonEmptyArray(Answer),
  calls: Schema.Array(Call),
  /** Of each budget, in calls of the dearest model that is in use. */
  limits: Schema.Tuple([below(20), below(12), below(8)]),
  hedged: Schema.Boolean,
  waits: Schema.Boolean,
  attempts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })),
  concurrency: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 })),
  /** Seconds before midnight at which it begins. */
  before: below(4)
})
type Program = typeof Program.Type

/** What a provider has billed: of an answer by its id, and of all of them. */
interface Billed {
  readonly model: string
  readonly tokens: Tokens
  readonly kind: Kind
  readonly isStream: boolean
  /** Is the call that it was sent for, and when that was, in seconds. */
  readonly label: string
  readonly at: number
  /** Pieces of text that somebody received. */
  arrived: number
  /** Whether somebody received all of it, its usage included. */
  whole: boolean
}

/** Bills at the least what was received, whatever else a provider may have generated. */
const least = ({ arrived, isStream, kind, model, tokens, whole }: Billed): bigint => {
  // what is no stream is refused where a stream would break in the middle
  if (kinds[kind] === "nothing" || (kind === "frame" && !isStream)) return 0n
  return billOf(model, isStream && !whole ? { ...tokens, output: arrived } : tokens)
}

const frame = (error: object): Reply.Part => ({ data: `data: ${JSON.stringify({ error })}\n\n`, waitMillis: 0 })

/** Makes the reply of one attempt. */
const replyOf = (
  answer: typeof Answer.Type,
  tokens: Tokens,
  id: string,
  model: string,
  isStream: boolean
): Reply.Reply => {
  const usage = {
    prompt_tokens: tokens.input,
    completion_tokens: tokens.output,
    prompt_tokens_details: { cached_tokens: tokens.cached }
  }
  const said = answer.kind === "silent"
    ? { usage: {} }
    : answer.kind === "absurd"
    ? { usage: { prompt_tokens: -5, completion_tokens: 3 } }
    : { usage }
  const pieces = Array.from({ length: tokens.output }, () => "a ")
  const whole = isStream
    ? Reply.stream(pieces, { id, model, every: "20 millis", ...said })
    : Reply.chat(pieces.join(""), { id, model, ...said })
  const at = isStream ? Math.min(answer.at, tokens.output) : 0
  switch (answer.kind) {
    case "answer":
    case "silent":
    case "absurd":
      return Reply.after(whole, answer.at * 20)
    case "slow":
      return Reply.after(whole, "2500 millis")
    case "late":
      return Reply.after(whole, "9 seconds")
    case "junk":
      return { ...whole, parts: [{ data: "{not json", waitMillis: 0 }] }
    case "reset":
      return Reply.after(Reply.broken("reset"), answer.at * 20)
    case "cut":
      return Reply.cutAt(whole, at)
    case "stall":
      return Reply.stallAt(whole, at)
    case "early":
      return Reply.endAt(whole, at)
    case "frame":
      return isStream
        ? { ...whole, parts: [...whole.parts.slice(0, at), frame({ message: "no", type: "server_error" })] }
        : Reply.error(503)
    case "refusedFrame":
      return isStream
        ? { ...whole, parts: [frame({ message: "slow down", type: "rate_limit", code: 429, status: 429 })] }
        : Reply.error(503)
    case "refused":
      return Reply.broken("refused")
    case "429":
      return Reply.rateLimited({ reset: 1 })
    default:
      return Reply.error(Number(answer.kind))
  }
}

/** Runs a program, and looks whether it keeps the laws. */
const holds = Effect.fnUntraced(function*(program: Program) {
  const { answers, calls, limits: [all, day, label] } = program
  const billed = new Map<string, Billed>()
  const client = HttpClient.make((request) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const body = request.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : {}
      const model = String(body.model)
      const answer = answers[billed.size % answers.length]!
      const id = `answer-${billed.size}`
      const tokens = { ...answer, cached: Math.min(answer.cached, answer.input) }
      const isStream = body.stream === true
      const label = String(body.messages[0].content).slice(0, 3)
      billed.set(id, { model, tokens, kind: answer.kind, isStream, label, at: now / 1000, arrived: 0, whole: false })
      return Reply.send(replyOf(answer, tokens, id, model, isStream), request)
    })
  )
  const dearest = calls.reduce((most, { model }) => {
    const bill = billOf(model, { input: 100, cached: 0, output: maxTokens })
    return bill > most ? bill : most
  }, 1n)
  const limit = (worth: number) => dearest * BigInt(worth) + 1n
  const budgets = [
    Budget.make({ name: "all", limit: limit(all) }),
    Budget.perDay(limit(day)),
    // each call has a label of its own
    Budget.make({ name: "call of a day", limit: limit(label), per: ["label", "day"] })
  ]
  const entries: Array<Ledger.Entry> = []
  const store = {
    ...LedgerStore.memory,
    append: (more: ReadonlyArray<Ledger.Entry>) => Effect.sync(() => void entries.push(...more))
  }
  const credits = yield* Effect.provideService(
    Credits.make({ budgets, run: "r", whenSuspended: program.waits ? { wait: "1 minute" } : "fail" }),
    LedgerStore.LedgerStore,
    store
  )
  const together = yield* Together.make({
    apiKey: Redacted.make("key"),
    prices,
    timeouts: { headers: "3 seconds", firstToken: "2 seconds", idle: "2 seconds" },
    retry: Retry.policy({ base: "100 millis", maxAttempts: program.attempts }),
    hedge: program.hedged ? { delay: "700 millis" } : undefined
  }).pipe(Effect.provideService(HttpClient.HttpClient, client), Effect.provideService(Credits.Credits, credits))

  const exceeded: Array<string> = []
  const look = Effect.map(credits.report, ({ budgets }) => {
    for (const { budget: { limit }, counter, tally: { reserved, settled } } of budgets) {
      if (settled + reserved > limit) exceeded.push(counter)
    }
  })
  const call = Effect.fnUntraced(function*({ fallback, how, left, model, pause }: typeof Call.Type, index: number) {
    yield* Effect.sleep(100 * pause)
    const label = `${100 + index}`
    const content = `${label}${words.slice(3)}`
    const asked = { model, max_tokens: maxTokens, messages: [{ role: "user" as const, content }] }
    const options = { label, fallback: fallback === "none" ? undefined : [fallback] }
    let last: Billed | undefined
    const delivered = () => {
      if (last !== undefined) last.whole = true
    }
    const streamed = Stream.tap(together.chatStream(asked, options), ({ choices, id }) =>
      Effect.sync(() => {
        last = billed.get(id ?? "")
        if (last !== undefined && (choices?.[0]?.delta?.content ?? "") !== "") last.arrived++
      })).pipe(Stream.onEnd(Effect.sync(delivered)))
    const made = how === "chat"
      ? Effect.map(together.chat(asked, options), ({ id }) => {
        last = billed.get(id ?? "")
        delivered()
      })
      : Stream.runDrain(how === "stream" ? streamed : Stream.take(streamed, 1 + left))
    yield* Effect.exit(left > 0 && how !== "part of a stream" ? Effect.timeout(made, left * 100) : made)
    yield* look
  })
  yield* Effect.sleep(86_400_000 - program.before * 1000)
  yield* Effect.forkChild(Effect.repeat(look, Schedule.spaced("170 millis")))
  yield* Effect.forEach(calls, call, { concurrency: program.concurrency })
  yield* Effect.sleep("1 minute")

  expect(exceeded).toEqual([])
  const { accounts, budgets: after } = yield* credits.report
  for (const { tally } of [...accounts, ...after]) expect(tally).toMatchObject({ reserved: 0n, open: 0 })
  const tally = yield* credits.tally()

  // each call pays for its attempts, and each day for what was sent on it
  const budget = Budget.make({ name: "each", limit: 1n, per: ["label", "day"] })
  const books = entries.reduce(Ledger.apply, Ledger.make({ budgets: [budget], run: "r" }))
  expect(Ledger.tally(books.accounts, "default")).toEqual(tally)
  const bills = new Map<string, bigint>()
  for (const each of billed.values()) {
    const [[, counter] = [budget, ""]] = Ledger.countersOf(books, { run: "r", account: "default", ...each })
    bills.set(counter, (bills.get(counter) ?? 0n) + least(each))
  }
  for (const [counter, bill] of bills) {
    const { settled } = Ledger.tally(books.counters, counter)
    expect([counter, bill <= settled]).toEqual([counter, true])
  }

  // what is sure is the bill of what was answered and said what it used
  const sure = Array.from(billed.values()).filter(({ kind, whole }) => whole && tells.has(kind))
  expect(tally.settled - tally.uncertain).toBe(sure.reduce((sum, each) => sum + least(each), 0n))
})

describe("Together", () => {
  describe("under budgets", () => {
    it.effect.prop(
      "spends no more than each allows at any moment, settles what was billed, and reserves nothing in the end",
      [Program],
      ([program]) =>
        Effect.map(
          VirtualClock.run(Effect.scoped(holds(program))),
          ({ exit }) => expect(Exit.isFailure(exit) ? String(exit.cause) : "holds").toBe("holds")
        ),
      { timeout: 60_000, arbitrary: { runs: 25 } }
    )
  })
})

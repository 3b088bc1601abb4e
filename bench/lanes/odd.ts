/**
 * The whole client against providers that are no bucket: they refuse by chance, close now and then, answer a limit with
 * another status, hang, queue, or ask for a long pause whatever it takes. In virtual time; a seed gives the same figures
 * everywhere.
 *
 * `node bench/lanes/odd.ts [--seeds 3] [--from 1] [--only hang]`
 *
 * *At once*: so many calls, without deadlines. *Each second*: calls that come by chance, with a deadline of 30 s, or of
 * 60 s where calls hang. Prints what was answered, in what time, with how many attempts for each answer.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { parseArgs } from "node:util"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as Together from "../../src/together/Together.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { uniform } from "./scenarios.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "3" },
    from: { type: "string", default: "1" },
    only: { type: "string", default: "" }
  }
})

/** Says how an attempt is refused, or after how many seconds it is answered; nothing for half a second. */
type Provider = (
  seen: { readonly now: number; readonly open: number; readonly chance: number; readonly tokens: number }
) =>
  | Reply.Answer
  | number
  | undefined

const limited = (message = "rate limit"): Reply.Answer =>
  Reply.error(429, { body: { error: { message, type: "rate_limit" } } })

const answered = (seconds: number, tokens: number): Reply.Answer => {
  const usage = { prompt_tokens: tokens - output, completion_tokens: output, total_tokens: tokens }
  return Reply.after(Reply.chat("yes", { usage }), Math.ceil(seconds * 1000))
}

/** Tokens of an answer. */
const output = 20

/** Tokens of a call: 200 on average, every fifth six times as large as the others. */
const sizeOf = (seed: number, n: number): number => uniform(seed + 2000, n) < 0.2 ? 600 : 100

const bucket = (rate: number, depth: number) => {
  let level = depth
  let at = 0
  return (now: number, cost: number): boolean => {
    level = Math.min(depth, level + rate * (now - at))
    at = now
    if (level < cost) return false
    level -= cost
    return true
  }
}

/**
 * 20 per second, of which a neighbour asks for 30 in ten of each thirty seconds, the first or the last; whole seconds as
 * hints, or none.
 */
const neighbour = (hints: boolean, from = 20) => (): Provider => {
  const take = bucket(20, 20)
  let told = 0
  return ({ now }) => {
    for (let at = Math.ceil(told * 30) / 30; at < now; at += 1 / 30) {
      if (at % 30 >= from && at % 30 < from + 10) take(at, 1)
    }
    told = now
    const refusal = hints ? Reply.withHeaders(limited(), { "retry-after": "1" }) : limited()
    return take(now, 1) ? undefined : refusal
  }
}

/** Nothing until a model is loaded, then 20 per second. */
const cold = (seconds: number) => (): Provider => {
  const take = bucket(20, 20)
  return ({ now }) => now >= seconds && take(now, 1) ? undefined : limited()
}

/** The same three with 4,000 tokens per second, 20 calls on average. */
const tokens = (until: number, open: number, shut: number, hint?: number) => (): Provider => {
  const take = bucket(4000, 4000)
  const refusal = limited("token rate limit")
  const told = hint === undefined ? refusal : Reply.withHeaders(refusal, { "retry-after": String(hint) })
  return ({ now, tokens }) => now >= until && now % (open + shut) < open && take(now, tokens) ? undefined : told
}

/** 4,000 tokens per second, of which a neighbour asks for 6,000 in ten of each thirty seconds. */
const neighbourOfTokens = (hints: boolean, from = 20) => (): Provider => {
  const take = bucket(4000, 4000)
  let told = 0
  return ({ now, tokens }) => {
    for (let at = Math.ceil(told * 30) / 30; at < now; at += 1 / 30) {
      if (at % 30 >= from && at % 30 < from + 10) take(at, 200)
    }
    told = now
    const refusal = limited("token rate limit")
    return take(now, tokens) ? undefined : hints ? Reply.withHeaders(refusal, { "retry-after": "1" }) : refusal
  }
}

/** 20 per second while it is open, and nothing while it is shut. */
const shutter = (open: number, shut: number) => (): Provider => {
  const take = bucket(20, 20)
  return ({ now }) => now % (open + shut) < open && take(now, 1) ? undefined : limited()
}

/** 10 per second over a bucket of a second, and the same seconds as a hint each time. */
const patient = (seconds: number) => (): Provider => {
  const take = bucket(10, 10)
  const refusal = Reply.withHeaders(limited(), { "retry-after": String(seconds) })
  return ({ now }) => take(now, 1) ? undefined : refusal
}

const byChance = (share: number, message?: string) => (): Provider => ({ chance }) =>
  chance < share ? limited(message) : undefined

/** 20 per second, and a share that is refused by chance and takes nothing of them. */
const byChanceToo = (share: number) => (): Provider => {
  const take = bucket(20, 20)
  return ({ chance, now }) => chance >= share && take(now, 1) ? undefined : limited()
}

const cap = (most: number) => (): Provider => ({ open }) => open > most ? Reply.overloaded : undefined

/** A share of all attempts is never answered, the others within a second. */
const hanging = (share: number) => (): Provider => ({ chance }) => chance < share ? Infinity : 1

/** What is above so many in flight is never answered. */
const silentCap = (most: number) => (): Provider => ({ open }) => open > most ? Infinity : 1

/** Takes everything, and answers so many per second, in order, each a second later; what was given up is worked on as well. */
const queueing = (rate: number) => (): Provider => {
  let free = 0
  return ({ now }) => {
    free = Math.max(now, free) + 1 / rate
    return free - now + 1
  }
}

/** 10 per second; from 40 s to 70 s it hangs, what is in flight is answered or not. Answers take 2 to 5 s. */
const hung = (killed: boolean) => (): Provider => {
  const take = bucket(10, 10)
  return ({ chance, now }) => {
    if (now >= 40 && now < 70) return Infinity
    const seconds = 2 + 3 * chance
    if (!take(now, 1)) return limited()
    return killed && now < 40 && now + seconds > 40 ? Infinity : seconds
  }
}

/** 10 per second; for the first 30 s it hangs. */
const hungAtFirst = (): Provider => {
  const take = bucket(10, 10)
  return ({ chance, now }) => now < 30 ? Infinity : take(now, 1) ? 2 + 3 * chance : limited()
}

/** The same with 503s; what is in flight when the outage begins fails all at once. */
const struck = (): Provider => {
  const take = bucket(10, 10)
  return ({ chance, now }) => {
    if (now >= 40 && now < 70) return Reply.overloaded
    const seconds = 2 + 3 * chance
    if (!take(now, 1)) return limited()
    return now < 40 && now + seconds > 40 ? Reply.after(Reply.overloaded, Math.ceil((40 - now) * 1000) + 1) : seconds
  }
}

interface Case {
  readonly name: string
  readonly provider: () => Provider
  readonly atOnce?: number
  readonly concurrency?: number
  readonly eachSecond?: number
  readonly seconds?: number
  /** Seconds of the deadline of calls that come each second. */
  readonly deadline?: number
  /** Seconds until an attempt times out, and attempts of a call: for a job there are eight. */
  readonly timeout?: number
  readonly attempts?: number
}

const job = { atOnce: 2000, concurrency: 256, timeout: 20, attempts: 8 }
const service = { eachSecond: 5, seconds: 300, deadline: 60, timeout: 10 }

const cases: ReadonlyArray<Case> = [
  { name: "neighbour, hints, 8 each second", provider: neighbour(true), eachSecond: 8, seconds: 600 },
  { name: "neighbour, no hints, 8 each second", provider: neighbour(false), eachSecond: 8, seconds: 600 },
  { name: "neighbour from the first second on, hints", provider: neighbour(true, 0), eachSecond: 8, seconds: 600 },
  { name: "tokens: neighbour, hints, 8 each second", provider: neighbourOfTokens(true), eachSecond: 8, seconds: 600 },
  {
    name: "tokens: neighbour, no hints, 8 each second",
    provider: neighbourOfTokens(false),
    eachSecond: 8,
    seconds: 600
  },
  {
    name: "tokens: neighbour from the first second on, hints, 8 each second",
    provider: neighbourOfTokens(true, 0),
    eachSecond: 8,
    seconds: 600
  },
  {
    name: "tokens: neighbour from the first second on, no hints, 8 each second",
    provider: neighbourOfTokens(false, 0),
    eachSecond: 8,
    seconds: 600
  },
  { name: "tokens: neighbour, hints, 2,000 at once", provider: neighbourOfTokens(true), atOnce: 2000 },
  { name: "tokens: cold for 3 s, 2,000 at once", provider: tokens(3, 1, 0), atOnce: 2000 },
  { name: "tokens: cold for 2 s, 8 each second", provider: tokens(2, 1, 0), eachSecond: 8, seconds: 120 },
  { name: "tokens: cold for 60 s, 8 each second", provider: tokens(60, 1, 0), eachSecond: 8, seconds: 300 },
  ...[5, 10, 30].flatMap((seconds) => [
    {
      name: `tokens: open ${seconds} s, shut ${seconds} s, 8 each second`,
      provider: tokens(0, seconds, seconds),
      eachSecond: 8,
      seconds: 600
    },
    {
      name: `tokens: open ${seconds} s, shut ${seconds} s, hints, 8 each second`,
      provider: tokens(0, seconds, seconds, 1),
      eachSecond: 8,
      seconds: 600
    },
    {
      name: `tokens: open ${seconds} s, shut ${seconds} s, 2,000 at once`,
      provider: tokens(0, seconds, seconds),
      atOnce: 2000
    }
  ]),
  ...[10, 30, 60].map((hint) => ({
    name: `tokens: each refusal asks for ${hint} s, 2,000 at once`,
    provider: tokens(0, 1, 0, hint),
    atOnce: 2000
  })),
  { name: "neighbour, hints, 2,000 at once", provider: neighbour(true), atOnce: 2000 },
  { name: "cold for 3 s, 2,000 at once", provider: cold(3), atOnce: 2000 },
  { name: "cold for 2 s, 8 each second", provider: cold(2), eachSecond: 8, seconds: 120 },
  { name: "open 30 s, shut 30 s, 2,000 at once", provider: shutter(30, 30), atOnce: 2000 },
  { name: "open 5 s, shut 5 s, 2,000 at once", provider: shutter(5, 5), atOnce: 2000 },
  { name: "open 5 s, shut 5 s, 8 each second", provider: shutter(5, 5), eachSecond: 8, seconds: 600 },
  { name: "open 10 s, shut 10 s, 8 each second", provider: shutter(10, 10), eachSecond: 8, seconds: 600 },
  { name: "open 30 s, shut 30 s, 8 each second", provider: shutter(30, 30), eachSecond: 8, seconds: 600 },
  ...[0, 0.01, 0.02, 0.05, 0.2, 0.4].map((share) => ({
    name: `${share * 100} % by chance, 2,000, 20 at a time`,
    provider: byChance(share),
    atOnce: 2000,
    concurrency: 20
  })),
  { name: "20 % by chance, 2 each second", provider: byChance(0.2), eachSecond: 2, seconds: 3600 },
  { name: "2 % by chance, 40 each second", provider: byChance(0.02), eachSecond: 40, seconds: 300 },
  { name: "20 per second, 10 % by chance, 2,000 at once", provider: byChanceToo(0.1), atOnce: 2000 },
  { name: "cap of 16 answered with 503, 2,000 at once", provider: cap(16), atOnce: 2000 },
  {
    name: "5 % too many concurrent by chance, 2,000 at once",
    provider: byChance(0.05, "Too many concurrent requests"),
    atOnce: 2000
  },
  ...[0.1, 0.3, 0.5, 0.8].map((share) => ({
    name: `${share * 100} % hang, job of 2,000`,
    provider: hanging(share),
    ...job
  })),
  ...[0.3, 0.5, 0.8].map((share) => ({
    name: `${share * 100} % hang, 5 each second`,
    provider: hanging(share),
    ...service
  })),
  { name: "what is over 16 hangs, job of 2,000", provider: silentCap(16), ...job },
  { name: "queueing server, 10 per second, 2,000 at once", provider: queueing(10), atOnce: 2000 },
  { name: "the same, timeouts of 20 s, 8 attempts", provider: queueing(10), atOnce: 2000, timeout: 20, attempts: 8 },
  { name: "hangs for 30 s, 2,000 at once", provider: hung(false), atOnce: 2000 },
  { name: "hangs for the first 30 s, 2,000 at once", provider: hungAtFirst, atOnce: 2000 },
  { name: "hangs for the first 30 s, 2,000, 256 at a time", provider: hungAtFirst, atOnce: 2000, concurrency: 256 },
  { name: "hangs for 30 s and what is in flight too, 2,000 at once", provider: hung(true), atOnce: 2000 },
  { name: "fails for 30 s and what is in flight too, 2,000 at once", provider: struck, atOnce: 2000 },
  ...[5, 10, 30].map((hint) => ({
    name: `each refusal asks for ${hint} s, 2,000 at once`,
    provider: patient(hint),
    atOnce: 2000
  })),
  { name: "each refusal asks for 10 s, 8 each second", provider: patient(10), eachSecond: 8, seconds: 600 }
]

/** Reads the tokens of a prompt. */
const sizeIn = (request: HttpClientRequest): number =>
  request.body._tag === "Uint8Array" ? Math.floor(request.body.body.length / 4) : 0

const play = (one: Case, seed: number) => {
  const provider = one.provider()
  let open = 0
  let attempts = 0
  const http = (start: number) =>
    HttpClient.make((request) =>
      Effect.gen(function*() {
        const tokens = sizeIn(request) + output
        const now = ((yield* Clock.currentTimeMillis) - start) / 1000
        open++
        const end = provider({ now, open, chance: uniform(seed, attempts++), tokens })
        if (end === Infinity) return yield* Effect.never
        return yield* Reply.send(
          typeof end === "object" ? Reply.after(end, "20 millis") : answered(end ?? 0.5, tokens),
          request
        )
      }).pipe(Effect.ensuring(Effect.sync(() => void open--)))
    )
  const program = Effect.gen(function*() {
    const together = yield* Together.Together
    const start = yield* Clock.currentTimeMillis
    const { atOnce, attempts: maxAttempts, concurrency = "unbounded", deadline = 30, eachSecond = 1, seconds = 0 } = one
    const options = maxAttempts === undefined ? {} : { retry: Retry.policy({ maxAttempts }) }
    const contentOf = (n: number) => one.name.startsWith("tokens") ? "word".repeat(sizeOf(seed, n) - output) : String(n)
    const call = (n: number) =>
      Effect.exit(together.chat(
        { model: "m", max_tokens: output, messages: [{ role: "user", content: contentOf(n) }] },
        atOnce === undefined ? { ...options, deadline: deadline * 1000 } : options
      ))
    const fibers: Array<Fiber.Fiber<Exit.Exit<unknown, unknown>>> = []
    let exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = []
    if (atOnce !== undefined) {
      exits = yield* Effect.forEach(Array.from({ length: atOnce }, (_, n) => n), call, { concurrency })
    } else {
      for (let at = 0, n = 0; at < seconds; n++) {
        fibers.push(yield* Effect.forkChild(call(n)))
        const gap = -Math.log(1 - uniform(seed + 1000, n)) / eachSecond
        at += gap
        yield* Effect.sleep(gap * 1000)
      }
      exits = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
    }
    const took = ((yield* Clock.currentTimeMillis) - start) / 1000
    return { calls: exits.length, answered: exits.filter(Exit.isSuccess).length, took }
  })
  const client = Layer.unwrap(
    Effect.map(Clock.currentTimeMillis, (start) =>
      Together.layerHttp({
        apiKey: Redacted.make("key"),
        timeouts: one.timeout === undefined ? undefined : { headers: one.timeout * 1000 }
      }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, http(start)))
      ))
  )
  return Effect.map(
    VirtualClock.wrap(Effect.provide(program, client)),
    (outcome) => ({ ...outcome, each: attempts / Math.max(1, outcome.answered) })
  )
}

const from = Number(values.from)
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => from + i)
console.log("| provider | answered | seconds | attempts each |\n| --- | --- | --- | --- |")
for (const one of cases.filter(({ name }) => name.includes(values.only))) {
  const played = await Effect.runPromise(Effect.forEach(seeds, (seed) => play(one, seed)))
  const range = (of: (outcome: typeof played[number]) => number, digits = 0): string => {
    const all = played.map(of)
    const [least, most] = [Math.min(...all).toFixed(digits), Math.max(...all).toFixed(digits)]
    return least === most ? least : `${least} to ${most}`
  }
  console.log(
    `| ${one.name} | ${range((o) => o.answered)} of ${range((o) => o.calls)} | ${range((o) => o.took)} | ${
      range((o) => o.each, 2)
    } |`
  )
}

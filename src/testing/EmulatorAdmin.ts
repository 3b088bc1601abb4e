/**
 * The emulator's own endpoints, under `/__emulator/`: see what happened, and change what happens next.
 *
 * They need no key and meet no fault. Amounts of money are strings of whole
 * nano-dollars in answers, USD in requests.
 */
import * as Effect from "effect/Effect"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Exchange from "./EmulatorExchange.ts"
import * as Simulation from "./Simulation.ts"
import * as Credit from "./SimulationCredit.ts"
import * as Limit from "./SimulationLimit.ts"
import { isScale } from "./SimulationRun.ts"

const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, inner: unknown) => typeof inner === "bigint" ? inner.toString() : inner))

const lanes = (state: Simulation.State): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Array.from(state.lanes, ([key, lane]) => {
      const now = Limit.refill(state.config, lane, state.now)
      const { requestsPerSecond, tokensPerSecond, maxInFlight } = Limit.rates(state.config, now)
      return [key, {
        requests: now.requests,
        tokens: now.tokens,
        inFlight: now.inFlight,
        requestsPerSecond,
        tokensPerSecond,
        maxInFlight
      }]
    })
  )

const report = (exchange: Exchange.Exchange, state: Simulation.State): unknown =>
  plain({
    now: state.now,
    scale: exchange.world.run.scale(),
    counters: state.counters,
    accounts: state.accounts,
    lanes: lanes(state),
    files: exchange.world.files.size,
    batches: exchange.world.batches.size,
    jobs: exchange.world.jobs.size
  })

/** Runs what may refuse an option, and answers 400 with its message where it does. */
const attempt = (run: () => HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    // who sent the option over HTTP knows no function of ours
    return Exchange.failure(400, error.message.replace(/^Simulation\.\w+: /, "").replaceAll(/\s*\n\s*/g, " "))
  }
}

/** Reads a body that may have these fields and no others; without `fields`, any: a schema checks them later. */
const withBody = (
  exchange: Exchange.Exchange,
  answer: (body: Readonly<Record<string, unknown>>) => Exchange.Outcome,
  fields?: ReadonlyArray<string>
): Exchange.Outcome =>
  Effect.flatMap(Exchange.fields(exchange.request), (body) => {
    if (body === undefined) return Effect.succeed(Exchange.failure(400, "the body must be a JSON object"))
    const unknown = fields === undefined ? undefined : Object.keys(body).find((name) => !fields.includes(name))
    return unknown === undefined
      ? answer(body)
      : Effect.succeed(Exchange.failure(400, `${unknown} is no field of this: use ${fields?.join(", ")}`))
  })

/** Answers `GET /__emulator/state`: counters, balances, lanes. */
export const state: Exchange.Handler = (exchange) =>
  exchange.world.run.modify((now, at) => {
    const current = Simulation.advance(now, at)
    return [Exchange.json(report(exchange, current)), current]
  })

/** Answers `GET /__emulator/tags`: what was billed, by tag. */
export const tags: Exchange.Handler = (exchange) =>
  exchange.world.run.modify((now, at) => {
    const current = Simulation.advance(now, at)
    return [Exchange.json(plain(Object.fromEntries(Simulation.tags(current)))), current]
  })

/** Answers `GET /__emulator/options`. */
export const options: Exchange.Handler = ({ world }) =>
  Effect.sync(() => Exchange.json(plain(world.run.state().config)))

const changed = (exchange: Exchange.Exchange, patch: unknown): Exchange.Outcome =>
  exchange.world.run.modify((now, at) => {
    let next = now
    const answer = attempt(() => {
      // configure checks the patch against the schema of options and refuses what does not fit
      const changes = patch as Simulation.Changes
      next = Simulation.configure(now, changes, at)
      const balanceUsd = changes.credits?.balanceUsd
      if (balanceUsd !== undefined) {
        for (const org of Object.keys(next.accounts)) {
          next = Simulation.setBalance(next, org, Credit.nano(balanceUsd), at)
        }
      }
      return Exchange.json(report(exchange, next))
    })
    return [answer, next]
  })

/**
 * Answers `PATCH /__emulator/options`: replaces the options that are given; `null` brings a default back. A balance that is
 * given is that of all accounts from now on, also of those that exist.
 */
export const configure: Exchange.Handler = (exchange) => withBody(exchange, (body) => changed(exchange, body))

/** Answers `PUT /__emulator/limits`. */
export const limits: Exchange.Handler = (exchange) => withBody(exchange, (body) => changed(exchange, { limits: body }))

/** Answers `PUT /__emulator/faults`: `{ faults, outages }`; a field that is left out lifts what was set. */
export const faults: Exchange.Handler = (exchange) =>
  withBody(
    exchange,
    ({ faults = [], outages = [] }) => changed(exchange, { faults, outages }),
    ["faults", "outages"]
  )

/** Bounds an amount: of a larger one JSON could not hold the exact nano-dollars. */
const mostUsd = 1_000_000_000

/** Answers `POST /__emulator/credits`: `balanceUsd` sets the balance at once, `topUpUsd` orders a purchase. */
export const credits: Exchange.Handler = (exchange) =>
  withBody(exchange, ({ org = "default", balanceUsd, topUpUsd }) => {
    const amount = balanceUsd ?? topUpUsd
    const both = balanceUsd !== undefined && topUpUsd !== undefined
    if (both || typeof org !== "string" || typeof amount !== "number" || !(Math.abs(amount) <= mostUsd)) {
      return Effect.succeed(
        Exchange.failure(400, `either balanceUsd or topUpUsd must be a number of USD, at most ${mostUsd}`)
      )
    }
    if (balanceUsd === undefined && amount <= 0) {
      return Effect.succeed(Exchange.failure(400, `topUpUsd must be above 0, got ${amount}`))
    }
    return exchange.world.run.modify((now, at) => {
      const changed = balanceUsd === undefined
        ? Simulation.topUp(now, org, Credit.nano(amount), at)
        : Simulation.setBalance(now, org, Credit.nano(amount), at)
      return [
        Simulation.balance(changed, org) === undefined
          ? Exchange.failure(404, `No account ${org}: switch credits on with PATCH /__emulator/options first`)
          : Exchange.json(report(exchange, changed)),
        changed
      ]
    })
  }, ["org", "balanceUsd", "topUpUsd"])

/** Answers `PUT /__emulator/scale`: seconds of the provider per second of the clock. */
export const scale: Exchange.Handler = (exchange) =>
  withBody(exchange, ({ scale }) =>
    typeof scale === "number" && isScale(scale)
      ? Effect.as(exchange.world.run.setScale(scale), Exchange.json({ scale }))
      : Effect.succeed(Exchange.failure(400, "scale must be a number from 1e-6 to 1e6")), ["scale"])

const hasNoBody = (headers: Readonly<Record<string, string | undefined>>): boolean =>
  (headers["content-length"] ?? "0") === "0" && headers["transfer-encoding"] === undefined

const restart = (exchange: Exchange.Exchange, options: unknown, seed: unknown): HttpServerResponse.HttpServerResponse =>
  attempt(() => {
    const { world } = exchange
    if (seed !== undefined && !Number.isSafeInteger(seed)) return Exchange.failure(400, "seed must be an integer")
    // make checks the options against their schema and refuses what does not fit
    world.reset((options ?? undefined) as Simulation.Options | undefined, typeof seed === "number" ? seed : undefined)
    return Exchange.json(report(exchange, world.run.state()))
  })

/** Answers `POST /__emulator/reset`: forgets everything; `options` and `seed`, if given, replace those of before. The scale stays. */
export const reset: Exchange.Handler = (exchange) =>
  hasNoBody(exchange.request.headers)
    ? Effect.sync(() => restart(exchange, undefined, undefined))
    : withBody(exchange, ({ options, seed }) => Effect.sync(() => restart(exchange, options, seed)), [
      "options",
      "seed"
    ])

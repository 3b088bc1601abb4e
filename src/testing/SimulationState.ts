/**
 * Everything the simulated provider is at one moment, and what time does to it.
 *
 * A state is an immutable value. Ends of calls, costs that reach the balance
 * and purchases are due at their times; `advance` lets them happen in order.
 * What a call meets when it arrives is SimulationArrival's.
 */
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Argument from "./internal/argument.ts"
import * as Agenda from "./SimulationAgenda.ts"
import * as Configuration from "./SimulationConfig.ts"
import * as Credit from "./SimulationCredit.ts"
import * as Limit from "./SimulationLimit.ts"
import * as Random from "./SimulationRandom.ts"
import type { Reason } from "./SimulationReply.ts"

/**
 * Counts what has happened so far.
 *
 * **Details**: `admitted = succeeded + failed + cancelled + inFlight`. An admitted call that the engine answers with an
 * error status, or with silence, is counted under `refused.fault` too; one whose answer broke is not.
 */
export interface Counters {
  /** Calls of a model. */
  readonly arrivals: number
  /** Requests to everything else: files, batches, lists, … */
  readonly visits: number
  /** Calls that the limits let through. */
  readonly admitted: number
  /** Admitted calls that ended with a whole answer. */
  readonly succeeded: number
  /** Admitted calls that a fault ended: in the engine, or by breaking the answer (`cut`, `stall`, `error-frame`). */
  readonly failed: number
  /** Admitted calls that their callers left before the end. */
  readonly cancelled: number
  /** Calls and visits that were answered with an error, or with nothing, by reason. */
  readonly refused: Readonly<Record<Reason, number>>
  readonly inFlight: number
  readonly peakInFlight: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly billedNanoUsd: bigint
  /** The part of the bill for calls that their callers left. */
  readonly cancelledNanoUsd: bigint
}

/** Counts what has happened to one tag. */
export interface Tag {
  readonly arrivals: number
  readonly succeeded: number
  readonly billedNanoUsd: bigint
}

/** Holds an admitted call until its end. */
export interface InFlight {
  readonly lane: string
  readonly org: string
  readonly tag: string
  readonly model: string
  readonly admittedAt: number
  readonly endsAt: number
  readonly firstTokenSeconds: number
  readonly chargedTokens: number
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  /** A fault that ends it: in the engine, without a bill; or by breaking the answer, with a bill for what there is of it. */
  readonly fault: "engine" | "break" | undefined
  /** Served from capacity that is paid for already. */
  readonly prepaid: boolean
}

/** Describes what will happen later. */
export type Due =
  | { readonly _tag: "End"; readonly id: number }
  | { readonly _tag: "Charge"; readonly org: string; readonly nanoUsd: bigint }
  | { readonly _tag: "Credit"; readonly org: string; readonly nanoUsd: bigint; readonly order: boolean }

/** Holds everything the provider is at one moment. */
export interface State {
  readonly config: Configuration.Config
  readonly source: Random.Source
  readonly now: number
  readonly nextId: number
  readonly lanes: HashMap.HashMap<string, Limit.Lane>
  readonly accounts: Readonly<Record<string, Credit.Account>>
  readonly inFlight: HashMap.HashMap<number, InFlight>
  readonly tries: HashMap.HashMap<number, number>
  readonly tags: HashMap.HashMap<string, Tag>
  readonly due: Agenda.Agenda<Due>
  readonly counters: Counters
}

const zero: Counters = {
  arrivals: 0,
  visits: 0,
  admitted: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  refused: {
    requests: 0,
    tokens: 0,
    "in-flight": 0,
    credits: 0,
    key: 0,
    "model-unknown": 0,
    "model-unavailable": 0,
    context: 0,
    outage: 0,
    fault: 0
  },
  inFlight: 0,
  peakInFlight: 0,
  inputTokens: 0,
  outputTokens: 0,
  billedNanoUsd: 0n,
  cancelledNanoUsd: 0n
}

/** Enters what will happen at a time. */
export const schedule = (state: State, at: number, what: Due): State => ({
  ...state,
  nextId: state.nextId + 1,
  due: Agenda.push(state.due, { at, order: state.nextId, what })
})

const opened = (config: Configuration.Config): Readonly<Record<string, Credit.Account>> => {
  const { credits } = config
  if (credits === undefined) return {}
  const orgs = Object.values(config.keys)
  return Object.fromEntries((orgs.length === 0 ? ["default"] : orgs).map((org) => [org, Credit.open(credits)]))
}

/**
 * Makes a provider at time 0.
 *
 * **Errors**: throws a `RangeError` that names the option, for one that is
 * unknown or out of range.
 *
 * @param seed decides every random number; the same seed and the same calls give the same trace
 */
export const make = (options: Configuration.Options = {}, seed = 1): State => {
  const config = Configuration.make(options)
  let state: State = {
    config,
    source: Random.source(Argument.finite("Simulation.make", "seed", seed)),
    now: 0,
    nextId: 1,
    lanes: HashMap.empty(),
    accounts: opened(config),
    inFlight: HashMap.empty(),
    tries: HashMap.empty(),
    tags: HashMap.empty(),
    due: undefined,
    counters: zero
  }
  for (const org of Object.keys(state.accounts)) {
    for (const topUp of config.credits?.topUps ?? []) {
      state = schedule(state, topUp.at, { _tag: "Credit", org, nanoUsd: Credit.nano(topUp.usd), order: true })
    }
    state = recharged(state, org)
  }
  return state
}

const withAccount = (state: State, org: string, account: Credit.Account): State => ({
  ...state,
  accounts: { ...state.accounts, [org]: account }
})

const ordered = (state: State, org: string, nanoUsd: bigint): State => {
  const { credits } = state.config
  const account = state.accounts[org]
  if (credits === undefined || account === undefined) return state
  const noted = withAccount(state, org, Credit.order(account, nanoUsd))
  return credits.purchaseLagSeconds === 0
    ? credited(noted, org, nanoUsd)
    : schedule(noted, state.now + credits.purchaseLagSeconds, { _tag: "Credit", org, nanoUsd, order: false })
}

const credited = (state: State, org: string, nanoUsd: bigint): State => {
  const { credits } = state.config
  const account = state.accounts[org]
  return credits === undefined || account === undefined
    ? state
    : withAccount(state, org, Credit.credit(credits, account, nanoUsd, state.now))
}

const recharged = (state: State, org: string): State => {
  const { credits } = state.config
  const account = state.accounts[org]
  if (credits === undefined || account === undefined) return state
  const purchases = Credit.recharge(credits, account)
  if (purchases === undefined) return state
  const { nanoUsd, times } = purchases
  return ordered(withAccount(state, org, { ...account, recharges: account.recharges + times }), org, nanoUsd)
}

const charged = (state: State, org: string, nanoUsd: bigint): State => {
  const { credits } = state.config
  const account = state.accounts[org]
  return credits === undefined || account === undefined
    ? state
    : recharged(withAccount(state, org, Credit.charge(credits, account, nanoUsd, state.now)), org)
}

/** Computes what tokens of a model cost, rounded to the nearest nano-dollar. */
export const costNanoUsd = (
  config: Configuration.Config,
  model: string,
  tokens: { readonly input: number; readonly cached?: number | undefined; readonly output: number }
): bigint => {
  const own = config.models[model]
  if (own === undefined) return 0n
  if (own.type === "image" || own.type === "video") return Credit.nano(own.outputUsd * tokens.output)
  const cached = own.cachedInputUsd === undefined ? 0 : tokens.cached ?? 0
  return BigInt(Math.round(
    ((tokens.input - cached) * own.inputUsd + cached * (own.cachedInputUsd ?? 0) + tokens.output * own.outputUsd) * 1000
  ))
}

/** Holds the counts of a tag that no call has had yet. */
export const unseen: Tag = { arrivals: 0, succeeded: 0, billedNanoUsd: 0n }

/** Bills an organization for something other than a call: a job, a batch row. */
export const spend = (
  state: State,
  cost: { readonly org: string; readonly tag: string; readonly nanoUsd: bigint },
  at: number
): State => bill(advance(state, at), { ...cost, succeeded: 0, cancelled: false })

/** Bills an organization, at the lag of its metering. */
const bill = (
  state: State,
  { org, tag, nanoUsd, succeeded, cancelled }: {
    readonly org: string
    readonly tag: string
    readonly nanoUsd: bigint
    readonly succeeded: 0 | 1
    readonly cancelled: boolean
  }
): State => {
  const seen = Option.getOrElse(HashMap.get(state.tags, tag), () => unseen)
  const billed: State = {
    ...state,
    tags: HashMap.set(state.tags, tag, {
      arrivals: seen.arrivals,
      succeeded: seen.succeeded + succeeded,
      billedNanoUsd: seen.billedNanoUsd + nanoUsd
    }),
    counters: {
      ...state.counters,
      billedNanoUsd: state.counters.billedNanoUsd + nanoUsd,
      cancelledNanoUsd: state.counters.cancelledNanoUsd + (cancelled ? nanoUsd : 0n)
    }
  }
  const { credits } = state.config
  const account = state.accounts[org]
  if (credits === undefined || account === undefined || nanoUsd === 0n) return billed
  const owing = withAccount(billed, org, Credit.owe(account, nanoUsd))
  return credits.meteringLagSeconds === 0
    ? charged(owing, org, nanoUsd)
    : schedule(owing, state.now + credits.meteringLagSeconds, { _tag: "Charge", org, nanoUsd })
}

/** Ends a call at the time of the state, where it is in flight: completely, or cut short by its caller. */
const ended = (state: State, id: number, cancelled: boolean): State => {
  const { config } = state
  const call = Option.getOrUndefined(HashMap.get(state.inFlight, id))
  if (call === undefined) return state
  const fails = call.fault === "engine"
  const succeeds = !cancelled && call.fault === undefined
  const outputTokens = fails ? 0 : cancelled ? generated(call, state.now) : call.outputTokens
  // a lane in flight was opened when its call was admitted
  let lane = Limit.refill(config, HashMap.getUnsafe(state.lanes, call.lane), state.now)
  lane = Limit.release(config, lane, call.chargedTokens - call.inputTokens - outputTokens, call.admittedAt)
  if (succeeds) lane = Limit.succeeded(lane, 1, call.inputTokens + outputTokens)
  const { counters } = state
  const free: State = {
    ...state,
    lanes: HashMap.set(state.lanes, call.lane, lane),
    inFlight: HashMap.remove(state.inFlight, id),
    counters: {
      ...counters,
      inFlight: counters.inFlight - 1,
      succeeded: counters.succeeded + (succeeds ? 1 : 0),
      failed: counters.failed + (cancelled || succeeds ? 0 : 1),
      cancelled: counters.cancelled + (cancelled ? 1 : 0),
      inputTokens: counters.inputTokens + (fails ? 0 : call.inputTokens),
      outputTokens: counters.outputTokens + outputTokens
    }
  }
  if (fails) return free
  const rule = config.credits?.cancelled ?? "generated"
  if (cancelled && rule === "none") return free
  const output = cancelled && rule === "full" ? call.outputTokens : outputTokens
  const cost = call.prepaid
    ? 0n
    : costNanoUsd(config, call.model, { input: call.inputTokens, cached: call.cachedTokens, output })
  return bill(free, { org: call.org, tag: call.tag, nanoUsd: cost, succeeded: succeeds ? 1 : 0, cancelled })
}

/** Counts the tokens of a call that are out: the first comes at once, the others at even distances. */
const generated = (call: InFlight, now: number): number => {
  const generating = call.endsAt - call.admittedAt - call.firstTokenSeconds
  const spent = now - call.admittedAt - call.firstTokenSeconds
  if (spent < 0) return 0
  return generating <= 0
    ? call.outputTokens
    : Math.min(call.outputTokens, Math.floor(call.outputTokens * spent / generating + 1e-9) + 1)
}

const happen = (state: State, due: Due): State => {
  switch (due._tag) {
    case "End":
      return ended(state, due.id, false)
    case "Charge":
      return charged(state, due.org, due.nanoUsd)
    case "Credit":
      return recharged(
        due.order ? ordered(state, due.org, due.nanoUsd) : credited(state, due.org, due.nanoUsd),
        due.org
      )
  }
}

/** Lets everything happen that is due until a time: ends of calls, costs, purchases. */
export const advance = (state: State, at: number): State => {
  let now = state
  for (let next = Agenda.peek(now.due); next !== undefined && next.at <= at; next = Agenda.peek(now.due)) {
    now = happen({ ...now, now: Math.max(now.now, next.at), due: Agenda.pop(now.due) }, next.what)
  }
  return at > now.now ? { ...now, now: at } : now
}

/** Ends an admitted call now, completely: for whoever waits on a clock coarser than the simulation's. */
export const finish = (state: State, id: number, at: number): State => ended(advance(state, at), id, false)

/**
 * Takes back a call whose caller has left: it frees its place, its unused tokens, and is billed by the rule of
 * `credits.cancelled`. A call that has ended, or never was admitted, changes nothing.
 */
export const cancel = (state: State, id: number, at: number): State => ended(advance(state, at), id, true)

/** Orders a purchase of credits by hand, as a user does on the billing page. */
export const topUp = (state: State, org: string, nanoUsd: bigint, at: number): State =>
  ordered(advance(state, at), org, nanoUsd)

/** Sets a balance at once, as only a test can. */
export const setBalance = (state: State, org: string, nanoUsd: bigint, at: number): State => {
  const now = advance(state, at)
  const account = now.accounts[org]
  return now.config.credits === undefined || account === undefined
    ? now
    : recharged(withAccount(now, org, Credit.set(now.config.credits, account, nanoUsd, now.now)), org)
}

/**
 * Changes options from a time on; the options given replace those of the same name, whole, and `null` brings a default
 * back: it lifts what is off by default, as `dynamic`.
 *
 * **Details**: what is in flight, spent and counted stays. Credits that are
 * switched on here open an account with their balance; an account that exists
 * keeps its own, and is judged by the new floor at once. `topUps` that are given
 * here are not entered: use `topUp`.
 */
export const configure = (state: State, options: Configuration.Changes, at: number): State => {
  const now = advance(state, at)
  const config = Configuration.change(now.config, options)
  const lanes = HashMap.map(now.lanes, (lane) => Limit.reopen(now.config, config, lane, now.now))
  const { credits } = config
  const accounts = Object.fromEntries(
    Object.entries({ ...opened(config), ...now.accounts }).map(([org, account]) => [
      org,
      credits === undefined ? account : Credit.judged(credits, account, now.now)
    ])
  )
  const changed: State = { ...now, config, lanes, accounts }
  return Object.keys(changed.accounts).reduce(recharged, changed)
}

/** Finds the organization of a key, or nothing for a key that is not accepted. */
export const organization = (config: Configuration.Config, key: string | undefined): string | undefined => {
  if (key === undefined || key === "") return undefined
  if (Object.keys(config.keys).length === 0) return "default"
  return Object.hasOwn(config.keys, key) ? config.keys[key] : undefined
}

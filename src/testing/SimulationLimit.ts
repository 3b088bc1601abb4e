/**
 * How much a simulated lane lets through: two token buckets, or two counts over a window, a dynamic limit above them, a
 * cap on what is in flight.
 *
 * ```text
 * rate(t)  = min(static(t), dynamic(t)) · Π (1 - share of each neighbour at t)
 * level(t) = min(depth(t), level(t0) + ∫ rate)      depth = rate · burstSeconds
 * ```
 *
 * Static limits and neighbours are piecewise constant in time, the dynamic
 * limit is constant between two slots of its window; a bucket is refilled piece
 * by piece, so the result does not depend on how often it is looked at.
 *
 * A bucket may be in debt: a request larger than the whole bucket is let in
 * when the bucket is full (`borrow`), and later ones pay.
 *
 * Where the provider counts over windows (`counting`), the same levels say what
 * is left of `rate · windowSeconds`; how they come back is SimulationWindow's.
 */
import type { Config } from "./SimulationConfig.ts"
import * as Dynamic from "./SimulationDynamic.ts"
import * as Window from "./SimulationWindow.ts"

/** Holds the state of one lane: what is left, and when that was so. */
export interface Lane {
  readonly model: string
  /** True for capacity that was bought: only the model's `provisioned` limits count. */
  readonly provisioned: boolean
  readonly at: number
  readonly requests: number
  readonly tokens: number
  readonly inFlight: number
  readonly dynamic: Dynamic.Dynamic | undefined
  /** What counts at present; absent for buckets. */
  readonly window: Window.Window | undefined
}

/** Holds the limits of one stretch of time; no limit is `Infinity`. */
export interface Rates {
  readonly from: number
  readonly to: number
  readonly requestsPerSecond: number
  readonly tokensPerSecond: number
  readonly maxInFlight: number
}

const none = Infinity
/** Two amounts that differ by less are the same: the sums are floating-point. */
const epsilon = 1e-9

const pieces = (config: Config, model: string, provisioned: boolean): ReadonlyArray<Rates> => {
  const own = config.models[model]
  const base = provisioned ? own?.provisioned : { ...config.limits, ...own?.limits }
  const changes = provisioned ? [] : config.changes.filter((c) => c.model === undefined || c.model === model)
  const neighbours = provisioned ? [] : config.neighbours.filter((n) => n.model === undefined || n.model === model)
  const times = [
    ...new Set([0, ...changes.map((c) => c.at), ...neighbours.flatMap((n) => [n.from, n.to ?? none])])
  ].filter((t) => t < none).sort((a, b) => a - b)
  return times.map((from, i) => {
    let requests = base?.requestsPerSecond ?? none
    let tokens = base?.tokensPerSecond ?? none
    let inFlight = base?.maxInFlight ?? none
    for (const change of [...changes].sort((a, b) => a.at - b.at)) {
      if (change.at > from) break
      if (change.requestsPerSecond !== undefined) requests = change.requestsPerSecond ?? none
      if (change.tokensPerSecond !== undefined) tokens = change.tokensPerSecond ?? none
      if (change.maxInFlight !== undefined) inFlight = change.maxInFlight ?? none
    }
    let left = 1
    for (const neighbour of neighbours) {
      if (neighbour.from <= from && from < (neighbour.to ?? none)) left *= 1 - neighbour.share
    }
    return {
      from,
      to: times[i + 1] ?? none,
      requestsPerSecond: thinned(requests, left),
      tokensPerSecond: thinned(tokens, left),
      maxInFlight: inFlight
    }
  })
}

const thinned = (rate: number, share: number): number => rate === none ? none : rate * share

interface Schedules {
  readonly serverless: Map<string, ReadonlyArray<Rates>>
  readonly provisioned: Map<string, ReadonlyArray<Rates>>
}

const memo = new WeakMap<Config, Schedules>()

/** Lists the static limits of a model over time; computed once per configuration. */
export const schedule = (config: Config, model: string, provisioned = false): ReadonlyArray<Rates> => {
  let schedules = memo.get(config)
  if (schedules === undefined) memo.set(config, schedules = { serverless: new Map(), provisioned: new Map() })
  const models = provisioned ? schedules.provisioned : schedules.serverless
  let found = models.get(model)
  if (found === undefined) models.set(model, found = pieces(config, model, provisioned))
  return found
}

const pieceAt = (config: Config, lane: Lane, at: number): Rates => {
  const all = schedule(config, lane.model, lane.provisioned)
  let found = all[0]
  for (const piece of all) {
    if (piece.from > at) break
    found = piece
  }
  // the schedule always begins with a piece from 0 on
  return found as Rates
}

/** Reads the limits in force on a lane that is refilled to its `at`: static, dynamic, and which of them is the lower. */
export const rates = (config: Config, lane: Lane): Rates & {
  readonly dynamicRequests: boolean
  readonly dynamicTokens: boolean
} => {
  const piece = pieceAt(config, lane, lane.at)
  const requests = lane.dynamic?.requestsPerSecond ?? none
  const tokens = lane.dynamic?.tokensPerSecond ?? none
  return {
    ...piece,
    requestsPerSecond: Math.min(piece.requestsPerSecond, requests),
    tokensPerSecond: Math.min(piece.tokensPerSecond, tokens),
    dynamicRequests: requests < piece.requestsPerSecond,
    dynamicTokens: tokens < piece.tokensPerSecond
  }
}

const requestDepth = (config: Config, rate: number): number =>
  rate === none
    ? none
    : rate === 0
    ? 0
    : config.counting === "bucket"
    ? Math.max(1, rate * config.burstSeconds)
    : rate * config.windowSeconds

const tokenDepth = (config: Config, rate: number): number =>
  rate === none ? none : rate * (config.counting === "bucket" ? config.burstSeconds : config.windowSeconds)

/** Computes the most that can be left at some limits. */
const depths = (config: Config, { requestsPerSecond, tokensPerSecond }: Rates): Window.Amount => ({
  requests: requestDepth(config, requestsPerSecond),
  tokens: tokenDepth(config, tokensPerSecond)
})

const filled = (config: Config, lane: Lane): Lane => ({ ...lane, ...depths(config, rates(config, lane)) })

/** Opens a lane at its first use: full buckets, an empty window, no history. */
export const open = (config: Config, model: string, at: number, provisioned = false): Lane =>
  filled(config, {
    model,
    provisioned,
    at,
    requests: 0,
    tokens: 0,
    inFlight: 0,
    dynamic: config.dynamic && !provisioned ? Dynamic.open(config.dynamic, at) : undefined,
    window: config.counting === "bucket" ? undefined : Window.open(config.counting, config.windowSeconds)
  })

const refilled = (level: number, rate: number, depth: number, seconds: number): number =>
  rate === none ? none : Math.min(depth, (level === none ? depth : level) + rate * seconds)

const poured = (config: Config, lane: Lane, to: number): Lane => {
  const now = rates(config, lane)
  const most = depths(config, now)
  if (lane.window !== undefined) {
    const window = Window.pass(lane.window, most, lane.at, to)
    return { ...lane, at: to, window, ...Window.left(window, most) }
  }
  const seconds = to - lane.at
  return {
    ...lane,
    at: to,
    requests: refilled(lane.requests, now.requestsPerSecond, most.requests, seconds),
    tokens: refilled(lane.tokens, now.tokensPerSecond, most.tokens, seconds)
  }
}

const nextSlotAt = (config: Config, lane: Lane): number =>
  config.dynamic === undefined || lane.dynamic === undefined
    ? none
    : Dynamic.endsAt(config.dynamic, lane.dynamic, lane.at)

/** Reads when the limits of a lane may change next: a piece of the schedule ends, or a slot of the window. */
export const nextChange = (config: Config, lane: Lane): number =>
  Math.min(pieceAt(config, lane, lane.at).to, nextSlotAt(config, lane))

/** Refills a lane to a time, piece by piece; a time before the lane's own changes nothing. */
export const refill = (config: Config, lane: Lane, to: number): Lane => {
  let now = lane
  while (now.at < to) {
    const end = Math.min(to, nextChange(config, now))
    now = poured(config, now, end)
    if (config.dynamic !== undefined && now.dynamic !== undefined) {
      const dynamic = Dynamic.pass(config.dynamic, now.dynamic, end)
      if (dynamic !== now.dynamic) now = poured(config, { ...now, dynamic }, end)
    }
  }
  // a limit that begins just now cuts down what has been saved
  return poured(config, now, now.at)
}

/**
 * Computes how many requests must be left for one to be admitted: one, or anything at all in a window with room for
 * less.
 */
const requestsNeeded = (config: Config, lane: Lane): number => {
  if (lane.window === undefined) return 1
  const most = requestDepth(config, rates(config, lane).requestsPerSecond)
  return most === 0 || most >= 1 ? 1 : 2 * epsilon
}

/** Computes how many tokens must be left for a request: its cost, or a full bucket if it is larger and may borrow. */
const tokensNeeded = (config: Config, lane: Lane, cost: number): number => {
  if (config.tokenCharge === "completion") return 0
  const depth = tokenDepth(config, rates(config, lane).tokensPerSecond)
  return config.oversize === "borrow" ? Math.min(cost, depth) : cost
}

/** Names why a lane refuses. */
export type Shortage = "requests" | "tokens" | "in-flight"

/** Tells what a refilled lane lacks for a request of `cost` tokens, or nothing. */
export const shortage = (config: Config, lane: Lane, cost: number): Shortage | undefined => {
  if (lane.inFlight >= rates(config, lane).maxInFlight) return "in-flight"
  if (lane.requests + epsilon < requestsNeeded(config, lane)) return "requests"
  if (lane.tokens + epsilon < tokensNeeded(config, lane, cost)) return "tokens"
  return undefined
}

/** Bounds how far ahead a wait is looked for: longer is "not in sight". */
const horizonSeconds = 86_400

/** Computes the seconds until a lane that nobody else uses would admit `cost` tokens, a day at the most. */
export const waitFor = (config: Config, lane: Lane, cost: number): number => {
  let now = lane
  while (now.at - lane.at < horizonSeconds) {
    const limits = rates(config, now)
    const needed = tokensNeeded(config, now, cost)
    const requests = requestsNeeded(config, now) - now.requests
    const tokens = needed - now.tokens
    if (requests <= epsilon && tokens <= epsilon) return now.at - lane.at
    const tooLarge = needed > tokenDepth(config, limits.tokensPerSecond) + epsilon
    const end = Math.min(
      nextChange(config, now),
      tooLarge
        ? none
        : now.window === undefined
        ? pouredAt(now.at, Math.max(share(requests, limits.requestsPerSecond), share(tokens, limits.tokensPerSecond)))
        : Window.freeAt(now.window, { requests, tokens })
    )
    if (end === none) break
    now = refill(config, now, end)
  }
  return horizonSeconds
}

/** Computes the seconds in which a rate makes up for what is lacking. */
const share = (lacking: number, rate: number): number => lacking <= epsilon ? 0 : lacking / rate

/** Ends a wait a share of the epsilon later, or the sum would stop short of its goal forever; at any time it moves on. */
const pouredAt = (at: number, wait: number): number =>
  at + wait * (1 + epsilon) + Math.max(epsilon, at * Number.EPSILON)

/** Reads when something that counts in a window no longer does; `Infinity` for buckets. */
export const nextFree = (lane: Lane): number => lane.window === undefined ? none : Window.endsAt(lane.window)

/** Reads the seconds until nothing of the present counts any more; nothing for buckets. */
export const emptyIn = (lane: Lane): number | undefined =>
  lane.window && Math.max(0, Window.emptyAt(lane.window) - lane.at)

/** Takes requests and tokens out of a lane, and places in flight. */
export const take = (lane: Lane, requests: number, tokens: number, places = 0): Lane => ({
  ...lane,
  requests: lane.requests - requests,
  tokens: lane.tokens - tokens,
  inFlight: lane.inFlight + places,
  window: lane.window && Window.take(lane.window, lane, { requests, tokens }, lane.at)
})

/** Takes one request and its tokens out of a lane, and a place in flight. */
export const admit = (lane: Lane, tokens: number): Lane => take(lane, 1, tokens, 1)

/**
 * Ends a request: gives its place back and corrects its tokens (`credit` below 0 charges more). A window gives back
 * only what still counts since the request was admitted.
 */
export const release = (config: Config, lane: Lane, credit: number, admittedAt: number): Lane => {
  const depth = tokenDepth(config, rates(config, lane).tokensPerSecond)
  if (lane.window === undefined) {
    return { ...lane, inFlight: lane.inFlight - 1, tokens: Math.min(lane.tokens + credit, depth) }
  }
  if (credit <= 0) return take(lane, 0, -credit, -1)
  const window = Window.giveBack(lane.window, credit, admittedAt)
  return {
    ...lane,
    inFlight: lane.inFlight - 1,
    window,
    tokens: Window.left(window, { requests: 0, tokens: depth }).tokens
  }
}

/** Counts successes, each of so many tokens, for the dynamic limit. */
export const succeeded = (lane: Lane, calls: number, tokensPerCall: number): Lane => ({
  ...lane,
  dynamic: lane.dynamic && Dynamic.succeeded(lane.dynamic, calls, tokensPerCall)
})

/** Takes a lane over into changed options, from a time on: what is in flight and what is used up stay so. */
export const reopen = (before: Config, config: Config, lane: Lane, at: number): Lane => {
  const old = refill(before, lane, at)
  const opened = open(config, lane.model, at, lane.provisioned)
  const fresh = filled(config, {
    ...opened,
    inFlight: old.inFlight,
    dynamic: config.dynamic && opened.dynamic && Dynamic.reopen(before.dynamic, config.dynamic, old.dynamic, at)
  })
  const [requests, tokens] = [carried(old.requests, fresh.requests), carried(old.tokens, fresh.tokens)]
  if (fresh.window === undefined) return { ...fresh, requests, tokens }
  const same = before.counting === config.counting && before.windowSeconds === config.windowSeconds
  return refill(
    config,
    same
      ? { ...fresh, window: old.window }
      : take(fresh, used(fresh.requests, requests), used(fresh.tokens, tokens)),
    at
  )
}

const carried = (old: number, fresh: number): number => Number.isFinite(old) ? Math.min(old, fresh) : fresh

const used = (full: number, level: number): number => full === level ? 0 : full - level

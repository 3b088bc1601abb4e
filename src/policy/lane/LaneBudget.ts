/**
 * What a lane takes from its limits of requests and of tokens, and gives back: debts at a rate, and mirrored buckets.
 *
 * ```
 * debt     one unit is owed per unit sent, time pays it off at the learned rate, the next leaves when it is paid
 * window   so many in so many seconds, where the provider counts so; a debt at three times its rate spreads them
 * mirror   the provider's bucket as best guessed; a debt at three times its rate keeps what it saved from a herd
 * ```
 *
 * A limit begins as a debt. Tokens are mirrored from the first refusal of tokens on, and requests from the first
 * refusal of requests after that. Before, the limit of requests can be learned from what was sent alone
 * (`AdaptiveRate`).
 */
import * as AdaptiveRate from "../rate/AdaptiveRate.ts"
import * as BucketMirror from "../mirror/BucketMirror.ts"
import * as Outage from "./LaneOutage.ts"
import { type Debt, defaults, type State, type Ticket } from "./LaneState.ts"
import * as Spacing from "./LaneSpacing.ts"
import * as Use from "./LaneUse.ts"
import * as WindowBounds from "../rate/WindowBounds.ts"
import * as Silence from "../Silence.ts"

const unpaid = (debt: Debt, rate: number, now: number): number =>
  rate === Infinity ? 0 : debt.units - Math.max(0, now - debt.at) * rate

/** Reads the debt now: time pays it off, and earns no credit but that of a late timer (`late`) and what was given back. */
const rebased = (debt: Debt, rate: number, now: number, late: boolean): number =>
  Math.max(
    Math.min(late ? -defaults.lag * Math.min(rate, 1e9) : 0, debt.units),
    unpaid(debt, rate, now)
  )

const pace = (rate: AdaptiveRate.State, mirror: BucketMirror.State | undefined): number =>
  mirror === undefined && rate.windows.known === undefined
    ? rate.rate
    : Math.min(rate.ceiling, surge(rate) * rate.rate)

/** Reads how many times the learned rate may be sent at: a window of a minute is used up in a tenth of it. */
const surge = ({ windows: { known } }: AdaptiveRate.State): number =>
  known === undefined ? defaults.surge : Math.max(defaults.surge, known.seconds / defaults.usedUp)

const requestPace = (state: State, now: number): number =>
  pace(state.requests, state.requestMirror) * Outage.ramp(state.outage, now)

const tokenPace = (state: State): number => pace(state.tokens, state.tokenMirror)

/**
 * Takes from what a cap of the user allows, or gives back, a second's worth at most. The cap counts everything that was
 * sent. `spare` are the seconds of unused cap that are made up for.
 */
const charged = (cap: Debt, ceiling: number, cost: number, now: number, spare: number = defaults.lag): Debt => {
  if (ceiling === Infinity) return cap
  const owed = Math.max(Math.min(-spare * ceiling, cap.units), unpaid(cap, ceiling, now))
  return { units: Math.max(-ceiling, owed + cost), at: now }
}

const capWait = (cap: Debt, ceiling: number, now: number): number =>
  ceiling === Infinity ? 0 : unpaid(cap, ceiling, now) / ceiling

/** Says whether only the cap of the user paces: two limits without any burst would add up. */
const isCapped = ({ ceiling, rate }: AdaptiveRate.State): boolean => rate >= ceiling && ceiling < Infinity

/** Reads the requests that are owed. */
export const requestsOwed = (state: State, now: number, late: boolean): number =>
  rebased(state.requestDebt, requestPace(state, now), now, late)

/** Reads the tokens that are owed. */
export const tokensOwed = (state: State, now: number, late: boolean): number =>
  rebased(state.tokenDebt, tokenPace(state), now, late)

/** Reads the seconds until the limit of requests has room. */
export const requestWait = (state: State, now: number): number => {
  const rate = requestPace(state, now)
  const paid = Math.max(
    isCapped(state.requests) ? 0 : unpaid(state.requestDebt, rate, now) / rate,
    capWait(state.requestCap, state.requests.ceiling, now)
  )
  const { windows: { known } } = state.requests
  if (state.requestMirror !== undefined) return Math.max(paid, mirrorWait(state.requestMirror, known, 1, now))
  if (known !== undefined) {
    const most = Math.max(1, Math.floor(state.requests.rate * known.seconds + 1e-6))
    return Math.max(paid, WindowBounds.wait(known, most, 1, now))
  }
  if (state.requests.failures.kept === undefined || isCapped(state.requests)) return paid
  const room = Math.max(returnable(state.requests), defaults.tick * rate)
  return Math.max(paid, (Spacing.owed(state.spacing, rate, now) - room) / rate)
}

/** Reads the seconds until a mirrored bucket has room, or a window that is known beside it; a probe asks for more of that, too. */
const mirrorWait = (
  mirror: BucketMirror.State,
  known: WindowBounds.Window | undefined,
  cost: number,
  now: number
): number =>
  known === undefined
    ? BucketMirror.wait(mirror, cost, now)
    : WindowBounds.wait(known, known.n * BucketMirror.excess(mirror), cost, now)

/** Reads the seconds until the limit of tokens has room for a call of `cost`. */
export const tokenWait = (state: State, cost: number, now: number): number => {
  if (!state.tokensPaced) return 0
  const rate = tokenPace(state)
  const owed = unpaid(state.tokenDebt, rate, now)
  const capped = capWait(state.tokenCap, state.tokens.ceiling, now)
  const { tokenMirror } = state
  if (tokenMirror === undefined) return Math.max(isCapped(state.tokens) ? 0 : owed / rate, capped)
  // a debt is no better proved than the rate that it is paid off at
  const paid = Math.min(owed / rate, BucketMirror.longest(tokenMirror, owed, now))
  return Math.max(paid, capped, mirrorWait(tokenMirror, state.tokens.windows.known, cost, now))
}

/**
 * Says whether an attempt felt a limit: it had to wait, or it went on what a timer gave that fired late.
 *
 * Timers are no finer than a millisecond: above a thousand per second one wait lets several attempts through.
 */
const felt = (held: boolean, heldAt: number, debt: Debt, now: number): boolean =>
  held || (debt.units < 0 && now - heldAt <= defaults.lag)

/** Reads the seconds of a cap that are made up for: more where the other limit held the attempt back, or both would add up. */
const spareWhere = (isOther: boolean): number => isOther ? defaults.capSpare : defaults.lag

/** Takes what an attempt needs from both limits. `held` names the one that it had to wait for. */
export const take = (
  state: State,
  tokens: number,
  held: { readonly requests: boolean; readonly tokens: boolean },
  late: { readonly requests: boolean; readonly tokens: boolean },
  now: number
): State => {
  const made = state.requestsOwed > 0 ? defaults.makeUp : 0
  const owed = state.resumed
    ? requestsOwed(state, now, late.requests)
    : Math.max(0, unpaid(state.requestDebt, requestPace(state, now), now))
  const { requestDebt, requestsHeldAt, tokenDebt, tokensHeldAt } = state
  return {
    ...state,
    requestsOwed: Math.max(0, state.requestsOwed - made),
    requestsHeldAt: held.requests ? now : requestsHeldAt,
    tokensHeldAt: held.tokens ? now : tokensHeldAt,
    requests: AdaptiveRate.send(state.requests, 1, felt(held.requests, requestsHeldAt, requestDebt, now), now),
    tokens: AdaptiveRate.send(state.tokens, tokens, felt(held.tokens, tokensHeldAt, tokenDebt, now), now),
    requestDebt: { units: owed + 1 - made, at: now },
    spacing: Spacing.send(state.spacing, state.next, 1 - made, requestPace(state, now), now),
    tokenDebt: { units: state.tokensPaced ? tokensOwed(state, now, late.tokens) + tokens : 0, at: now },
    requestCap: charged(state.requestCap, state.requests.ceiling, 1, now, spareWhere(late.tokens)),
    tokenCap: charged(state.tokenCap, state.tokens.ceiling, tokens, now, spareWhere(late.requests)),
    requestMirror: state.requestMirror && BucketMirror.send(state.requestMirror, state.next, 1, held.requests, now),
    tokenMirror: state.tokenMirror && BucketMirror.send(state.tokenMirror, state.next, tokens, held.tokens, now)
  }
}

/** Reads how many that were given back may be sent at once: no more than the bucket was seen to hold above one. */
const returnable = ({ bucket, failures, phase, rate }: AdaptiveRate.State): number => {
  const { burst, empty, holds, most, met, probes, single } = bucket
  if (failures.kept !== undefined && most < defaults.returned) return Math.max(0, holds - 1)
  const isMeasured = met.units > 0 || probes > 0 || single === "yes"
  if (empty === undefined || !isMeasured) return defaults.returned
  const paid = phase === "settle" ? 0 : rate * met.seconds
  const seen = Math.max(burst, met.units - paid, holds)
  return Math.min(defaults.returned, Math.max(0, seen - 1))
}

/** Reads the requests that the bucket saved in so many seconds in which nothing was sent: a mirror knows that itself. */
export const saved = (
  { requestMirror, requests }: Pick<State, "requestMirror" | "requests">,
  seconds: number
): number =>
  requests.phase === "hold" && requestMirror === undefined && requests.windows.known === undefined
    ? Math.max(0, Math.min(seconds * requests.rate, defaults.makeUpBurst * (requests.bucket.burst - 2)))
    : 0

/** Gives a request back that the provider did not count: the slot may be used at once. */
export const returnRequest = (state: State, ticket: Ticket, now: number): State =>
  placeBack(
    {
      ...state,
      requests: AdaptiveRate.withdraw(state.requests, 1, ticket.at),
      requestMirror: state.requestMirror && BucketMirror.credit(state.requestMirror, ticket.seq, 1, 1, now)
    },
    ticket,
    now
  )

/** Gives the place of a request back, as far as the bucket has room for it. */
const placeBack = (state: State, ticket: Ticket, now: number): State => ({
  ...state,
  spacing: Spacing.giveBack(state.spacing, ticket.seq, requestPace(state, now), now),
  requestDebt: {
    units: Math.max(-returnable(state.requests), rebased(state.requestDebt, requestPace(state, now), now, false) - 1),
    at: now
  }
})

/** Gives tokens back, or takes more where they are below 0. */
export const returnTokens = (state: State, ticket: Ticket, tokens: number, now: number): State => {
  if (tokens === 0) return state
  const { tokenMirror } = state
  const mirror = tokenMirror && BucketMirror.credit(tokenMirror, ticket.seq, ticket.tokens, tokens, now)
  return tokensBack(state, ticket, mirror, tokens, now)
}

/** Pays tokens back to what is owed; a second's worth of credit at the most. */
const tokensBack = (
  state: State,
  ticket: Ticket,
  tokenMirror: State["tokenMirror"],
  tokens: number,
  now: number
): State => ({
  ...state,
  tokens: tokenMirror === undefined
    ? AdaptiveRate.correct(state.tokens, -tokens)
    : AdaptiveRate.returned(state.tokens, ticket.at, ticket.tokens, tokens, now),
  tokenMirror,
  tokenDebt: state.tokensPaced ? repaid(state, tokens, now) : state.tokenDebt
})

const repaid = (state: State, tokens: number, now: number): Debt => {
  const debt = tokensOwed(state, now, false)
  return { units: Math.max(Math.min(debt, -tokenPace(state)), debt - tokens), at: now }
}

/** Gives all back that an attempt took that was never sent: also to the caps of the user. */
export const neverSent = (state: State, ticket: Ticket, now: number): State =>
  returnAll(
    {
      ...state,
      requestCap: charged(state.requestCap, state.requests.ceiling, -1, now),
      tokenCap: charged(state.tokenCap, state.tokens.ceiling, -ticket.tokens, now)
    },
    ticket,
    now
  )

/**
 * Learns what calls really use of what was estimated for them.
 *
 * A limit that was refused in units that proved far too small is forgotten, and met again.
 */
export const learned = (state: State, ticket: Ticket, tokens: number, now: number): State => {
  const use = Use.learn(state.use, ticket, tokens)
  const grown = use.scale / state.use.scale
  const { tokenMirror } = state
  const next: State = {
    ...state,
    use,
    meanTokens: state.meanTokens * grown,
    tokenMirror: tokenMirror && BucketMirror.blurred(tokenMirror, Use.deviation(use, state.count))
  }
  return grown >= Use.defaults.outgrown && tokenMirror !== undefined && state.tokens.traffic.refused > 0
    ? unlearned(next, now)
    : next
}

/** Begins anew with tokens, as before the first refusal. */
const unlearned = (state: State, now: number): State => {
  const { ceiling, told, traffic: { refused, sent } } = state.tokens
  const fresh = AdaptiveRate.make({ initial: ceiling, ceiling }, now)
  return {
    ...state,
    tokens: { ...fresh, told, cutAt: now, traffic: { ...fresh.traffic, refused, sent } },
    tokenMirror: undefined,
    tokensPaced: Number.isFinite(ceiling),
    tokenDebt: { units: 0, at: now }
  }
}

/** Corrects the tokens that an attempt took to what it really used; a second's worth of credit at the most. */
export const used = (state: State, ticket: Ticket, tokens: number, now: number): State => {
  const tokenCap = charged(state.tokenCap, state.tokens.ceiling, tokens - ticket.tokens, now)
  const counted = tokenCap === state.tokenCap ? state : { ...state, tokenCap }
  return returnTokens(counted, ticket, ticket.tokens - tokens, now)
}

/** Gives all back that an attempt took and the provider did not count. */
export const returnAll = (state: State, ticket: Ticket, now: number): State =>
  returnTokens(returnRequest(state, ticket, now), ticket, ticket.tokens, now)

/**
 * Gives all back that an attempt took that failed, unless that is used up. Of many that fail at once a few are sent again at
 * once, and others no faster than a few times the learned rate, so that an outage that begins with them is seen first; the
 * rest is made up for.
 */
export const fail = (before: State, ticket: Ticket, now: number): State => {
  const { areCounted } = before.requests.failures
  const { requestMirror, tokenMirror } = before
  const state: State = {
    ...before,
    requests: AdaptiveRate.failed(before.requests, 1, ticket.at),
    requestMirror: requestMirror && BucketMirror.fail(requestMirror, ticket.seq, 1, areCounted, now),
    tokenMirror: tokenMirror && BucketMirror.fail(tokenMirror, ticket.seq, ticket.tokens, areCounted, now)
  }
  if (areCounted) return state
  const returned = placeBack(tokensBack(state, ticket, state.tokenMirror, ticket.tokens, now), ticket, now)
  const units = Math.max(0, unpaid(state.resent, defaults.resentPace * state.requests.rate, now)) + 1
  return units <= defaults.resent
    ? { ...returned, resent: { units, at: now } }
    : { ...returned, requestDebt: state.requestDebt, requestsOwed: state.requestsOwed + 1 }
}

/** Takes what fails the other way from now on: the mirrors that always did are believed. */
export const swapped = (state: State): State => {
  const { beforeSuspicion, requests: { failures: before } } = state
  const failures = { ...before, score: 0, areCounted: !before.areCounted }
  const requests = { ...state.requests, failures }
  const requestMirror = state.requestMirror && BucketMirror.swapped(state.requestMirror)
  const tokenMirror = state.tokenMirror && BucketMirror.swapped(state.tokenMirror)
  return {
    ...state,
    requestMirror,
    tokenMirror,
    requests: followed(requests, requestMirror),
    tokens: followed(state.tokens, tokenMirror),
    // where a cap explains the refusals these come back, and the mirrors stay
    beforeSuspicion: beforeSuspicion && { ...beforeSuspicion, failures }
  }
}

/** Lets silence about what was sent teach the mirrors. */
export const advance = (state: State, now: number): State => {
  const silence = Silence.seconds(state.inFlight.refusalSeconds)
  const requestMirror = state.requestMirror && BucketMirror.advance(state.requestMirror, now, silence)
  const tokenMirror = state.tokenMirror && BucketMirror.advance(state.tokenMirror, now, silence)
  return requestMirror === state.requestMirror && tokenMirror === state.tokenMirror ? state : {
    ...state,
    requestMirror,
    tokenMirror,
    requests: followed(state.requests, requestMirror),
    tokens: followed(state.tokens, tokenMirror)
  }
}

/** Copies the rate of a mirror to where a rate is shown and saved. */
const followed = (rate: AdaptiveRate.State, mirror: BucketMirror.State | undefined): AdaptiveRate.State => {
  if (mirror === undefined) return rate
  const found = Math.min(rate.ceiling, Math.max(rate.lowest, rateFound(rate.windows, mirror)))
  return { ...rate, rate: found, limit: found }
}

/** Reads the rate that refusals showed: that of a window, where one is known, or else that of a mirror. */
export const rateFound = ({ known }: WindowBounds.State, mirror: BucketMirror.State): number =>
  known === undefined ? BucketMirror.rate(mirror) : known.n / known.seconds

/**
 * What a call may consume and cost, before and after it: for a route by its table, for a path by what is known about
 * it.
 *
 * | call | priced |
 * | --- | --- |
 * | of a route with `money` | by the route |
 * | by path, with `cost` | as stated; `"free"`: not at all |
 * | by path, `GET`, `HEAD` or `DELETE` | not at all |
 * | by path, with `estimate` | by tokens, at the price of its model |
 * | by path, `POST` to a priced route, a body that its schema accepts, fields that are `null` left out | by the route |
 * | by path, any other | unknown: a budget refuses it, or lets it pass uncounted (`unknownPrice` of `Credits`) |
 *
 * A call that is not priced at all is sent whatever the budgets and the account say.
 */
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { TokenEstimate } from "../domain/Call.ts"
import type { Usage } from "../domain/Usage.ts"
import * as Price from "../policy/Price.ts"
import * as Address from "./transport/Address.ts"
import { issueOf, recognizing } from "./AnswerDecoder.ts"
import { promptsOf } from "./redact/Redact.ts"
import * as Routes from "./Routes.ts"
import type { Exchange } from "./transport/Transport.ts"

/** Prices one call. */
export interface Pricing {
  readonly before: (estimate: TokenEstimate, options?: Price.Options) => Price.Estimate
  readonly after: (usage: Usage | undefined) => Price.Cost
}

/** Says what one call may take; without `pricing` it is free. */
export interface Known {
  readonly model: string
  readonly estimate: TokenEstimate
  readonly pricing: Pricing | undefined
}

/** Says what a caller tells of a call by path. */
export interface Stated {
  readonly model?: string | undefined
  readonly estimate?: TokenEstimate | undefined
  readonly cost?: Price.Estimate | "free" | undefined
}

/** Requests with these methods are free of charge. A PUT can be repeated safely too, but may cost something. */
const freeMethods: ReadonlySet<HttpMethod.HttpMethod> = new Set<HttpMethod.HttpMethod>(["GET", "HEAD", "DELETE"])

const priced = <Req>(
  { after, before }: NonNullable<Routes.Route<Req, unknown>["money"]>,
  request: Req,
  model: string,
  prices: Price.Lookup
): Pricing => ({
  before: (estimate, options) => before(prices(model), request, estimate, options),
  after: (usage) => after(prices(model), request, usage)
})

/** Says what a call of a route may take. */
export const ofRoute = <Req>(route: Routes.Priced<Req>, request: Req, prices: Price.Lookup): Known => {
  const model = route.model(request)
  return {
    model,
    estimate: route.estimate(request),
    pricing: route.money && priced(route.money, request, model, prices)
  }
}

const stated = (cost: Price.Estimate): Pricing => ({
  before: () => cost,
  after: () =>
    cost._tag === "Unknown"
      ? cost
      : cost.low === cost.high
      ? Price.known(cost.high)
      : Price.unknown("the stated cost is a range")
})

type Reader = (body: unknown, prices: Price.Lookup) => Result.Result<Known, Schema.SchemaError>

/** Together treats `null` like an absent field. */
const withoutNulls = (body: unknown): unknown =>
  typeof body === "object" && body !== null && Object.values(body).includes(null)
    ? Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
    : body

const readerOf = <Req>(route: Routes.Priced<Req>): Reader => {
  const check = recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
  return (body, prices) => Result.map(check(withoutNulls(body)), (request) => ofRoute(route, request, prices))
}

const reading = <Req>(route: Routes.Priced<Req>) => [route.path, readerOf(route)] as const

const { chat, completions, embeddings, images, rerank } = Routes.inference

const readers: ReadonlyMap<string, Reader> = new Map([
  reading(chat),
  reading(completions),
  reading(embeddings),
  reading(rerank),
  reading(images),
  reading(Routes.speech)
])

/** The unknown cost of a call by path whose body does not tell it, with what its route finds wrong with the body. */
const untold = (operation: string, body: unknown, read: ReturnType<Reader> | undefined): Pricing => {
  const cost = () => {
    const unknown = `what ${operation} costs is not known before`
    if (read === undefined || Result.isSuccess(read)) return Price.unknown(unknown)
    return Price.unknown(`${unknown}: its body does not fit: ${issueOf(read.failure, { prompts: promptsOf(body) })}`)
  }
  return { before: cost, after: cost }
}

/** Says what a call by path may take. */
export const ofPath = (
  { json, method, operation, path }: Pick<Exchange, "json" | "method" | "operation" | "path">,
  told: Stated,
  prices: Price.Lookup,
  base: Address.Base
): Known => {
  const route = method === "POST" && json !== undefined ? readers.get(Address.below(base, path) ?? "") : undefined
  const read = route?.(json, prices)
  const own = read === undefined || Result.isFailure(read) ? undefined : read.success
  const model = told.model ?? own?.model ?? ""
  const estimate = told.estimate ?? own?.estimate ?? Routes.nothing
  const known = (pricing: Pricing | undefined): Known => ({ model, estimate, pricing })
  if (told.cost !== undefined) return known(told.cost === "free" ? undefined : stated(told.cost))
  if (freeMethods.has(method)) return known(undefined)
  if (told.estimate !== undefined) return known(priced(Routes.byTokens, { model }, model, prices))
  return known(own?.pricing ?? untold(operation, json, read))
}

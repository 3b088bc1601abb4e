/**
 * What a call may consume and cost, before and after it: of a route by its table, of a path by what is known of it.
 *
 * | call | priced |
 * | --- | --- |
 * | of a route with `money` | by the route |
 * | by path, with `cost` | as stated; `"free"`: not at all |
 * | by path, `GET`, `HEAD` or `DELETE` | not at all |
 * | by path, with `estimate` | by tokens, at the price of its model |
 * | by path, `POST` to a priced route, a body that its schema accepts | by the route |
 * | by path, any other | unknown: a budget refuses it, or lets it pass uncounted (`unknownPrice` of `Credits`) |
 *
 * What is not priced at all is sent whatever the budgets and the account say.
 */
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Estimate } from "../domain/Call.ts"
import type { Usage } from "../domain/Usage.ts"
import * as Price from "../policy/Price.ts"
import { recognizing } from "./AnswerDecoder.ts"
import * as Routes from "./Routes.ts"
import type { Exchange } from "./Transport.ts"

/** Prices one call. */
export interface Pricing {
  readonly before: (estimate: Estimate, options?: Price.Options) => Price.Estimate
  readonly after: (usage: Usage | undefined) => Price.Cost
}

/** Says what one call may take; without `pricing` it is free. */
export interface Known {
  readonly model: string
  readonly estimate: Estimate
  readonly pricing: Pricing | undefined
}

/** Says what a caller tells of a call by path. */
export interface Stated {
  readonly model?: string | undefined
  readonly estimate?: Estimate | undefined
  readonly cost?: Price.Estimate | "free" | undefined
}

const safe: ReadonlySet<HttpMethod.HttpMethod> = new Set<HttpMethod.HttpMethod>(["GET", "HEAD", "DELETE"])

/** Says what a call of a route may take. */
export const ofRoute = <Req>(route: Routes.Route<Req, unknown>, request: Req, prices: Price.Lookup): Known => {
  const { money } = route
  const model = route.model(request)
  return {
    model,
    estimate: route.estimate(request),
    pricing: money === undefined ? undefined : {
      before: (estimate, options) => money.before(prices(model), request, estimate, options),
      after: (usage) => money.after(prices(model), request, usage)
    }
  }
}

const ofTokens = (model: string, prices: Price.Lookup): Pricing => ({
  before: (estimate, options) => Price.ofCall(prices(model), model, estimate, options),
  after: (usage) => Price.ofUsage(prices(model), model, usage)
})

const stated = (cost: Price.Estimate): Pricing => ({
  before: () => cost,
  after: () =>
    cost._tag === "Unknown"
      ? cost
      : cost.low === cost.high
      ? Price.known(cost.high)
      : Price.unknown("the stated cost is a range")
})

type Reader = (body: unknown, prices: Price.Lookup) => Known | undefined

const readerOf = <Req>(route: Routes.Route<Req, unknown>): Reader => {
  const check = recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
  return (body, prices) => {
    const checked = check(body)
    return Result.isFailure(checked) ? undefined : ofRoute(route, checked.success, prices)
  }
}

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [Routes.chat.path, readerOf(Routes.chat)],
  [Routes.completions.path, readerOf(Routes.completions)],
  [Routes.embeddings.path, readerOf(Routes.embeddings)],
  [Routes.rerank.path, readerOf(Routes.rerank)],
  [Routes.images.path, readerOf(Routes.images)]
])

/** Reads a path as the routes write theirs: below the base URL, without a query. */
const below = (path: string): string => {
  const { pathname } = new URL(path, "https://x/")
  return pathname.replace(/^\/v1(?=\/)/, "").replace(/\/$/, "")
}

/** Says what a call by path may take. */
export const ofPath = (
  { json, method, operation, path }: Pick<Exchange, "json" | "method" | "operation" | "path">,
  told: Stated,
  prices: Price.Lookup
): Known => {
  const own = method === "POST" && json !== undefined && URL.canParse(path, "https://x/")
    ? readers.get(below(path))?.(json, prices)
    : undefined
  const model = told.model ?? own?.model ?? ""
  const estimate = told.estimate ?? own?.estimate ?? Routes.nothing
  const known = (pricing: Pricing | undefined): Known => ({ model, estimate, pricing })
  if (told.cost !== undefined) return known(told.cost === "free" ? undefined : stated(told.cost))
  if (safe.has(method)) return known(undefined)
  if (told.estimate !== undefined) return known(ofTokens(model, prices))
  return known(own?.pricing ?? stated(Price.unknown(`what ${operation} costs is not known before`)))
}

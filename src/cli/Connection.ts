/**
 * What a command talks to: Together over Undici, or an emulator of its own on the loopback.
 *
 * One place wires the stack: transport, counting of attempts, lanes, credits, client.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { createServer, type Server } from "node:http"
import { InvalidRequestError } from "../domain/TogetherError.ts"
import * as Credits from "../guard/credits/Credits.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Report from "../job/Report.ts"
import * as SteadyClock from "../job/SteadyClock.ts"
import * as Budget from "../policy/Budget.ts"
import type * as Price from "../policy/Price.ts"
import * as Emulator from "../testing/Emulator.ts"
import type * as Simulation from "../testing/Simulation.ts"
import * as Together from "../together/Together.ts"
import * as UndiciHttpClient from "../together/transport/UndiciHttpClient.ts"
import * as Host from "./Host.ts"
import * as Proxy from "./Proxy.ts"

/** Says what to talk to and how. */
export interface Options {
  /** Default: `TOGETHER_BASE_URL`, else Together's own. */
  readonly baseUrl?: string | undefined
  /** Starts an emulator and talks to it. */
  readonly emulator?: { readonly options: Simulation.Options; readonly seed: number } | undefined
  readonly lanes?: Lanes.Options | undefined
  /** Nano-dollars that may be spent; at 0 and below, only calls that cost nothing are admitted. */
  readonly maxCost?: bigint | undefined
  readonly onCredits?: "stop" | "wait" | undefined
  /** What models cost, for the budget. Default: the shipped table. */
  readonly prices?: Price.Lookup | undefined
  /** Where attempts are counted. */
  readonly report?: Report.Report | undefined
}

/** Tells whether a request reads the catalogue of models, and so answers no row. */
const ofCatalogue = ({ method, url }: HttpClientRequest.HttpClientRequest): boolean =>
  method === "GET" && /\/models(\?|$)/.test(url)

/**
 * Counts each attempt of a client in a report, by its status, except requests of the catalogue, which answer no row.
 */
export const counted = (report: Report.Report) => (client: HttpClient.HttpClient): HttpClient.HttpClient => {
  let clock: SteadyClock.SteadyClock | undefined
  return HttpClient.transform(
    client,
    (effect, request) =>
      ofCatalogue(request) ? effect : Effect.clockWith((source) => {
        const now = clock ??= SteadyClock.from(source)
        const seen = (status: number) => Report.attempt(report, now(), { status })
        return Effect.tapError(
          Effect.tap(effect, (response) => Effect.sync(() => seen(response.status))),
          () => Effect.sync(() => seen(0))
        )
      })
  )
}

/** Says how an emulator is served. */
export interface Served {
  readonly options: Simulation.Options
  readonly seed: number
  /** Default: any free one. */
  readonly port?: number | undefined
  /** Default: the loopback. */
  readonly host?: string | undefined
  readonly scale?: number | undefined
  /** Default: a new server. */
  readonly server?: (() => Server) | undefined
}

/** Serves an emulator. */
export const emulatorServer = (served: Served) =>
  Emulator.layer({ options: served.options, seed: served.seed, scale: served.scale }).pipe(
    Layer.provideMerge(
      NodeHttpServer.layerServer(served.server ?? (() => createServer({ keepAliveTimeout: 60_000 })), {
        port: served.port ?? 0,
        host: served.host ?? "127.0.0.1"
      })
    )
  )

/** Reads the base URL of a server that is bound to a port. */
export const addressOf = (server: HttpServer.HttpServer["Service"]): string =>
  `${HttpServer.formatAddress(server.address).replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//127.0.0.1")}/v1`

/**
 * Provides the bare transport to an address, through the proxy that the environment names; to this machine, directly.
 */
export const plain = (baseUrl: string = Together.defaults.baseUrl) =>
  UndiciHttpClient.layerEffect(
    Effect.acquireRelease(
      Effect.flatMap(Host.Host, ({ env }) => {
        const proxies = Proxy.isLocal(baseUrl) ? undefined : Proxy.of(env)
        const refusal = proxies && Proxy.refusal(proxies)
        return refusal === undefined
          ? Effect.promise(() => import("./UndiciAgent.ts").then(({ make }) => make(proxies)))
          : Effect.die(refusal)
      }),
      (agent) => Effect.promise(() => agent.destroy())
    )
  )

const transport = (report: Report.Report | undefined, baseUrl: string | undefined) =>
  report === undefined
    ? plain(baseUrl)
    : Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, counted(report))).pipe(
      Layer.provide(plain(baseUrl))
    )

/** Names the budget of a run whose money earlier runs have spent. */
export const spentBudget = "run, all of it spent before"

/** Makes the budget of a run. If nothing is left, it is the smallest possible, which admits calls that cost nothing. */
const budgetOf = (maxCost: bigint): Budget.Budget =>
  maxCost > 0n ? Budget.perRun(maxCost) : Budget.make({ name: spentBudget, limit: 1n, per: ["run"] })

const guards = (options: Options) =>
  Layer.merge(
    Lanes.layer(options.lanes),
    Credits.layer({
      ...(options.maxCost === undefined ? {} : { budgets: [budgetOf(options.maxCost)] }),
      whenSuspended: options.onCredits === "wait" ? "wait" : "fail"
    })
  )

/**
 * Checks key and address as {@link layer} does, before anything is made for a run.
 *
 * **Errors**: those of {@link layer}.
 */
export const check = (options: Pick<Options, "baseUrl" | "emulator">) =>
  options.emulator === undefined
    ? Effect.mapError(Effect.scoped(Effect.asVoid(Layer.build(layer(options)))), ofCommand)
    : Effect.void

/** Names the flag of the command in place of the client's option. */
const ofCommand = <E extends { readonly _tag: string }>(error: E): E | InvalidRequestError =>
  error instanceof InvalidRequestError
    ? new InvalidRequestError({
      message: error.message.replace("TOGETHER_BASE_URL or baseUrl", "--base-url or TOGETHER_BASE_URL")
    })
    : error

/** Provides the client and its guards. */
export const layer = (
  options: Options
): Layer.Layer<
  Together.Together | Lanes.Lanes | Credits.Credits,
  Together.LayerError | Config.ConfigError | HttpServerError.ServeError,
  Host.Host
> => {
  const client = (
    address: Effect.Effect<
      { readonly apiKey: Redacted.Redacted; readonly baseUrl: string | undefined },
      Config.ConfigError
    >,
    asked: string | undefined
  ) =>
    Layer.unwrap(
      Effect.map(address, ({ apiKey, baseUrl }) =>
        Together.layerHttp({
          apiKey,
          baseUrl,
          prices: options.prices,
          priority: "bulk"
        }))
    ).pipe(Layer.provide(transport(options.report, asked)), Layer.provideMerge(guards(options)))
  if (options.emulator === undefined) {
    return client(
      Effect.gen(function*() {
        const apiKey = yield* Config.Redacted("TOGETHER_API_KEY").pipe(Config.option)
        return { apiKey: Option.getOrElse(apiKey, () => Redacted.make("")), baseUrl: options.baseUrl }
      }),
      options.baseUrl
    )
  }
  return Layer.unwrap(
    Effect.map(
      HttpServer.HttpServer,
      (server) => {
        const baseUrl = addressOf(server)
        return client(Effect.succeed({ apiKey: Redacted.make("emulator"), baseUrl }), baseUrl)
      }
    )
  ).pipe(Layer.provide(emulatorServer(options.emulator)))
}

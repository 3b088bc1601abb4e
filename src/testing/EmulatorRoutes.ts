/**
 * Every path of the emulator, and what a request passes on its way.
 *
 * A path is matched below its version (`/v1`, `/v2`); the emulator's own paths
 * stand at the root. Requests of inference endpoints are checked by the simulation; every other one meets outages,
 * faults and the check of its key first.
 */
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Admin from "./EmulatorAdmin.ts"
import * as Batches from "./EmulatorBatches.ts"
import * as Exchange from "./EmulatorExchange.ts"
import * as Files from "./EmulatorFiles.ts"
import * as Inference from "./EmulatorInference.ts"
import * as Jobs from "./EmulatorJobs.ts"
import * as Lists from "./EmulatorLists.ts"
import type { World } from "./EmulatorWorld.ts"
import * as Simulation from "./Simulation.ts"

/** Describes one endpoint. */
export interface Route {
  readonly method: string
  /** Below the version; parameters as `:id`. Paths of the emulator itself begin with `/__emulator`. */
  readonly path: string
  /** `model`: the simulation checks everything; `account`: key, outages and faults; `none`: nothing. */
  readonly checks: "model" | "account" | "none"
  readonly handler: Exchange.Handler
}

const route = (checks: Route["checks"]) => (method: string, path: string, handler: Exchange.Handler): Route => ({
  method,
  path,
  checks,
  handler
})

const model = route("model")
const account = route("account")
const open = route("none")

/** Lists every endpoint that the emulator serves; of two that match a path, the first does. */
export const routes: ReadonlyArray<Route> = [
  model("POST", "/chat/completions", Inference.serve("chat")),
  model("POST", "/completions", Inference.serve("completions")),
  model("POST", "/embeddings", Inference.serve("embeddings")),
  model("POST", "/rerank", Inference.serve("rerank")),
  model("POST", "/images/generations", Inference.serve("images")),
  model("POST", "/audio/speech", Inference.speech),
  model("POST", "/audio/transcriptions", Inference.transcribe("transcriptions")),
  model("POST", "/audio/translations", Inference.transcribe("translations")),
  account("GET", "/models", Lists.models),
  account("GET", "/whoami", Lists.whoami),
  account("GET", "/files", Files.list),
  account("POST", "/files", Files.begin),
  account("POST", "/files/upload", Files.upload),
  account("GET", "/files/:id", Files.retrieve),
  account("DELETE", "/files/:id", Files.remove),
  account("GET", "/files/:id/content", Files.content),
  account("POST", "/files/:id/preprocess", Files.retrieve),
  account("POST", "/batches", Batches.create),
  account("GET", "/batches", Batches.list),
  account("GET", "/batches/:id", Batches.retrieve),
  account("POST", "/batches/:id/cancel", Batches.cancel),
  account("POST", "/fine-tunes", Jobs.create("fine-tune")),
  account("GET", "/fine-tunes", Jobs.fineTunes),
  account("POST", "/fine-tunes/estimate-price", Jobs.estimatePrice),
  account("GET", "/fine-tunes/models/supported", Lists.fineTuneModels),
  account("GET", "/fine-tunes/models/limits", Lists.fineTuneLimits),
  account("GET", "/fine-tunes/:id", Jobs.retrieve("fine-tune")),
  account("DELETE", "/fine-tunes/:id", Jobs.remove),
  account("POST", "/fine-tunes/:id/cancel", Jobs.cancel),
  account("GET", "/fine-tunes/:id/events", Jobs.listEvents),
  account("GET", "/fine-tunes/:id/checkpoints", Jobs.checkpoints),
  account("GET", "/fine-tunes/:id/metrics", Jobs.metrics),
  account("GET", "/finetune/download", Jobs.download),
  account("POST", "/evaluation", Jobs.create("evaluation")),
  account("GET", "/evaluation", Jobs.evaluations),
  account("GET", "/evaluation/model-list", Lists.evaluationModels),
  account("GET", "/evaluation/:id", Jobs.retrieve("evaluation")),
  account("GET", "/evaluation/:id/status", Jobs.evaluationStatus),
  account("POST", "/videos", Jobs.create("video")),
  account("GET", "/videos/:id", Jobs.retrieve("video")),
  open("PUT", "/__emulator/upload/:id", Files.put),
  open("GET", "/__emulator/state", Admin.state),
  open("GET", "/__emulator/tags", Admin.tags),
  open("GET", "/__emulator/options", Admin.options),
  open("PATCH", "/__emulator/options", Admin.configure),
  open("PUT", "/__emulator/limits", Admin.limits),
  open("PUT", "/__emulator/faults", Admin.faults),
  open("POST", "/__emulator/credits", Admin.credits),
  open("PUT", "/__emulator/scale", Admin.scale),
  open("POST", "/__emulator/reset", Admin.reset)
]

interface Match {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

const patterns = routes.map((route) => ({ route, segments: route.path.split("/") }))

const decoded = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

const matched = (pattern: ReadonlyArray<string>, path: ReadonlyArray<string>): Record<string, string> | undefined => {
  if (pattern.length !== path.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, segment] of pattern.entries()) {
    const value = path[index] ?? ""
    if (segment.startsWith(":")) params[segment.slice(1)] = decoded(value)
    else if (segment !== value) return undefined
  }
  return params
}

const find = (method: string, path: string): Match | undefined => {
  const segments = path.split("/")
  for (const { route, segments: pattern } of patterns) {
    if (route.method !== method) continue
    const params = matched(pattern, segments)
    if (params !== undefined) return { route, params }
  }
  return undefined
}

const version = /^\/v\d+(?=\/)/

/** Splits a URL or its path into the path below its version and its query. */
const split = (url: string): readonly [path: string, query: string] => {
  const begin = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("//") + 2)
  const rest = begin === -1 ? "/" : url.slice(begin)
  const mark = rest.indexOf("?")
  const path = mark === -1 ? rest : rest.slice(0, mark)
  const trimmed = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path
  // only the emulator's own paths have no version
  const below = trimmed.startsWith("/__emulator/") ? trimmed : version.test(trimmed) ? trimmed.replace(version, "") : ""
  return [below, mark === -1 ? "" : rest.slice(mark + 1)]
}

const bearer = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : /^bearer\s+(\S+)$/i.exec(authorization)?.[1]

/** Answers one request. */
const handle = (world: World, request: HttpServerRequest): Exchange.Outcome => {
  const [path, query] = split(request.url)
  const match = find(request.method, path)
  const key = bearer(request.headers["authorization"])
  if (match === undefined) {
    return Effect.succeed(
      Exchange.failure(404, `Invalid endpoint: ${request.method} ${request.url.replace(/\?.*$/, "")}`, {
        code: "not_found"
      })
    )
  }
  const exchange: Exchange.Exchange = {
    world,
    request,
    params: match.params,
    query: new URLSearchParams(query),
    key,
    org: Simulation.organization(world.run.state().config, key) ?? "default"
  }
  const { checks, handler } = match.route
  const operation = `${match.route.method} ${match.route.path}`
  const answered = checks === "account"
    ? Exchange.visit(
      exchange,
      { operation, promptHash: Simulation.hash(`${operation} ${request.url}`) },
      () => handler(exchange)
    )
    : handler(exchange)
  return Effect.andThen(world.settle, answered)
}

/** Makes the application over a world: an answer to the request in the context, or a connection that breaks. */
export const app = (world: World): Effect.Effect<HttpServerResponse, Exchange.Drop, HttpServerRequest> =>
  HttpServerRequest.use((request) => handle(world, request))

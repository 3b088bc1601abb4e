/**
 * One request at the emulator, and the words in which it is answered.
 *
 * Handlers answer with Effect's own `HttpServerResponse`, so that the same
 * handlers serve a port (Emulator) and a program in process
 * (SimulatedProvider). A connection that breaks before its answer is the typed
 * failure `Drop`; what it becomes is the transport's matter.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as ProviderError from "./internal/providerError.ts"
import * as JsonText from "./internal/jsonText.ts"
import * as Simulation from "./Simulation.ts"
import * as Text from "./SimulationText.ts"
import type { Denial } from "./SimulationReply.ts"
import type { Run } from "./SimulationRun.ts"
import type { World } from "./EmulatorWorld.ts"

/** Says that the connection breaks instead of an answer, or in the middle of one. */
export class Drop extends Data.TaggedError("Drop")<{
  readonly kind: "refused" | "reset"
  /** As the operating system names it: `ECONNREFUSED`, `ECONNRESET`. */
  readonly code: string
  readonly message: string
}> {
  static readonly refused = new Drop({
    kind: "refused",
    code: "ECONNREFUSED",
    message: "connect ECONNREFUSED (simulated)"
  })
  static readonly reset = new Drop({ kind: "reset", code: "ECONNRESET", message: "read ECONNRESET (simulated)" })
}

/** Describes one request that was let in and whose path is known. */
export interface Exchange {
  readonly world: World
  readonly request: HttpServerRequest
  /** The values of the path's parameters. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly key: string | undefined
  /** Whose key it is; `default` for paths that need none. */
  readonly org: string
}

/** Ends as an answer, or as a broken connection. */
export type Outcome = Effect.Effect<HttpServerResponse.HttpServerResponse, Drop>

/** Answers a request. */
export type Handler = (exchange: Exchange) => Outcome

/** Answers with JSON. */
export const json = (
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(JSON.stringify(value), { status, headers, contentType: "application/json" })

/** Answers with an error in the usual shape. */
export const failure = (
  status: number,
  message: string,
  error?: Omit<ProviderError.Description, "message">
): HttpServerResponse.HttpServerResponse => json({ error: ProviderError.make({ message, ...error }) }, status)

/** Answers with an error as the batch endpoints write it: a flat string. */
export const flatFailure = (status: number, message: string): HttpServerResponse.HttpServerResponse =>
  json({ error: message }, status)

/** Turns a refusal into a response or a broken connection, once its time has come. */
export const refusal = (run: Run, reply: Denial, arrivedAt: number): Outcome =>
  Effect.flatMap(run.sleepUntil(arrivedAt + reply.latencySeconds), () =>
    reply._tag === "Dropped"
      ? Effect.fail(reply.kind === "refused" ? Drop.refused : Drop.reset)
      : Effect.succeed(
        HttpServerResponse.text(reply.body, {
          status: reply.status,
          headers: reply.headers,
          contentType: reply.contentType
        })
      ))

/** Answers a request that calls no model, unless the simulation denies it. */
export const visit = (
  { key, world: { run } }: Exchange,
  request: { readonly operation: string; readonly promptHash: number },
  answer: (state: Simulation.State) => Outcome
): Outcome =>
  Effect.flatMap(
    run.modify((state, at) => {
      const [reply, next] = Simulation.visit(state, { ...request, at, key })
      return [{ reply, next }, next]
    }),
    ({ next, reply }) => reply === undefined ? answer(next) : refusal(run, reply, next.now)
  )

const textOf = (request: HttpServerRequest) => Effect.mapError(request.text, () => Drop.reset)

/** Reads the JSON body of a request, or gives nothing if it is not JSON or is deeper than 500 levels. */
export const body = (request: HttpServerRequest): Effect.Effect<Option.Option<unknown>, Drop> =>
  Effect.map(textOf(request), JsonText.read)

/** Reads a text as the JSON of an object, or gives nothing where it is none. */
export const fieldsOf = (text: string): Text.Fields | undefined =>
  Text.fields(Option.getOrUndefined(JsonText.read(text)))

/** Reads the JSON body of a request as an object, or gives nothing where it is none. */
export const fields = (request: HttpServerRequest): Effect.Effect<Text.Fields | undefined, Drop> =>
  Effect.map(textOf(request), fieldsOf)

/** Reads a multipart form, a file in it as its bytes, or gives nothing for a body of another kind. */
export const form = (
  request: HttpServerRequest
): Effect.Effect<ReadonlyMap<string, string | Uint8Array> | undefined> =>
  request.multipartStream.pipe(
    Stream.mapEffect((part) =>
      Effect.map(
        part._tag === "Field" ? Effect.succeed<string | Uint8Array>(part.value) : part.contentEffect,
        (value) => [part.key, value] as const
      )
    ),
    Stream.runCollect,
    Effect.map((parts): ReadonlyMap<string, string | Uint8Array> | undefined => new Map(parts)),
    Effect.orElseSucceed(() => undefined)
  )

/** Writes epoch seconds as a date. */
export const iso = (epoch: number): string => new Date(epoch * 1000).toISOString()

/** Answers with bytes. */
export const binary = (bytes: Uint8Array): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.uint8Array(bytes, { contentType: "application/octet-stream" })

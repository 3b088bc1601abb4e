/**
 * The simulation in process: an Effect `HttpClient` with a simulated provider behind it, on the `Clock` service.
 *
 * ```text
 * Together ─► HttpClient ─► SimulatedProvider ─► SimulationRun ─► Simulation (pure)
 * ```
 *
 * It serves what the Emulator serves, without a socket: the same paths, bodies,
 * streams and faults. Every wait is a sleep on `Clock`, so inside `TestClock` or
 * `VirtualClock` an hour of limits passes at once. A program that interrupts a
 * call, or gives up a stream, cancels it at the provider.
 *
 * ```ts
 * import { SimulatedProvider, VirtualClock } from "effect-together/testing"
 * import { Effect } from "effect"
 * import { HttpClient, HttpClientRequest } from "effect/http"
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* HttpClient.HttpClient
 *   const request = HttpClientRequest.get("https://api.together.ai/v1/models").pipe(
 *     HttpClientRequest.bearerToken("key")
 *   )
 *   const response = yield* client.execute(request)
 *   return response.status
 * })
 *
 * const { exit } = await Effect.runPromise(VirtualClock.run(program.pipe(Effect.provide(SimulatedProvider.layer()))))
 * console.log(exit._tag === "Success" && exit.value) // => 200
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Routes from "./EmulatorRoutes.ts"
import * as World from "./EmulatorWorld.ts"
import * as Simulation from "./Simulation.ts"
import { nano } from "./SimulationCredit.ts"
import * as Request from "./SimulationRequest.ts"
import * as Text from "./SimulationText.ts"

/** Gives access to the provider behind the client. */
export interface Control {
  /** Reads the simulation as of its last event: a request, or the end of a batch. */
  readonly state: Effect.Effect<Simulation.State>
  /** Reads the simulation's time, in seconds since its first request. */
  readonly now: Effect.Effect<number>
  /** Reads the counters as of now: what has ended until now is counted, batches too. */
  readonly counters: Effect.Effect<Simulation.Counters>
  /** Changes options from now on; `null` brings a default back. */
  readonly configure: (options: Simulation.Changes) => Effect.Effect<void>
  /** Orders a purchase of credits. */
  readonly topUp: (usd: number, org?: string) => Effect.Effect<void>
  /** Sets a balance at once. */
  readonly setBalance: (usd: number, org?: string) => Effect.Effect<void>
  /** Changes the simulation at its present time in any way. */
  readonly update: (f: (state: Simulation.State, at: number) => Simulation.State) => Effect.Effect<void>
}

/** Stands for Together in a program under test. */
export class SimulatedProvider extends Context.Service<SimulatedProvider, Control>()(
  "effect-together/testing/SimulatedProvider"
) {}

/**
 * Tells the first token of the answer to a chat or completion request, which shows whether an answer belongs to its
 * question.
 *
 * **Details**: it is the same for a request streamed or not, with any options, at every try and in a batch, and absent
 * for a body that the provider would refuse. An answer in the form of JSON has it as its strings.
 */
export const mark = (operation: "chat" | "completions", body: unknown): string | undefined => {
  const read = Request.read(operation, body)
  return Request.isInvalid(read) ? undefined : Text.mark(read.call.promptHash)
}

const transportError = (
  request: HttpClientRequest.HttpClientRequest,
  cause: unknown
): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, cause, description: "simulated" })
  })

const clientOf = (world: World.World): HttpClient.HttpClient => {
  const app = Routes.app(world)
  return HttpClient.make((
    request
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
    app.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromClientRequest(request)),
      Effect.mapBoth({
        onFailure: (drop) => transportError(request, drop),
        onSuccess: (response) => HttpServerResponse.toClientResponse(response, { request })
      })
    )
  )
}

const controlOf = ({ run, settle }: World.World): Control => ({
  state: Effect.andThen(settle, Effect.sync(run.state)),
  now: run.now,
  counters: run.modify((state, at) => {
    const next = Simulation.advance(state, at)
    return [next.counters, next]
  }),
  configure: (options) => run.update((state, at) => Simulation.configure(state, options, at)),
  topUp: (usd, org = "default") => run.update((state, at) => Simulation.topUp(state, org, nano(usd), at)),
  setBalance: (usd, org = "default") => run.update((state, at) => Simulation.setBalance(state, org, nano(usd), at)),
  update: run.update
})

/**
 * Makes a provider and a client that reaches it.
 *
 * **Errors**: throws a `RangeError` for options that `Simulation.make` refuses.
 */
export const make = (
  options: Simulation.Options = {},
  seed = 1
): { readonly client: HttpClient.HttpClient; readonly control: Control } => {
  const world = World.make(options, seed, 1)
  return { client: clientOf(world), control: controlOf(world) }
}

/**
 * Provides an `HttpClient` that reaches a new provider, and access to that provider.
 *
 * **Errors**: dies with a `RangeError` for options that `Simulation.make` refuses.
 */
export const layer = (
  options: Simulation.Options = {},
  seed = 1
): Layer.Layer<HttpClient.HttpClient | SimulatedProvider> =>
  Layer.unwrap(Effect.sync(() => {
    const { client, control } = make(options, seed)
    return Layer.merge(Layer.succeed(HttpClient.HttpClient, client), Layer.succeed(SimulatedProvider, control))
  }))

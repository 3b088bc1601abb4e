/**
 * The simulation behind a port: a provider on your machine that any SDK in any language can call.
 *
 * ```text
 * SDK ─ HTTP ─► HttpServer ─► Emulator ─► SimulationRun ─► Simulation (pure)
 *                                 └─► files, batches, fine-tunes, evaluations, videos (in memory)
 * ```
 *
 * It serves every endpoint the client has and a few more, with state and
 * deterministic ids, streams with backpressure, and cancels what a client
 * leaves. Under `/__emulator/` it shows its counters and takes new limits,
 * credits and faults. What it limits and how it fails is the simulation's: see
 * docs/simulation.md. How to point SDKs at it: docs/emulator.md.
 *
 * Needs any `HttpServer`; on Node that of `@effect/platform-node`:
 *
 * ```ts
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Emulator } from "effect-together/testing"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * export const server = Emulator.layer({ options: { limits: { requestsPerSecond: 5 } }, seed: 42 }).pipe(
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 8787 }))
 * )
 * ```
 *
 * **Gotchas**: the fault `refused` cannot refuse a connection that is already made: over a port it resets it, as
 * `reset` does. If the server does not expose its sockets (any but Node's), a connection that should break before its
 * answer gets a 502.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpServer from "effect/http/HttpServer"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type { Drop } from "./EmulatorExchange.ts"
import { drained } from "./internal/drained.ts"
import * as Routes from "./EmulatorRoutes.ts"
import * as World from "./EmulatorWorld.ts"
import type * as Simulation from "./Simulation.ts"

export { type Route, routes } from "./EmulatorRoutes.ts"

/** Configures an emulator. */
export interface Options {
  /** Describes the provider; default: see docs/simulation.md. */
  readonly options?: Simulation.Options | undefined
  /** Decides every random number and id; default 1. */
  readonly seed?: number | undefined
  /** Seconds of the provider per second of the clock; above 0, default 1. */
  readonly scale?: number | undefined
}

/** Holds the defaults of this module. */
export const defaults = { seed: 1, scale: 1 } as const

/** Gives access to a running emulator from within the program, besides its port. */
export interface Service {
  /** Reads the simulation as of its last event: a request, or the end of a batch. */
  readonly state: Effect.Effect<Simulation.State>
  /** Changes the simulation at its present time, as with `Simulation.configure` or `Simulation.topUp`. */
  readonly update: (f: (state: Simulation.State, at: number) => Simulation.State) => Effect.Effect<void>
  /** Forgets everything and begins again; options and seed, if given, replace those of before. The scale stays. */
  readonly reset: (options?: Simulation.Options, seed?: number) => Effect.Effect<void>
}

/** Stands for the running emulator: see the module header. */
export class Emulator extends Context.Service<Emulator, Service>()("effect-together/testing/Emulator") {}

/** Finds a way to break the connection of a request: Node's own request object has one. */
const destroyer = (source: object): (() => void) | undefined => {
  const socket = "socket" in source ? source.socket : undefined
  if (!Predicate.hasProperty(socket, "destroy")) return undefined
  const { destroy } = socket
  return typeof destroy === "function" ? () => destroy.call(socket) : undefined
}

const dropped = (drop: Drop): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest> =>
  HttpServerRequest.use((request) => {
    const destroy = destroyer(request.source)
    return destroy === undefined
      ? Effect.succeed(HttpServerResponse.text(drop.message, { status: 502 }))
      // the server notices the broken connection and interrupts this request
      : Effect.andThen(Effect.sync(destroy), Effect.never)
  })

/** Makes the HTTP application of a world, for a server of your own. */
const appOf = (
  world: World.World
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest> =>
  // a server may run its handlers uninterruptibly; a client who leaves must be noticed
  Effect.interruptible(Effect.map(Effect.catch(Routes.app(world), dropped), drained))

const worldOf = ({ options = {}, seed = defaults.seed, scale = defaults.scale }: Options): World.World =>
  World.make(options, seed, scale)

/**
 * Makes an emulator as an HTTP application, for a server of your own.
 *
 * **Errors**: throws a `RangeError` for options that `Simulation.make` refuses and for a scale that is not above 0.
 */
export const app = (
  options: Options = {}
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest> => appOf(worldOf(options))

/** Ends the connection too: while a client asks again on it, a server that closes waits. */
const closing = HttpServerResponse.empty({ status: 503, headers: { connection: "close" } })

/** Makes an application whose exchanges can all be broken off: those that are open, and those that still come. */
const closable = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) => {
  const open = new Set<Fiber.Fiber<unknown, unknown>>()
  let closed = false
  return {
    app: Effect.withFiber<HttpServerResponse.HttpServerResponse, E, R>((fiber) => {
      if (closed) return Effect.succeed(closing)
      open.add(fiber)
      fiber.addObserver(() => void open.delete(fiber))
      return app
    }),
    close: Effect.suspend(() => {
      closed = true
      return Fiber.interruptAll(Array.from(open))
    })
  }
}

/**
 * Serves an emulator on the `HttpServer` that is provided, and gives access to it.
 *
 * **Details**: when the layer closes, exchanges that are still open are broken off.
 *
 * **Errors**: dies with a `RangeError` for options that `Simulation.make` refuses and for a scale that is not above 0.
 */
export const layer = (options: Options = {}): Layer.Layer<Emulator, never, HttpServer.HttpServer> =>
  Layer.effect(
    Emulator,
    Effect.gen(function*() {
      const world = worldOf(options)
      const { app, close } = closable(appOf(world))
      yield* HttpServer.serveEffect(app)
      // closes first: the server waits for what is open
      yield* Effect.addFinalizer(() => close)
      return {
        state: Effect.andThen(world.settle, Effect.sync(world.run.state)),
        update: world.run.update,
        reset: (options, seed) => Effect.sync(() => world.reset(options, seed))
      }
    })
  )

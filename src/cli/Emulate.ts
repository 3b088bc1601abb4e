/** `emulate`: a provider on this machine that any SDK in any language can call. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import type * as Simulation from "../testing/Simulation.ts"
import { isScale } from "../testing/SimulationRun.ts"
import * as Connection from "./Connection.ts"
import * as Demo from "./Demo.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import { UsageError } from "./UsageError.ts"

/** Lists the flags that describe a provider: for `emulate` and `simulate`. */
export const providerFlags = {
  config: LastFlag.file("config", "Options of the simulation, as JSON; the flags below override it"),
  requestsPerSecond: LastFlag.orNone(
    LastFlag.Finite("requests-per-second").pipe(Flag.withDescription("Limit of requests per second, for each model"))
  ),
  tokensPerSecond: LastFlag.orNone(
    LastFlag.Finite("tokens-per-second").pipe(Flag.withDescription("Limit of tokens per second, for each model"))
  ),
  serverInFlight: LastFlag.orNone(
    LastFlag.Int("server-in-flight").pipe(Flag.withDescription("Limit of requests in flight, for each model"))
  ),
  balance: LastFlag.orNone(
    LastFlag.Finite("balance").pipe(
      Flag.withDescription("Credits of the account in dollars; without it, calls are free")
    )
  ),
  seed: LastFlag.Int("seed").pipe(Flag.withDescription("Decides every random number (default: 1)"), Flag.withDefault(1))
}

/** Lists the flags of `emulate`. */
export const emulateFlags = {
  ...providerFlags,
  port: Flag.filter(
    LastFlag.Int("port"),
    (value) => value >= 0 && value <= 65_535,
    (value) => `--port must be in [0, 65535], got ${value}`
  ).pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Port, 0 for any free one (default: 8787)"),
    Flag.withDefault(8787)
  ),
  host: LastFlag.String("host").pipe(
    Flag.withDescription("Address to listen on (default: 127.0.0.1)"),
    Flag.withDefault("127.0.0.1")
  ),
  scale: LastFlag.Finite("scale").pipe(
    Flag.withDescription("Seconds of the provider per second of the clock (default: 1)"),
    Flag.withDefault(1)
  )
}

/** Holds the parsed flags of `emulate`. */
export type Flags = Command.Command.Config.Infer<typeof emulateFlags>

/** Builds the options of a simulation from flags and a file. */
export const provider = Effect.fnUntraced(function*(
  flags: Command.Command.Config.Infer<typeof providerFlags>,
  base: Simulation.Options
) {
  const options = flags.config === undefined ? base : yield* Demo.read(flags.config)
  const { balance, requestsPerSecond, serverInFlight, tokensPerSecond } = flags
  const limits = {
    ...options.limits,
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
    ...(tokensPerSecond === undefined ? {} : { tokensPerSecond }),
    ...(serverInFlight === undefined ? {} : { maxInFlight: serverInFlight })
  }
  const all: Simulation.Options = {
    ...options,
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(balance === undefined ? {} : { credits: { ...options.credits, balanceUsd: balance } })
  }
  return yield* Demo.check("these flags", JSON.stringify(all))
})

/** Serves until it is interrupted. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  if (!isScale(flags.scale)) {
    return yield* new UsageError({ message: `--scale must be in [1e-6, 1e6], got ${flags.scale}` })
  }
  const options = yield* provider(flags, { unknownModels: "accept" })
  const served = Effect.gen(function*() {
    const server = yield* HttpServer.HttpServer
    const url = Connection.addressOf(server)
    Host.say(
      host,
      `the emulator listens on ${HttpServer.formatAddress(server.address)}/v1\n` +
        `  export TOGETHER_BASE_URL=${url} TOGETHER_API_KEY=any\n` +
        `  state, limits, credits and faults: ${url.replace(/\/v1$/, "/__emulator/state")}\n` +
        "Ctrl-C ends it\n"
    )
    yield* host.interrupted()
    return ExitCode.ExitCode.ok
  })
  return yield* served.pipe(
    Effect.provide(Connection.emulatorServer({ ...flags, options })),
    Effect.catchTag("ServeError", (error) =>
      new UsageError({
        message: `cannot listen on ${flags.host}:${flags.port} (${
          reasonOf(error.cause)
        }). Give another --port, or 0 for any.`
      }))
  )
})

const reasonOf = (cause: unknown): string =>
  cause instanceof Error ? "code" in cause ? String(cause.code) : cause.message : "unknown"

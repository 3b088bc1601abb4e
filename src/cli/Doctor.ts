/** `doctor`: key, base URL, clock, and one call that is free; says what each answer means. */
import * as Config from "effect/Config"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Hint from "../domain/Hint.ts"
import type { TogetherError } from "../domain/TogetherError.ts"
import * as Address from "../together/transport/Address.ts"
import * as Together from "../together/Together.ts"
import * as Transport from "../together/transport/Transport.ts"
import * as TransportFailure from "../together/error/TransportFailure.ts"
import * as Connection from "./Connection.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as Meaning from "./Meaning.ts"
import * as Proxy from "./Proxy.ts"
import * as Style from "./Style.ts"

/** Lists the flags of `doctor`. */
export const doctorFlags = {
  baseUrl: LastFlag.String("base-url").pipe(
    Flag.withDescription("Base URL (default: TOGETHER_BASE_URL, else https://api.together.ai/v1)"),
    Flag.withFallbackConfig(Config.String("TOGETHER_BASE_URL")),
    Flag.withDefault(Together.defaults.baseUrl)
  )
}

/** Holds the parsed flags of `doctor`. */
export type Flags = Command.Command.Config.Infer<typeof doctorFlags>

/** The outcome of one check. */
interface Check {
  readonly name: string
  readonly state: "ok" | "warn" | "bad"
  readonly text: string
}

const outcome = (state: Check["state"]) => (name: string, text: string): Check => ({ name, state, text })

const ok = outcome("ok")
const warn = outcome("warn")
const bad = outcome("bad")

const key = Effect.map(
  Effect.orElseSucceed(Config.Redacted("TOGETHER_API_KEY").pipe(Config.option), () => Option.none<Redacted.Redacted>()),
  (given): Check => {
    if (Option.isNone(given) || Redacted.value(given.value).trim() === "") {
      return bad("key", `TOGETHER_API_KEY is not set. ${Meaning.ofTag.AuthError.fix}`)
    }
    const text = Redacted.value(given.value)
    return text !== text.trim() || /\s/.test(text)
      ? warn("key", "TOGETHER_API_KEY is set, with blanks in or around it: remove them")
      : ok("key", `TOGETHER_API_KEY is set (${Format.plural(text.length, "character")}; it is not shown)`)
  }
)

const hasVersion = ({ pathname }: URL): boolean => /\/v\d+\/?$/.test(pathname)

const address = (baseUrl: string): Check => {
  const complaint = Address.complaint(baseUrl)
  if (complaint !== undefined) {
    return bad("address", `${complaint}. Set --base-url or TOGETHER_BASE_URL to one like ${Together.defaults.baseUrl}`)
  }
  const url = new URL(baseUrl)
  const { hostname, protocol } = url
  const local = hostname === "localhost" || hostname === "127.0.0.1" || hostname === "[::1]"
  if (protocol === "http:" && !local) {
    return warn("address", `${baseUrl} is not encrypted: the key travels in the open. Use https`)
  }
  if (!hasVersion(url)) {
    return warn("address", `${baseUrl} does not end in a version: Together's ends in /v1`)
  }
  return ok("address", baseUrl)
}

/** Names the proxy that is asked, if there is one. */
const proxy = (env: Proxy.Environment, baseUrl: string): Check | undefined => {
  const proxies = Proxy.of(env)
  const named = Proxy.forAddress(proxies, baseUrl)
  return proxies && named &&
    ok(
      "proxy",
      `${Proxy.shown(named)} (${named.variable})${
        proxies.direct === "" ? "" : `, but for hosts that NO_PROXY names: ${proxies.direct}`
      }`
    )
}

/** Bounds the time of each of the two calls, the waits of the second one included. */
const patience = Duration.seconds(15)

const plain = { operation: "models.list", model: "", path: "/models" }

/** Asks the host without a key: the status does not matter, its `Date` does. */
const clock = Effect.fnUntraced(function*(baseUrl: string) {
  const client = yield* HttpClient.HttpClient
  const before = yield* Clock.currentTimeMillis
  const response = yield* client.execute(
    HttpClientRequest.get(`${baseUrl.replace(/\/+$/, "")}/models`, {
      headers: { "user-agent": Transport.defaults.userAgent }
    })
  ).pipe(
    Effect.timeoutOption(patience),
    Effect.provideService(HttpClient.TracerPropagationEnabled, false)
  )
  if (Option.isNone(response)) {
    return bad(
      "address",
      `${baseUrl} does not answer within ${
        Format.span(Duration.toSeconds(patience))
      }. Check the network and the address`
    )
  }
  const after = yield* Clock.currentTimeMillis
  const { date } = response.value.headers
  const server = date === undefined ? undefined : Hint.parseHttpDate(date, after)
  if (server === undefined) {
    return warn("clock", "the server told no time to compare with")
  }
  const skew = (server + 500 - (before + after) / 2) / 1000
  const trip = Format.span((after - before) / 1000)
  return Math.abs(skew) <= 5
    ? ok("clock", `agrees with the server's; one round trip takes ${trip}`)
    : warn(
      "clock",
      `is ${Format.span(Math.abs(skew))} ${
        skew > 0 ? "behind" : "ahead of"
      } the server's. Hints given as a date are corrected for it; budgets by the day are not`
    )
})

const failed = (error: TogetherError): Check =>
  bad("call", `${error._tag}: ${error.message}\n${" ".repeat(11)}${Meaning.ofTag[error._tag].fix}`)

const call = Effect.gen(function*() {
  const client = yield* Together.Together
  const who = yield* Effect.result(client.whoami({ deadline: patience }))
  if (Result.isSuccess(who)) {
    const { organization_id, project_id } = who.success
    const of = [
      organization_id === undefined ? "" : `, organization ${organization_id}`,
      project_id === undefined ? "" : `, project ${project_id}`
    ]
    return ok("call", `GET /whoami was answered: the key is good${of.join("")}`)
  }
  if (who.failure._tag !== "NotFoundError") return failed(who.failure)
  const models = yield* Effect.result(client.models({ deadline: patience }))
  return Result.isSuccess(models)
    ? ok("call", `GET /models was answered with ${Format.plural(models.success.length, "model")}: the key is good`)
    : failed(models.failure)
})

const called = (baseUrl: string) =>
  Effect.map(
    call.pipe(
      Effect.provide(Connection.layer({ baseUrl })),
      Effect.catchTags({
        AuthError: (error) => Effect.succeed(failed(error)),
        InvalidRequestError: (error) => Effect.succeed(failed(error))
      })
    ),
    (check): Check =>
      // below such an address nothing is found, whatever model is named
      check.state === "bad" && check.text.startsWith("NotFoundError") && !hasVersion(new URL(baseUrl))
        ? {
          ...check,
          text:
            `NotFoundError: ${baseUrl} has no such path. Set --base-url or TOGETHER_BASE_URL to one that ends in /v1`
        }
        : check
  )

/** Checks, prints and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  const style = Style.of(host.stdout)
  const sign = { ok: style.green("✓"), warn: style.yellow("!"), bad: style.red("✗") }
  const checks: Array<Check> = []
  const add = (check: Check) => {
    checks.push(check)
    return Host.print(host, `${sign[check.state]} ${check.name.padEnd(8)} ${check.text}\n`)
  }
  yield* add(ok("node", host.version))
  const keyed = yield* key
  yield* add(keyed)
  const at = address(flags.baseUrl)
  if (at.state === "bad") yield* add(at)
  else {
    const through = proxy(host.env, flags.baseUrl)
    if (through !== undefined) yield* add(through)
    const time = yield* Effect.result(Effect.provide(clock(flags.baseUrl), Connection.plain(flags.baseUrl)))
    if (Result.isFailure(time)) {
      if (at.state === "warn") yield* add(at)
      yield* add(
        bad(
          "address",
          `${flags.baseUrl} cannot be reached. ${
            TransportFailure.of(plain, time.failure, { baseUrl: flags.baseUrl, secrets: () => ({ prompts: [] }) })
              .message
          }`
        )
      )
    } else if (time.success.state === "bad") yield* add(time.success)
    else {
      yield* add(at)
      yield* add(time.success)
      if (keyed.state !== "bad") yield* add(yield* called(flags.baseUrl))
    }
  }
  const isReady = checks.every((check) => check.state !== "bad")
  yield* Host.print(host, isReady ? "ready\n" : "not ready: see the lines marked ✗\n")
  return isReady ? ExitCode.ExitCode.ok : ExitCode.ExitCode.refused
})

/**
 * Describes one thing that goes wrong with one exchange, as a value.
 *
 * A fault either takes the provider's place, or lets the provider answer and spoils what it says. Faults are plain
 * data: they can be kept, compared, shrunk and printed as the code that makes them ({@link toCode}). When they strike
 * is another question: see `Faults`.
 *
 * | the provider is | faults |
 * | --- | --- |
 * | not asked | `status`, `rateLimited`, `outOfCredits`, `hang`, `broken` |
 * | asked, its answer is lost | `lost` |
 * | asked, its answer comes late | `slowHeaders`, `latency`, `slowBody` |
 * | asked, its body ends wrong | `stallAtByte`, `stallAtEvent`, `cutAtByte`, `cutAtEvent`, `endAtByte`, `endAtEvent` |
 * | asked, its events are spoiled | `malformedFrame`, `errorFrame`, `duplicateEvent`, `reorderEvents`, `chopped` |
 * | asked, its headers are spoiled | `contentType`, `clockSkew` |
 *
 * Events are the frames of a stream, `[DONE]` included, counted from 1. A fault that asks for an event or a byte which
 * the body does not have strikes at its end.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Millis from "../guard/Millis.ts"
import * as Argument from "./internal/argument.ts"
import * as Damage from "./internal/damage.ts"
import * as ProviderError from "./internal/providerError.ts"
import { eventText } from "./internal/replyBody.ts"
import * as Reply from "./Reply.ts"
import * as SimulationConfig from "./SimulationConfig.ts"
import * as SimulationRandom from "./SimulationRandom.ts"

/** Describes one fault. The fields are the arguments of the constructor of the same name. */
export type Fault =
  | { readonly _tag: "status"; readonly status: number; readonly options?: StatusOptions | undefined }
  | { readonly _tag: "rateLimited"; readonly options?: { readonly reset?: number | undefined } | undefined }
  | { readonly _tag: "outOfCredits" }
  | { readonly _tag: "hang" }
  | { readonly _tag: "broken"; readonly kind: Reply.BrokenKind }
  | { readonly _tag: "lost" }
  | { readonly _tag: "slowHeaders"; readonly millis: number }
  | { readonly _tag: "latency"; readonly distribution: SimulationConfig.Distribution }
  | { readonly _tag: "slowBody"; readonly millis: number }
  | { readonly _tag: "stallAtByte"; readonly bytes: number }
  | { readonly _tag: "stallAtEvent"; readonly events: number }
  | { readonly _tag: "cutAtByte"; readonly bytes: number }
  | { readonly _tag: "cutAtEvent"; readonly events: number }
  | { readonly _tag: "endAtByte"; readonly bytes: number }
  | { readonly _tag: "endAtEvent"; readonly events: number }
  | { readonly _tag: "malformedFrame"; readonly event: number }
  | { readonly _tag: "errorFrame"; readonly event: number; readonly error?: unknown }
  | { readonly _tag: "duplicateEvent"; readonly event: number }
  | { readonly _tag: "reorderEvents"; readonly event: number }
  | { readonly _tag: "chopped"; readonly bytes: number }
  | { readonly _tag: "contentType"; readonly contentType: string }
  | { readonly _tag: "clockSkew"; readonly millis: number }

/** Sets body and headers of an error answer. */
export interface StatusOptions {
  /** An object goes out as JSON, a string as it is. Default: what Together sends with the status. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Makes the constructor of a fault that counts bytes. */
const ofBytes = (_tag: "stallAtByte" | "cutAtByte" | "endAtByte" | "chopped", least = 0) => (bytes: number): Fault => ({
  _tag,
  bytes: Argument.integer(`Fault.${_tag}`, "bytes", bytes, least)
})

/** Makes the constructor of a fault that counts events. */
const ofEvents = (_tag: "stallAtEvent" | "cutAtEvent" | "endAtEvent") => (events: number): Fault => ({
  _tag,
  events: Argument.integer(`Fault.${_tag}`, "events", events, 0)
})

/** Makes the constructor of a fault that strikes one event. */
const ofEvent = (_tag: "malformedFrame" | "duplicateEvent" | "reorderEvents") => (event: number): Fault => ({
  _tag,
  event: Argument.integer(`Fault.${_tag}`, "event", event, 1)
})

/** Answers with a status in the provider's place. */
export const status = (status: number, options?: StatusOptions): Fault => ({
  _tag: "status",
  status: Argument.status("Fault.status", status),
  ...(options === undefined ? undefined : { options })
})

/** Answers 429, with `x-ratelimit-reset` in seconds where `reset` is given. */
export const rateLimited = (options?: { readonly reset?: number | undefined }): Fault => {
  Argument.reset("Fault.rateLimited", options?.reset)
  return options === undefined ? { _tag: "rateLimited" } : { _tag: "rateLimited", options }
}

/** Answers 402: the account is out of credit. */
export const outOfCredits: Fault = { _tag: "outOfCredits" }

/** Takes the request and never answers. */
export const hang: Fault = { _tag: "hang" }

/** Breaks the connection before the provider sees the request: reset, refused, name resolution, TLS. */
export const broken = (kind: Reply.BrokenKind = "reset"): Fault => ({ _tag: "broken", kind: Reply.broken(kind).kind })

/** Lets the provider answer, and resets the connection before the answer arrives: done, billed, and lost. */
export const lost: Fault = { _tag: "lost" }

/** Delays the headers. */
export const slowHeaders = (wait: Duration.Input): Fault => ({
  _tag: "slowHeaders",
  millis: Millis.notNegative("Fault.slowHeaders: wait", wait)
})

/**
 * Delays the headers by a time drawn from a distribution, in seconds.
 *
 * **Errors**: throws a `RangeError` for a distribution that is none.
 */
export const latency = (distribution: SimulationConfig.Distribution): Fault => ({
  _tag: "latency",
  distribution: SimulationConfig.distribution("Fault.latency", distribution)
})

/** Delays each chunk of the body. */
export const slowBody = (every: Duration.Input): Fault => ({
  _tag: "slowBody",
  millis: Millis.notNegative("Fault.slowBody: every", every)
})

/** Falls silent for ever after so many bytes of the body. */
export const stallAtByte = ofBytes("stallAtByte")

/** Falls silent for ever after so many events of a stream. */
export const stallAtEvent = ofEvents("stallAtEvent")

/** Resets the connection after so many bytes of the body. */
export const cutAtByte = ofBytes("cutAtByte")

/** Resets the connection after so many events of a stream. */
export const cutAtEvent = ofEvents("cutAtEvent")

/** Ends the body after so many bytes, as if that were all. */
export const endAtByte = ofBytes("endAtByte")

/** Ends a stream after so many events, as if that were all: no finish reason, no `[DONE]`. */
export const endAtEvent = ofEvents("endAtEvent")

/** Replaces an event of a stream by one whose JSON is torn. */
export const malformedFrame = ofEvent("malformedFrame")

/** Replaces an event of a stream by an error frame, after which nothing comes. `error` is an object or a string. */
export const errorFrame = (event: number, error?: unknown): Fault => ({
  _tag: "errorFrame",
  event: Argument.integer("Fault.errorFrame", "event", event, 1),
  ...(error === undefined ? undefined : { error })
})

/** Sends an event of a stream twice. */
export const duplicateEvent = ofEvent("duplicateEvent")

/** Swaps an event of a stream with the one after it. */
export const reorderEvents = ofEvent("reorderEvents")

/**
 * Hands the body over in pieces of so many bytes, which may cut lines and characters. A correct decoder is not harmed.
 */
export const chopped = ofBytes("chopped", 1)

/** Replaces the content type. */
export const contentType = (contentType: string): Fault => {
  if (!/^[\x20-\x7e]*$/.test(contentType)) {
    Argument.refuse("Fault.contentType", "contentType", "a header's text", JSON.stringify(contentType))
  }
  return { _tag: "contentType", contentType }
}

/** Shifts the provider's clock: its `Date`, and a `Retry-After` that is a date. */
export const clockSkew = (by: Duration.Input | { readonly behind: Duration.Input }): Fault => ({
  _tag: "clockSkew",
  millis: typeof by === "object" && "behind" in by
    ? -Millis.notNegative("Fault.clockSkew: behind", by.behind)
    : Millis.notNegative("Fault.clockSkew: by", by)
})

// -----------------------------------------------------------------------------
// striking
// -----------------------------------------------------------------------------

type Exchange<E, R> = Effect.Effect<HttpClientResponse.HttpClientResponse, E, R>

const errorFrameText = (error: unknown): string =>
  eventText(JSON.stringify({
    error: error ?? ProviderError.make({ message: "The model failed while generating.", type: "server_error" })
  }))

const tornFrame = "data: {\"id\":\"reply-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"to\n\n"

/**
 * Lets a fault strike an exchange.
 *
 * @param draw the source of chance for this strike
 */
export const strike = <E, R>(
  fault: Fault,
  exchange: Exchange<E, R>,
  request: HttpClientRequest.HttpClientRequest,
  draw: SimulationRandom.Source
): Exchange<E | HttpClientError.HttpClientError, R> => {
  const events = (change: Damage.EventChange) => Effect.map(exchange, Damage.overEvents(change))
  const bytes = (limit: number, end: Damage.End) => Effect.map(exchange, Damage.afterBytes(limit, end))
  switch (fault._tag) {
    case "status":
      return Reply.send(
        fault.status < 300 && fault.options?.body === undefined
          ? Reply.empty(fault.status, fault.options?.headers)
          : Reply.error(fault.status, fault.options),
        request
      )
    case "rateLimited":
      return Reply.send(Reply.rateLimited(fault.options), request)
    case "outOfCredits":
      return Reply.send(Reply.outOfCredits, request)
    case "hang":
      return Effect.never
    case "broken":
      return Reply.send(Reply.broken(fault.kind), request)
    case "lost":
      return Effect.flatMap(exchange, (response) =>
        Effect.andThen(
          Effect.ignore(response.arrayBuffer),
          Effect.suspend(() => Effect.fail(Reply.brokenError(request, "reset")))
        ))
    case "slowHeaders":
      return Effect.flatMap(exchange, Damage.late(Duration.millis(fault.millis)))
    case "latency":
      return Effect.flatMap(exchange, Damage.late(Duration.seconds(SimulationRandom.draw(fault.distribution, draw, 0))))
    case "slowBody":
      return Effect.map(exchange, Damage.slowly(fault.millis))
    case "stallAtByte":
      return bytes(fault.bytes, "stall")
    case "cutAtByte":
      return bytes(fault.bytes, "cut")
    case "endAtByte":
      return bytes(fault.bytes, "end")
    case "stallAtEvent":
      return events({ keep: fault.events, end: "stall" })
    case "cutAtEvent":
      return events({ keep: fault.events, end: "cut" })
    case "endAtEvent":
      return events({ keep: fault.events, end: "end" })
    case "malformedFrame":
      return events({ at: fault.event, replace: () => [tornFrame] })
    case "errorFrame":
      return events({ at: fault.event, replace: () => [errorFrameText(fault.error)], keep: fault.event, end: "end" })
    case "duplicateEvent":
      return events({ at: fault.event, replace: (event) => [event, event] })
    case "reorderEvents":
      return events({ at: fault.event, swap: true })
    case "chopped":
      return Effect.map(exchange, Damage.chop(fault.bytes))
    case "contentType":
      return Effect.map(exchange, Damage.withHeader("content-type", fault.contentType))
    case "clockSkew":
      return Effect.flatMap(
        exchange,
        (response) => Effect.map(Clock.currentTimeMillis, (now) => Damage.skew(response, now, fault.millis))
      )
  }
}

// -----------------------------------------------------------------------------
// printing
// -----------------------------------------------------------------------------

/** Prints a value as a TypeScript literal. */
export const literal = (value: unknown): string => {
  if (value instanceof RegExp) return String(value)
  if (typeof value === "function") return "() => true /* a predicate: put your own here */"
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined).map(([name, field]) =>
      `${/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)}: ${literal(field)}`
    )
    return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`
  }
  return typeof value === "string" ? JSON.stringify(value) : String(value)
}

const call = (name: string, ...args: ReadonlyArray<unknown>): string => {
  const given = args.filter((arg) => arg !== undefined)
  return `Fault.${name}(${given.map(literal).join(", ")})`
}

/** Prints the code that makes a fault. */
export const toCode = (fault: Fault): string => {
  switch (fault._tag) {
    case "outOfCredits":
    case "hang":
    case "lost":
      return `Fault.${fault._tag}`
    case "status":
      return call("status", fault.status, fault.options)
    case "errorFrame":
      return call("errorFrame", fault.event, fault.error)
    case "slowHeaders":
    case "slowBody":
      return call(fault._tag, `${fault.millis} millis`)
    case "clockSkew":
      return fault.millis < 0
        ? call("clockSkew", { behind: `${-fault.millis} millis` })
        : call("clockSkew", `${fault.millis} millis`)
    default: {
      // its one field is its one argument
      const { _tag, ...fields } = fault
      return call(_tag, ...Object.values(fields))
    }
  }
}

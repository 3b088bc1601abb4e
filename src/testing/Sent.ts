/**
 * Shows a request as the provider sees it: the operation it asks for, its parsed body, and a way to match it.
 *
 * `Sent` is what test code asserts on. A `Matcher` picks requests: an operation's name, a pattern of fields of which
 * only those given are compared, or a predicate.
 */
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TextDiff from "effect/TextDiff"
import * as VirtualClock from "./VirtualClock.ts"

/** Holds one request as it was sent. */
export interface Sent {
  /** `chat`, `chatStream`, `embeddings`, …; `"POST /some/path"` for a path without a name. */
  readonly operation: string
  readonly method: string
  /** Path below the version: `/chat/completions`. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** Lower-case names. Holds the key: print {@link describe}, not this. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The parsed JSON body, the text where it is not JSON, the fields of a form, `undefined` where there is none. */
  readonly body: unknown
  /** The body as text; a form has none. */
  readonly text: string
  /** `body.model`, or `""`. */
  readonly model: string
  readonly request: HttpClientRequest.HttpClientRequest
}

/** Lists the fields a request must have to match; what is not given may be anything. */
export interface Pattern {
  readonly operation?: string | undefined
  readonly method?: string | undefined
  readonly path?: string | RegExp | undefined
  readonly model?: string | undefined
  /** Compared deep, and only in the fields given. */
  readonly body?: unknown
  /** Compared deep, and only in the fields given. */
  readonly query?: Readonly<Record<string, string>> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Picks requests: by operation, by pattern, or by predicate. */
export type Matcher = string | Pattern | ((sent: Sent) => boolean)

const versions = /^.*?\/v\d+(?=\/)/

const routes: ReadonlyArray<readonly [method: string, path: RegExp, operation: string]> = [
  ["POST", /^\/chat\/completions$/, "chat"],
  ["POST", /^\/completions$/, "completions"],
  ["POST", /^\/embeddings$/, "embeddings"],
  ["POST", /^\/rerank$/, "rerank"],
  ["POST", /^\/images\/generations$/, "images"],
  ["GET", /^\/models$/, "models"],
  ["GET", /^\/whoami$/, "whoami"],
  ["POST", /^\/files\/upload$/, "files.upload"],
  ["GET", /^\/files$/, "files.list"],
  ["GET", /^\/files\/[^/]+\/content$/, "files.content"],
  ["GET", /^\/files\/[^/]+$/, "files.get"],
  ["DELETE", /^\/files\/[^/]+$/, "files.delete"],
  ["POST", /^\/batches$/, "batches.create"],
  ["GET", /^\/batches$/, "batches.list"],
  ["GET", /^\/batches\/[^/]+$/, "batches.get"],
  ["POST", /^\/batches\/[^/]+\/cancel$/, "batches.cancel"],
  ["POST", /^\/fine-tunes$/, "fineTunes.create"],
  ["GET", /^\/fine-tunes$/, "fineTunes.list"],
  ["POST", /^\/fine-tunes\/estimate-price$/, "fineTunes.estimatePrice"],
  ["GET", /^\/fine-tunes\/[^/]+\/events$/, "fineTunes.events"],
  ["GET", /^\/fine-tunes\/[^/]+$/, "fineTunes.get"],
  ["POST", /^\/fine-tunes\/[^/]+\/cancel$/, "fineTunes.cancel"],
  ["POST", /^\/evaluation$/, "evaluations.create"],
  ["GET", /^\/evaluation$/, "evaluations.list"],
  ["GET", /^\/evaluation\/[^/]+\/status$/, "evaluations.status"],
  ["GET", /^\/evaluation\/[^/]+$/, "evaluations.get"]
]

/** Names the operation of a method and a path below the version. */
export const operationOf = (method: string, path: string, body: unknown): string => {
  const found = routes.find(([verb, pattern]) => verb === method && pattern.test(path))
  if (found === undefined) return `${method} ${path}`
  const streams = (found[2] === "chat" || found[2] === "completions") && field(body, "stream") === true
  return streams ? `${found[2]}Stream` : found[2]
}

const field = (body: unknown, name: string): unknown =>
  typeof body === "object" && body !== null && name in body ? Reflect.get(body, name) : undefined

const parseJson = Option.liftThrowable((text: string): unknown => JSON.parse(text))

const parse = (text: string): unknown => text === "" ? undefined : Option.getOrElse(parseJson(text), () => text)

const decoder = new TextDecoder()

/** Reads one value of a form. What a file holds is part of what was sent; to read it takes real time. */
const formValue = (value: string | File): Effect.Effect<unknown> =>
  typeof value === "string"
    ? Effect.succeed(value)
    : Effect.map(VirtualClock.io(Effect.promise(() => value.text())), (text) => ({
      name: value.name,
      size: value.size,
      type: value.type,
      text
    }))

const decode = (body: HttpBody.HttpBody): Effect.Effect<readonly [text: string, body: unknown]> => {
  switch (body._tag) {
    case "Empty":
      return Effect.succeed(["", undefined])
    case "Uint8Array": {
      const text = body.text ?? decoder.decode(body.body)
      return Effect.succeed([text, parse(text)])
    }
    case "Raw": {
      const value = body.body
      if (typeof value === "string") return Effect.succeed([value, parse(value)])
      return Effect.succeed(["", value])
    }
    case "FormData": {
      const entries = Array.from(body.formData)
      return Effect.map(Effect.forEach(entries, ([, value]) => formValue(value)), (values) => [
        "",
        Object.fromEntries(entries.map(([name], index) => [name, values[index]]))
      ])
    }
    case "Stream":
      return Effect.map(Effect.orDie(Stream.mkString(Stream.decodeText(body.stream))), (text) => [text, parse(text)])
  }
}

/** Reads a request. A streamed body is run for it. */
export const make = (request: HttpClientRequest.HttpClientRequest, url: URL): Effect.Effect<Sent> =>
  Effect.map(decode(request.body), ([text, body]) => {
    const path = url.pathname.replace(versions, "")
    const model = field(body, "model")
    return {
      operation: operationOf(request.method, path, body),
      method: request.method,
      path,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body,
      text,
      model: typeof model === "string" ? model : "",
      request
    }
  })

/** Tells whether `actual` has all that `pattern` has, at any depth; lists are compared whole. */
export const includes = (actual: unknown, pattern: unknown): boolean => {
  if (Object.is(actual, pattern)) return true
  if (pattern instanceof RegExp) return typeof actual === "string" && pattern.test(actual)
  if (Array.isArray(pattern)) {
    return Array.isArray(actual) && actual.length === pattern.length &&
      pattern.every((item, index) => includes(actual[index], item))
  }
  if (typeof pattern !== "object" || pattern === null) return false
  if (typeof actual !== "object" || actual === null || Array.isArray(actual)) return false
  return Object.entries(pattern).every(([name, value]) => value === undefined || includes(field(actual, name), value))
}

/** Tells whether a matcher picks a request. */
export const matches = (matcher: Matcher, sent: Sent): boolean => {
  if (typeof matcher === "function") return matcher(sent)
  if (typeof matcher === "string") return matcher === "*" || sent.operation === matcher
  return includes(sent, matcher)
}

/** Prints a matcher on one line. */
export const describeMatcher = (matcher: Matcher): string =>
  typeof matcher === "string"
    ? matcher === "*" ? "any request" : matcher
    : typeof matcher === "function"
    ? `a predicate${matcher.name === "" ? "" : ` (${matcher.name})`}`
    : JSON.stringify(matcher, (_, value: unknown) => value instanceof RegExp ? String(value) : value)

/** Prints what was sent on one line, without headers: they hold the key. */
export const describe = (sent: Sent): string => {
  const query = new URLSearchParams(sent.query).toString()
  return `${sent.operation} (${sent.method} ${sent.path}${query === "" ? "" : `?${query}`})${
    sent.model === "" ? "" : ` model ${sent.model}`
  }`
}

/** Takes from `actual` only what `pattern` speaks of, so that a diff shows nothing else. */
const project = (actual: unknown, pattern: unknown): unknown => {
  if (typeof pattern !== "object" || pattern === null || pattern instanceof RegExp) return actual
  if (Array.isArray(pattern)) {
    return Array.isArray(actual)
      ? actual.map((item, index) => index in pattern ? project(item, pattern[index]) : item)
      : actual
  }
  if (typeof actual !== "object" || actual === null) return actual
  return Object.fromEntries(
    Object.entries(pattern).filter(([, value]) => value !== undefined).map((
      [name, value]
    ) => [name, project(field(actual, name), value)])
  )
}

const pretty = (value: unknown): string =>
  `${JSON.stringify(value, (_, item: unknown) => item instanceof RegExp ? String(item) : item, 2) ?? "undefined"}\n`

/** Prints how a request differs from what a matcher wants, as a unified diff; empty where they agree. */
export const diff = (matcher: Matcher, sent: Sent): string => {
  if (matches(matcher, sent)) return ""
  if (typeof matcher === "function") return `  ${describeMatcher(matcher)} said no\n`
  const wanted = typeof matcher === "string" ? { operation: matcher } : matcher
  const edits = TextDiff.lines(pretty(wanted), pretty(project(sent, wanted)))
  return TextDiff.unified(edits, { fromFile: "expected", toFile: "sent", context: 2 })
}

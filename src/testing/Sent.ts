/**
 * Shows a request as the provider sees it: the operation it asks for, its parsed body, and a way to match it.
 *
 * `Sent` is what test code asserts on. A `Matcher` picks requests: an operation's name, a pattern of fields of which
 * only those given are compared, or a predicate.
 */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as TextDiff from "effect/TextDiff"
import * as JsonText from "./internal/jsonText.ts"
import * as SecretText from "./internal/secretText.ts"
import * as VirtualClock from "./VirtualClock.ts"

/** Holds one request as it was sent. */
export interface Sent {
  /** `chat`, `chatStream`, `embeddings`, …; `"POST /some/path"` for a path without a name. */
  readonly operation: string
  readonly method: string
  /** Path below the version: `/chat/completions`. */
  readonly path: string
  /** A list where a name stands several times. */
  readonly query: Readonly<Record<string, string | ReadonlyArray<string>>>
  /** Lower-case names. Holds the key: print {@link describe}, not this. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /**
   * The parsed JSON body, the text where it is not JSON or is deeper than 500 levels, the fields of a form, `undefined`
   * where there is none. A field that stands several times is a list; a file is `{ name, size, type, text }`; bytes that
   * are no text are `{ base64 }`, in a file too.
   */
  readonly body: unknown
  /** The body as text; a form, and bytes that are no text, have none. */
  readonly text: string
  /** `body.model`, or `""`. */
  readonly model: string
  /** The request; a body that can be read only once is replaced by what was read. */
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
  readonly query?: Readonly<Record<string, string | ReadonlyArray<string>>> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Picks requests: by operation, by pattern, or by predicate. */
export type Matcher = string | Pattern | ((sent: Sent) => boolean)

const versions = /^.*?\/v\d+(?=\/)/

/** Names operations; `:id` is any segment of a path. */
const operations: Readonly<Record<string, string>> = {
  "POST /chat/completions": "chat",
  "POST /completions": "completions",
  "POST /embeddings": "embeddings",
  "POST /rerank": "rerank",
  "POST /images/generations": "images",
  "GET /models": "models",
  "GET /whoami": "whoami",
  "POST /files/upload": "files.upload",
  "GET /files": "files.list",
  "GET /files/:id/content": "files.content",
  "GET /files/:id": "files.get",
  "DELETE /files/:id": "files.delete",
  "POST /batches": "batches.create",
  "GET /batches": "batches.list",
  "GET /batches/:id": "batches.get",
  "POST /batches/:id/cancel": "batches.cancel",
  "POST /fine-tunes": "fineTunes.create",
  "GET /fine-tunes": "fineTunes.list",
  "POST /fine-tunes/estimate-price": "fineTunes.estimatePrice",
  "GET /fine-tunes/:id/events": "fineTunes.events",
  "GET /fine-tunes/:id": "fineTunes.get",
  "POST /fine-tunes/:id/cancel": "fineTunes.cancel",
  "POST /evaluation": "evaluations.create",
  "GET /evaluation": "evaluations.list",
  "GET /evaluation/:id/status": "evaluations.status",
  "GET /evaluation/:id": "evaluations.get"
}

const routes = Object.entries(operations).map(([route, operation]) => ({
  operation,
  pattern: new RegExp(`^${route.replace(":id", "[^/]+")}$`)
}))

/** Names the operation of a method and a path below the version. */
export const operationOf = (method: string, path: string, body: unknown): string => {
  const route = `${method} ${path}`
  const operation = routes.find(({ pattern }) => pattern.test(route))?.operation ?? route
  const streams = (operation === "chat" || operation === "completions") && field(body, "stream") === true
  return streams ? `${operation}Stream` : operation
}

const field = (body: unknown, name: string): unknown => Predicate.hasProperty(body, name) ? body[name] : undefined

const parse = (text: string): unknown => text === "" ? undefined : Option.getOrElse(JsonText.read(text), () => text)

const strictDecoder = new TextDecoder("utf-8", { fatal: true })

const decodeText = Option.liftThrowable((bytes: Uint8Array) => strictDecoder.decode(bytes))

/** Reads bytes as text, or as base64 where they are none: two requests that differ must not look alike. */
const ofBytes = (bytes: Uint8Array): { readonly text: string } | { readonly base64: string } =>
  Option.match(decodeText(bytes), {
    onNone: () => ({ base64: Base64.encode(bytes) }),
    onSome: (text) => ({ text })
  })

/** Holds a name once, with its value, or the list of its values where it stood several times. */
const grouped = <A>(entries: Iterable<readonly [string, A]>): Record<string, A | ReadonlyArray<A>> => {
  const values = new Map<string, Array<A>>()
  for (const [name, value] of entries) {
    const before = values.get(name)
    if (before === undefined) values.set(name, [value])
    else before.push(value)
  }
  return Object.fromEntries(Array.from(values, ([name, [first, ...rest]]) => [
    name,
    // a list in the map has one value at least
    rest.length === 0 ? first as A : [first as A, ...rest]
  ]))
}

/** Reads what the runtime holds in memory, which takes real time. */
const bytesOf = (value: Blob | Response): Effect.Effect<Uint8Array, unknown> =>
  VirtualClock.io(Effect.tryPromise(() => value.arrayBuffer().then((buffer) => new Uint8Array(buffer))))

/** Reads one value of a form. What a file holds is part of what was sent. */
const formValue = (value: string | File): Effect.Effect<unknown, unknown> =>
  typeof value === "string"
    ? Effect.succeed(value)
    : Effect.map(bytesOf(value), (bytes) => ({
      name: value.name,
      size: value.size,
      type: value.type,
      ...ofBytes(bytes)
    }))

interface Decoded {
  readonly text: string
  readonly body: unknown
  /** What is sent on in place of a body that can be read only once. */
  readonly rest?: Uint8Array
}

const ofText = (text: string): Decoded => ({ text, body: parse(text) })

const decodeBytes = (bytes: Uint8Array): Decoded => {
  const read = ofBytes(bytes)
  return "text" in read ? ofText(read.text) : { text: "", body: read }
}

const decodeForm = (form: FormData): Effect.Effect<Decoded, unknown> =>
  Effect.map(
    Effect.forEach(Array.from(form), ([name, value]) => Effect.map(formValue(value), (read) => [name, read] as const)),
    (entries) => ({ text: "", body: grouped(entries) })
  )

const decodeOnce = (bytes: Uint8Array): Decoded => ({ ...decodeBytes(bytes), rest: bytes })

const decodeRaw = (value: unknown): Effect.Effect<Decoded, unknown> => {
  if (typeof value === "string") return Effect.succeed(ofText(value))
  if (value instanceof URLSearchParams) return Effect.succeed(ofText(String(value)))
  if (value instanceof ArrayBuffer) return Effect.succeed(decodeBytes(new Uint8Array(value)))
  if (ArrayBuffer.isView(value)) {
    return Effect.succeed(decodeBytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)))
  }
  if (value instanceof Blob) return Effect.map(bytesOf(value), decodeBytes)
  if (value instanceof FormData) return decodeForm(value)
  if (value instanceof ReadableStream) return Effect.map(bytesOf(new Response(value)), decodeOnce)
  return Effect.succeed({ text: "", body: value })
}

const decode = (body: HttpBody.HttpBody): Effect.Effect<Decoded, unknown> => {
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ text: "", body: undefined })
    case "Uint8Array":
      return Effect.succeed(body.text === undefined ? decodeBytes(body.body) : ofText(body.text))
    case "Raw":
      return decodeRaw(body.body)
    case "FormData":
      return decodeForm(body.formData)
    case "Stream":
      return Effect.map(Stream.mkUint8Array(body.stream), decodeOnce)
  }
}

const typeOf = ({ body, headers }: HttpClientRequest.HttpClientRequest): string | undefined =>
  headers["content-type"] ?? ("contentType" in body ? body.contentType : undefined)

/**
 * Reads a request.
 *
 * **Errors**: a body that cannot be read fails as it would in the client: a transport error.
 */
export const make = (
  request: HttpClientRequest.HttpClientRequest,
  url: URL
): Effect.Effect<Sent, HttpClientError.HttpClientError> =>
  Effect.map(
    Effect.mapError(decode(request.body), (cause) =>
      new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })),
    ({ body, rest, text }) => {
      const path = url.pathname.replace(versions, "")
      const model = field(body, "model")
      return {
        operation: operationOf(request.method, path, body),
        method: request.method,
        path,
        query: grouped(url.searchParams),
        headers: request.headers,
        body,
        text,
        model: typeof model === "string" ? model : "",
        request: rest === undefined
          ? request
          : HttpClientRequest.setBody(request, HttpBody.uint8Array(rest, typeOf(request)))
      }
    }
  )

/** Tells whether `actual` has all that `pattern` has, at any depth; lists are compared whole. */
export const includes = (actual: unknown, pattern: unknown): boolean => {
  if (Object.is(actual, pattern)) return true
  // `search`, unlike `test`, remembers nothing of the request before where the pattern is global
  if (pattern instanceof RegExp) return typeof actual === "string" && actual.search(pattern) >= 0
  if (Array.isArray(pattern)) {
    return Array.isArray(actual) && actual.length === pattern.length &&
      pattern.every((item, index) => includes(actual[index], item))
  }
  if (!Predicate.isObject(pattern) || !Predicate.isObject(actual)) return false
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
  const pairs = Object.entries(sent.query).flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map((each) => [
      name,
      SecretText.isSecretParameter(name) ? "[key]" : each
    ])
  )
  const query = new URLSearchParams(pairs).toString()
  return `${sent.operation} (${sent.method} ${sent.path}${query === "" ? "" : `?${query}`})${
    sent.model === "" ? "" : ` model ${sent.model}`
  }`
}

/** Keeps of `actual` only what `pattern` names, so that a diff shows nothing else, and no secret. */
const project = (actual: unknown, pattern: unknown, isSecret = false): unknown => {
  if (typeof actual === "string" && isSecret) return includes(actual, pattern) ? pattern : "[key]"
  if (pattern instanceof RegExp) return includes(actual, pattern) ? pattern : actual
  if (typeof pattern !== "object" || pattern === null) return actual
  if (Array.isArray(pattern)) {
    return Array.isArray(actual)
      ? actual.map((item, index) => index in pattern ? project(item, pattern[index], isSecret) : item)
      : actual
  }
  if (typeof actual !== "object" || actual === null) return actual
  return Object.fromEntries(
    Object.entries(pattern).filter(([, value]) => value !== undefined).map(([name, value]) => [
      name,
      project(
        field(actual, name),
        value,
        isSecret || SecretText.isSecretHeader(name) || SecretText.isSecretField(name)
      )
    ])
  )
}

const pretty = (value: unknown): string =>
  `${JSON.stringify(value, (_, item: unknown) => item instanceof RegExp ? String(item) : item, 2) ?? "undefined"}\n`

/** Ranks a difference of operations above all others: another rule is meant. */
const otherOperation = 1_000_000

/**
 * Tells how a request differs from what a matcher wants: as a unified diff, empty where they agree, and in a number by
 * which the closest of several matchers is found.
 *
 * @internal
 */
export const difference = (
  matcher: Matcher,
  sent: Sent
): { readonly text: string; readonly distance: number } => {
  if (matches(matcher, sent)) return { text: "", distance: 0 }
  if (typeof matcher === "function") {
    return { text: `  ${describeMatcher(matcher)} said no\n`, distance: otherOperation }
  }
  const wanted = typeof matcher === "string" ? { operation: matcher } : matcher
  const edits = TextDiff.lines(pretty(wanted), pretty(project(sent, wanted)))
  const isOther = wanted.operation !== undefined && wanted.operation !== sent.operation
  return {
    text: TextDiff.unified(edits, { fromFile: "expected", toFile: "sent", context: 2 }),
    distance: edits.reduce(
      (sum, { _tag, items }) => _tag === "Equal" ? sum : sum + items.length,
      isOther ? otherOperation : 0
    )
  }
}

/** Prints how a request differs from what a matcher wants, as a unified diff; empty where they agree. */
export const diff = (matcher: Matcher, sent: Sent): string => difference(matcher, sent).text

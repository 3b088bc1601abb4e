/**
 * Keeps keys and prompts out of a cassette, and fingerprints requests so that a change is noticed all the same.
 */
import * as Bytes from "effect/Bytes"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import { promptsOf } from "../../together/Redact.ts"
import type { RecordedRequest } from "../Recorder.ts"
import type * as Sent from "../Sent.ts"
import * as SimulationRandom from "../SimulationRandom.ts"

/** Redacts one exchange. */
export interface Redaction {
  readonly request: RecordedRequest
  readonly response: (
    headers: Readonly<Record<string, string | undefined>>,
    parts: ReadonlyArray<Piece>,
    decode: (bytes: Uint8Array) => Option.Option<string>
  ) => {
    readonly headers: Record<string, string>
    readonly parts: ReadonlyArray<
      { readonly text: string; readonly waitMillis: number } | { readonly base64: string; readonly waitMillis: number }
    >
  }
}

interface Piece {
  readonly bytes: Uint8Array
  readonly waitMillis: number
}

const keptRequestHeaders = new Set(["accept", "content-type"])
/** Secrets, and what no longer holds of a body that was decoded and redacted. */
const droppedResponseHeaders = new Set([
  "set-cookie",
  "authorization",
  "www-authenticate",
  "content-encoding",
  "content-length"
])
/** Query parameters, text fields of bodies and headers that hold a secret. */
const secretParameters = /key|token|secret|signature|password|credential/i
const secretFields = /(?:key|token|secret|password|credential)s?$/i
const secretHeaders = /^(?:authorization|cookie|.*(?:api-?key|token|secret|password))$/i

const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => [name, canonical(field)])
  )
}

/** Replaces every text of a secret's name. */
const withoutSecrets = (value: unknown, names: RegExp, name = ""): unknown => {
  if (typeof value === "string") return names.test(name) ? "[key]" : value
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, names, name))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([inner, field]) => [inner, withoutSecrets(field, names, inner)])
  )
}

/** Shorter secrets are replaced where they are named only: elsewhere these are words. */
const shortestSecret = 8

/** Collects the secrets of a request, but for short ones: these are words, which an answer may well hold. */
const secretsOf = (sent: Sent.Sent): ReadonlySet<string> => {
  const found = new Set<string>()
  const visit = (value: unknown, names: RegExp, shortest: number, name = ""): void => {
    if (typeof value === "string") {
      const secret = value.replace(/^(?:bearer|basic)\s+/i, "")
      if (names.test(name) && secret.length >= shortest) found.add(secret)
    } else if (Array.isArray(value)) value.forEach((item) => visit(item, names, shortest, name))
    else if (typeof value === "object" && value !== null) {
      for (const [inner, field] of Object.entries(value)) visit(field, names, shortest, inner)
    }
  }
  visit(sent.headers, secretHeaders, 4)
  visit(sent.query, secretParameters, shortestSecret)
  visit(sent.body, secretFields, shortestSecret)
  return found
}

/** Picks the strings of JSON, each with the colon that makes it a name, and its brackets; a line may be cut short. */
const jsonParts = /"((?:[^"\\\n]|\\.?)*)(?:"(\s*:)?|$)|[{}[\]]/gm

/**
 * Replaces the texts of fields that are named as a secret: in JSON, whole or cut short, and in lines and events of it.
 *
 * The tokens of `logprobs` are part of the answer.
 */
const withoutFields = (text: string, replace: (secret: string) => string): string => {
  const around: Array<string> = []
  let name = ""
  return text.replace(jsonParts, (part: string, inner: string | undefined, colon: string | undefined) => {
    if (inner === undefined) {
      if (part === "{" || part === "[") around.push(name)
      else name = around.pop() ?? ""
      return part
    }
    if (colon !== undefined) {
      name = inner
      return part
    }
    return inner !== "" && secretFields.test(name) && !around.includes("logprobs") ? `"${replace(inner)}"` : part
  })
}

/** Picks the parameters of URLs, also where JSON or HTML escapes the ampersand. */
const urlParameters = /((?:[?&#]|\\u0026|&amp;)([\w.\-~%]+)=)([^&#\s"'<>\\]+)/g

const withoutParameters = (text: string, replace: (secret: string) => string): string =>
  text.replace(
    urlParameters,
    (whole, before: string, name: string, value: string) =>
      secretParameters.test(name) ? `${before}${replace(value)}` : whole
  )

/** Fingerprints method, path, query and body but for their secrets: 64 bits, whatever the order of fields. */
export const fingerprint = (sent: Sent.Sent): string => {
  const query = canonical(withoutSecrets(sent.query, secretParameters))
  const body = canonical(withoutSecrets(sent.body, secretFields))
  const text = JSON.stringify([sent.method, sent.path, query, body ?? null])
  let [a, b] = [SimulationRandom.source(text.length), SimulationRandom.source(-1 - text.length)]
  for (let i = 0; i < text.length; i++) {
    a = SimulationRandom.derive(a, text.charCodeAt(i))
    b = SimulationRandom.derive(b, text.charCodeAt(i) ^ a)
  }
  return (a >>> 0).toString(16).padStart(8, "0") + (b >>> 0).toString(16).padStart(8, "0")
}

const marked = /^\[\d+ characters\]$/

/** Tells whether a recorded request holds its prompts. */
export const keepsPrompts = (request: RecordedRequest): boolean => {
  let redacted = false
  const visit = (value: unknown): void => {
    if (typeof value === "string") redacted ||= marked.test(value)
    else if (Array.isArray(value)) value.forEach(visit)
    else if (typeof value === "object" && value !== null) Object.values(value).forEach(visit)
  }
  visit(request.body)
  return !redacted
}

/** Paths of texts that say how, not what: they stay. Lists are passed through. */
const plainPaths = new Set([
  "model",
  "type",
  "purpose",
  "endpoint",
  "tool_choice",
  "file.type",
  "messages.role",
  "messages.content.type",
  "messages.tool_calls.id",
  "messages.tool_calls.type",
  "messages.tool_calls.function.name",
  "tools.type",
  "tools.function.name",
  "tool_choice.type",
  "tool_choice.function.name",
  "response_format.type",
  "training_type.type"
])
/** Paths of objects whose fields the user named: they go as one. */
const ownPaths = new Set([
  "metadata",
  "documents",
  "tools.function.parameters",
  "response_format.schema",
  "response_format.json_schema.schema"
])

const withoutPrompts = (value: unknown, path = ""): unknown => {
  if (typeof value === "string") return plainPaths.has(path) ? value : `[${value.length} characters]`
  if (Array.isArray(value)) return value.map((item) => withoutPrompts(item, path))
  if (typeof value !== "object" || value === null) return value
  if (ownPaths.has(path)) return `[${JSON.stringify(value).length} characters]`
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, withoutPrompts(field, path === "" ? name : `${path}.${name}`)])
  )
}

const keyLike = /\b(?:bearer\s+[\w.\-~+/]{8,}=*|(?:sk|tgp|tgp_v1|tok|key)[-_][\w-]{16,}|[0-9a-f]{64})\b/gi

const overTexts = (value: unknown, change: (text: string) => string): unknown => {
  if (typeof value === "string") return change(value)
  if (Array.isArray(value)) return value.map((item) => overTexts(item, change))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, overTexts(field, change)]))
}

/** Replaces secrets wherever they stand, and what looks like a key. */
const withoutKeys = (secrets: Iterable<string>): (text: string) => string => {
  // the longest first: one may be part of another
  const sorted = [...secrets].toSorted((a, b) => b.length - a.length)
  return (text) => sorted.reduce((rest, secret) => rest.replaceAll(secret, "[key]"), text).replace(keyLike, "[key]")
}

const recordedRequest = (sent: Sent.Sent, keepPrompts: boolean, withoutKey: (text: string) => string) => {
  const body = overTexts(
    withoutSecrets(keepPrompts ? sent.body : withoutPrompts(sent.body), secretFields),
    withoutKey
  )
  return {
    fingerprint: fingerprint(sent),
    operation: withoutKey(sent.operation),
    method: sent.method,
    path: withoutKey(sent.path),
    query: Object.fromEntries(
      Object.entries(sent.query).map((
        [name, value]
      ) => [name, secretParameters.test(name) ? "[key]" : withoutKey(value)])
    ),
    headers: Object.fromEntries(
      Object.entries(sent.headers).flatMap(([name, value]) =>
        keptRequestHeaders.has(name) && value !== undefined ? [[name, value]] : []
      )
    ),
    ...(body === undefined ? undefined : { body })
  }
}

/** Prepares the redaction of one exchange. */
export const make = (sent: Sent.Sent, keepPrompts: boolean): Redaction => {
  const secrets = secretsOf(sent)
  const prompts = keepPrompts ? [] : promptsOf(sent.body)
  const withoutPrompt = (text: string): string =>
    prompts.reduce(
      (rest, prompt) => rest.replaceAll(prompt, "[prompt]").replaceAll(JSON.stringify(prompt).slice(1, -1), "[prompt]"),
      text
    )
  return {
    request: recordedRequest(sent, keepPrompts, withoutKeys(secrets)),
    response: (headers, parts, decode) => {
      // a secret may lie across two pieces: look at the whole, and keep the pieces only where there is none
      const whole = Bytes.concat(parts.map(({ bytes }) => bytes))
      const text = decode(whole)
      const original = Option.getOrElse(text, () => latin1(whole))
      // what is named as a secret is replaced there, and wherever else the answer repeats it
      const found = new Set(secrets)
      const replace = (secret: string): string => {
        if (secret.length >= shortestSecret) found.add(secret)
        return "[key]"
      }
      const named = Object.entries(headers).flatMap(([name, value]): ReadonlyArray<readonly [string, string]> =>
        droppedResponseHeaders.has(name) || value === undefined
          ? []
          : [[name, secretHeaders.test(name) ? replace(value) : withoutParameters(value, replace)]]
      )
      const body = withoutParameters(withoutFields(original, replace), replace)
      const withoutKey = withoutKeys(found)
      const clean = (rest: string): string => withoutPrompt(withoutKey(rest))
      const cleaned = Option.isSome(text) ? clean(body) : withoutKey(body)
      return {
        headers: Object.fromEntries(named.map(([name, value]) => [name, clean(value)])),
        parts: cleaned === original ? kept(parts, decode, Option.isSome(text)) : [{
          ...(Option.isSome(text) ? { text: cleaned } : { base64: Base64.encode(fromLatin1(cleaned)) }),
          waitMillis: parts.reduce((sum, part) => sum + part.waitMillis, 0)
        }]
      }
    }
  }
}

const kept = (parts: ReadonlyArray<Piece>, decode: (bytes: Uint8Array) => Option.Option<string>, isText: boolean) =>
  parts.map(({ bytes, waitMillis }) =>
    Option.match(isText ? decode(bytes) : Option.none(), {
      onSome: (piece) => ({ text: piece, waitMillis }),
      onNone: () => ({ base64: Base64.encode(bytes), waitMillis })
    })
  )

const latin1 = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

const fromLatin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

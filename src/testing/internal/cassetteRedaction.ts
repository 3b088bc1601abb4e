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
  readonly headers: (headers: Readonly<Record<string, string | undefined>>) => Record<string, string>
  readonly parts: (
    parts: ReadonlyArray<{ readonly bytes: Uint8Array; readonly waitMillis: number }>,
    decode: (bytes: Uint8Array) => Option.Option<string>
  ) => ReadonlyArray<
    { readonly text: string; readonly waitMillis: number } | { readonly base64: string; readonly waitMillis: number }
  >
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

/** Collects the secrets of a request, but for short ones: these are words, which an answer may well hold. */
const secretsOf = (sent: Sent.Sent): ReadonlyArray<string> => {
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
  visit(sent.query, secretParameters, 8)
  visit(sent.body, secretFields, 8)
  // the longest first: one may be part of another
  return [...found].toSorted((a, b) => b.length - a.length)
}

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

/** Names whose texts say how, not what: they stay. */
const plainNames = new Set(["model", "role", "type", "object", "purpose", "endpoint", "name", "tool_choice", "id"])

const withoutPrompts = (value: unknown, key = ""): unknown => {
  if (typeof value === "string") return plainNames.has(key) ? value : `[${value.length} characters]`
  if (Array.isArray(value)) return value.map((item) => withoutPrompts(item, key))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, withoutPrompts(field, name)]))
}

const keyLike = /\b(?:bearer\s+[\w.\-~+/]{8,}=*|(?:sk|tgp|tgp_v1|tok|key)[-_][\w-]{16,}|[0-9a-f]{64})\b/gi

const overTexts = (value: unknown, change: (text: string) => string): unknown => {
  if (typeof value === "string") return change(value)
  if (Array.isArray(value)) return value.map((item) => overTexts(item, change))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, overTexts(field, change)]))
}

/** Prepares the redaction of one exchange. */
export const make = (sent: Sent.Sent, keepPrompts: boolean): Redaction => {
  const secrets = secretsOf(sent)
  const withoutKey = (text: string): string =>
    secrets.reduce((rest, secret) => rest.replaceAll(secret, "[key]"), text).replace(keyLike, "[key]")
  const prompts = keepPrompts ? [] : promptsOf(sent.body)
  const clean = (text: string): string =>
    prompts.reduce(
      (rest, prompt) => rest.replaceAll(prompt, "[prompt]").replaceAll(JSON.stringify(prompt).slice(1, -1), "[prompt]"),
      withoutKey(text)
    )
  const body = overTexts(
    withoutSecrets(keepPrompts ? sent.body : withoutPrompts(sent.body), secretFields),
    withoutKey
  )
  return {
    request: {
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
    },
    headers: (headers) =>
      Object.fromEntries(
        Object.entries(headers).flatMap(([name, value]) =>
          droppedResponseHeaders.has(name) || value === undefined ? [] : [[name, clean(value)]]
        )
      ),
    parts: (parts, decode) => {
      // a secret may lie across two pieces: look at the whole, and keep the pieces only where there is none
      const whole = Bytes.concat(parts.map(({ bytes }) => bytes))
      const waitMillis = parts.reduce((sum, part) => sum + part.waitMillis, 0)
      const text = decode(whole)
      if (Option.isSome(text)) {
        const cleaned = clean(text.value)
        if (cleaned !== text.value) return [{ text: cleaned, waitMillis }]
      } else {
        const binary = latin1(whole)
        const cleaned = withoutKey(binary)
        if (cleaned !== binary) return [{ base64: Base64.encode(fromLatin1(cleaned)), waitMillis }]
      }
      return parts.map(({ bytes, waitMillis }) =>
        Option.match(Option.isSome(text) ? decode(bytes) : Option.none(), {
          onSome: (piece) => ({ text: piece, waitMillis }),
          onNone: () => ({ base64: Base64.encode(bytes), waitMillis })
        })
      )
    }
  }
}

const latin1 = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

const fromLatin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

/**
 * Keeps keys and prompts out of a cassette, and fingerprints requests so that a change is noticed all the same.
 */
import * as Bytes from "effect/Bytes"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ErrorBody from "../../together/error/ErrorBody.ts"
import { errorFromResponse } from "../../together/error/ForeignResponse.ts"
import { schemas } from "../../together/redact/Prompts.ts"
import type { RecordedRequest } from "../Recorder.ts"
import type * as Sent from "../Sent.ts"
import * as SimulationRandom from "../SimulationRandom.ts"
import * as AnswerText from "./answerText.ts"
import * as JsonText from "./jsonText.ts"
import * as PromptText from "./promptText.ts"
import * as ProviderWords from "./providerWords.ts"
import * as SecretText from "./secretText.ts"

/** Redacts one exchange. */
export interface Redaction {
  readonly request: RecordedRequest
  readonly response: (
    status: number,
    headers: Headers,
    parts: ReadonlyArray<Piece>,
    decode: (bytes: Uint8Array) => Option.Option<string>
  ) => {
    readonly headers: Record<string, string>
    readonly parts: ReadonlyArray<
      { readonly text: string; readonly waitMillis: number } | { readonly base64: string; readonly waitMillis: number }
    >
  }
}

type Headers = Readonly<Record<string, string | undefined>>

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
/** Response headers that never repeat a prompt. */
const plainResponseHeader =
  /^(?:accept-ranges|age|alt-svc|cache-control|cf-[\w-]+|connection|content-[\w-]+|date|etag|keep-alive|last-modified|location|retry-after(?:-ms)?|server|strict-transport-security|transfer-encoding|vary|via|x-(?:rate|token)[\w-]*|[\w-]*(?:-id|-type|-model|-status|limit[\w-]*))$/
/** Query parameters that never hold a prompt. */
const plainParameter = /^(?:after|before|limit|order|page|page_token|purpose|sort|type|dedicated|id|.*_id)$/

const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical)
  if (!Predicate.isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => [name, canonical(field)])
  )
}

/** Replaces the parts of a list or an object; the parts of a list have no name. */
const overParts = (value: unknown, change: (part: unknown, name: string | undefined) => unknown): unknown => {
  if (Array.isArray(value)) return value.map((item) => change(item, undefined))
  if (!Predicate.isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, change(field, name)]))
}

/** Replaces every text of a secret's name, and all inside of a field that is named as one. */
const withoutSecrets = (value: unknown, isSecret: (name: string) => boolean, name = "", inside = false): unknown =>
  typeof value === "string"
    ? inside || isSecret(name) ? "[key]" : value
    : overParts(value, (part, inner) =>
      inner === undefined
        ? withoutSecrets(part, isSecret, name, inside)
        : withoutSecrets(part, isSecret, inner, inside || SecretText.isSecretOwner(inner)))

/** A shorter one guards nothing, and stands in many words. */
const shortestHeader = 4

const below = (path: string, name: string): string => path === "" ? name : `${path}.${name}`

/** Collects the secrets of a request, but for what may be a word, which an answer may well hold. */
const secretsOf = (sent: Sent.Sent): Set<string> => {
  const found = new Set<string>()
  const collect = AnswerText.collecting(found)
  const withoutScheme = (value: string): string => value.replace(/^\w+\s+/, "")
  const visit = (value: unknown, isSecret: (name: string) => boolean, path = "", names: ReadonlyArray<string> = []) => {
    if (typeof value === "string") {
      if (!isSecret(names.at(-1) ?? "") && !names.some(SecretText.isSecretOwner)) return
      for (const secret of [value, withoutScheme(value)]) collect(secret, names)
    } else if (Array.isArray(value)) value.forEach((item) => visit(item, isSecret, path, names))
    // what a schema names as a secret is none yet
    else if (Predicate.isObject(value) && !schemas.has(path)) {
      for (const [name, field] of Object.entries(value)) visit(field, isSecret, below(path, name), [...names, name])
    }
  }
  visit(sent.query, SecretText.isSecretParameter)
  visit(sent.body, SecretText.isSecretField)
  for (const [name, value = ""] of Object.entries(sent.headers)) {
    if (!SecretText.isSecretHeader(name)) continue
    for (const secret of [value, withoutScheme(value)]) if (secret.length >= shortestHeader) found.add(secret)
  }
  return found
}

/** Fingerprints method, path, query and body but for their secrets: 64 bits, whatever the order of fields. */
export const fingerprint = (sent: Sent.Sent): string => {
  const query = canonical(withoutSecrets(sent.query, SecretText.isSecretParameter))
  const body = canonical(withoutSecrets(sent.body, SecretText.isSecretField))
  const text = JSON.stringify([sent.method, sent.path, query, body ?? null])
  let [a, b] = [SimulationRandom.source(text.length), SimulationRandom.source(-1 - text.length)]
  for (let i = 0; i < text.length; i++) {
    a = SimulationRandom.derive(a, text.charCodeAt(i))
    b = SimulationRandom.derive(b, text.charCodeAt(i) ^ a)
  }
  return (a >>> 0).toString(16).padStart(8, "0") + (b >>> 0).toString(16).padStart(8, "0")
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
  ...schemas
])

/** Tells whether requests were recorded with their prompts, by what they hold. */
export const keepsPrompts = (requests: ReadonlyArray<RecordedRequest>): boolean => {
  const bodies = requests.map(({ body = null }) => body)
  return !bodies.some((body) => /"\[\d+ characters\]"/.test(JSON.stringify(body))) &&
    bodies.some((body) => JSON.stringify(withoutPrompts(body)) !== JSON.stringify(body))
}

const withoutPrompts = (value: unknown, path = ""): unknown => {
  if (typeof value === "string") {
    return plainPaths.has(path) && !/\s/.test(value)
      ? value
      : `[${value.length} characters]`
  }
  if (Predicate.isObject(value) && ownPaths.has(path)) return `[${JSON.stringify(value).length} characters]`
  return overParts(
    value,
    (part, name) => withoutPrompts(part, name === undefined ? path : below(path, name))
  )
}

const overTexts = (value: unknown, change: (text: string) => string): unknown =>
  typeof value === "string" ? change(value) : overParts(value, (part) => overTexts(part, change))

const recordedRequest = (sent: Sent.Sent, keepPrompts: boolean, secrets: Set<string>): RecordedRequest => {
  const replace = AnswerText.collecting(secrets)
  const body = overTexts(
    withoutSecrets(keepPrompts ? sent.body : withoutPrompts(sent.body), SecretText.isSecretField),
    (text) => AnswerText.withoutSecrets(text, replace)
  )
  const withoutKey = SecretText.withoutKeys(secrets)
  const parameter = (name: string, value: string): string =>
    SecretText.isSecretParameter(name)
      ? "[key]"
      : keepPrompts || plainParameter.test(name) || /^(?:\d+|true|false)$/.test(value)
      ? withoutKey(SecretText.withoutNamed(value, replace))
      : `[${value.length} characters]`
  return {
    fingerprint: fingerprint(sent),
    operation: withoutKey(sent.operation),
    method: sent.method,
    path: withoutKey(sent.path),
    query: Object.fromEntries(
      Object.entries(sent.query).map(([name, value]) => [
        name,
        typeof value === "string" ? parameter(name, value) : value.map((each) => parameter(name, each))
      ])
    ),
    headers: Object.fromEntries(
      Object.entries(sent.headers).flatMap(([name, value]) =>
        keptRequestHeaders.has(name) && value !== undefined ? [[name, value]] : []
      )
    ),
    ...(body === undefined ? undefined : { body: overTexts(body, withoutKey) })
  }
}

/** Bounds the error bodies whose words are tried one by one, in characters. */
const longestError = 8000

/** Bounds the words that are tried. */
const mostWords = 64

/**
 * Adds to the words that stay of an error those without which the client would make another error of it, so that a replay
 * fails as the recording did. A word of the request is never one of them.
 */
const decidingWords = (
  sent: Sent.Sent,
  { headers, status, text }: { readonly status: number; readonly headers: Headers; readonly text: string },
  { all, words }: PromptText.Prompts,
  redacted: (words: ReadonlySet<string>) => string
): ReadonlySet<string> => {
  const verdict = (body: string): string => {
    const { model, operation } = sent
    const error = errorFromResponse({ status, headers, body, operation, model, request: sent.body })
    return error._tag === "RateLimitError" ? `${error._tag} ${error.scope}` : error._tag
  }
  const wanted = verdict(text)
  const decides = (kept: ReadonlySet<string>) => verdict(redacted(kept)) === wanted
  if (decides(words)) return words
  const request = all.toLowerCase()
  const dropped = ProviderWords.others(ErrorBody.parse(text).message ?? "")
    .filter((word) => !request.includes(word.toLowerCase()))
    .slice(0, mostWords)
  const kept = new Set([...words, ...dropped])
  if (!decides(kept)) return words
  for (const word of dropped) {
    kept.delete(word)
    if (!decides(kept)) kept.add(word)
  }
  return kept
}

/** Prepares the redaction of one exchange. */
export const make = (sent: Sent.Sent, keepPrompts: boolean): Redaction => {
  const known = secretsOf(sent)
  const request = recordedRequest(sent, keepPrompts, known)
  const prompts = keepPrompts ? undefined : PromptText.of(sent.body, sent.model)
  const textEdits = (text: string, status: number, headers: Headers, secrets: Set<string>) => {
    const failed = status >= 400
    if (prompts === undefined) return AnswerText.edits(text, { prompts, failed, secrets })
    const keeping = (words: ReadonlySet<string>) =>
      AnswerText.edits(text, { prompts: { ...prompts, words }, failed, secrets })
    if (!failed || text.length > longestError) return keeping(prompts.words)
    const redacted = (words: ReadonlySet<string>) => JsonText.edited(text, keeping(words), [text.length]).join("")
    return keeping(decidingWords(sent, { status, headers, text }, prompts, redacted))
  }
  return {
    request,
    response: (status, headers, parts, decode) => {
      // what is named as a secret is replaced there, and wherever else the answer repeats it
      const secrets = new Set(known)
      const replace = AnswerText.collecting(secrets)
      const named = Object.entries(headers).flatMap(([name, value]): ReadonlyArray<readonly [string, string]> =>
        droppedResponseHeaders.has(name) || value === undefined
          ? []
          : [[
            name,
            SecretText.isSecretHeader(name)
              ? replace(value)
              : keepPrompts || plainResponseHeader.test(name)
              ? SecretText.withoutNamed(value, replace)
              : `[${value.length} characters]`
          ]]
      )
      // a secret may lie across two pieces: look at the whole
      const whole = Bytes.concat(parts.map(({ bytes }) => bytes))
      const text = decode(whole)
      const pieces = Option.isSome(text)
        ? textPieces(text.value, textEdits(text.value, status, headers, secrets), parts)
        : binaryPieces(whole, AnswerText.edits(latin1(whole), { prompts: undefined, failed: false, secrets }), parts)
      const withoutKey = SecretText.withoutKeys(secrets)
      return { headers: Object.fromEntries(named.map(([name, value]) => [name, withoutKey(value)])), parts: pieces }
    }
  }
}

/** Cuts a text where its pieces ended, a character that lies across two in the later one. */
const textPieces = (text: string, edits: ReadonlyArray<JsonText.Edit>, parts: ReadonlyArray<Piece>) => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  let end = 0
  const ends = parts.map(({ bytes }) => end += decoder.decode(bytes, { stream: true }).length)
  return JsonText.edited(text, edits, ends).map((piece, index) => ({
    text: piece,
    waitMillis: parts[index]?.waitMillis ?? 0
  }))
}

const binaryPieces = (whole: Uint8Array, edits: ReadonlyArray<JsonText.Edit>, parts: ReadonlyArray<Piece>) => {
  let end = 0
  const ends = parts.map(({ bytes }) => end += bytes.length)
  return JsonText.edited(latin1(whole), edits, ends).map((piece, index) => ({
    base64: Base64.encode(fromLatin1(piece)),
    waitMillis: parts[index]?.waitMillis ?? 0
  }))
}

const latin1 = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

const fromLatin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

/**
 * One row of a job's input: a request with an id, read from a line of JSONL.
 *
 * Three forms are read, and may be mixed in one file:
 *
 * | form | line |
 * | --- | --- |
 * | Batch API | `{"custom_id": "a", "body": {"model": …, "messages": …}, "method"?: "POST", "url"?: "/v1/…"}` |
 * | chat | `{"messages": [{"role": "user", "content": …}]}` |
 * | prompt | `{"prompt": "…"}`, sent as one chat message of the user |
 *
 * In the last two, the known fields of a chat request (`model`, `max_tokens`, `temperature`, …) belong to the request.
 * A field that is null counts as not set there.
 * In all three, every other field is the caller's: it is not sent, and stands in the output row again (Answer.ts),
 * numbers as they were written. A `prompt` beside `messages` is such a field.
 *
 * A line that cannot be sent is a {@link Bad} with its line number and what to do about it: parsing never fails, so one
 * bad line never stops a file. A row without an id gets `line-<number>`, which holds as long as the file does not
 * change above it. A row that nests deeper than {@link maxDepth} is bad, for JSON is written by recursion.
 *
 * **Source**: the Batch API's input file, https://docs.together.ai/docs/batch-inference
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Hash from "../policy/Hash.ts"
import { isDeeper, stringify } from "../together/Json.ts"
import * as Routes from "../together/Routes.ts"
import * as BrokenLine from "./BrokenLine.ts"
import * as ExactJson from "./ExactJson.ts"

/** A JSON object. */
export type Json = { readonly [key: string]: unknown }

/** Names the endpoint of a row. */
export type Operation = keyof typeof Routes.inference

/** A request that can be sent. */
export interface Row {
  readonly _tag: "Row"
  /** Line in the input, from 1. */
  readonly line: number
  readonly id: string
  /** True where the line had no id and got `line-<number>`. */
  readonly assigned: boolean
  readonly operation: Operation
  readonly model: string
  /** The request as it is sent, the job's own defaults filled in. */
  readonly body: Json
  /** The caller's fields, for the output row. */
  readonly extra: Json | undefined
}

/** Says why a line cannot be sent. */
export type BadReason = "json" | "shape" | "id" | "model" | "duplicate" | "too-long" | "encoding" | "batch"

/** A line that cannot be sent. */
export interface Bad {
  readonly _tag: "Bad"
  readonly line: number
  /** The id, where the line had one. */
  readonly id: string | undefined
  readonly reason: BadReason
  /** What is wrong and what to do, in one line. */
  readonly message: string
  /** Tells apart two bad lines with the same number in two versions of a file. */
  readonly hash: number
}

/** Says how lines become rows. */
export interface Options {
  /** Model of rows that name none. Default: none, so such rows are bad. */
  readonly model?: string | undefined
  /**
   * Fields for every request that does not have them itself (`max_tokens`, `temperature`, …). Embeddings, rerank and
   * images take none of those that only a generation knows. Default: none.
   */
  readonly body?: Json | undefined
  /** System message put before the messages of rows that have none. Default: none. */
  readonly system?: string | undefined
}

/**
 * Holds the path of each endpoint, as Batch API lines name it.
 *
 * @internal
 */
export const urls: { readonly [path: string]: Operation } = Object.fromEntries(
  // the keys of the table
  (Object.keys(Routes.inference) as ReadonlyArray<Operation>).map((name) => [
    `/v1${Routes.inference[name].path}`,
    name
  ])
)

/**
 * Holds the fields of a plain row that belong to the request; all others are the caller's.
 *
 * @internal
 */
export const chatFields: ReadonlySet<string> = new Set([
  "model",
  "messages",
  "max_tokens",
  "max_completion_tokens",
  "stop",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "presence_penalty",
  "frequency_penalty",
  "logit_bias",
  "seed",
  "n",
  "logprobs",
  "echo",
  "context_length_exceeded_behavior",
  "response_format",
  "tools",
  "tool_choice",
  "compliance",
  "chat_template_kwargs",
  "safety_model",
  "reasoning_effort",
  "reasoning"
])

const envelope = new Set(["custom_id", "body", "method", "url"])

/**
 * Levels that a row may nest: far from where a stack ends, whoever writes the row.
 *
 * @internal
 */
export const maxDepth = 500

/**
 * Tells whether a value is a JSON object: no array, and not null.
 *
 * @internal
 */
export const isObject: (u: unknown) => u is Json = Predicate.isReadonlyObject

/** Makes a {@link Bad} of a line. */
export const bad = (
  line: number,
  reason: BadReason,
  message: string,
  text: string,
  id?: string
): Bad => ({ _tag: "Bad", line, id, reason, message, hash: Hash.text32(text) })

/**
 * Names a row without an id of its own.
 *
 * @internal
 */
export const assignedId = (line: number): string => `line-${line}`

/**
 * Sets a field of any name: a plain assignment takes `__proto__` for the prototype.
 *
 * @internal
 */
export const setField = (into: Record<string, unknown>, key: string, value: unknown): void => {
  if (key === "__proto__") {
    Object.defineProperty(into, key, { value, enumerable: true, configurable: true, writable: true })
  } else into[key] = value
}

const withoutKeys = (source: Json, drop: ReadonlySet<string>): Json | undefined => {
  let out: Record<string, unknown> | undefined
  for (const key in source) {
    if (!drop.has(key)) setField(out ??= {}, key, source[key])
  }
  return out
}

const messagesDrop = new Set([...chatFields, "custom_id"])
const promptDrop = new Set([...messagesDrop, "prompt"])

const plain = (value: Json): { readonly body: Json; readonly drop: ReadonlySet<string> } => {
  const body: Record<string, unknown> = {}
  for (const key in value) {
    // tables that become JSON have null where a field is not set, and no field of a request may be null
    if (chatFields.has(key) && value[key] !== null) body[key] = value[key]
  }
  if (body["messages"] !== undefined) return { body, drop: messagesDrop }
  body["messages"] = [{ role: "user", content: value["prompt"] }]
  return { body, drop: promptDrop }
}

/** Fields of a generation that requests for images have, too. */
const imageFields: ReadonlySet<string> = new Set(["n", "seed", "response_format"])

/** Tells whether rows take a field of the job's. */
const takes = (operation: Operation, key: string): boolean => {
  switch (operation) {
    case "chat":
    case "completions":
      return true
    case "images":
      return !chatFields.has(key) || imageFields.has(key)
    default:
      return !chatFields.has(key)
  }
}

/**
 * Says which of the job's fields a row takes. The job's `max_tokens` is for a row with `max_completion_tokens`, too:
 * Together's reference does not list that field, so it bounds no cost.
 */
const defaultsFor = (operation: Operation, given: Json): Json => {
  const out: Record<string, unknown> = {}
  for (const key in given) {
    if (key === "model" || takes(operation, key)) out[key] = given[key]
  }
  return out
}

const hasSystem = (messages: ReadonlyArray<unknown>): boolean =>
  messages.some((message) => isObject(message) && message["role"] === "system")

const complete = (body: Json, operation: Operation, options: Options): Json => {
  const system = operation === "chat" && options.system !== undefined && Array.isArray(body["messages"]) &&
      !hasSystem(body["messages"])
    ? options.system
    : undefined
  if (options.body === undefined && system === undefined && (options.model === undefined || "model" in body)) {
    return body
  }
  const filled: Record<string, unknown> = options.body === undefined
    ? { ...body }
    : { ...defaultsFor(operation, options.body), ...body }
  if (filled["model"] === undefined) filled["model"] = options.model
  if (system !== undefined) {
    filled["messages"] = [{ role: "system", content: system }, ...(body["messages"] as ReadonlyArray<unknown>)] // an array: `system` says so
  }
  return filled
}

/** Says what is missing from a request body, or nothing. */
const lacks = (body: Json, operation: Operation): string | undefined => {
  const text = (key: string) => typeof body[key] === "string" && body[key] !== ""
  switch (operation) {
    case "chat": {
      const messages = body["messages"]
      if (!Array.isArray(messages) || messages.length === 0) return "body.messages must be a non-empty array"
      const wrong = messages.findIndex((message) => !isObject(message) || typeof message["role"] !== "string")
      return wrong < 0 ? undefined : `body.messages[${wrong}] must be an object with a role`
    }
    case "completions":
      return text("prompt") ? undefined : "body.prompt must be a non-empty string"
    case "embeddings":
      return text("input") || (Array.isArray(body["input"]) && body["input"].length > 0)
        ? undefined
        : "body.input must be a non-empty string or array"
    case "rerank":
      return text("query") && Array.isArray(body["documents"])
        ? undefined
        : "body.query must be a string and body.documents an array"
    case "images":
      return text("prompt") ? undefined : "body.prompt must be a non-empty string"
  }
}

const typeOf = (u: unknown): string =>
  u === null ? "null" : Array.isArray(u) ? "an array" : `a value of type ${typeof u}`

/**
 * Names a wrong value of the envelope: a short word as it is, of anything else only the type, since it may be a prompt.
 */
const named = (u: unknown): string =>
  typeof u === "string" && /^[\w/.:-]{0,60}$/.test(u) ? JSON.stringify(u) : typeOf(u)

/** Says why a row without `body` is not a request. */
const notPlain = ({ messages, prompt }: Json): string =>
  messages !== undefined
    ? `messages must be an array, got ${typeOf(messages)}`
    : prompt !== undefined
    ? `prompt must be text, got ${typeOf(prompt)}`
    : "the row has neither body, messages nor prompt"

const operationOf = (value: Json): Operation | string => {
  const { method, url } = value
  if (method !== undefined && (typeof method !== "string" || method.toUpperCase() !== "POST")) {
    return `method must be "POST", got ${named(method)}`
  }
  if (url === undefined) return "chat"
  const operation = typeof url === "string" ? urls[url.startsWith("/v1/") ? url : `/v1${url}`] : undefined
  return operation ?? `url must be one of ${Object.keys(urls).join(", ")}, got ${named(url)}`
}

const isOperation = (text: string): text is Operation => Object.hasOwn(Routes.inference, text)

/** Reads one line of JSONL. Never fails: what cannot be sent is a {@link Bad}. */
export const parse = (text: string, line: number, options: Options = {}): Row | Bad => {
  const parsed = Result.try((): unknown => JSON.parse(text))
  if (Result.isSuccess(parsed)) return fromJson(parsed.success, line, options, text)
  const advice = BrokenLine.advice(text, line) ?? "write one JSON object per line"
  return bad(line, "json", `line ${line} is not JSON (${BrokenLine.fault(text)}): ${advice}`, text)
}

/** Makes a row of a JSON value, as {@link parse} does of a line. */
export const fromJson = (value: unknown, line: number, options: Options = {}, text?: string): Row | Bad => {
  const source = () => text ?? stringify(value) ?? ""
  if (!isObject(value)) {
    const advice = BrokenLine.advice(text ?? "", line) ?? "write {\"custom_id\": …, \"body\": …}"
    return bad(line, "shape", `line ${line} is not a JSON object: ${advice}`, source())
  }
  const given = value["custom_id"]
  if (given !== undefined && (typeof given !== "string" || given === "")) {
    const got = given === "" ? "an empty one" : typeOf(given)
    return bad(line, "id", `line ${line}: custom_id must be a non-empty string, got ${got}`, source())
  }
  const fail = (reason: BadReason, message: string) => bad(line, reason, `line ${line}: ${message}`, source(), given)
  if (isDeeper(value, maxDepth)) return fail("shape", `the row nests more than ${maxDepth} levels deep: flatten it`)
  let body: Json
  let drop: ReadonlySet<string> = envelope
  let operation: Operation = "chat"
  if (value["body"] !== undefined) {
    if (!isObject(value["body"])) return fail("shape", "body must be an object")
    body = value["body"]
    const found = operationOf(value)
    if (!isOperation(found)) return fail("shape", found)
    operation = found
  } else if (Array.isArray(value["messages"]) || typeof value["prompt"] === "string") {
    if (value["prompt"] === "") return fail("shape", "prompt must not be empty")
    ;({ body, drop } = plain(value))
  } else {
    return fail("shape", notPlain(value))
  }
  body = complete(body, operation, options)
  const model = body["model"]
  if (typeof model !== "string" || model === "") {
    return fail("model", "the row names no model: write body.model, or give the job a model for such rows")
  }
  const missing = lacks(body, operation)
  if (missing !== undefined) return fail("shape", missing)
  if (body["stream"] === true) return fail("shape", "body.stream must not be true: a job writes whole answers")
  let extra = withoutKeys(value, drop)
  if (extra !== undefined && text !== undefined && ExactJson.hasOther(text)) {
    extra = withoutKeys(ExactJson.parseAsWritten(text) as Json, drop) // the text of `value`, so an object too
  }
  return {
    _tag: "Row",
    line,
    id: given ?? assignedId(line),
    assigned: given === undefined,
    operation,
    model,
    body,
    extra
  }
}

/**
 * What an inference request asks for, read as the provider reads it: strictly where it is strict.
 *
 * A field of the wrong type, a `stop` that is no list or longer than four, and
 * `max_output_tokens` are refused; other fields that are not known pass.
 *
 * The prompt's hash covers operation, model and prompt, not the options: the
 * same question streamed or not, short or long, meets the same answer.
 */
import { estimateTokens } from "../domain/Call.ts"
import * as Routes from "../together/Routes.ts"
import * as Random from "./SimulationRandom.ts"
import type { Arrival } from "./SimulationReply.ts"
import { fields } from "./SimulationText.ts"

/** Holds a request that was understood: the call it makes, and the body for what its answer depends on. */
export interface Read {
  readonly call: Pick<
    Arrival,
    "operation" | "model" | "inputTokens" | "maxTokens" | "outputTokens" | "choices" | "promptHash"
  >
  readonly body: Body
}

/** Describes a JSON object as sent. */
export type Body = Readonly<Record<string, unknown>>

/** Says what is wrong with a request. */
export interface Invalid {
  readonly message: string
  readonly param: string
}

/** Tells a refusal from a request that was understood. */
export const isInvalid = (read: Read | Invalid): read is Invalid => "param" in read

type Check = (value: unknown) => string | undefined

const optional = (check: Check): Check => (value) => value === undefined || value === null ? undefined : check(value)

const text: Check = (value) => typeof value === "string" && value !== "" ? undefined : "must be a non-empty string"

const number = (minimum: number, maximum: number): Check => (value) =>
  typeof value === "number" && value >= minimum && value <= maximum
    ? undefined
    : `must be a number from ${minimum} to ${maximum}`

const integer = (minimum: number, maximum: number): Check => (value) =>
  Number.isInteger(value) ? number(minimum, maximum)(value) : "must be an integer"

const list = (maximum: number): Check => (value) =>
  Array.isArray(value) && value.every((item) => typeof item === "string") && value.length <= maximum
    ? undefined
    : `must be a list of at most ${maximum} strings`

const forbidden: Check = (value) => value === undefined ? undefined : "is not supported"

const messages: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((message) => typeof fields(message)?.["role"] === "string")
    ? undefined
    : "must be a non-empty list of messages with a role"

const generation: Readonly<Record<string, Check>> = {
  model: text,
  max_tokens: optional(integer(1, 10_000_000)),
  max_completion_tokens: optional(integer(1, 10_000_000)),
  max_output_tokens: forbidden,
  stop: optional(list(4)),
  temperature: optional(number(0, 2)),
  top_p: optional(number(0, 1)),
  n: optional(integer(1, 128)),
  presence_penalty: optional(number(-2, 2)),
  frequency_penalty: optional(number(-2, 2))
}

const checks: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  chat: { ...generation, messages },
  completions: {
    ...generation,
    prompt: (value) => typeof value === "string" ? undefined : "must be a string"
  },
  embeddings: {
    model: text,
    input: (value) =>
      typeof value === "string" ||
        (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string"))
        ? undefined
        : "must be a string or a non-empty list of strings"
  },
  rerank: {
    model: text,
    query: text,
    documents: (value) =>
      Array.isArray(value) && value.length > 0 ? undefined : "must be a non-empty list of strings or objects",
    top_n: optional(integer(1, 1_000_000))
  },
  images: {
    model: text,
    prompt: text,
    n: optional(integer(1, 4)),
    width: optional(integer(256, 1920)),
    height: optional(integer(256, 1920)),
    steps: optional(integer(1, 50))
  },
  speech: { model: text, input: text, voice: text }
}

const refusal = (operation: string, body: Body): Invalid | undefined => {
  for (const [param, check] of Object.entries(checks[operation] ?? {})) {
    const problem = check(body[param])
    if (problem !== undefined) return { message: `Invalid request: \`${param}\` ${problem}`, param }
  }
  return undefined
}

const contentTokens = (content: unknown): number => {
  if (typeof content === "string") return estimateTokens(content)
  if (!Array.isArray(content)) return 0
  return content.reduce<number>((sum, part) => {
    const said = fields(part)?.["text"]
    return sum + (typeof said === "string" ? estimateTokens(said) : 1000)
  }, 0)
}

/** Counts the tokens that a document or a text stands for. */
const tokensOf = (value: unknown): number =>
  estimateTokens(typeof value === "string" ? value : JSON.stringify(value) ?? "")

const listOf = (value: unknown): ReadonlyArray<unknown> => Array.isArray(value) ? value : [value]

const inputTokens = (operation: string, body: Body): number => {
  switch (operation) {
    case "chat":
      return listOf(body["messages"]).reduce<number>(
        (sum, message) => sum + contentTokens(fields(message)?.["content"]) + 4,
        body["tools"] === undefined ? 0 : tokensOf(body["tools"])
      )
    case "embeddings":
    case "speech":
      return listOf(body["input"]).reduce<number>((sum, item) => sum + tokensOf(item), 0)
    case "rerank": {
      // the query is read anew with each document
      const each = tokensOf(body["query"]) + Routes.defaults.tokensPerDocument
      return listOf(body["documents"]).reduce<number>((sum, item) => sum + tokensOf(item) + each, 0)
    }
    default:
      return tokensOf(body["prompt"])
  }
}

const numberOf = (value: unknown): number | undefined => typeof value === "number" ? value : undefined

/** Names the fields that make a prompt. */
const prompt: Readonly<Record<string, ReadonlyArray<string>>> = {
  chat: ["messages"],
  completions: ["prompt"],
  embeddings: ["input"],
  rerank: ["query", "documents"],
  images: ["prompt"],
  speech: ["input", "voice"]
}

/** Reads an inference request. */
export const read = (operation: string, json: unknown): Read | Invalid => {
  const body = fields(json)
  if (body === undefined) return { message: "Invalid request: the body must be a JSON object", param: "body" }
  const invalid = refusal(operation, body)
  if (invalid !== undefined) return invalid
  const model = String(body["model"])
  const generates = operation === "chat" || operation === "completions"
  const asked = (prompt[operation] ?? []).map((field) => body[field])
  return {
    call: {
      operation,
      model,
      inputTokens: operation === "images" ? 0 : inputTokens(operation, body),
      maxTokens: generates ? numberOf(body["max_tokens"]) ?? numberOf(body["max_completion_tokens"]) : undefined,
      outputTokens: generates ? undefined : operation === "images" ? numberOf(body["n"]) ?? 1 : 0,
      choices: generates ? numberOf(body["n"]) : undefined,
      promptHash: Random.hash(`${operation}\n${model}\n${JSON.stringify(asked)}`)
    },
    body
  }
}

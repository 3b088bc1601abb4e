/**
 * Recognizes the everyday shape of chat requests and answers without a schema's walk.
 *
 * On the path of every call a schema costs more than all guards together, so
 * the common shapes are recognized by hand. A `true` means that the schema
 * would accept the value too (a law of the tests); a `false` only means that
 * the schema decides, and words the error.
 */
import * as Predicate from "effect/Predicate"

const isFields = Predicate.isReadonlyObject

const isNothing = Predicate.isNullish

const isText = (u: unknown): boolean => isNothing(u) || typeof u === "string"

/** Tells absence as Together writes it: `tool_calls` and `prompt` are empty lists in most answers. */
const isNone = (u: unknown): boolean => isNothing(u) || (Array.isArray(u) && u.length === 0)

const isNumber = (u: unknown): boolean => u === undefined || (typeof u === "number" && Number.isFinite(u))

const isMessage = (u: unknown): boolean => {
  if (!isFields(u) || typeof u["role"] !== "string") return false
  for (const key in u) {
    if (key !== "role" && key !== "content") return false
  }
  return typeof u["content"] === "string"
}

/** Recognizes a request of plain messages, a model, `max_tokens` and unbounded sampling numbers. */
export const isPlainRequest = (u: unknown): boolean => {
  if (!isFields(u)) return false
  for (const key in u) {
    const value = u[key]
    switch (key) {
      case "model":
        if (typeof value !== "string" || value === "") return false
        break
      case "messages":
        if (!Array.isArray(value) || value.length === 0 || !value.every(isMessage)) return false
        break
      case "max_tokens":
        if (!Number.isSafeInteger(value) || Number(value) < 0) return false
        break
      case "temperature":
      case "top_p":
        if (!isNumber(value)) return false
        break
      default:
        return false
    }
  }
  return "model" in u && "messages" in u
}

const isPlainChoice = (u: unknown): boolean => {
  if (!isFields(u)) return false
  const message = u["message"]
  return isFields(message) && typeof message["role"] === "string" && isText(message["content"]) &&
    isText(message["reasoning"]) && isText(message["reasoning_content"]) && isNone(message["tool_calls"]) &&
    isNothing(message["function_call"]) &&
    isText(u["finish_reason"]) && isText(u["text"]) && (u["index"] === undefined || Number.isSafeInteger(u["index"])) &&
    isCount(u["seed"]) && isNothing(u["logprobs"])
}

const isWord = (u: unknown): boolean => u === undefined || typeof u === "string"

const isCount = (u: unknown): boolean => u === null || isNumber(u)

const isUsage = (u: unknown): boolean =>
  isFields(u) && isCount(u["prompt_tokens"]) && isCount(u["completion_tokens"]) && isCount(u["total_tokens"])

/** Recognizes an answer whose choices hold text and no tool calls. */
export const isPlainResponse = (u: unknown): boolean =>
  isFields(u) && isWord(u["id"]) && isWord(u["object"]) && isWord(u["model"]) && isNumber(u["created"]) &&
  Array.isArray(u["choices"]) && u["choices"].length > 0 && u["choices"].every(isPlainChoice) &&
  (isNothing(u["usage"]) || isUsage(u["usage"])) && isNothing(u["warnings"]) &&
  isNone(u["prompt"])

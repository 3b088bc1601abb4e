/**
 * Recognizes an answer with a 2xx status that is an error all the same, and a usage that cannot be right.
 */
import * as Usage from "../../domain/Usage.ts"
import * as Delta from "../stream/Delta.ts"
import { fieldsOf } from "../Json.ts"
import { textOf } from "../Wire.ts"

const isText = (u: unknown): boolean => textOf(u) !== undefined

/** Tells whether a choice of an answer says anything: words, thoughts or a tool call. */
export const carries = (choice: unknown): boolean => {
  const { message, text } = fieldsOf(choice)
  const { content, reasoning, reasoning_content, ...others } = fieldsOf(message)
  return [text, content, reasoning, reasoning_content].some(isText) || Delta.hasCalls(others)
}

/** Reads the usage of an answer; a usage without output is ignored if the choices say something. */
export const usageOf = (answer: unknown, options?: Usage.Options): Usage.Usage | undefined => {
  const usage = Usage.fromAnswer(answer, options)
  const { choices } = fieldsOf(answer)
  return usage?.outputTokens === 0 && Array.isArray(choices) && choices.some(carries) ? undefined : usage
}

/** Tells whether a field `error` says that something failed, by its words or by its kind. */
const saysError = (error: unknown): boolean => {
  const { code, message, type } = fieldsOf(error)
  // a number below 400, also as text, names no error; a word does
  return [error, message, type].some(isText) ||
    (typeof code === "number" ? code >= 400 : isText(code) && !(Number(code) < 400))
}

/**
 * Tells whether an answer is an error. It is not if it is a failed job, which has its state beside its `error`, if it
 * carries something else beside it, or if its `error` says nothing. An error may have the id of its request if it also
 * names its kind. The code interpreter lists its errors beside `data: null`.
 */
export const is = (value: unknown): boolean => {
  const { choices, data, error, errors, id, object, state, status, workflow_id } = fieldsOf(value)
  if (object === "error") return true
  if (data === null && errors !== undefined) return Array.isArray(errors) && errors.length > 0
  if (!saysError(error)) return false
  if (Array.isArray(choices)) return !choices.some(carries)
  if ([state, status, workflow_id, object].some(isText)) return false
  if (!isText(id)) return true
  const { message, type } = fieldsOf(error)
  return isText(message) && isText(type)
}

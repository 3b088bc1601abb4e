/**
 * What a chunk of a stream adds to one of its choices: text, reasoning, and calls of tools in the new form (`tool_calls`)
 * and the old (`function_call`). The same in chat and in completions.
 *
 * A stream checks that a delta is an object, and no more: anything may stand under these names.
 */
import { bytesOf } from "../Wire.ts"

interface Called {
  readonly name?: string | null | undefined
  readonly arguments?: string | null | undefined
}

/** What is read of a delta. */
export interface Delta {
  readonly content?: string | null | undefined
  readonly reasoning?: string | null | undefined
  readonly reasoning_content?: string | null | undefined
  readonly tool_calls?: ReadonlyArray<{ readonly function?: Called | null | undefined }> | null | undefined
  readonly function_call?: Called | null | undefined
}

type Maybe = Delta | null | undefined

/** Reads the reasoning; an empty piece under one name does not hide the other. */
export const reasoning = (delta: Maybe): string => delta?.reasoning || (delta?.reasoning_content ?? "")

/** Tells whether a delta carries a piece of a call. */
export const hasCalls = ({ function_call, tool_calls }: Delta): boolean =>
  (Array.isArray(tool_calls) && tool_calls.length > 0) || (typeof function_call === "object" && function_call !== null)

/** Tells whether a delta carries a token of any kind. */
export const hasToken = (delta: Maybe): boolean =>
  delta !== undefined && delta !== null &&
  (notEmpty(delta.content) || notEmpty(delta.reasoning) || notEmpty(delta.reasoning_content) || hasCalls(delta))

const notEmpty = (text: string | null | undefined): boolean => text !== undefined && text !== null && text !== ""

const ofCalled = (called: Called | null | undefined): number => bytesOf(called?.name) + bytesOf(called?.arguments)

/** Counts the UTF-8 bytes besides the content: of the reasoning, and of the names and arguments of calls. */
export const bytesBesides = (delta: Maybe): number => {
  let sum = bytesOf(reasoning(delta)) + ofCalled(delta?.function_call)
  const calls = delta?.tool_calls
  if (Array.isArray(calls)) { for (const call of calls) sum += ofCalled(call?.function) }
  return sum
}

const written = <C extends Called | null | undefined>(called: C): C => {
  const args: unknown = called?.arguments
  return typeof args === "object" && args !== null ? { ...called, arguments: JSON.stringify(args) } : called
}

const writtenOf = <D extends Delta>(delta: D): D => ({
  ...delta,
  ...(Array.isArray(delta.tool_calls)
    ? {
      tool_calls: delta.tool_calls.map((call) => call?.function ? { ...call, function: written(call.function) } : call)
    }
    : undefined),
  ...(delta.function_call ? { function_call: written(delta.function_call) } : undefined)
})

/** Writes the arguments of calls as text, where a model sends an object. */
export const textual = <Chunk extends { readonly choices: ReadonlyArray<{ readonly delta?: Maybe }> }>(
  chunk: Chunk
): Chunk => ({
  ...chunk,
  choices: chunk.choices.map((choice) => choice.delta ? { ...choice, delta: writtenOf(choice.delta) } : choice)
})

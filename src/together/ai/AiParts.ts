/**
 * Reads a Together chat answer, whole or in chunks, as the response parts of `effect/ai`.
 *
 * ```
 *  chunk ─▶ Assembler.push ─▶ response-metadata, once
 *                             reasoning-start · reasoning-delta … reasoning-end
 *                             text-start · text-delta … text-end
 *                             tool-params-start · tool-params-delta …            merged to calls
 *  end   ─▶ Assembler.end  ─▶ open blocks end · tool-params-end · tool-call · finish
 * ```
 *
 * Tool calls are handed on at the end of the stream: Together may set the finish reason before the last arguments,
 * and repeats it after them. `AiCallPieces` says which pieces belong together.
 *
 * | `finish_reason` | `FinishReason` |
 * | --- | --- |
 * | `stop`, `eos` | `stop`, or `tool-calls` where the answer calls a tool |
 * | `tool_calls`, `function_call` | `tool-calls` |
 * | `length` | `length` |
 * | `content_filter` | `content-filter` |
 * | `error` | a `StreamError`; `error` where another choice did not fail |
 * | none | `unknown` |
 * | another | `other`; the word stands in the part's metadata |
 *
 * **Errors**: a reason of `AiError`: `ToolParameterValidationError` for arguments that are no JSON (unless the tool
 * returns its failures to the model), `ToolNotFoundError` for a tool that was not offered, `StructuredOutputError` for
 * JSON that was cut off at the answer's length, `InvalidOutputError` for an answer without a choice or a call without a
 * name.
 */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Usage from "../../domain/Usage.ts"
import * as AiCallPieces from "./AiCallPieces.ts"
import type { Slot } from "./AiCallPieces.ts"
import * as AiNulls from "./AiNulls.ts"
import * as Chat from "../Chat.ts"
import * as Json from "../Json.ts"
import { textOf } from "../Wire.ts"

type Reason = AiError.AiErrorReason

/** Says what was asked for, as far as reading the answer needs it. */
export interface Asked {
  readonly tools: ReadonlyArray<Tool.Any>
  /** True where calls are handed on as they came, for the caller to check. */
  readonly deferred: boolean
  /** True where the text is to be JSON. */
  readonly object: boolean
  /** Begins the ids of tool calls that came without one. */
  readonly idPrefix: string
}

/** Holds one tool call as it came. */
interface WireCall {
  readonly id: string
  readonly name: string
  readonly arguments: string
}

/** Says token counts; all are absent where the answer holds none. */
const usage = (counts: Usage.Usage | undefined): typeof Response.Usage.Encoded =>
  counts === undefined ? { inputTokens: {}, outputTokens: {} } : {
    inputTokens: {
      total: counts.inputTokens,
      uncached: counts.inputTokens - counts.cachedInputTokens,
      cacheRead: counts.cachedInputTokens
    },
    outputTokens: {
      total: counts.outputTokens,
      text: counts.outputTokens - counts.reasoningTokens,
      reasoning: counts.reasoningTokens
    }
  }

/** Reads why the answer ended. */
const finishReason = (wire: unknown, callsTools: boolean): Response.FinishReason => {
  switch (textOf(wire)) {
    case undefined:
      return "unknown"
    case "stop":
    case "eos":
      return callsTools ? "tool-calls" : "stop"
    case "tool_calls":
    case "function_call":
      return "tool-calls"
    case "length":
      return "length"
    case "content_filter":
      return "content-filter"
    case "error":
      return "error"
    default:
      return "other"
  }
}

/** Says that a text is not JSON because the answer was cut off, which effect/ai, with only the text, cannot see. */
const cutObject = (text: string, { inputTokens, outputTokens }: typeof Response.Usage.Encoded) =>
  new AiError.StructuredOutputError({
    description: "The answer was cut off at its length, before its JSON was whole: raise max_tokens.",
    responseText: text,
    usage: { promptTokens: inputTokens.total, completionTokens: outputTokens.total }
  })

const finishPart = (
  reason: unknown,
  callsTools: boolean,
  counts: Usage.Usage | undefined,
  warnings: ReadonlyArray<string>
): Response.FinishPartEncoded => {
  const word = textOf(reason)
  return {
    type: "finish",
    reason: finishReason(reason, callsTools),
    usage: usage(counts),
    metadata: {
      together: {
        finishReason: word ?? null,
        ...(warnings.length === 0 ? undefined : { warnings: [...warnings] })
      }
    }
  }
}

const metadataPart = (
  answer: Pick<Chat.ChatResponse | Chat.ChatChunk, "id" | "model" | "created">
): Response.ResponseMetadataPartEncoded => {
  const { created } = answer
  const at = typeof created === "number" ? Option.getOrUndefined(DateTime.make(created * 1000)) : undefined
  return {
    type: "response-metadata",
    id: textOf(answer.id),
    modelId: textOf(answer.model),
    timestamp: at === undefined ? undefined : DateTime.formatIso(at)
  }
}

/**
 * Turns parameters from their JSON form into the encoded form of the tool's schema, where the two differ.
 *
 * What does not fit is left as it came: the toolkit refuses it, in the tool's failure mode.
 */
const encodedParams = (tool: Tool.Any, params: unknown): Effect.Effect<unknown> => {
  const schema = tool.parametersSchema
  if (!Schema.isSchema(schema)) return Effect.succeed(params)
  const codec = Schema.toCodecJson(schema)
  const said = AiNulls.fitting(codec)(params)
  if (codec.ast === schema.ast) return Effect.succeed(said)
  const recoded = Schema.decodeUnknownEffect(codec)(said).pipe(
    Effect.flatMap((decoded) => Schema.encodeUnknownEffect(schema)(decoded)),
    Effect.orElseSucceed(() => said)
  )
  // `generateText` and `streamText` already require what the schema requires, since the tool is one of theirs
  return recoded as Effect.Effect<unknown>
}

const toolCall = (
  call: WireCall,
  asked: Asked,
  reason: unknown
): Effect.Effect<Response.ToolCallPartEncoded, Reason> => {
  const part = (params: unknown): Response.ToolCallPartEncoded => ({
    type: "tool-call",
    id: call.id,
    name: call.name,
    params
  })
  if (call.name === "") {
    return Effect.fail(new AiError.InvalidOutputError({ description: "The model called a tool without naming it." }))
  }
  const parsed = AiCallPieces.parseArguments(call.arguments)
  const tool = asked.tools.find((tool) => tool.name === call.name)
  if (asked.deferred) return Effect.succeed(part(Result.isSuccess(parsed) ? parsed.success : call.arguments))
  if (tool === undefined) {
    const availableTools = asked.tools.map((tool) => tool.name)
    return Effect.fail(new AiError.ToolNotFoundError({ toolName: call.name, availableTools }))
  }
  if (Result.isFailure(parsed)) {
    // such a tool returns failures to the model: the toolkit refuses the text and says why
    if (tool.failureMode === "return") return Effect.succeed(part(call.arguments))
    const cut = reason === "length" ? " The answer was cut off at its length: raise max_tokens." : ""
    return Effect.fail(
      new AiError.ToolParameterValidationError({
        toolName: call.name,
        // the parser's own message quotes the arguments
        description: `The arguments (${call.arguments.length} characters) are no JSON that can be used.${cut}`
      })
    )
  }
  return Effect.map(encodedParams(tool, parsed.success), part)
}

/** A stream does not check its warnings, so anything that is not a warning is skipped. */
const warningsOf = (warnings: unknown): ReadonlyArray<string> =>
  Array.isArray(warnings)
    ? warnings.flatMap((warning) => Predicate.isObject(warning) ? textOf(warning["message"]) ?? [] : [])
    : []

const choiceOf = ({ choices }: Chat.ChatResponse) => Chat.firstChoice(choices) ?? choices[0]

/** Reads the metadata and the end of a whole answer, whether or not what is between can be read. */
export const endsOf = (
  response: Chat.ChatResponse
): readonly [Response.ResponseMetadataPartEncoded, Response.FinishPartEncoded] => {
  const choice = choiceOf(response)
  const callsTools = AiCallPieces.of(choice?.message ?? {}).length > 0
  const counts = Usage.fromAnswer(response)
  return [metadataPart(response), finishPart(choice?.finish_reason, callsTools, counts, warningsOf(response.warnings))]
}

/** Reads a whole answer: its choice 0. */
export const fromResponse = Effect.fnUntraced(function*(
  response: Chat.ChatResponse,
  asked: Asked
): Effect.fn.Return<Array<Response.PartEncoded>, Reason> {
  const choice = choiceOf(response)
  const message = choice?.message
  const [metadata, finish] = endsOf(response)
  const parts: Array<Response.PartEncoded> = [metadata]
  const reasoning = textOf(message?.reasoning) ?? textOf(message?.reasoning_content)
  if (reasoning !== undefined) parts.push({ type: "reasoning", text: reasoning })
  const text = Chat.text(response)
  if (text !== "") parts.push({ type: "text", text })
  const calls = AiCallPieces.of(message ?? {})
  for (const [index, { arguments: args, id = `${asked.idPrefix}-${index}`, name = "" }] of calls.entries()) {
    parts.push(yield* toolCall({ id, name, arguments: args }, asked, choice?.finish_reason))
  }
  if (asked.object && finish.reason === "length" && calls.length === 0 && Json.parse(text) === undefined) {
    return yield* cutObject(text, finish.usage)
  }
  parts.push(finish)
  return parts
})

/** Reads one streamed answer. */
interface Assembler {
  /** Takes a chunk and adds the parts that it makes to `into`. */
  readonly push: (chunk: Chat.ChatChunk, into: Array<Response.StreamPartEncoded>) => void
  /** Says how the answer ended, as far as it has come. */
  readonly finish: () => Response.FinishPartEncoded
  /** Says that no more chunks come; holds the rest of the parts, the finish last. */
  readonly end: Effect.Effect<Array<Response.StreamPartEncoded>, Reason>
}

/** Makes an assembler for one streamed answer. */
export const assembler = (asked: Asked): Assembler => {
  const offered = new Set(asked.tools.map((tool) => tool.name))
  const calls = AiCallPieces.make(offered, asked.idPrefix)
  let begun = false
  let block: { readonly type: "text" | "reasoning"; readonly id: string } | undefined
  let blocks = 0
  let reason: string | undefined
  let counts: Usage.Usage | undefined
  const warnings = new Set<string>()

  const endBlock = (into: Array<Response.StreamPartEncoded>): void => {
    if (block !== undefined) into.push({ type: `${block.type}-end`, id: block.id })
    block = undefined
  }

  const write = (type: "text" | "reasoning", delta: string, into: Array<Response.StreamPartEncoded>): void => {
    if (block?.type !== type) {
      endBlock(into)
      block = { type, id: `${type}-${blocks++}` }
      into.push({ type: `${type}-start`, id: block.id })
    }
    into.push({ type: `${type}-delta`, id: block.id, delta })
  }

  const announce = (slot: Slot, into: Array<Response.StreamPartEncoded>): void => {
    if (slot.announced) return
    slot.announced = true
    into.push({ type: "tool-params-start", id: slot.id, name: slot.name, providerExecuted: false })
  }

  /**
   * Hands on the arguments that have come. Until they begin, a name that no tool has may be the beginning of a tool's
   * name.
   */
  const add = (slot: Slot, args: string, into: Array<Response.StreamPartEncoded>): void => {
    const delta = slot.announced ? args : slot.arguments + args
    slot.arguments += args
    if (slot.name === "" || (slot.arguments === "" && !offered.has(slot.name))) return
    announce(slot, into)
    if (delta !== "") into.push({ type: "tool-params-delta", id: slot.id, delta })
  }

  const finish = () => finishPart(reason, calls.begun.length > 0, counts, [...warnings])

  return {
    push: (chunk, into) => {
      if (!begun) {
        begun = true
        into.push(metadataPart(chunk))
      }
      for (const warning of warningsOf(chunk.warnings)) warnings.add(warning)
      const choice = Chat.firstChoice(chunk.choices)
      counts = Usage.fromAnswer(chunk) ?? counts
      if (choice === undefined) return
      reason = textOf(choice.finish_reason) ?? reason
      const { delta } = choice
      if (delta === undefined || delta === null) return
      const thought = textOf(delta.reasoning) ?? textOf(delta.reasoning_content)
      if (thought !== undefined) write("reasoning", thought, into)
      const text = textOf(delta.content)
      if (text !== undefined) write("text", text, into)
      const pieces = AiCallPieces.of(delta)
      if (pieces.length === 0) return
      endBlock(into)
      for (const piece of pieces) {
        const slot = calls.take(piece, reason !== undefined)
        if (slot !== undefined) add(slot, piece.arguments, into)
      }
    },
    finish,
    end: Effect.gen(function*() {
      const parts: Array<Response.StreamPartEncoded> = []
      endBlock(parts)
      for (const slot of calls.begun) {
        const call = yield* toolCall(slot, asked, reason)
        announce(slot, parts)
        parts.push({ type: "tool-params-end", id: slot.id }, call)
      }
      parts.push(finish())
      return parts
    })
  }
}

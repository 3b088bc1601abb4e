/**
 * Writes a prompt of `effect/ai` as the messages and tools of a Together chat request.
 *
 * | prompt | wire |
 * | --- | --- |
 * | system message | `role: "system"` |
 * | user text | `content` as a string, or a part where there are several |
 * | user image, by URL, bytes or base64 | `image_url`, inline as a data URL |
 * | user video | `video_url` |
 * | user audio | `input_audio` for WAV bytes, else `audio_url` |
 * | assistant text | `content` |
 * | assistant reasoning | `reasoning` |
 * | assistant tool calls | `tool_calls`, arguments as JSON |
 * | tool result, in a tool or an assistant message | `role: "tool"`, a string or JSON, in the order of the calls |
 * | approval request and response | nothing: they are settled before a request is sent |
 *
 * **Errors**: a reason of `AiError`, before anything is sent: `InvalidUserInputError` for a file that no message can
 * hold, `ToolResultEncodingError` for a result that is no JSON, `ToolConfigurationError` for a tool that runs at
 * another provider, `UnsupportedSchemaError` for a schema without a JSON Schema.
 */
import * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Base64 from "effect/encoding/Base64"
import type * as JsonSchema from "effect/JsonSchema"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as AiNulls from "./AiNulls.ts"
import type * as Chat from "../Chat.ts"

type Reason = AiError.AiErrorReason
type ContentPart = Exclude<Chat.Message["content"], string | null | undefined>[number]
type ToolCall = NonNullable<Chat.Message["tool_calls"]>[number]
type WireTool = NonNullable<Chat.ChatRequest["tools"]>[number]

/** What a media type with a wildcard most likely holds: a data URL needs a whole one. */
const concrete: Readonly<Record<string, string>> = {
  "image/*": "image/jpeg",
  "video/*": "video/mp4",
  "audio/*": "audio/wav"
}

const isAddress = (data: Prompt.FilePart["data"]): boolean =>
  data instanceof URL || (typeof data === "string" && /^(?:data:|https?:)/i.test(data))

const base64 = (data: Prompt.FilePart["data"]): string => data instanceof Uint8Array ? Base64.encode(data) : `${data}`

const urlOf = ({ data, mediaType }: Prompt.FilePart): string =>
  isAddress(data) ? `${data}` : `data:${concrete[mediaType] ?? mediaType};base64,${base64(data)}`

const wav: ReadonlySet<string> = new Set(["audio/*", "audio/wav", "audio/wave", "audio/x-wav"])

const filePart = (part: Prompt.FilePart): Result.Result<ContentPart, Reason> => {
  const [kind] = part.mediaType.split("/")
  switch (kind) {
    case "image":
      return Result.succeed({ type: "image_url", image_url: { url: urlOf(part) } })
    case "video":
      return Result.succeed({ type: "video_url", video_url: { url: urlOf(part) } })
    case "audio":
      return Result.succeed(
        wav.has(part.mediaType) && !isAddress(part.data)
          ? { type: "input_audio", input_audio: { data: base64(part.data), format: "wav" } }
          : { type: "audio_url", audio_url: { url: urlOf(part) } }
      )
    default:
      return Result.fail(
        new AiError.InvalidUserInputError({
          description:
            `A file of type ${part.mediaType} cannot be part of a Together chat. Send images, video or audio, or put its text into the prompt.`
        })
      )
  }
}

const userMessage = (message: Prompt.UserMessage): Result.Result<Chat.Message, Reason> => {
  const [first, second] = message.content
  if (first === undefined) return Result.succeed({ role: "user", content: "" })
  // a plain string is what every model's template takes, and what the client checks fastest
  if (second === undefined && first.type === "text") return Result.succeed({ role: "user", content: first.text })
  return Result.map(
    Result.all(
      message.content.map((part): Result.Result<ContentPart, Reason> =>
        part.type === "text" ? Result.succeed({ type: "text", text: part.text }) : filePart(part)
      )
    ),
    (content) => ({ role: "user", content })
  )
}

/** Writes types that JSON does not have as the JSON codecs of their schemas do: as a list, a text, base64. */
const plain = (_key: string, value: unknown): unknown =>
  typeof value === "bigint"
    ? `${value}`
    : value instanceof Map || value instanceof Set
    ? [...value]
    : value instanceof Uint8Array
    ? Base64.encode(value)
    : value

const json = (value: unknown): Result.Result<string, string> =>
  Result.try({
    try: () => JSON.stringify(value, plain) ?? "null",
    catch: saying
  })

const toolMessage = (part: Prompt.ToolResultPart): Result.Result<Chat.Message, Reason> => {
  const content = part.modelOutput !== undefined
    ? Result.succeed(Prompt.toolModelOutputToText(part.modelOutput))
    : typeof part.result === "string"
    ? Result.succeed(part.result)
    : Result.mapError(
      json(part.result),
      (description) =>
        new AiError.ToolResultEncodingError({ toolName: part.name, toolResult: part.result, description })
    )
  return Result.map(content, (content) => ({ role: "tool", tool_call_id: part.id, name: part.name, content }))
}

interface Turn {
  readonly text: Array<string>
  readonly reasoning: Array<string>
  readonly calls: Array<ToolCall>
}

const emptyTurn = (): Turn => ({ text: [], reasoning: [], calls: [] })

const turnMessage = ({ calls, reasoning, text }: Turn): Chat.Message | undefined =>
  text.length + reasoning.length + calls.length === 0 ? undefined : {
    role: "assistant",
    content: text.length === 0 && calls.length > 0 ? null : text.join(""),
    ...(reasoning.length === 0 ? undefined : { reasoning: reasoning.join("") }),
    ...(calls.length === 0 ? undefined : { tool_calls: calls })
  }

/** Writes the parameters of a call in the form that its tool asks models for, so as a model wrote them. */
const asAskedFor = ({ name, params }: Prompt.ToolCallPart, tools: ReadonlyArray<Tool.Any>): unknown => {
  const schema = tools.find((tool) => tool.name === name)?.parametersSchema
  if (!Schema.isSchema(schema)) return params
  const codec = Schema.toCodecJson(Schema.toEncoded(schema))
  return Result.getOrElse(Schema.encodeUnknownResult(codec, { onExcessProperty: "error" })(params), () => params)
}

/** A result inside the message ends the turn: what follows it was said later. */
const assistantMessages = (
  message: Prompt.AssistantMessage,
  tools: ReadonlyArray<Tool.Any>
): Result.Result<ReadonlyArray<Chat.Message>, Reason> => {
  const messages: Array<Chat.Message> = []
  let turn = emptyTurn()
  const endTurn = () => {
    const said = turnMessage(turn)
    if (said !== undefined) messages.push(said)
    turn = emptyTurn()
  }
  for (const part of message.content) {
    switch (part.type) {
      case "text":
        turn.text.push(part.text)
        break
      case "reasoning":
        turn.reasoning.push(part.text)
        break
      case "tool-call": {
        const params = json(asAskedFor(part, tools))
        if (Result.isFailure(params)) {
          const description = `The parameters of the call ${part.id} to ${part.name} are no JSON: ${params.failure}`
          return Result.fail(new AiError.InvalidUserInputError({ description }))
        }
        turn.calls.push({
          index: turn.calls.length,
          id: part.id,
          type: "function",
          function: { name: part.name, arguments: params.success }
        })
        break
      }
      case "tool-result": {
        endTurn()
        const result = toolMessage(part)
        if (Result.isFailure(result)) return Result.fail(result.failure)
        messages.push(result.success)
        break
      }
      case "file":
        return Result.fail(
          new AiError.InvalidUserInputError({
            description:
              `An assistant message of a Together chat holds text, not a file of type ${part.mediaType}. Move the file to a user message.`
          })
        )
      case "tool-approval-request":
        break
    }
  }
  endTurn()
  return Result.succeed(messages)
}

const messagesOf = (
  message: Prompt.Message,
  tools: ReadonlyArray<Tool.Any>
): Result.Result<ReadonlyArray<Chat.Message>, Reason> => {
  switch (message.role) {
    case "system":
      return Result.succeed([{ role: "system", content: message.content }])
    case "user":
      return Result.map(userMessage(message), (one) => [one])
    case "assistant":
      return assistantMessages(message, tools)
    case "tool":
      return Result.all(message.content.flatMap((part) => part.type === "tool-result" ? [toolMessage(part)] : []))
  }
}

/**
 * Puts the results of a turn in the order of its calls. They come in the order in which the tools finished, and the
 * templates of many models write no ids by which a model could tell them apart.
 */
const inOrderOfCalls = (messages: ReadonlyArray<Chat.Message>): ReadonlyArray<Chat.Message> => {
  let turn = 0
  let places = new Map<unknown, number>()
  return messages.map((message) => {
    if (message.role === "tool") return { message, turn, place: places.get(message.tool_call_id) ?? places.size }
    places = new Map(message.tool_calls?.map(({ id }, at) => [id, at]))
    return { message, turn: ++turn, place: -1 }
  }).sort((a, b) => a.turn - b.turn || a.place - b.place).map(({ message }) => message)
}

/** Writes a prompt as chat messages. */
export const messages = (
  { prompt, tools }: Pick<LanguageModel.ProviderOptions, "prompt" | "tools">
): Result.Result<ReadonlyArray<Chat.Message>, Reason> =>
  Result.map(
    Result.all(prompt.content.map((message) => messagesOf(message, tools))),
    (all) => inOrderOfCalls(all.flat())
  )

/**
 * Derives the JSON Schema that constrains an answer, and the codec that reads it.
 *
 * **Details**: objects are closed (`additionalProperties: false`): an open one lets a constrained model write
 * properties without an end. Types that JSON does not know travel in their JSON form (a `Date` as text), so the codec
 * is `Schema.toCodecJson` of the schema. It stays authoritative: what JSON Schema cannot say is checked on decoding. Fields
 * that are `null` are left out where the schema takes none.
 */
export const codecTransformer: LanguageModel.CodecTransformer = <T, E, RD, RE>(
  schema: Schema.ConstraintCodec<T, E, RD, RE>
) => {
  const codec: Schema.ConstraintCodec<T, unknown, RD, RE> = Schema.toCodecJson(schema)
  const document = Schema.toJsonSchemaDocument(codec, { generateDescriptions: true, onExcessProperty: "error" })
  const { definitions } = document
  const reference = typeof document.schema.$ref === "string" ? /^#\/\$defs\/(.+)$/.exec(document.schema.$ref) : null
  const root = reference === null ? document.schema : definitions[pointer(reference[1] ?? "")] ?? document.schema
  const jsonSchema: JsonSchema.JsonSchema = Object.keys(definitions).length === 0
    ? { ...root }
    : { ...root, $defs: definitions }
  const said = SchemaTransformation.transform({ decode: AiNulls.fitting(codec), encode: (encoded: unknown) => encoded })
  return { codec: Schema.Unknown.pipe(Schema.decodeTo(codec, said)), jsonSchema }
}

const pointer = (key: string): string => decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~")

const saying = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** Arguments are an object, and templates of models read its `properties`, so a schema always states both. */
const ofObject = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema =>
  (schema["type"] ?? "object") === "object" ? { type: "object", properties: {}, ...schema } : schema

const tool = (self: Tool.Any): Result.Result<WireTool, Reason> => {
  if (Tool.isProviderDefined(self)) {
    return Result.fail(
      new AiError.ToolConfigurationError({
        toolName: self.name,
        description: "Together runs no tools of its own. Give it a tool with a handler, made by Tool.make."
      })
    )
  }
  const description = Tool.getDescription(self)
  const strict = Tool.getStrictMode(self)
  return Result.map(
    Result.try({
      try: () => ofObject(Tool.getJsonSchema(self, { transformer: codecTransformer })),
      catch: (error) =>
        new AiError.UnsupportedSchemaError({ description: `Parameters of the tool ${self.name}: ${saying(error)}` })
    }),
    (parameters) => ({
      type: "function",
      function: {
        name: self.name,
        ...(description === undefined ? undefined : { description }),
        parameters,
        ...(strict === undefined ? undefined : { strict })
      }
    })
  )
}

/** Writes tools and the choice among them; nothing where there are no tools. */
export const tools = (
  options: Pick<LanguageModel.ProviderOptions, "tools" | "toolChoice">
): Result.Result<Pick<Chat.ChatRequest, "tools" | "tool_choice">, Reason> =>
  options.tools.length === 0
    ? Result.succeed({})
    : Result.map(
      Result.all(options.tools.map(tool)),
      (tools) => ({ tools, tool_choice: toolChoice(options.toolChoice) })
    )

const toolChoice = (choice: LanguageModel.ToolChoice<string>) => {
  if (typeof choice === "string") return choice
  // the tools outside `oneOf` are not among those of the request
  if ("oneOf" in choice) return choice.mode ?? "auto"
  return { type: "function", function: { name: choice.tool } }
}

/** Bounds the name of a schema, in characters: Together's own limit. */
const longestName = 64

const nameOf = (objectName: string): string => objectName.replace(/[^\w-]+/g, "_").slice(0, longestName) || "object"

/** Writes the form of the answer: nothing for text, `json_schema` for an object. */
export const responseFormat = (
  format: LanguageModel.ProviderOptions["responseFormat"],
  strict: boolean | undefined
): Result.Result<Pick<Chat.ChatRequest, "response_format">, Reason> =>
  format.type === "text" ? Result.succeed({}) : Result.try({
    try: () => ({
      response_format: {
        type: "json_schema",
        json_schema: {
          name: nameOf(format.objectName),
          schema: codecTransformer(format.schema).jsonSchema,
          ...(strict === undefined ? undefined : { strict })
        }
      }
    }),
    catch: (error) => new AiError.UnsupportedSchemaError({ description: `${format.objectName}: ${saying(error)}` })
  })

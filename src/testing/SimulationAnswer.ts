/**
 * The bodies of successful answers: what the provider writes, field by field, whole or in frames.
 *
 * Shapes follow the provider's reference and recorded answers: `usage` rides on
 * the chunk that finishes, a tool call comes in four frames, `seed` exceeds
 * what a double holds exactly, a completion's chunk has `finish_reason` at the
 * top.
 */
import type { Config } from "./SimulationConfig.ts"
import * as Random from "./SimulationRandom.ts"
import type { Answer } from "./SimulationReply.ts"
import type { Body, Read } from "./SimulationRequest.ts"
import * as Text from "./SimulationText.ts"

/** Holds what an answer is written from. */
export interface Draft {
  readonly config: Config
  readonly read: Read
  readonly answer: Answer
  /** Epoch seconds. */
  readonly created: number
}

/** Holds one frame of a stream, and how many of the answer's tokens are out when it is sent. */
export interface Frame {
  readonly data: string
  readonly tokens: number
}

/** Holds the call of a tool. */
interface Tool {
  readonly index: 0
  readonly id: string
  readonly type: "function"
  readonly function: { readonly name: string; readonly arguments: string }
}

/** Counts the tokens of one choice that are reasoning. */
const reasoningTokens = ({ answer, config, read }: Draft): number =>
  Math.floor(answer.outputTokens * (config.models[read.call.model]?.reasoningShare ?? 0))

/** Writes the usage of an answer. */
export const usage = (draft: Draft): Readonly<Record<string, unknown>> => {
  const { answer } = draft
  const output = answer.outputTokens * answer.choices
  const reasoning = reasoningTokens(draft) * answer.choices
  return {
    prompt_tokens: answer.inputTokens,
    completion_tokens: output,
    total_tokens: answer.inputTokens + output,
    cached_tokens: answer.cachedTokens,
    ...(reasoning === 0 ? {} : { completion_tokens_details: { reasoning_tokens: reasoning } })
  }
}

const seedOf = (answer: Answer): number => Random.word(Random.source(answer.textSeed), 0) * 4_294_967_296 * 0.999

const toolOf = (body: Body, answer: Answer): Tool | undefined => {
  const choice = body["tool_choice"]
  const wanted = Text.fields(Text.fields(choice)?.["function"])?.["name"]
  if (!Array.isArray(body["tools"]) || (choice !== "required" && typeof wanted !== "string")) return undefined
  const functions = body["tools"].map((tool) => Text.fields(Text.fields(tool)?.["function"]))
  const chosen = functions.find((tool) => tool?.["name"] === wanted) ?? functions[0]
  const source = Random.source(answer.textSeed)
  return {
    index: 0,
    id: `call_${Random.word(source, 1).toString(36)}${Random.word(source, 2).toString(36)}`,
    type: "function",
    function: {
      name: String(chosen?.["name"] ?? wanted),
      arguments: JSON.stringify(Text.instance(chosen?.["parameters"] ?? { type: "object" }, "text"))
    }
  }
}

const structured = (body: Body, mark: string): string | undefined => {
  const format = Text.fields(body["response_format"])
  if (format?.["type"] === "json_object") return JSON.stringify({ answer: mark })
  if (format?.["type"] !== "json_schema") return undefined
  const schema = Text.fields(format["json_schema"])?.["schema"] ?? format["schema"]
  return JSON.stringify(Text.instance(schema, mark))
}

const charactersPerToken = 4

/** Computes what is written of a text in the form of JSON, where `max_tokens` may have cut it, and why it ends. */
const written = (text: string, answer: Answer): { readonly text: string; readonly reason: Answer["finishReason"] } => {
  const most = answer.outputTokens * charactersPerToken
  return answer.finishReason === "length" && text.length > most
    ? { text: text.slice(0, most), reason: "length" }
    : { text, reason: "stop" }
}

/** Splits a fixed text over the tokens that the answer is said to have. */
const spread = (text: string, count: number): ReadonlyArray<string> => {
  const size = Math.ceil(text.length / Math.max(1, count))
  return Array.from({ length: count }, (_, i) => text.slice(i * size, (i + 1) * size))
}

interface Choice {
  readonly reasoning: ReadonlyArray<string>
  readonly content: ReadonlyArray<string>
  readonly reason: Answer["finishReason"]
}

const choiceOf = (draft: Draft, index: number): Choice => {
  const { read, answer } = draft
  const { promptHash, operation } = read.call
  const fixed = operation === "chat" ? structured(read.body, Text.mark(promptHash)) : undefined
  if (fixed !== undefined) {
    const { reason, text } = written(fixed, answer)
    return { reasoning: [], content: spread(text, answer.outputTokens), reason }
  }
  const reasoning = operation === "chat" ? reasoningTokens(draft) : 0
  return {
    reasoning: Text.tokens(promptHash, answer.textSeed, 1000 + index, reasoning),
    content: Text.tokens(promptHash, answer.textSeed, index, answer.outputTokens - reasoning),
    reason: answer.finishReason
  }
}

const tokenId = (token: string): number => Random.hash(token) % 128_000

const logprobOf = (token: string): number => -(Random.hash(token) % 1000) / 1000

const wantsLogprobs = (body: Body): boolean =>
  body["logprobs"] !== undefined && body["logprobs"] !== false && body["logprobs"] !== null

const logprobsOf = (body: Body, tokens: ReadonlyArray<string>): unknown =>
  wantsLogprobs(body)
    ? { tokens, token_ids: tokens.map(tokenId), token_logprobs: tokens.map(logprobOf) }
    : null

/** Computes the logarithm of a chunk's probability, which a stream tells as one number: of its tokens, the sum. */
const chunkLogprob = (body: Body, tokens: ReadonlyArray<string>): number | null =>
  wantsLogprobs(body) ? tokens.reduce((sum, token) => sum + logprobOf(token), 0) : null

const choicesOf = <A>(draft: Draft, write: (choice: Choice, index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: draft.answer.choices }, (_, index) => write(choiceOf(draft, index), index))

/** Writes a chat answer. */
export const chat = (draft: Draft): unknown => {
  const { read, answer, created } = draft
  const tool = toolOf(read.body, answer)
  return {
    id: answer.requestId,
    object: "chat.completion",
    created,
    model: read.call.model,
    prompt: [],
    choices: choicesOf(draft, (choice, index) => ({
      index,
      finish_reason: tool === undefined ? choice.reason : "tool_calls",
      seed: seedOf(answer),
      logprobs: logprobsOf(read.body, choice.content),
      message: {
        role: "assistant",
        ...(tool === undefined
          ? {
            content: choice.content.join(""),
            tool_calls: [],
            ...(choice.reasoning.length === 0 ? {} : { reasoning: choice.reasoning.join("") })
          }
          : { content: null, tool_calls: [tool] })
      }
    })),
    usage: usage(draft)
  }
}

/** Writes a completion. */
export const completion = (draft: Draft): unknown => {
  const { read, answer, created } = draft
  return {
    id: answer.requestId,
    object: "text.completion",
    created,
    model: read.call.model,
    prompt: read.body["echo"] === true ? [{ text: read.body["prompt"] }] : [],
    choices: choicesOf(draft, (choice, index) => {
      const logprobs = logprobsOf(read.body, choice.content)
      return {
        index,
        text: choice.content.join(""),
        seed: seedOf(answer),
        finish_reason: answer.finishReason,
        ...(logprobs === null ? {} : { logprobs })
      }
    }),
    usage: usage(draft)
  }
}

const chunk = ({ read, answer, created }: Draft, choices: ReadonlyArray<unknown>, rest: object): string =>
  JSON.stringify({
    id: answer.requestId,
    object: "chat.completion.chunk",
    created,
    choices,
    model: read.call.model,
    ...rest
  })

const asked = ({ config, read }: Draft): Config["streamUsage"] =>
  Text.fields(read.body["stream_options"])?.["include_usage"] === true ? config.streamUsage : "none"

const lastFrames = (draft: Draft, reason: string): ReadonlyArray<string> => {
  const where = asked(draft)
  const told = usage(draft)
  const finished = Array.from({ length: draft.answer.choices }, (_, index) => ({
    index,
    text: "",
    logprobs: null,
    finish_reason: reason,
    seed: seedOf(draft.answer),
    delta: { token_id: null, role: "assistant", content: "" },
    ...(where === "choice" ? { usage: told } : {})
  }))
  const finish = chunk(draft, finished, { usage: where === "finish" ? told : null })
  return where === "trailing" ? [finish, chunk(draft, [], { usage: told })] : [finish]
}

/**
 * Writes the frames of a tool call: of each choice role, name, and arguments with the finish, then the finish again with
 * the usage.
 */
const toolFrames = (draft: Draft, tool: Tool): ReadonlyArray<Frame> => {
  const { answer } = draft
  const each = (tokens: number, delta: object, reason: string | null): ReadonlyArray<Frame> =>
    Array.from({ length: answer.choices }, (_, index) => ({
      tokens,
      data: chunk(draft, [{ index, text: "", logprobs: null, finish_reason: reason, delta }], {})
    }))
  return [
    ...each(0, { role: "assistant", content: "" }, null),
    ...each(
      Math.ceil(answer.outputTokens / 2),
      { tool_calls: [{ ...tool, function: { ...tool.function, arguments: "" } }] },
      null
    ),
    ...each(
      answer.outputTokens,
      { tool_calls: [{ index: 0, function: { arguments: tool.function.arguments } }] },
      "tool_calls"
    ),
    ...lastFrames(draft, "tool_calls").map((data) => ({ tokens: answer.outputTokens, data }))
  ]
}

type Tokens = ReadonlyArray<string>

const groups = (tokens: Tokens, size: number): ReadonlyArray<Tokens> =>
  Array.from({ length: Math.ceil(tokens.length / size) }, (_, i) => tokens.slice(i * size, (i + 1) * size))

/** Writes the frames of all choices by turns: the first piece of each, then the second of each. */
const byTurns = <A>(
  { answer, config }: Draft,
  choices: ReadonlyArray<ReadonlyArray<A>>,
  write: (piece: A, index: number) => string
): ReadonlyArray<Frame> =>
  Array.from(
    { length: Math.max(0, ...choices.map((pieces) => pieces.length)) },
    (_, i) =>
      choices.flatMap((pieces, index) =>
        pieces.slice(i, i + 1).map((piece) => ({
          tokens: Math.min((i + 1) * config.tokensPerChunk, answer.outputTokens),
          data: write(piece, index)
        }))
      )
  ).flat()

/** Writes the frames of a streamed chat answer, without the `[DONE]` that ends it. */
export const chatFrames = (draft: Draft): ReadonlyArray<Frame> => {
  const { answer, config, read } = draft
  const tool = toolOf(read.body, answer)
  if (tool !== undefined) return toolFrames(draft, tool)
  const size = config.tokensPerChunk
  const choices = choicesOf(draft, (choice) => [
    ...groups(choice.reasoning, size).map((tokens) => ({ reasoning: tokens.join(""), content: [] })),
    ...groups(choice.content, size).map((content) => ({ reasoning: undefined, content }))
  ])
  return [
    ...byTurns<{ readonly reasoning: string | undefined; readonly content: Tokens }>(
      draft,
      choices,
      ({ content: tokens, reasoning }, index) => {
        const content = tokens.join("")
        return chunk(draft, [{
          index,
          text: content,
          logprobs: reasoning === undefined ? chunkLogprob(read.body, tokens) : null,
          finish_reason: null,
          seed: null,
          delta: {
            token_id: size === 1 ? tokenId(content) : null,
            role: "assistant",
            content,
            ...(reasoning === undefined ? {} : { reasoning })
          }
        }], { usage: null })
      }
    ),
    ...lastFrames(draft, choiceOf(draft, 0).reason).map((data) => ({ tokens: answer.outputTokens, data }))
  ]
}

/** Writes the frames of a streamed completion, without the `[DONE]` that ends it. */
export const completionFrames = (draft: Draft): ReadonlyArray<Frame> => {
  const { answer, config, created, read } = draft
  const frame = (text: string, logprob: number | null, indices: ReadonlyArray<number>, reason: string | null): string =>
    JSON.stringify({
      id: answer.requestId,
      object: "completion.chunk",
      created,
      model: read.call.model,
      token: { id: tokenId(text), text, logprob: logprob ?? 0, special: reason !== null },
      choices: indices.map((index) => ({ index, text, delta: { role: "assistant", content: text } })),
      usage: reason !== null && asked(draft) !== "none" ? usage(draft) : null,
      seed: seedOf(answer),
      finish_reason: reason
    })
  const choices = choicesOf(draft, (choice) => groups(choice.content, config.tokensPerChunk))
  return [
    ...byTurns(
      draft,
      choices,
      (tokens, index) => frame(tokens.join(""), chunkLogprob(read.body, tokens), [index], null)
    ),
    { tokens: answer.outputTokens, data: frame("", null, [...choices.keys()], answer.finishReason) }
  ]
}

/** Counts the numbers of an embedding. */
const dimensions = 768

/** Writes embeddings. */
export const embeddings = ({ read, answer }: Draft): unknown => {
  const { input } = read.body
  const texts: ReadonlyArray<unknown> = Array.isArray(input) ? input : [input]
  return {
    object: "list",
    model: read.call.model,
    data: texts.map((text, index) => ({
      object: "embedding",
      index,
      embedding: Text.vector(String(text), dimensions)
    })),
    usage: { prompt_tokens: answer.inputTokens, total_tokens: answer.inputTokens }
  }
}

const documentText = (document: unknown): string =>
  typeof document === "string" ? document : String(Text.fields(document)?.["text"] ?? JSON.stringify(document))

const wordsOf = (text: string): ReadonlySet<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])

/** Writes a ranking: documents that share more words with the query come first. */
export const rerank = ({ read, answer }: Draft): unknown => {
  const { query, documents, top_n, return_documents } = read.body
  const asking = wordsOf(String(query))
  const all: ReadonlyArray<unknown> = Array.isArray(documents) ? documents : []
  const results = all.map((document, index) => {
    const text = documentText(document)
    const shared = [...wordsOf(text)].filter((word) => asking.has(word)).length
    // a thousandth by chance keeps equal documents apart
    const score = 0.999 * shared / Math.max(1, asking.size) + (Random.hash(text) % 1000) / 1_000_000
    return {
      index,
      relevance_score: Math.round(score * 1e6) / 1e6,
      document: return_documents === true ? { text } : {}
    }
  }).sort((a, b) => b.relevance_score - a.relevance_score)
  return {
    object: "rerank",
    id: answer.requestId,
    model: read.call.model,
    results: results.slice(0, typeof top_n === "number" ? top_n : undefined),
    usage: { prompt_tokens: answer.inputTokens, completion_tokens: 0, total_tokens: answer.inputTokens }
  }
}

/** Holds a picture of one pixel. */
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

/** Writes images: URLs, or one pixel each in base64. */
export const images = ({ read, answer }: Draft): unknown => ({
  id: answer.requestId,
  model: read.call.model,
  object: "list",
  data: Array.from({ length: answer.outputTokens }, (_, index) =>
    read.body["response_format"] === "base64"
      ? { index, type: "b64_json", b64_json: pixel }
      : { index, type: "url", url: `https://api.together.ai/imgproxy/${answer.requestId}/${index}.png` })
})

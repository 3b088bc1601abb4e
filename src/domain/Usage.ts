/**
 * What a call consumed, in tokens, read from any of the shapes that Together's models answer with.
 *
 * Reasoning tokens are part of the output and cached tokens part of the input:
 * they are shown apart, never added on top. A model says them flat
 * (`cached_tokens`, `reasoning_tokens`) or nested
 * (`prompt_tokens_details.cached_tokens`); both are read, the nested wins.
 */
import * as Schema from "effect/Schema"

const Tokens = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** Counts the tokens of one answered call. */
export const Usage = Schema.Struct({
  inputTokens: Tokens,
  outputTokens: Tokens,
  /** Part of `inputTokens`. */
  cachedInputTokens: Tokens,
  /** Part of `outputTokens`. */
  reasoningTokens: Tokens
})
/** Counts the tokens of one answered call. */
export interface Usage extends Schema.Schema.Type<typeof Usage> {}

/** No tokens at all. */
export const zero: Usage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0 }

/** Adds two usages. */
export const add = (a: Usage, b: Usage): Usage => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cachedInputTokens: a.cachedInputTokens + b.cachedInputTokens,
  reasoningTokens: a.reasoningTokens + b.reasoningTokens
})

type Fields = Readonly<Record<string, unknown>>

const none: Fields = {}

const fieldsOf = (u: unknown): Fields =>
  // an object may be read by any key; what it holds is checked where it is used
  typeof u === "object" && u !== null ? u as Fields : none

/**
 * Bounds what a context holds: no model has a longer one.
 *
 * @internal
 */
export const longestContext = 10_485_760

/** Bounds what is believed: no call takes more than the longest context for the most choices. */
const mostTokens = longestContext * 128

/** Tells whether no call can have such a count, as one below 0. */
const isAbsurd = (u: unknown): boolean => typeof u === "number" && !(u >= 0 && u <= mostTokens)

const count = (u: unknown): number | undefined =>
  typeof u === "number" && u >= 0 && Number.isSafeInteger(Math.floor(u)) ? Math.floor(u) : undefined

/** Holds the counts that a usage tells. */
interface Counts {
  readonly input?: number | undefined
  readonly output?: number | undefined
  readonly total?: number | undefined
}

const untold: Counts = {}

/** Reads the counts that a usage tells; where no call can have one of them, the others mean nothing either. */
const countsOf = ({ completion_tokens, input_tokens, output_tokens, prompt_tokens, total_tokens }: Fields): Counts =>
  [prompt_tokens, input_tokens, completion_tokens, output_tokens, total_tokens].some(isAbsurd) ? untold : {
    input: count(prompt_tokens) ?? count(input_tokens),
    output: count(completion_tokens) ?? count(output_tokens),
    total: count(total_tokens)
  }

/** Says what is known of a call beside its usage. */
export interface Options {
  /** Input tokens to assume if only the output is told. Default: none, so such a usage is ignored. */
  readonly estimatedInput?: number | undefined
}

/** Reads a usage. Its types let it be passed to `map`, whose index is no option. */
export interface Read {
  (wire: unknown): Usage | undefined
  (wire: unknown, options: Options | undefined): Usage | undefined
}

const usageOf = ({ input, output, total }: Counts, wire: Fields, options: Options | undefined): Usage | undefined => {
  if (input === undefined && output === undefined && total === undefined) return undefined
  const inputTokens = input ?? (total === undefined ? options?.estimatedInput : Math.max(0, total - (output ?? 0)))
  if (inputTokens === undefined) return undefined
  const outputTokens = output ?? Math.max(0, (total ?? inputTokens) - inputTokens)
  const cached = count(fieldsOf(wire["prompt_tokens_details"])["cached_tokens"]) ??
    count(fieldsOf(wire["input_tokens_details"])["cached_tokens"]) ??
    count(wire["cached_tokens"]) ?? 0
  const reasoning = count(fieldsOf(wire["completion_tokens_details"])["reasoning_tokens"]) ??
    count(fieldsOf(wire["output_tokens_details"])["reasoning_tokens"]) ??
    count(wire["reasoning_tokens"]) ?? 0
  return {
    inputTokens,
    outputTokens,
    cachedInputTokens: Math.min(cached, inputTokens),
    reasoningTokens: Math.min(reasoning, outputTokens)
  }
}

/**
 * Reads a `usage` object as it came over the wire, or nothing where it holds no token count, or one that no call can have.
 *
 * **Details**: if only `total_tokens` and one side are told, the other side is their difference. Cached and reasoning
 * counts are bounded by the whole they are part of. If only the output is told, the input is unknown, not zero, which
 * would make the prompt free: `estimatedInput` stands in for it, and without an estimate there is no usage. If only the
 * input or the total is told, it is taken for an operation that generates nothing, such as `embeddings`.
 */
export const fromWire: Read = (wire: unknown, options?: Options) => {
  const fields = fieldsOf(wire)
  return usageOf(countsOf(fields), fields, options)
}

/** Reads a usage that tells input and output apart, and whose prompt fits into a context. */
const fromGenerated: Read = (wire: unknown, options?: Options) => {
  const fields = fieldsOf(wire)
  const counts = countsOf(fields)
  const told = counts.output !== undefined || (counts.input !== undefined && counts.total !== undefined)
  const usage = told ? usageOf(counts, fields, options) : undefined
  return usage !== undefined && usage.inputTokens <= longestContext ? usage : undefined
}

/**
 * Reads the usage of an answer, or of one chunk of a streamed answer: at its top level, else inside its first choice.
 *
 * **Details**: `estimatedInput` as for {@link fromWire}. An answer with `choices` was generated, so a usage of the
 * input or the total alone is ignored: it would make what was generated free, or price it as input. A usage of a prompt
 * that is longer than any context is ignored too.
 */
export const fromAnswer: Read = (answer: unknown, options?: Options) => {
  const { choices, usage } = fieldsOf(answer)
  if (!Array.isArray(choices)) return fromWire(usage, options)
  return fromGenerated(usage, options) ?? fromGenerated(fieldsOf(choices[0])["usage"], options)
}

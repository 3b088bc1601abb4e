/**
 * One typed operation as data: what it does, on which model, through which lane, and what it may take.
 *
 * A call is made of one or more attempts, each one HTTP exchange. Every guard
 * reads the call and none changes it, so the same value can be logged, priced,
 * queued and replayed.
 */

/**
 * Ranks a call in its lane's queue: a named class, or a level from 0 (first) to 499 (last).
 *
 * **Details**: `interactive` is level 0, `normal` 200, `bulk` 400.
 */
export type Priority = "interactive" | "normal" | "bulk" | number

/**
 * The level of `bulk`: from here on, a call counts as a job's, whose rows can wait.
 *
 * @internal
 */
export const bulkLevel = 400

const levels: ReadonlyMap<string, number> = new Map([["interactive", 0], ["normal", 200], ["bulk", bulkLevel]])

/** Says what a priority may be. */
export const priorities = "an integer in [0, 499], or one of interactive, normal, bulk"

const levelOf = (priority: Priority): number | undefined =>
  typeof priority === "string"
    ? levels.get(priority)
    : Number.isInteger(priority) && priority >= 0 && priority <= 499
    ? priority
    : undefined

/**
 * Tells whether a value that a caller gave as a priority is one.
 *
 * @internal
 */
export const isPriority = (priority: Priority): boolean => levelOf(priority) !== undefined

/**
 * Reads the level of a priority, from 0 (first) to 499 (last).
 *
 * **Errors**: `RangeError` for anything that is not a priority.
 */
export const priorityLevel = (priority: Priority): number => {
  const level = levelOf(priority)
  if (level !== undefined) return level
  throw new RangeError(`Call.priorityLevel: priority must be ${priorities}, got ${priority}`)
}

/** Says what a call may consume, in tokens, before it is sent. */
export interface TokenEstimate {
  readonly inputTokens: number
  /** What the answer probably takes. */
  readonly outputTokens: number
  /** What the answer can take at the most: `max_tokens` of every choice, or what is assumed for those that set none. */
  readonly maxOutputTokens: number
  /** Choices that only the model's context bounds, as the request sets no `max_tokens`. Default: none. */
  readonly openChoices?: number | undefined
  /** True if `maxOutputTokens` of open choices was learned from such answers, and not assumed. Default: false. */
  readonly learned?: boolean | undefined
}

/** Describes one typed operation. */
export interface Call {
  /** `chat`, `embeddings`, …; `request` for calls by path. */
  readonly operation: string
  /** The model as sent, or `""` where the operation has none. */
  readonly model: string
  /** Key of the lane: all calls that share one provider limit. */
  readonly lane: string
  readonly priority: Priority
  readonly estimate: TokenEstimate
  /** True where a repeat after an ambiguous failure costs no more than tokens. */
  readonly idempotent: boolean
  /** The user's own word for a group of calls: budgets and metrics can use it. */
  readonly label?: string | undefined
}

/**
 * Holds the average UTF-8 bytes of a token in English prose, for estimates without a tokenizer.
 *
 * @internal
 */
export const bytesPerToken = 3.6

/** Counts the bytes of a text in UTF-8. */
export const utf8Bytes = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // each half of a surrogate pair counts two of its four bytes
    if (code > 0x7f) bytes += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1
  }
  return bytes
}

/** Estimates the tokens of a text from its length, at least 1. */
export const estimateTokens = (text: string): number => Math.max(1, Math.ceil(utf8Bytes(text) / bytesPerToken))

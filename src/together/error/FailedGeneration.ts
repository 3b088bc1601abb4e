/**
 * Recognizes an answer whose generation the provider gave up after its 200, and makes the error of it.
 *
 * | choices with `finish_reason: "error"` | the answer |
 * | --- | --- |
 * | all, and none carries anything | failed; a repeat may succeed |
 * | all, and one carries something | failed; the error holds the text of choice 0, and a repeat would bill it again |
 * | some of them (`n`) | stands |
 */
import { type PartialAnswer, partialAnswer, StreamError } from "../../domain/TogetherError.ts"
import * as Usage from "../../domain/Usage.ts"
import * as Advice from "./Advice.ts"
import * as AnswerError from "./AnswerError.ts"
import { firstChoice } from "../Chat.ts"
import { fieldsOf } from "../Json.ts"
import { textOf } from "../Wire.ts"

/** What a generation that failed left behind. */
export interface FailedGeneration {
  /** Whether any choice carries something. */
  readonly started: boolean
  /** What choice 0 carries, and the usage of all. */
  readonly partial: PartialAnswer
}

interface Choice {
  readonly index?: number | null
  readonly finish_reason?: unknown
  readonly text?: unknown
  readonly message?: Readonly<Record<string, unknown>> | null
}

/** Reads an answer; nothing if its generation did not fail. */
export const of = (answer: unknown, usage = Usage.fromAnswer(answer)): FailedGeneration | undefined => {
  const { choices } = fieldsOf(answer)
  if (!Array.isArray(choices) || choices.length === 0) return undefined
  if (!choices.every((choice: Choice | null) => choice?.finish_reason === "error")) return undefined
  const first = firstChoice<Choice>(choices)
  const message = first?.message
  return {
    started: choices.some(AnswerError.carries),
    partial: partialAnswer(
      textOf(message?.["content"]) ?? textOf(first?.text) ?? "",
      textOf(message?.["reasoning"]) ?? textOf(message?.["reasoning_content"]) ?? "",
      usage
    )
  }
}

/** Makes the error of a call whose generation failed. */
export const toError = (
  { partial, started }: FailedGeneration,
  about: {
    readonly operation?: string | undefined
    readonly model?: string | undefined
    readonly status: number
    readonly requestId?: string | undefined
  }
): StreamError =>
  new StreamError({
    ...about,
    started,
    partial,
    message: `The generation failed (${about.status}): the provider ended the answer with finish_reason "error". ${
      started ? Advice.arrived : "It holds nothing: try again"
    }.`
  })

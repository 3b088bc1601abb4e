/**
 * Describes what the provider answers to one request, as a value.
 *
 * A reply is plain data: a status, headers and the pieces of a body, each with the time it takes; or silence; or a
 * connection that breaks. Constructors know Together's shapes, combinators spoil them:
 *
 * ```
 * Reply.chat("Paris")                                   a chat answer
 * Reply.stream(["Pa", "ris"], { every: "50 millis" })   the same in chunks, with usage and [DONE]
 * Reply.stream([], { toolCalls: [call] })               a call of a tool, its arguments in pieces
 * Reply.rateLimited({ reset: 2 })                       429 with x-ratelimit-reset: 2
 * Reply.after(Reply.chat("Paris"), "3 seconds")         late headers
 * Reply.stallAt(Reply.stream(["Pa", "ris"]), 1)         silence after the first event
 * Reply.hang · Reply.broken("reset")                    no answer at all
 * ```
 *
 * {@link send} turns a reply into what an Effect `HttpClient` hands back; all its waits are sleeps on the `Clock`
 * service.
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import * as Millis from "../guard/Millis.ts"
import * as Argument from "./internal/argument.ts"
import {
  type Answer,
  type Broken,
  type BrokenKind,
  brokenKinds,
  type Hang,
  lower,
  type Reply
} from "./internal/replyBody.ts"

export {
  type Answer,
  type AnswerOptions,
  type Broken,
  type BrokenKind,
  empty,
  events,
  type Hang,
  json,
  jsonl,
  type Part,
  raw,
  type Reply
} from "./internal/replyBody.ts"
export { brokenError, bytes, cutError, send } from "./internal/replySending.ts"
export {
  chat,
  type ChatOptions,
  completion,
  type CompletionOptions,
  completionStream,
  type CompletionStreamOptions,
  defaultModel,
  embeddings,
  error,
  images,
  type ModelOptions,
  models,
  outOfCredits,
  overloaded,
  type Pace,
  rateLimited,
  rerank,
  stream,
  type StreamOptions,
  whoami
} from "./internal/togetherReply.ts"

/** Takes the request and never answers. */
export const hang: Hang = { _tag: "Hang" }

/** Breaks the connection before an answer. */
export const broken = (kind: BrokenKind = "reset"): Broken => {
  if (!brokenKinds.includes(kind)) Argument.refuse("Reply.broken", "kind", `one of ${brokenKinds.join(", ")}`, kind)
  return { _tag: "Broken", kind, waitMillis: 0 }
}

/** Delays a reply: its headers, or its failure. */
export const after: {
  (wait: Duration.Input): <R extends Reply>(self: R) => R
  <R extends Reply>(self: R, wait: Duration.Input): R
} = dual(2, (self: Reply, wait: Duration.Input): Reply => {
  const waitMillis = Millis.notNegative("Reply.after: wait", wait)
  return self._tag === "Hang" ? self : { ...self, waitMillis: self.waitMillis + waitMillis }
})

/** Adds headers to an answer. */
export const withHeaders: {
  (headers: Readonly<Record<string, string>>): (self: Answer) => Answer
  (self: Answer, headers: Readonly<Record<string, string>>): Answer
} = dual(2, (self: Answer, headers: Readonly<Record<string, string>>): Answer => ({
  ...self,
  headers: { ...self.headers, ...lower(headers) }
}))

/** Makes the combinator that keeps the first pieces of a body and then lets something follow. */
const ending = (name: string, end: Answer["end"]): {
  (parts: number): (self: Answer) => Answer
  (self: Answer, parts: number): Answer
} =>
  dual(2, (self: Answer, parts: number): Answer => ({
    ...self,
    parts: self.parts.slice(0, Argument.integer(`Reply.${name}`, "parts", parts, 0)),
    end
  }))

/** Keeps the first `parts` pieces of a body (events, for a stream) and then falls silent for ever. */
export const stallAt = ending("stallAt", "stall")

/** Keeps the first `parts` pieces of a body (events, for a stream) and then resets the connection. */
export const cutAt = ending("cutAt", "cut")

/** Keeps the first `parts` pieces of a body (events, for a stream) and then ends it as if that were all. */
export const endAt = ending("endAt", "complete")

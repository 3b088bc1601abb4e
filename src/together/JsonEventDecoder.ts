/**
 * Decodes an event stream whose events are JSON of any shape: that of an endpoint which is no generation of choices.
 *
 * | frame | effect |
 * | --- | --- |
 * | `data:` with JSON, of any name | an event |
 * | `data: [DONE]` | the end; nothing after it is read |
 * | `event: error`, an `error` at the top, `type` or `object` `"error"` | failure |
 * | data that is not JSON | failure |
 * | comments, `retry:`, `id:`, an event without data, a `ping` and its like without JSON | nothing, and no progress |
 * | end of bytes | the end; a failure where no event came, or inside of one |
 *
 * The usage is the last one seen, at the top of an event or in its `response`.
 */
import * as Predicate from "effect/Predicate"
import * as Usage from "../domain/Usage.ts"
import type { StreamEvent } from "./CallOptions.ts"
import * as ErrorBody from "./ErrorBody.ts"
import { defaults, type End, type EventDecoder, type Failure, isDone, signOfLife } from "./EventDecoder.ts"
import * as EventSplitter from "./EventSplitter.ts"
import * as Json from "./Json.ts"

const noInput: Usage.Options = { estimatedInput: 0 }

const isError = (data: unknown): boolean =>
  Predicate.isObject(data) && (Boolean(data["error"]) || data["type"] === "error" || data["object"] === "error")

/** Finds what says a usage: the event itself, or the answer that it holds. */
const withUsageOf = (data: unknown): unknown =>
  Predicate.isObject(data)
    ? [data, data["response"]].find((said) => Usage.fromAnswer(said, noInput) !== undefined)
    : undefined

/** Makes a decoder for one stream. */
export const make = (): EventDecoder<StreamEvent<unknown>> => {
  const { maxEventSize } = defaults
  const utf8 = new TextDecoder("utf-8")
  let end: End | undefined
  let events = 0
  let characters = 0
  let withUsage: unknown
  let out: Array<StreamEvent<unknown>> = []

  const usage = (estimatedInput?: number) => Usage.fromAnswer(withUsage, { estimatedInput })

  const fail = (reason: Failure["reason"], message: string, frame?: string): void => {
    end = { _tag: "Failed", reason, message, frame }
  }

  const split = EventSplitter.make({
    maxEventSize,
    onEvent: (event, text) => {
      if (text === "") return
      if (isDone(text)) {
        end = { _tag: "Done" }
        return
      }
      const data = Json.parse(text)
      if (event === "error" || isError(data)) return fail("error-frame", ErrorBody.parse(text).message ?? "", text)
      if (data === undefined && signOfLife.test(event)) return
      if (data === undefined) return fail("malformed", `a frame of ${text.length} characters is not JSON`)
      events++
      characters += text.length
      withUsage = withUsageOf(data) ?? withUsage
      out.push({ event, data })
    },
    onTooLarge: () => fail("too-large", `one event is larger than ${maxEventSize} characters`),
    isOver: () => end !== undefined
  })

  const push = (text: string, into: Array<StreamEvent<unknown>>): void => {
    out = into
    split(text)
  }

  const ending = () => end

  return {
    feed: (bytes, into) => {
      if (end === undefined) push(utf8.decode(bytes, { stream: true }), into)
    },
    finish: (into) => {
      if (end !== undefined) return
      // the blank line completes an event whose own blank line was cut off
      push(`${utf8.decode()}\n\n`, into)
      const last = ending()
      if (last?._tag === "Failed" && last.reason === "malformed") fail("cut", "the stream ended inside of an event")
      else if (last === undefined && events === 0) fail("cut", "the stream ended without an event")
      else end ??= { _tag: "Done" }
    },
    end: ending,
    // only the caller knows which event is the last
    whole: () => false,
    started: () => events > 0,
    events: () => events,
    characters: () => characters,
    partial: () => ({ text: "", reasoning: "", usage: usage() }),
    usage
  }
}

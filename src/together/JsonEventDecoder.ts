/**
 * Decodes an event stream whose events are JSON of any shape: that of an endpoint which is no generation of choices.
 *
 * | frame | effect |
 * | --- | --- |
 * | `data:` with JSON, of any name | an event |
 * | `data: [DONE]` | the end; nothing after it is read |
 * | `event: error`, an `error` at the top, `type` or `object` `"error"` | failure |
 * | as the first event: an error without `error`, and nothing beside it, see below | failure |
 * | data that is not JSON | failure |
 * | comments, `retry:`, `id:`, an event without data, a `ping` and its like without JSON | nothing, and no progress |
 * | end of bytes | the end; a failure where no event came, or inside of one |
 *
 * Such errors are a `detail`; a `message` with an error's `code`, `error_type`, `param` or `type`; `errors` beside
 * `data: null`. A `message` alone is an event.
 *
 * The usage is the last one seen, at the top of an event or in its `response`. What was generated is counted by the places of
 * chunks, where an event has `choices`; by a `delta` or `text`, where it has one; else by all its data.
 */
import * as Predicate from "effect/Predicate"
import { utf8Bytes } from "../domain/Call.ts"
import { partialAnswer } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import type { StreamEvent } from "./CallOptions.ts"
import * as Completions from "./Completions.ts"
import * as ErrorFrame from "./ErrorFrame.ts"
import { defaults, type EventDecoder, wellFormed } from "./EventDecoder.ts"
import * as EventFeed from "./EventFeed.ts"

const noInput: Usage.Options = { estimatedInput: 0 }

/** Finds what says a usage: the event itself, or the answer that it holds. */
const withUsageOf = (data: unknown): unknown =>
  Predicate.isObject(data)
    ? [data, data["response"]].find((said) => Usage.fromAnswer(said, noInput) !== undefined)
    : undefined

/** Finds the text that an event adds to what it is a piece of; nothing where it names none. */
const addedBy = (data: unknown): string | undefined =>
  Predicate.isObject(data)
    ? [data["delta"], data["text"]].find((added): added is string => typeof added === "string")
    : undefined

/** Makes a decoder for one stream. */
export const make = (): EventDecoder<StreamEvent<unknown>> => {
  let events = 0
  let pieces = 0
  let bytes = 0
  let withUsage: unknown

  const usage = (estimatedInput?: number) => Usage.fromAnswer(withUsage, { estimatedInput })

  /** Counts what was generated: of an event that says nothing of it, all that it holds. */
  const count = (text: string, data: unknown): void => {
    const choices = Predicate.isObject(data) ? data["choices"] : undefined
    if (choices !== undefined && wellFormed(choices)) {
      // the places of both kinds of chunks; what stands there is checked as it is counted
      const chunk = data as Completions.CompletionChunk
      pieces += Completions.shape.pieces(chunk)
      bytes += Completions.shape.bytes(chunk)
      return
    }
    const added = addedBy(data)
    if (added !== undefined && added !== "") pieces++
    bytes += utf8Bytes(added ?? text)
  }

  const feed: EventFeed.EventFeed<StreamEvent<unknown>> = EventFeed.make({
    maxEventSize: defaults.maxEventSize,
    onEvent: (event, text, data) => {
      if (text === "") return
      if (event === "error" || (Predicate.isObject(data) && ErrorFrame.inEvents(data, events === 0))) {
        return feed.failWith(text)
      }
      if (data === undefined && ErrorFrame.signOfLife.test(event)) return
      if (data === undefined) return feed.fail("malformed", `a frame of ${text.length} characters is not JSON`)
      events++
      count(text, data)
      withUsage = withUsageOf(data) ?? withUsage
      feed.push({ event, data })
    },
    missing: (inside) =>
      inside
        ? "the stream ended inside of an event"
        : events === 0
        ? "the stream ended without an event"
        : undefined
  })

  return {
    feed: feed.feed,
    finish: feed.finish,
    end: feed.end,
    // only the caller knows which event is the last
    whole: () => false,
    started: () => events > 0,
    events: () => events,
    generated: () => ({ pieces, bytes }),
    partial: () => partialAnswer("", "", usage()),
    usage
  }
}

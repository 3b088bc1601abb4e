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
 * The usage is the last one seen, at the top of an event or in its `response`.
 */
import * as Predicate from "effect/Predicate"
import { partialAnswer } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import type { StreamEvent } from "./CallOptions.ts"
import * as ErrorFrame from "./ErrorFrame.ts"
import { defaults, type EventDecoder } from "./EventDecoder.ts"
import * as EventFeed from "./EventFeed.ts"

const noInput: Usage.Options = { estimatedInput: 0 }

/** Finds what says a usage: the event itself, or the answer that it holds. */
const withUsageOf = (data: unknown): unknown =>
  Predicate.isObject(data)
    ? [data, data["response"]].find((said) => Usage.fromAnswer(said, noInput) !== undefined)
    : undefined

/** Makes a decoder for one stream. */
export const make = (): EventDecoder<StreamEvent<unknown>> => {
  let events = 0
  let characters = 0
  let withUsage: unknown

  const usage = (estimatedInput?: number) => Usage.fromAnswer(withUsage, { estimatedInput })

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
      characters += text.length
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
    characters: () => characters,
    partial: () => partialAnswer("", "", usage()),
    usage
  }
}

/**
 * Decodes an event stream whose events are JSON of any shape: that of an endpoint which is no generation of choices.
 *
 * | frame | effect |
 * | --- | --- |
 * | `data:` with JSON, of any name | an event |
 * | `data: [DONE]` | the end; nothing after it is read; a failure where no event came |
 * | `event: error`, an `error` at the top, `type` or `object` `"error"` | failure |
 * | as the first event: an error without `error`, and nothing beside it, see below | failure |
 * | data that is not JSON | failure |
 * | comments, `retry:`, `id:`, an event without data, a `ping` and its like without JSON | nothing, and no progress |
 * | end of bytes | the end; a failure where no event came, or inside of one |
 *
 * Such errors are a `detail`; a `message` with an error's `code`, `error_type`, `param` or `type`; `errors` beside
 * `data: null`. A `message` alone is an event.
 *
 * The usage is the last one seen, at the top of an event or in its `response`. What was generated is counted by the events
 * that carry pieces: by the places of chunks, where they have `choices`, and by their `delta`. A stream has said all of it
 * so: its other events, which frame it and say it again as a whole, count nothing. Without any, it is counted by the `text`
 * of the events that have one, and without that by all data.
 */
import * as Predicate from "effect/Predicate"
import { utf8Bytes } from "../../domain/Call.ts"
import { partialAnswer } from "../../domain/TogetherError.ts"
import * as Usage from "../../domain/Usage.ts"
import type { StreamEvent } from "../CallOptions.ts"
import * as Completions from "../Completions.ts"
import * as ErrorFrame from "./ErrorFrame.ts"
import { defaults, type EventDecoder, wellFormed } from "./EventDecoder.ts"
import * as EventFeed from "./EventFeed.ts"

const noInput: Usage.Options = { estimatedInput: 0 }

/** Finds what says a usage: the event itself, or the answer that it holds. */
const withUsageOf = (data: unknown): unknown =>
  Predicate.isObject(data)
    ? [data, data["response"]].find((said) => Usage.fromAnswer(said, noInput) !== undefined)
    : undefined

/** Reads a text of an event; nothing where it has none under that name. */
const textOf = (data: unknown, name: "delta" | "text"): string | undefined => {
  const text = Predicate.isObject(data) ? data[name] : undefined
  return typeof text === "string" ? text : undefined
}

/** Counts what events of one kind hold. */
interface Counted {
  events: number
  pieces: number
  bytes: number
}

const nothing = (): Counted => ({ events: 0, pieces: 0, bytes: 0 })

/** Makes a decoder for one stream. */
export const make = (): EventDecoder<StreamEvent<unknown>> => {
  let events = 0
  /** Events with pieces of what is generated, with a text, and all others. */
  const [pieced, texts, others] = [nothing(), nothing(), nothing()]
  let withUsage: unknown

  const usage = (estimatedInput?: number) => Usage.fromAnswer(withUsage, { estimatedInput })

  const add = (to: Counted, pieces: number, bytes: number): void => {
    to.events++
    to.pieces += pieces
    to.bytes += bytes
  }

  /** Counts what an event says that was generated. */
  const count = (all: string, data: unknown): void => {
    const choices = Predicate.isObject(data) ? data["choices"] : undefined
    if (choices !== undefined && wellFormed(choices)) {
      // the places of both kinds of chunks; what stands there is checked as it is counted
      const chunk = data as Completions.CompletionChunk
      return add(pieced, Completions.shape.pieces(chunk), Completions.shape.bytes(chunk))
    }
    const [delta, text] = [textOf(data, "delta"), textOf(data, "text")]
    const added = delta ?? text
    if (added === undefined) return add(others, 0, utf8Bytes(all))
    add(delta === undefined ? texts : pieced, added === "" ? 0 : 1, utf8Bytes(added))
  }

  const generated = () => {
    const { bytes, pieces } = [pieced, texts].find((kind) => kind.events > 0) ?? others
    return { pieces, bytes }
  }

  const empty = () => events === 0 ? "the stream ended without an event" : undefined

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
    missing: (inside) => inside ? "the stream ended inside of an event" : empty(),
    empty
  })

  return {
    feed: feed.feed,
    finish: feed.finish,
    end: feed.end,
    // only the caller knows which event is the last
    whole: () => false,
    started: () => events > 0,
    events: () => events,
    generated,
    partial: () => partialAnswer("", "", usage()),
    usage
  }
}

/**
 * Feeds the bytes of one stream to what reads its events, and keeps how it ended.
 *
 * The same for every kind of event: bytes become text, text becomes events (`EventSplitter`), an event becomes JSON, and
 * `[DONE]`, an event that is too large and the end of the bytes end the stream.
 */
import * as ErrorBody from "../error/ErrorBody.ts"
import type { End, EventDecoder, Failure } from "./EventDecoder.ts"
import * as EventSplitter from "./EventSplitter.ts"
import * as Json from "../Json.ts"

/** Says who reads the events of one stream. */
export interface Options {
  /** Characters one event may hold. */
  readonly maxEventSize: number
  /** Takes an event: its name, `message` where it has none, its data, and the JSON in it, `undefined` where it is none. */
  readonly onEvent: (name: string, data: string, value: unknown) => void
  /** Says what the stream lacks at the end of its bytes, `undefined` where it lacks nothing; `inside` of an event or not. */
  readonly missing: (inside: boolean) => string | undefined
  /** Says why a stream that ends with `[DONE]` is no answer, `undefined` where it is one. */
  readonly empty: () => string | undefined
}

/** Feeds one stream, and takes what is read of it. */
export interface EventFeed<Chunk> extends Pick<EventDecoder<Chunk>, "feed" | "finish" | "end"> {
  /** Takes a chunk that was read. */
  readonly push: (chunk: Chunk) => void
  /** Ends the stream. */
  readonly fail: (reason: Failure["reason"], message: string) => void
  /** Ends the stream with the error that this frame is. */
  readonly failWith: (frame: string) => void
}

const done: End = { _tag: "Done" }

/** Makes what feeds one stream. */
export const make = <Chunk>({ empty, maxEventSize, missing, onEvent }: Options): EventFeed<Chunk> => {
  const utf8 = new TextDecoder("utf-8")
  let end: End | undefined
  let out: Array<Chunk> = []

  const fail = (reason: Failure["reason"], message: string, frame?: string): void => {
    end = { _tag: "Failed", reason, message, frame }
  }

  const split = EventSplitter.make({
    maxEventSize,
    onEvent: (name, data) => {
      if (!isDone(data)) return onEvent(name, data, Json.parse(data))
      const lack = empty()
      if (lack === undefined) end = done
      else fail("cut", lack)
    },
    onTooLarge: () => fail("too-large", `one event is larger than ${maxEventSize} characters`),
    isOver: () => end !== undefined
  })

  const read = (text: string, into: Array<Chunk>): End | undefined => {
    out = into
    split(text)
    return end
  }

  return {
    feed: (bytes, into) => {
      if (end === undefined) read(utf8.decode(bytes, { stream: true }), into)
    },
    finish: (into) => {
      if (end !== undefined) return
      // the blank line completes an event whose own blank line was cut off
      const last = read(`${utf8.decode()}\n\n`, into)
      // what was cut itself is no event
      const inside = last?._tag === "Failed" && last.reason === "malformed"
      if (last !== undefined && !inside) return
      const lack = missing(inside)
      if (lack === undefined) end = done
      else fail("cut", lack)
    },
    end: () => end,
    push: (chunk) => void out.push(chunk),
    fail,
    failWith: (frame) => fail("error-frame", ErrorBody.parse(frame).message ?? "", frame)
  }
}

/** Tells the last event of a stream, which holds no JSON. */
const isDone = (data: string): boolean => data.length < 10 && data.trim().toUpperCase() === "[DONE]"

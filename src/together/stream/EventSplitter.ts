/**
 * Splits the text of an event stream into events, however it was cut.
 *
 * Whole events of one `data:` line, which is what Together sends, are taken straight from the text. `Sse` knows every other
 * form and takes what is left, up to the next blank line; a lone CR ends a line for it alone. Work is linear in the text.
 */
import * as Sse from "effect/encoding/Sse"

/** Says who takes the events of one stream. */
export interface Options {
  /** Characters one event may hold. */
  readonly maxEventSize: number
  /** Takes an event: its name, `message` where it has none, and its data. */
  readonly onEvent: (name: string, data: string) => void
  readonly onTooLarge: () => void
  /** True once nothing more is taken. */
  readonly isOver: () => boolean
}

/** Makes what splits the text of one stream, piece by piece. */
export const make = ({ isOver, maxEventSize, onEvent, onTooLarge }: Options): (text: string) => void => {
  // the parser measures what it holds back, and so no event that comes in one piece
  const take = (name: string, data: string): void => data.length > maxEventSize ? onTooLarge() : onEvent(name, data)

  const parser = Sse.makeParser((event) => {
    if (!isOver() && event._tag === "Event") take(event.event, event.data)
  }, { maxEventSize })

  /** True while the parser holds no part of an event: the text at hand begins with a new one. */
  let clean = true
  let endedLine = false

  const parse = (text: string): void => {
    const tooLarge = parser.feed(text)
    if (tooLarge !== undefined && !isOver()) onTooLarge()
  }

  return (text) => {
    const plain = !text.includes("\r")
    let at = 0
    while (at < text.length && !isOver()) {
      const line = clean && plain && text.startsWith("data: ", at) ? text.indexOf("\n", at) : -1
      if (line > 0 && text[line + 1] === "\n") {
        take("message", text.slice(at + 6, line))
        at = line + 2
      } else {
        const completes = !clean && at === 0 && endedLine && text[0] === "\n"
        const blank = completes ? -1 : text.indexOf("\n\n", clean ? at + 1 : at)
        const until = completes ? 1 : blank < 0 ? text.length : blank + 2
        parse(text.slice(at, until))
        clean = completes || text.endsWith("\n\n", until)
        at = until
      }
    }
    if (text !== "") endedLine = text.endsWith("\n")
  }
}

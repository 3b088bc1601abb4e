/**
 * The pieces in which a streamed answer calls tools, and which of them belong together.
 *
 * Pieces belong together by index, else by id, else by their order. A piece with a name begins another call if the name
 * is another one, or if the arguments so far are complete and its own begin anew. A whole call that is repeated under
 * its id, or under its index at the finish or after it, is the same call. A name may come in pieces too: they are
 * joined if the offered tools, or the call's id, show that they belong together. A `function_call`, the older form of
 * `tool_calls`, is one call.
 */
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { type Fields, fieldsOf } from "../Json.ts"
import { textOf } from "../Wire.ts"

/** Holds one tool call while its pieces arrive. */
export interface Slot {
  readonly id: string
  readonly wireId: string | undefined
  name: string
  arguments: string
  announced: boolean
}

/** What one chunk says of a tool call. */
export interface Piece {
  readonly id: string | undefined
  readonly index: number | undefined
  readonly name: string | undefined
  readonly arguments: string
}

/** Reads the arguments of a call; a failure if they are not usable JSON. */
export const parseArguments = (text: string): Result.Result<unknown, unknown> =>
  text.trim() === "" ? Result.succeed({}) : Result.try(() => Tool.unsafeSecureJsonParse(text) ?? {})

/** Some models send the arguments as an object: nothing of a call may be lost. */
const argumentsOf = (u: unknown): string =>
  u === undefined || u === null ? "" : typeof u === "string" ? u : JSON.stringify(u)

/** Lists the calls of a message or delta; a stream checks of a delta that it is an object, and no more. */
const callsOf = ({ function_call: old, tool_calls: listed }: Fields): ReadonlyArray<unknown> => {
  if (Array.isArray(listed) && listed.length > 0) return listed
  // some servers write an empty one beside every text
  if (!Predicate.isObject(old) || (textOf(old["name"]) ?? argumentsOf(old["arguments"])) === "") return []
  // an index that no list uses keeps the pieces of the older form together
  return [{ index: -1, function: old }]
}

const pieceOf = (call: Fields): Piece => {
  const called = fieldsOf(call["function"])
  return {
    id: textOf(call["id"]),
    index: typeof call["index"] === "number" ? call["index"] : undefined,
    name: textOf(called["name"]),
    arguments: argumentsOf(called["arguments"])
  }
}

/** Reads the tool calls of a message, or the pieces of them that a delta carries. */
export const of = (said: Fields): ReadonlyArray<Piece> =>
  callsOf(said).flatMap((call) => Predicate.isObject(call) ? [pieceOf(call)] : [])

/** Tells whether arguments are complete, so that what follows cannot belong to them. */
const isComplete = (text: string): boolean => text.trimEnd().endsWith("}") && Result.isSuccess(parseArguments(text))

/** Tells whether a piece that names a call begins another one than the call that its index or its order points to. */
const beginsAnother = (held: Slot, piece: Piece): boolean => {
  // a model that numbers all its calls 0 tells them apart by their ids
  if (piece.id !== undefined && held.wireId !== undefined) return piece.id !== held.wireId
  if (held.name === "") return false
  if (piece.name !== held.name) return true
  if (piece.arguments !== "") return piece.arguments.trimStart().startsWith("{") && isComplete(held.arguments)
  // nothing but its order tells such a call apart, and it may take no arguments at all
  return piece.index === undefined && (isComplete(held.arguments) || (held.arguments === "" && piece.id === undefined))
}

/**
 * Tells whether a piece repeats the whole call, which some models do at the end. Before the end, only an id proves it.
 */
const repeats = (held: Slot, piece: Piece, finished: boolean): boolean =>
  (piece.id === undefined ? finished && piece.index !== undefined : piece.id === held.wireId) &&
  piece.name === held.name && piece.arguments === held.arguments && isComplete(held.arguments)

/**
 * Tells whether a piece continues a name that came in part. If the first piece had an id, a new call would have one
 * too.
 */
const continuesName = (held: Slot, piece: Piece, offered: ReadonlySet<string>): boolean => {
  if (piece.name === undefined || held.name === "" || held.arguments !== "") return false
  if (piece.id === undefined ? piece.name === held.name : piece.id !== held.wireId) return false
  // two names of tools are two calls, unless an id makes them one
  const apart = piece.id === undefined && offered.has(held.name) && offered.has(piece.name)
  if (offered.has(held.name + piece.name)) return !apart
  return (piece.id !== undefined || piece.index !== undefined) &&
    (held.wireId !== undefined && piece.name !== held.name && piece.arguments === "" && !offered.has(held.name))
}

/** Puts the calls of one streamed answer together. */
export interface Calls {
  /** Holds the calls that have begun, in order. */
  readonly begun: ReadonlyArray<Slot>
  /** Finds the call of a piece, with its name; nothing where the piece repeats one. The arguments are left to the caller. */
  readonly take: (piece: Piece, finished: boolean) => Slot | undefined
}

/**
 * Begins without a call.
 *
 * @param offered names the tools
 * @param idPrefix begins the ids of calls that come without one
 */
export const make = (offered: ReadonlySet<string>, idPrefix: string): Calls => {
  const begun: Array<Slot> = []
  const byIndex = new Map<number, Slot>()

  const heldFor = ({ id, index }: Piece): Slot | undefined =>
    index !== undefined
      ? byIndex.get(index)
      : id !== undefined
      ? begun.find((slot) => slot.wireId === id)
      : begun.at(-1)

  const begin = ({ id, index }: Piece): Slot => {
    const slot: Slot = {
      id: id ?? `${idPrefix}-${begun.length}`,
      wireId: id,
      name: "",
      arguments: "",
      announced: false
    }
    begun.push(slot)
    if (index !== undefined) byIndex.set(index, slot)
    return slot
  }

  return {
    begun,
    take: (piece, finished) => {
      const held = heldFor(piece)
      if (held !== undefined && repeats(held, piece, finished)) return undefined
      if (held !== undefined && continuesName(held, piece, offered)) {
        held.name += piece.name
        return held
      }
      const slot = held === undefined || (piece.name !== undefined && beginsAnother(held, piece)) ? begin(piece) : held
      if (slot.name === "" && piece.name !== undefined) slot.name = piece.name
      return slot
    }
  }
}

/**
 * Sends identical requests once: the first of them is sent, the others take its answer.
 *
 * Opt-in, for a request asks for one sample of the model, and two equal rows may well want two.
 *
 * Requests are equal when operation and body are, whatever the order of keys. A request under way is waited for; one
 * that was answered is read back from the journal. Kept in memory: 19 to 25 bytes for each distinct request, and the 8
 * bytes of the journal's offset for each row. Where the first one failed, the next of its twins is sent itself.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Json from "../together/Json.ts"
import * as IdIndex from "./journal/IdIndex.ts"
import type { JournalError } from "./JobError.ts"
import type * as Row from "./Row.ts"

const sorted = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    // the entries of an object, in another order
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0))
    : value

/** Writes what makes two requests equal: operation and body, keys in alphabetical order. */
export const canonical = (row: Row.Row): string => `${row.operation}\n${JSON.stringify(row.body, sorted)}`

/** Reads the body of the answer out of an output row. */
export const bodyOf = (answer: string): unknown => {
  const { response } = Json.fieldsOf(Json.parse(answer))
  return Json.fieldsOf(response)["body"]
}

/** Knows the requests of a job. */
export interface Twins {
  /**
   * Looks for an answer to an equal request: the body of its answer, or `undefined` where this row has to be sent. In
   * that case {@link settle} must follow.
   */
  readonly find: (key: string) => Effect.Effect<unknown, JournalError>
  /** Says that the row sent for a key was answered (its ordinal in the journal) or not. */
  readonly settle: (key: string, ordinal: number | undefined) => Effect.Effect<void>
  /** Says that a row answered in an earlier run had this key when it was answered. */
  readonly know: (key: string, ordinal: number) => void
}

/** Makes twins that read answers back with `answerAt`. */
export const make = (answerAt: (ordinal: number) => Effect.Effect<string, JournalError>): Twins => {
  const answered = IdIndex.make()
  const underWay = new Map<string, Deferred.Deferred<void>>()

  const find = Effect.fnUntraced(function*(key: string): Effect.fn.Return<unknown, JournalError> {
    while (true) {
      const ordinal = answered.get(key)
      if (ordinal !== 0) return bodyOf(yield* answerAt(ordinal))
      const first = underWay.get(key)
      if (first === undefined) {
        underWay.set(key, Deferred.makeUnsafe())
        return undefined
      }
      yield* Deferred.await(first)
    }
  })

  return {
    find,
    settle: (key, ordinal) =>
      Effect.suspend(() => {
        if (ordinal !== undefined) answered.set(key, ordinal)
        const waiting = underWay.get(key)
        underWay.delete(key)
        return waiting === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(waiting, undefined))
      }),
    know: (key, ordinal) => answered.set(key, ordinal)
  }
}

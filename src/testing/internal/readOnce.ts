/**
 * Keeps what a body gave, so that whoever reads a response again gets the same, as from a response that was not touched.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Runs a body once: a second reader of one that came to its end gets its bytes from memory. */
export const readOnce = <E>(body: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> => {
  let whole: ReadonlyArray<Uint8Array> | undefined
  return Stream.suspend(() => {
    if (whole !== undefined) return Stream.fromIterable(whole)
    const seen: Array<Uint8Array> = []
    return body.pipe(
      Stream.tap((bytes) => Effect.sync(() => void seen.push(bytes))),
      Stream.concat(Stream.suspend(() => {
        whole = seen
        return Stream.empty
      }))
    )
  })
}

/**
 * Splits bytes into lines, linear in bytes whatever the chunking, and holds no more than one line.
 *
 * Input and journal share it: both need strict UTF-8 per line, the journal needs each line's offset to cut a torn tail.
 */
import * as Bytes from "effect/Bytes"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"

/** Receives each line: its bytes without the line feed, absent where it was overlong; its offset; whether it was ended. */
export type OnLine = (line: Uint8Array | undefined, offset: number, terminated: boolean) => void

/** Splits chunks of bytes into lines. */
export interface Splitter {
  readonly push: (chunk: Uint8Array) => void
  /** Hands out the last line where no line feed ended it. */
  readonly end: () => void
}

const lf = 10
const none = new Uint8Array(0)

/**
 * Makes a splitter.
 *
 * **Gotchas**: the bytes handed to `onLine` are a view of the chunk: read them at once.
 */
export const make = (maxLineBytes: number, onLine: OnLine): Splitter => {
  let carry: Array<Uint8Array> = []
  let carried = 0
  let overlong = false
  let start = 0
  let offset = 0

  const finish = (last: Uint8Array, terminated: boolean): void => {
    if (overlong || carried + last.length > maxLineBytes) onLine(undefined, start, terminated)
    else onLine(carried === 0 ? last : Bytes.concat([...carry, last]), start, terminated)
    carry = []
    carried = 0
    overlong = false
  }

  return {
    push: (chunk) => {
      let from = 0
      while (true) {
        const at = chunk.indexOf(lf, from)
        if (at < 0) break
        finish(chunk.subarray(from, at), true)
        from = at + 1
        start = offset + from
      }
      offset += chunk.length
      if (from === chunk.length || overlong) return
      if (carried + chunk.length - from > maxLineBytes) {
        overlong = true
        carry = []
        carried = 0
      } else {
        carry.push(chunk.slice(from))
        carried += chunk.length - from
      }
    },
    end: () => {
      if (carried > 0 || overlong) finish(none, false)
    }
  }
}

/**
 * Splits a stream of bytes and reads each line as it passes.
 *
 * @param read makes a value of a line, or `undefined` where there is nothing to hand on
 */
export const stream = <E, R, A>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  maxLineBytes: number,
  read: (...line: Parameters<OnLine>) => A | undefined
): Stream.Stream<A, E, R> =>
  Stream.suspend(() => {
    let out: Array<A> = []
    const splitter = make(maxLineBytes, (line, offset, terminated) => {
      const value = read(line, offset, terminated)
      if (value !== undefined) out.push(value)
    })
    const drain = (): ReadonlyArray<A> => {
      const values = out
      out = []
      return values
    }
    return Stream.mapAccumArray(
      bytes,
      () => splitter,
      (state, chunks): readonly [Splitter, ReadonlyArray<A>] => {
        for (const chunk of chunks) state.push(chunk)
        return [state, drain()]
      },
      {
        onHalt: (state) => {
          state.end()
          return drain()
        }
      }
    )
  })

const decoder = new TextDecoder("utf-8", { fatal: true })

/** Decodes strict UTF-8, absent where the bytes are not. */
export const decode = (bytes: Uint8Array): string | undefined =>
  Result.getOrUndefined(Result.try(() => decoder.decode(bytes)))

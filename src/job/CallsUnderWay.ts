/**
 * The calls that a job has under way. Those of which nothing is on the wire (`CallWatch`) can be ended: they would only
 * be sent in order to be cut off, and would be billed.
 */
import type * as Fiber from "effect/Fiber"
import type * as CallWatch from "../together/CallWatch.ts"
import type { Kind } from "./RowKinds.ts"

/** A call under way. */
export interface Call {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly watch: CallWatch.CallWatch
  readonly kind: Kind
  /** Its place in the list. */
  at: number
}

/** Holds calls. */
export interface CallsUnderWay {
  readonly add: (fiber: Call["fiber"], watch: CallWatch.CallWatch, kind: Kind) => Call
  readonly remove: (call: Call) => void
  /** Ends the calls of some kinds of which nothing is on the wire. */
  readonly interrupt: (isOf: (kind: Kind) => boolean) => void
}

/** Makes an empty list. */
export const make = (): CallsUnderWay => {
  // no map: it would make tables anew all the time, see decision 0064
  const calls: Array<Call> = []
  return {
    add: (fiber, watch, kind) => {
      const call: Call = { fiber, watch, kind, at: calls.length }
      calls.push(call)
      return call
    },
    // the last one takes its place
    remove: ({ at }) => {
      const last = calls.pop()!
      if (last.at === at) return
      calls[at] = last
      last.at = at
    },
    interrupt: (isOf) => {
      // the end of one may end others
      for (const call of calls.slice()) {
        const { at, fiber, kind, watch } = call
        if (calls[at] === call && !watch.onWire && isOf(kind)) fiber.interruptUnsafe()
      }
    }
  }
}

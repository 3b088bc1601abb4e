/**
 * What calls under way may cost: of each call the attempts that are on the wire, and those that have ended and may be
 * billed, until its ledger charges them.
 *
 * ```text
 * begin: counted ─▶ in the journal ─▶ sent ─┬─ refused ──────────▶ counts no more
 *                                           └─ may be billed ────▶ counts until the next attempt, or the end of the call
 * ```
 *
 * A call that waits, for a budget, in a lane or before a retry, counts nothing: only a client of ours tells of its
 * attempts (CallWatch.ts).
 */
import * as Effect from "effect/Effect"
import * as CallWatch from "../../together/CallWatch.ts"
import type * as Dispatch from "../Dispatch.ts"

/** Counts what calls under way may cost, in nano-dollars. */
export interface Outlays {
  readonly onWire: () => bigint
  /** The most that one attempt could cost so far. */
  readonly largest: () => bigint
  /** Counts the attempts of what sends rows. */
  readonly sending: <R>(send: Dispatch.Send<R>) => Dispatch.Send<R>
}

/**
 * Begins with nothing on the wire.
 *
 * @param written waits until what is on the wire is in the journal
 */
export const make = (written: Effect.Effect<void>): Outlays => {
  let onWire = 0n
  let largest = 0n

  /** Counts the attempts of one call; its ledger charges what may be billed before the next attempt, and at its end. */
  const call = () => {
    let out = 0n
    let uncharged = 0n
    const outlay: CallWatch.Outlay = {
      begin: (nanoUsd) => {
        onWire += nanoUsd - uncharged
        out += nanoUsd
        uncharged = 0n
        if (nanoUsd > largest) largest = nanoUsd
        return written
      },
      end: (nanoUsd, billed) => {
        out -= nanoUsd
        if (billed) uncharged += nanoUsd
        else onWire -= nanoUsd
      }
    }
    return { outlay, over: () => void (onWire -= out + uncharged) }
  }

  return {
    onWire: () => onWire,
    largest: () => largest,
    sending: (send) => (row) =>
      Effect.flatMap(CallWatch.Current, (watch) => {
        if (watch === undefined) return send(row)
        const { outlay, over } = call()
        watch.outlay = outlay
        return Effect.ensuring(send(row), Effect.sync(over))
      })
  }
}

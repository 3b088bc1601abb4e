/**
 * Keeps places for short calls where streams would take all that a cap of calls in flight leaves.
 *
 * ```
 *   cap 4, short calls about      [stream][stream][stream][      ]   the last place is for short calls
 *   cap 4, streams alone          [stream][stream][stream][stream]   none is kept
 * ```
 *
 * A stream holds its place for minutes. So while short calls wait, and for a minute after the last one was sent, streams
 * leave one place in every four to them, and at least one where the cap is 2 or more. A lane without a cap, one that sees
 * streams alone, and a cap of 1, keep nothing back.
 */
import type { State, Ticket } from "../../policy/lane/LaneKernel.ts"

/** Holds the seconds after the last short call in which places are kept. */
export const memory = 60

/** Computes how many streams may be in flight under a cap where short calls are about. */
export const most = (cap: number): number => cap === Infinity || cap < 2 ? cap : cap - Math.max(1, Math.floor(cap / 4))

/** Reads the calls that may be in flight, but for a probe above what was learned; `Infinity` where no limit is known. */
export const cap = ({ inFlight }: State): number => Math.min(inFlight.max, inFlight.limit)

/** Counts the streams of one lane, and says whether one more may be sent. */
export class Streams {
  readonly #held = new Set<Ticket>()
  #shortAt = -Infinity

  /** Reads the seconds for which places are kept, if no short call comes: `Infinity` while one waits. */
  keeps(shortWaits: boolean, now: number): number {
    return shortWaits ? Infinity : Math.max(0, this.#shortAt + memory - now)
  }

  /** Says whether one more stream may be in flight, as far as short calls are concerned. */
  room(state: State, shortWaits: boolean, now: number): boolean {
    return this.keeps(shortWaits, now) === 0 || this.#held.size < most(cap(state))
  }

  /** Counts a call that was sent. */
  sent(ticket: Ticket, stream: boolean, now: number): void {
    if (stream) this.#held.add(ticket)
    else this.#shortAt = now
  }

  /** Counts the end of a call, and says whether it was a stream. */
  ended(ticket: Ticket): boolean {
    return this.#held.delete(ticket)
  }
}

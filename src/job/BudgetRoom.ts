/**
 * The rows that wait for room in a budget: each waits until a call has ended that may have left some.
 *
 * A call reserves more than it costs, so its end frees room. Waiting rows are woken in the order in which they came:
 * two for each call that ends, since what it gives back may be enough for more than one, or for none; and all of them
 * once no call is under way, since nothing will free more room then.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/** Holds the rows of one job that wait for room. */
export interface BudgetRoom {
  /** Counts the calls that have ended and may have left room. */
  readonly ended: () => number
  /** Says that a call begins. */
  readonly begin: () => void
  /** Says that a call has ended: whether it was sent, and so may leave room, or a budget refused it. */
  readonly end: (sent: boolean) => void
  /** Says that a row that was woken takes no room, so that the next may try. */
  readonly pass: () => void
  /** Waits until more calls have ended than `before`; false if no call is under way. */
  readonly freed: (before: number) => Effect.Effect<boolean>
  /** Lets nobody wait any more. */
  readonly close: () => void
}

/** Makes a room in which nobody waits. */
export const make = (): BudgetRoom => {
  let underWay = 0
  let ended = 0
  let closed = false
  /** Turns of the rows that wait, the longest first. */
  const waiting = new Set<Deferred.Deferred<void>>()

  const wake = (most: number): void => {
    const turns: Array<Deferred.Deferred<void>> = []
    for (const turn of waiting) {
      if (turns.length >= most) break
      turns.push(turn)
    }
    // a row that is woken may wait again at once: its next turn does not belong to this round
    for (const turn of turns) {
      waiting.delete(turn)
      Deferred.doneUnsafe(turn, Effect.void)
    }
  }

  return {
    ended: () => ended,
    begin: () => {
      underWay++
    },
    // in one step: a row that finds no call under way must also find what has ended
    end: (sent) => {
      underWay--
      if (!sent) return
      ended++
      wake(underWay === 0 ? Infinity : 2)
    },
    pass: () => wake(1),
    freed: (before) =>
      Effect.suspend(() => {
        if (ended !== before || closed) return Effect.succeed(true)
        if (underWay === 0) return Effect.succeed(false)
        const turn = Deferred.makeUnsafe<void>()
        waiting.add(turn)
        return Effect.as(
          Effect.onInterrupt(Deferred.await(turn), () => Effect.sync(() => waiting.delete(turn) || wake(1))),
          true
        )
      }),
    close: () => {
      closed = true
      wake(Infinity)
    }
  }
}

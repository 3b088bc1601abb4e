/**
 * What is known of a call while it is made: whether an attempt of it is on the wire, and how many were sent.
 *
 * ```text
 * call ─▶ waits (account, budget, lane) ─▶ on the wire ─▶ answered
 *           ▲                                   │
 *           └────── retry, credit again ◀───────┘
 * ```
 *
 * A caller that may leave a call early gives it a watch, and reads there whether leaving cuts off something that may be
 * billed. Only a client of ours writes to it: for anything else that answers, a call is on the wire from its beginning
 * to its end. A watch is for calls one after another, whose attempts it adds up; of calls side by side only the last
 * change is seen.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as Usage from "../domain/Usage.ts"
import type * as Price from "../policy/Price.ts"

/** What a call without an answer has consumed and cost. */
export interface Took {
  readonly usage: Usage.Usage
  /** Absent where the price is unknown. */
  readonly nanoUsd: bigint | undefined
}

/** Adds up what two calls took. */
export const both = (a: Took | undefined, b: Took | undefined): Took | undefined =>
  a === undefined || b === undefined ? a ?? b : {
    usage: Usage.add(a.usage, b.usage),
    nanoUsd: a.nanoUsd === undefined && b.nanoUsd === undefined ? undefined : (a.nanoUsd ?? 0n) + (b.nanoUsd ?? 0n)
  }

/** Is told what a call may cost while attempts of it are on the wire. */
export interface Outlay {
  /** Takes in an attempt that may cost so many nano-dollars, at once; the effect waits until it may be sent. */
  readonly begin: (nanoUsd: bigint) => Effect.Effect<void>
  /** Takes in the end of an attempt; one that may be billed counts until its call is charged for it. */
  readonly end: (nanoUsd: bigint, billed: boolean) => void
}

/** Watches a call under way. */
export interface CallWatch {
  /** True while an attempt may be on the wire. Set it before the call. */
  onWire: boolean
  /** Attempts that were sent, each try of a hedged one too; absent while no client of ours has made a call. */
  attempts: number | undefined
  /** What failed calls say they consumed, and what that costs; absent if none says so. */
  failed?: Took | undefined
  /** Runs for each attempt as it is sent. Default: nothing. */
  readonly onSent?: (() => void) | undefined
  /** Hears why an attempt failed that is to be made again, now or once there is credit. Default: nobody does. */
  readonly onFailed?: ((error: unknown) => Effect.Effect<void>) | undefined
  /** Must know what may be billed before it is sent. Default: nobody does. */
  outlay?: Outlay | undefined
  /** Tells whether nothing more is to be sent: then the failure of an attempt is final. */
  readonly isStopped: () => boolean
}

/** Holds what watches the calls of a fiber; nothing where nobody does. */
export const Current: Context.Reference<CallWatch | undefined> = Context.Reference<CallWatch | undefined>(
  "effect-together/CallWatch/Current",
  { defaultValue: () => undefined }
)

/** Finds what watches a call that begins: it waits until an attempt is sent. */
export const begin = (context: Context.Context<never>): CallWatch | undefined => {
  const watch = Context.get(context, Current)
  if (watch !== undefined) {
    watch.onWire = false
    watch.attempts ??= 0
  }
  return watch
}

/**
 * Lets a call wait, in one step: whoever stops the calls finds it waiting, or the call finds here that it must not
 * wait.
 */
const waits = (watch: CallWatch): boolean => {
  if (watch.isStopped()) return false
  watch.onWire = false
  return true
}

/**
 * Notes that an attempt is sent now; false if nothing more is to be sent. A call gets here after a stop if its
 * interruption is delayed.
 */
export const sends = (watch: CallWatch): boolean => {
  if (watch.isStopped()) return false
  watch.onWire = true
  watch.attempts = (watch.attempts ?? 0) + 1
  watch.onSent?.()
  return true
}

/**
 * Sends an attempt once its possible cost is known where it must be; `billed` tells whether an attempt that ended so
 * may be billed.
 */
export const outlaid = <A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  { outlay }: CallWatch,
  nanoUsd: bigint,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<A, E, R> =>
  outlay === undefined || nanoUsd === 0n ? attempt : Effect.suspend(() => {
    // `begin` and `end` come in pairs: an interruption before `begin` leaves the sum as it is
    const known = outlay.begin(nanoUsd)
    return Effect.onExit(
      Effect.andThen(known, attempt),
      (exit) => Effect.sync(() => outlay.end(nanoUsd, billed(exit)))
    )
  })

/** Notes that a call has failed, and what it consumed all the same. */
export const failed = (watch: CallWatch, usage: Usage.Usage, cost: Price.Cost): void => {
  watch.failed = both(watch.failed, { usage, nanoUsd: cost._tag === "Known" ? cost.nanoUsd : undefined })
}

/** Lets a call wait after a failure, and tells of it; false if nothing more is to be sent, then the failure is final. */
const waitsAfter = (watch: CallWatch, error: unknown): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    if (!waits(watch)) return Effect.succeed(false)
    return watch.onFailed === undefined ? Effect.succeed(true) : Effect.as(watch.onFailed(error), true)
  })

/** Ends a schedule once nothing more is to be sent. Until then, a call waits as soon as the schedule goes on. */
export const retrying = <I>(
  schedule: Schedule.Schedule<unknown, I>,
  watch: CallWatch
): Schedule.Schedule<unknown, I> => Schedule.while(schedule, ({ input }) => waitsAfter(watch, input))

/**
 * Makes the attempts of a call; if nothing more is to be sent, it is interrupted. If they are refused for want of
 * credit, it may wait for credit and make them again, or, if nothing more is to be sent, is interrupted there.
 */
export const sending = <A, E, R>(attempts: Effect.Effect<A, E, R>, watch: CallWatch): Effect.Effect<A, E, R> => {
  const told = Effect.tapError(
    attempts,
    (error) =>
      Predicate.isTagged(error, "InsufficientCreditsError")
        ? Effect.flatMap(waitsAfter(watch, error), (goesOn) => goesOn ? Effect.void : Effect.interrupt)
        : Effect.void
  )
  return Effect.suspend(() => watch.isStopped() ? Effect.interrupt : told)
}

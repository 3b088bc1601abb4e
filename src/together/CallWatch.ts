/**
 * What is known of a call while it is made: whether an attempt of it is on the wire, and how many were sent.
 *
 * ```text
 * call ─▶ waits (account, budget, lane) ─▶ on the wire ─▶ answered
 *           ▲                                   │
 *           └────── retry, credit again ◀───────┘
 * ```
 *
 * Who may leave a call early gives it a watch, and reads there whether that cuts off what may be billed. Only a client
 * of ours writes it: for whatever else answers, a call is on the wire from its beginning to its end. A watch is for
 * calls one after another, whose attempts it adds up; of calls side by side the last change counts.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as Usage from "../domain/Usage.ts"
import type * as Price from "../policy/Price.ts"

/** What a call took that brought no answer. */
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

/** Is told what a call may cost while attempts of it are out. */
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
  /** What calls that failed say that they took, and what that costs; absent where none says so. */
  failed?: Took | undefined
  /** Is told of each attempt as it is sent. Default: nobody is. */
  readonly onSent?: (() => void) | undefined
  /** Who has to know what may be billed before it is sent. Default: nobody. */
  outlay?: Outlay | undefined
  /** Tells whether nothing more is to be sent: the failure of an attempt is the last word then. */
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

/** Lets a call wait, in one step: who stops finds either what waits, or what asks here and learns that it must not. */
const waits = (watch: CallWatch): boolean => {
  if (watch.isStopped()) return false
  watch.onWire = false
  return true
}

/** Tells that an attempt is sent now; false where nothing more is: an interruption that is put off lets it come so far. */
export const sends = (watch: CallWatch): boolean => {
  if (watch.isStopped()) return false
  watch.onWire = true
  watch.attempts = (watch.attempts ?? 0) + 1
  watch.onSent?.()
  return true
}

/** Sends an attempt that may cost so much once who has to know it does; `billed` tells whether one that ended so may be. */
export const outlaid = <A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  { outlay }: CallWatch,
  nanoUsd: bigint,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<A, E, R> =>
  outlay === undefined || nanoUsd === 0n ? attempt : Effect.suspend(() => {
    // what was not taken in has no end: an interruption that comes before leaves no less than is out
    const known = outlay.begin(nanoUsd)
    return Effect.onExit(
      Effect.andThen(known, attempt),
      (exit) => Effect.sync(() => outlay.end(nanoUsd, billed(exit)))
    )
  })

/** Tells that a call has failed, and what it took all the same. */
export const failed = (watch: CallWatch, usage: Usage.Usage, cost: Price.Cost): void => {
  watch.failed = both(watch.failed, { usage, nanoUsd: cost._tag === "Known" ? cost.nanoUsd : undefined })
}

/** Ends a schedule once nothing more is to be sent. Until then, a call waits as soon as the schedule goes on. */
export const retrying = <I>(
  schedule: Schedule.Schedule<unknown, I>,
  watch: CallWatch
): Schedule.Schedule<unknown, I> => Schedule.while(schedule, () => Effect.sync(() => waits(watch)))

/**
 * Makes the attempts of a call, unless nothing more is to be sent: then it is interrupted. Where they are refused for
 * want of credit it may wait for some, and makes them anew; with nothing more to be sent, it is interrupted there.
 */
export const sending = <A, E, R>(attempts: Effect.Effect<A, E, R>, watch: CallWatch): Effect.Effect<A, E, R> => {
  const told = Effect.tapError(
    attempts,
    (error) => Predicate.isTagged(error, "InsufficientCreditsError") && !waits(watch) ? Effect.interrupt : Effect.void
  )
  return Effect.suspend(() => watch.isStopped() ? Effect.interrupt : told)
}

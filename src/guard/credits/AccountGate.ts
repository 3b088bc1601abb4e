/**
 * The gate of one account: calls pass, wait, or are elected to probe.
 *
 * The sums are `policy/Account`; here are the clock, the schedule and the queue
 * of waiting calls. A call that passes gets a `Leave` to send; how it ended is told by
 * `conclude`. While the account is suspended, waiting calls queue in order; when
 * a probe is due the first of them is let through as the probe, and if it is
 * answered, all go. No call is made up for probing: the probe is real work.
 *
 * A probe that has shown nothing when the next would be due loses its turn, and
 * nothing else: its call goes on, retries included, and its answer lifts the
 * suspension as well. The next is elected, of another lane if any waits.
 *
 * All state changes are synchronous steps between two points of suspension, so
 * they are atomic among fibers. A call that is to wait asks once more in the step
 * that queues it: the account may have been lifted since it asked first. What must
 * not be torn by an interruption (a refusal and the scheduling of its probe; the
 * hand-over to an elected waiter) runs uninterruptibly.
 *
 * Probes are timed by a timer (`ProbeTimer`), and only foretold by the clock on the wall: once the timer has fired the
 * next call is the probe, whatever that clock says.
 */
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { InsufficientCreditsError } from "../../domain/TogetherError.ts"
import * as Account from "../../policy/Account.ts"
import * as AccountQueue from "./AccountQueue.ts"
import type { FailOrWait } from "../FailOrWait.ts"
import * as ProbeTimer from "./ProbeTimer.ts"
import type { Restore } from "../Restore.ts"

/** What a call does while its account is suspended: fail at once, wait as long as it takes, or wait so long. */
export type WhenSuspended = FailOrWait | { readonly wait: Duration.Input }

/** Leave to send a call. Mutable, owned by the gate. */
export interface Leave {
  readonly account: string
  readonly lane: string | undefined
  admission: Account.Admission
  /** True where the gate stopped an attempt before it was sent: its failure says nothing new. */
  stopped: boolean
  /** True once its call ended other than by an answer: what it says later is no news of the account. */
  concluded: boolean
}

/** Asks for leave. */
export interface Request {
  readonly policy: WhenSuspended
  /** Calls of one lane may fail together: after a probe that showed nothing, waiting calls of other lanes go first. */
  readonly lane: string | undefined
  /** What the call that makes this one holds of this gate: a call within a probe is that probe. */
  readonly within?: Leave | undefined
}

/** Says how a call that had leave ended, as far as credit is concerned. */
export type Outcome =
  /** The provider answered: the account can pay. */
  | "answered"
  /** Refused for want of credit. */
  | "refused"
  /** Failed for another reason: says nothing about credit. */
  | "failed"
  /** Interrupted: there is no answer. */
  | "abandoned"

/** What the gate reports. */
export type Event =
  | { readonly _tag: "Suspended"; readonly probeAt: number | undefined }
  | { readonly _tag: "ProbeFailed"; readonly probes: number; readonly refused: boolean }
  | { readonly _tag: "ProbingEnded"; readonly probes: number }
  | { readonly _tag: "Resumed"; readonly by: "probe" | "hand"; readonly outage: Account.Outage }

/** Guards one account. */
export interface Gate {
  /** Gets leave to send, now or later. Runs its own interruption handling: call it under `uninterruptibleMask`. */
  readonly enter: (request: Request, restore: Restore) => Effect.Effect<Leave, InsufficientCreditsError>
  /** Lets an attempt be sent, or fails it unsent: call it last before sending. The leave of another account stays as it is. */
  readonly check: (leave: Leave | undefined) => Effect.Effect<void, InsufficientCreditsError>
  /** Takes an answer, or the end of a call. After an end nothing more is taken; after an answer, an end is. */
  readonly conclude: (leave: Leave, outcome: Outcome) => Effect.Effect<void>
  /** Suspends the account, as a refusal of a call that was sent just now does. */
  readonly suspend: Effect.Effect<void>
  /** Lets calls pass again; false where they already do. */
  readonly resume: Effect.Effect<boolean>
  readonly state: Effect.Effect<Account.State>
  readonly waiting: Effect.Effect<number>
}

const seconds = (clock: Clock.Clock): number => clock.currentTimeMillisUnsafe() / 1000

/** Says why a call was not sent, and what to do. */
const refusalOf = (state: Account.State, account: string, now: number, remedy: string): InsufficientCreditsError => {
  const [since, probeAt] = state._tag === "Active"
    ? [now, undefined]
    : [state.since, state._tag === "Suspended" ? state.probeAt : undefined]
  const next = state._tag === "Suspended" && state.ended
    ? "no further probe is planned"
    : probeAt === undefined || probeAt === Infinity
    ? "a probe is under way"
    : `next probe in ${Math.max(0, Math.ceil(probeAt - now))} s`
  return new InsufficientCreditsError({
    message: `Not sent: the credit of account "${account}" ran out ${
      Math.round(now - since)
    } s ago (${next}). ${remedy}`
  })
}

/** Makes the gate of one account. Its timers live in the given scope. */
export const make = (options: {
  readonly account: string
  readonly probe: ProbeTimer.ProbeSchedule
  readonly scope: Scope.Scope
  /** Receives what happens; runs inside the step that caused it. */
  readonly onEvent: (event: Event) => Effect.Effect<void>
  /** Says what to do, for the message of an unsent call's error. */
  readonly remedy: (now: number) => string
}): Gate => {
  const { account } = options
  const queue = AccountQueue.make()
  const timer = ProbeTimer.make(options.probe, options.scope)
  let state: Account.State = Account.initial
  /** True where a probe was due and nobody waited to be it: the next call that enters is. */
  let due = false

  const leave = (admission: Account.Admission, lane: string | undefined): Leave => ({
    account,
    lane,
    admission,
    stopped: false,
    concluded: false
  })

  /** Admits a call that is no probe, as of now. */
  const current = (): Account.Admission => ({ generation: state.generation, probe: 0 })

  const isProbe = (of: Leave): boolean => !of.concluded && Account.isProbe(state, of.admission)

  const unsent = (now: number): InsufficientCreditsError => refusalOf(state, account, now, options.remedy(now))

  const releaseAll = (): void => {
    for (const waiter of queue.all()) queue.give(waiter, leave(current(), waiter.lane))
  }

  const failAll = (now: number): void => {
    for (const waiter of queue.all()) queue.turnAway(waiter, unsent(now))
  }

  /** Asks to let a call through. */
  const ask = (now: number): Account.Entered => {
    const [entered, next] = Account.enter(state, due && state._tag === "Suspended" ? Math.max(now, state.probeAt) : now)
    state = next
    if (entered._tag === "Pass") due = false
    return entered
  }

  /** Lets the first waiter probe now that a probe is due, or the next call. */
  const elect = (now: number): void => {
    if (state._tag !== "Suspended") return
    const first = queue.first()
    if (first === undefined) {
      due = true
      return
    }
    const entered = ask(now)
    if (entered._tag === "Pass") queue.give(first, leave(entered.admission, first.lane))
  }

  /** Ends the turn of a probe that showed nothing, or nothing yet. What waits in its lane may do the same: it goes last. */
  const endTurn = (probe: Leave, probeAt: number): boolean => {
    const [hadTurn, next] = Account.inconclusive(state, probe.admission, probeAt)
    state = next
    if (hadTurn) queue.defer(probe.lane)
    return hadTurn
  }

  /** Schedules the next probe, and says when it is due; where none is planned any more, nobody waits for one. */
  const plan = Effect.fnUntraced(
    function*(clock: Clock.Clock): Effect.fn.Return<number | undefined> {
      if (state._tag !== "Suspended") return undefined
      due = false
      const now = seconds(clock)
      const ended = Effect.sync(() => {
        state = Account.scheduled(state, undefined)
        failAll(now)
        return undefined
      })
      const input = { probes: state.probes, suspendedSeconds: now - state.since }
      const interval = yield* timer.next(clock.currentTimeMillisUnsafe(), input).pipe(
        // nobody waits for probes of a schedule that has died either
        Effect.onError(() => ended)
      )
      if (interval === undefined) return yield* ended
      const probeAt = now + interval
      state = Account.scheduled(state, probeAt)
      yield* timer.start(seconds(clock), elect)
      return probeAt
    }
  )

  const reopened = (by: "probe" | "hand", outage: Account.Outage): Effect.Effect<void> => {
    due = false
    return Effect.andThen(timer.reset, options.onEvent({ _tag: "Resumed", by, outage })).pipe(
      Effect.andThen(Effect.sync(releaseAll))
    )
  }

  /** Tells the end of a probe of this suspension; of any other call, nothing. */
  const probeFailed = ({ admission }: Leave, refused: boolean): Effect.Effect<void> =>
    Account.isProbe(state, admission)
      ? options.onEvent({ _tag: "ProbeFailed", probes: admission.probe, refused })
      : Effect.void

  /** Takes an answer: it lifts the suspension, whatever its call comes to. */
  const answered = (to: Leave, now: number): Effect.Effect<void> => {
    const [outage, next] = Account.answered(state, to.admission, now)
    state = next
    if (outage === undefined) return Effect.void
    to.admission = current()
    return reopened("probe", outage)
  }

  /** Takes a refusal for want of credit: the account is suspended, or its probe has failed and the next is planned. */
  const refuse = (of: Leave, now: number, clock: Clock.Clock): Effect.Effect<void> => {
    if (of.stopped) return Effect.void
    const failed = probeFailed(of, true)
    const [refused, next] = Account.refused(state, of.admission, now)
    state = next
    if (next._tag !== "Suspended" || refused === "Counted") return failed
    return Effect.flatMap(Effect.exit(plan(clock)), (planned) => {
      const probeAt = Exit.isSuccess(planned) ? planned.value : undefined
      const told = refused === "Suspended" ? options.onEvent({ _tag: "Suspended", probeAt }) : failed
      return probeAt === undefined
        ? told.pipe(
          Effect.andThen(options.onEvent({ _tag: "ProbingEnded", probes: next.probes })),
          Effect.andThen(Effect.asVoid(planned))
        )
        : told
    })
  }

  const conclude = (ended: Leave, outcome: Outcome, clock: Clock.Clock): Effect.Effect<void> => {
    const now = seconds(clock)
    if (ended.concluded) return Effect.void
    ended.concluded = outcome !== "answered"
    switch (outcome) {
      case "answered":
        return answered(ended, now)
      case "refused":
        return refuse(ended, now, clock)
      case "failed": {
        const failed = probeFailed(ended, false)
        endTurn(ended, timer.dueAt())
        return failed
      }
      case "abandoned":
        return Effect.sync(() => {
          if (endTurn(ended, now)) elect(now)
        })
    }
  }

  /** Queues a waiter, unless what it waits for has happened since it was told to wait. */
  const join = (waiter: AccountQueue.Waiter, now: number): void => {
    queue.add(waiter)
    const entered = ask(now)
    if (entered._tag === "Pass") queue.give(waiter, leave(entered.admission, waiter.lane))
    else if (entered._tag === "Ended") queue.turnAway(waiter, unsent(now))
  }

  const wait = (
    policy: Exclude<WhenSuspended, "fail">,
    lane: string | undefined,
    restore: Restore,
    clock: Clock.Clock
  ): Effect.Effect<Leave, InsufficientCreditsError> =>
    Effect.suspend(() => {
      const waiter: AccountQueue.Waiter = { lane, resume: () => {}, leave: undefined }
      const queued = Effect.callback<Leave, InsufficientCreditsError>((resume) => {
        waiter.resume = resume
        join(waiter, seconds(clock))
      })
      const bounded = policy === "wait"
        ? queued
        : Effect.timeoutOrElse(queued, {
          duration: policy.wait,
          orElse: () => Effect.fail(unsent(seconds(clock)))
        })
      // outside `restore`: sees the elected waiter that was interrupted before it could go
      return Effect.onExit(restore(bounded), (exit) => {
        if (Exit.isSuccess(exit)) return Effect.void
        queue.remove(waiter)
        const lost = waiter.leave
        return lost === undefined ? Effect.void : conclude(lost, "abandoned", clock)
      })
    })

  /** Begins the turn of a call that was let through as the probe: it lasts until the next one is due. */
  const turn = (given: Leave, clock: Clock.Clock): Effect.Effect<Leave> => {
    if (!isProbe(given)) return Effect.succeed(given)
    const overdue = (at: number) => {
      endTurn(given, at)
      elect(at)
    }
    return Effect.as(timer.start(seconds(clock), overdue), given)
  }

  const enter = (
    { lane, policy }: Request,
    restore: Restore,
    clock: Clock.Clock
  ): Effect.Effect<Leave, InsufficientCreditsError> => {
    const now = seconds(clock)
    const entered = ask(now)
    switch (entered._tag) {
      case "Pass":
        return turn(leave(entered.admission, lane), clock)
      case "Ended":
        return Effect.fail(unsent(now))
      case "Wait":
        return policy === "fail"
          ? Effect.fail(unsent(now))
          : Effect.flatMap(wait(policy, lane, restore, clock), (given) => turn(given, clock))
    }
  }

  return {
    enter: (request, restore) =>
      Effect.clockWith((clock) => {
        const { within } = request
        return within !== undefined && isProbe(within) ? Effect.succeed(within) : enter(request, restore, clock)
      }),
    check: (holder) =>
      Effect.clockWith((clock) => {
        const own = holder?.account === account ? holder : undefined
        if (state._tag === "Active") {
          if (own !== undefined) own.admission = current()
          return Effect.void
        }
        if (own !== undefined && isProbe(own)) return Effect.void
        if (holder !== undefined) holder.stopped = true
        return Effect.fail(unsent(seconds(clock)))
      }),
    conclude: (ended, outcome) => Effect.uninterruptible(Effect.clockWith((clock) => conclude(ended, outcome, clock))),
    suspend: Effect.uninterruptible(
      Effect.clockWith((clock) => conclude(leave(current(), undefined), "refused", clock))
    ),
    resume: Effect.uninterruptible(Effect.clockWith((clock) => {
      const [outage, next] = Account.resume(state, seconds(clock))
      state = next
      return outage === undefined ? Effect.succeed(false) : Effect.as(reopened("hand", outage), true)
    })),
    state: Effect.sync(() => state),
    waiting: Effect.sync(queue.size)
  }
}

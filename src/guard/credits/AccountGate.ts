/**
 * The gate of one account: calls pass, wait, or are elected to probe.
 *
 * Whose turn it is says `AccountTurns`; here are the clock, the schedule and the news. A call that passes gets a `Leave`
 * to send; how it ended is told by `conclude`. While the account is suspended, waiting calls queue in order; when
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
import * as AccountTurns from "./AccountTurns.ts"
import type { Leave } from "./AccountTurns.ts"
import type { FailOrWait } from "../FailOrWait.ts"
import * as ProbeTimer from "./ProbeTimer.ts"
import type { Restore } from "../Restore.ts"

/** What a call does while its account is suspended: fail at once, wait as long as it takes, or wait so long. */
export type WhenSuspended = FailOrWait | { readonly wait: Duration.Input }

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

/** Configures a gate. */
export interface Options {
  readonly account: string
  readonly probe: ProbeTimer.ProbeSchedule
  /** Its timers live there. */
  readonly scope: Scope.Scope
  /** Receives what happens; runs inside the step that caused it. */
  readonly onEvent: (event: Event) => Effect.Effect<void>
  /** Says what to do, for the message of an unsent call's error; `ended`: no further probe is planned. */
  readonly remedy: (now: number, ended: boolean) => string
}

/** What a gate is made of. */
interface Parts extends Pick<Options, "account" | "onEvent" | "remedy"> {
  readonly turns: AccountTurns.AccountTurns
  readonly timer: ProbeTimer.ProbeTimer
}

const seconds = (clock: Clock.Clock): number => clock.currentTimeMillisUnsafe() / 1000

/** Says why a call was not sent, and what to do. */
const unsent = ({ account, remedy, turns: { state } }: Parts, now: number): InsufficientCreditsError => {
  const [since, probeAt] = state._tag === "Active"
    ? [now, undefined]
    : [state.since, state._tag === "Suspended" ? state.probeAt : undefined]
  const ended = state._tag === "Suspended" && state.ended
  const next = ended
    ? "no further probe is planned"
    : probeAt === undefined || probeAt === Infinity
    ? "a probe is under way"
    : `next probe in ${Math.max(0, Math.ceil(probeAt - now))} s`
  return new InsufficientCreditsError({
    message: `Not sent: the credit of account "${account}" ran out ${Math.round(now - since)} s ago (${next}). ${
      remedy(now, ended)
    }`
  })
}

/** Schedules the next probe, and says when it is due; where none is planned any more, nobody waits for one. */
const plan = Effect.fnUntraced(
  function*(self: Parts, clock: Clock.Clock): Effect.fn.Return<number | undefined> {
    const { timer, turns } = self
    if (turns.state._tag !== "Suspended") return undefined
    turns.due = false
    const now = seconds(clock)
    const ended = Effect.sync(() => {
      AccountTurns.close(turns, () => unsent(self, now))
      return undefined
    })
    const input = { probes: turns.state.probes, suspendedSeconds: now - turns.state.since }
    const interval = yield* timer.next(clock.currentTimeMillisUnsafe(), input).pipe(
      // nobody waits for probes of a schedule that has died either
      Effect.onError(() => ended)
    )
    if (interval === undefined) return yield* ended
    const probeAt = now + interval
    AccountTurns.schedule(turns, probeAt)
    yield* timer.start(seconds(clock), (at) => AccountTurns.elect(turns, at))
    return probeAt
  }
)

const reopened = (
  { onEvent, timer, turns }: Parts,
  by: "probe" | "hand",
  outage: Account.Outage
): Effect.Effect<void> => {
  turns.due = false
  return Effect.andThen(timer.reset, onEvent({ _tag: "Resumed", by, outage })).pipe(
    Effect.andThen(Effect.sync(() => AccountTurns.release(turns)))
  )
}

/** Tells the end of a probe of this suspension; of any other call, nothing. */
const probeFailed = ({ onEvent, turns }: Parts, { admission }: Leave, refused: boolean): Effect.Effect<void> =>
  Account.isProbe(turns.state, admission)
    ? onEvent({ _tag: "ProbeFailed", probes: admission.probe, refused })
    : Effect.void

/** Takes a refusal for want of credit: the account is suspended, or its probe has failed and the next is planned. */
const refuse = (self: Parts, of: Leave, now: number, clock: Clock.Clock): Effect.Effect<void> => {
  if (of.stopped) return Effect.void
  const { onEvent, turns } = self
  const failed = probeFailed(self, of, true)
  const refused = AccountTurns.refused(turns, of, now)
  const { state } = turns
  if (state._tag !== "Suspended" || refused === "Counted") return failed
  return Effect.flatMap(Effect.exit(plan(self, clock)), (planned) => {
    const probeAt = Exit.isSuccess(planned) ? planned.value : undefined
    const told = refused === "Suspended" ? onEvent({ _tag: "Suspended", probeAt }) : failed
    return probeAt === undefined
      ? told.pipe(
        Effect.andThen(onEvent({ _tag: "ProbingEnded", probes: state.probes })),
        Effect.andThen(Effect.asVoid(planned))
      )
      : told
  })
}

const conclude = (self: Parts, ended: Leave, outcome: Outcome, clock: Clock.Clock): Effect.Effect<void> => {
  const { timer, turns } = self
  const now = seconds(clock)
  if (ended.concluded) return Effect.void
  ended.concluded = outcome !== "answered"
  switch (outcome) {
    case "answered": {
      const outage = AccountTurns.answered(turns, ended, now)
      return outage === undefined ? Effect.void : reopened(self, "probe", outage)
    }
    case "refused":
      return refuse(self, ended, now, clock)
    case "failed": {
      const failed = probeFailed(self, ended, false)
      AccountTurns.end(turns, ended, timer.dueAt())
      return failed
    }
    case "abandoned":
      return Effect.sync(() => {
        if (AccountTurns.end(turns, ended, now)) AccountTurns.elect(turns, now)
      })
  }
}

const wait = (
  self: Parts,
  policy: Exclude<WhenSuspended, "fail">,
  lane: string | undefined,
  restore: Restore,
  clock: Clock.Clock
): Effect.Effect<Leave, InsufficientCreditsError> =>
  Effect.suspend(() => {
    const { turns } = self
    const waiter: AccountTurns.Waiter = { lane, resume: () => {}, leave: undefined }
    const queued = Effect.callback<Leave, InsufficientCreditsError>((resume) => {
      waiter.resume = resume
      const now = seconds(clock)
      AccountTurns.join(turns, waiter, now, () => unsent(self, now))
    })
    const bounded = policy === "wait"
      ? queued
      : Effect.timeoutOrElse(queued, {
        duration: policy.wait,
        orElse: () => Effect.fail(unsent(self, seconds(clock)))
      })
    // outside `restore`: sees the elected waiter that was interrupted before it could go
    return Effect.onExit(restore(bounded), (exit) => {
      if (Exit.isSuccess(exit)) return Effect.void
      turns.waiters.delete(waiter)
      const lost = waiter.leave
      return lost === undefined ? Effect.void : conclude(self, lost, "abandoned", clock)
    })
  })

/** Begins the turn of a call that was let through as the probe: it lasts until the next one is due. */
const turn = ({ timer, turns }: Parts, given: Leave, clock: Clock.Clock): Effect.Effect<Leave> => {
  if (!AccountTurns.isProbe(turns, given)) return Effect.succeed(given)
  const overdue = (at: number) => {
    AccountTurns.end(turns, given, at)
    AccountTurns.elect(turns, at)
  }
  return Effect.as(timer.start(seconds(clock), overdue), given)
}

const enter = (
  self: Parts,
  { lane, policy, within }: Request,
  restore: Restore,
  clock: Clock.Clock
): Effect.Effect<Leave, InsufficientCreditsError> => {
  const { turns } = self
  if (within !== undefined && AccountTurns.isProbe(turns, within)) return Effect.succeed(within)
  const now = seconds(clock)
  const entered = AccountTurns.ask(turns, now)
  if (entered._tag === "Pass") return turn(self, AccountTurns.leave(turns, entered.admission, lane), clock)
  return entered._tag === "Ended" || policy === "fail"
    ? Effect.fail(unsent(self, now))
    : Effect.flatMap(wait(self, policy, lane, restore, clock), (given) => turn(self, given, clock))
}

const check = (
  self: Parts,
  holder: Leave | undefined,
  clock: Clock.Clock
): Effect.Effect<void, InsufficientCreditsError> => {
  const { account, turns } = self
  const own = holder?.account === account ? holder : undefined
  if (turns.state._tag === "Active") {
    if (own !== undefined) own.admission = AccountTurns.current(turns)
    return Effect.void
  }
  if (own !== undefined && AccountTurns.isProbe(turns, own)) return Effect.void
  if (holder !== undefined) holder.stopped = true
  return Effect.fail(unsent(self, seconds(clock)))
}

/** Makes the gate of one account. */
export const make = ({ account, onEvent, probe, remedy, scope }: Options): Gate => {
  const turns = AccountTurns.make(account)
  const self: Parts = { account, onEvent, remedy, turns, timer: ProbeTimer.make(probe, scope) }
  const concluding = (ended: () => Leave, outcome: Outcome) =>
    Effect.uninterruptible(Effect.clockWith((clock) => conclude(self, ended(), outcome, clock)))
  return {
    enter: (request, restore) => Effect.clockWith((clock) => enter(self, request, restore, clock)),
    check: (holder) => Effect.clockWith((clock) => check(self, holder, clock)),
    conclude: (ended, outcome) => concluding(() => ended, outcome),
    // its leave is of this very step: an outage that began and ended since would have made it stale
    suspend: concluding(() => AccountTurns.leave(turns, AccountTurns.current(turns), undefined), "refused"),
    resume: Effect.uninterruptible(Effect.clockWith((clock) => {
      const outage = AccountTurns.resume(turns, seconds(clock))
      return outage === undefined ? Effect.succeed(false) : Effect.as(reopened(self, "hand", outage), true)
    })),
    state: Effect.sync(() => turns.state),
    waiting: Effect.sync(() => turns.waiters.size)
  }
}

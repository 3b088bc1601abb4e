/**
 * Who passes the gate of one account, who waits there, and who is elected to probe.
 *
 * The sums are `policy/Account`; here are the calls. Each function is one synchronous step, so it is atomic among fibers.
 * Calls wait in the order in which they came, or were put off. Each is resumed once, with its leave to send or with the
 * reason why it gets none. One that was interrupted between its leave and its first step still holds the leave, so that
 * the gate can take it back.
 */
import * as Effect from "effect/Effect"
import type { InsufficientCreditsError } from "../../domain/TogetherError.ts"
import * as Account from "../../policy/Account.ts"

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

/** Waits for leave. Mutable, owned by the gate. */
export interface Waiter {
  readonly lane: string | undefined
  resume: (effect: Effect.Effect<Leave, InsufficientCreditsError>) => void
  leave: Leave | undefined
}

/** Holds the calls of one account. Mutable, owned by the gate. */
export interface AccountTurns {
  readonly account: string
  state: Account.State
  /** True where a probe was due and nobody waited to be it: the next call that enters is. */
  due: boolean
  /** The longest first. */
  readonly waiters: Set<Waiter>
}

/** Begins with an account that may send. */
export const make = (account: string): AccountTurns => ({
  account,
  state: Account.initial,
  due: false,
  waiters: new Set()
})

/** Admits a call that is no probe, as of now. */
export const current = ({ state }: AccountTurns): Account.Admission => ({ generation: state.generation, probe: 0 })

/** Makes leave to send. */
export const leave = (
  { account }: AccountTurns,
  admission: Account.Admission,
  lane: string | undefined
): Leave => ({ account, lane, admission, stopped: false, concluded: false })

/** Tells whether a call that goes on is a probe of this suspension, also one whose turn is over. */
export const isProbe = ({ state }: AccountTurns, of: Leave): boolean =>
  !of.concluded && Account.isProbe(state, of.admission)

/** Asks to let a call through. */
export const ask = (self: AccountTurns, now: number): Account.Entered => {
  const { due, state } = self
  const [entered, next] = Account.enter(state, due && state._tag === "Suspended" ? Math.max(now, state.probeAt) : now)
  self.state = next
  if (entered._tag === "Pass") self.due = false
  return entered
}

const give = (self: AccountTurns, waiter: Waiter, admission: Account.Admission): void => {
  self.waiters.delete(waiter)
  waiter.leave = leave(self, admission, waiter.lane)
  waiter.resume(Effect.succeed(waiter.leave))
}

const turnAway = ({ waiters }: AccountTurns, waiter: Waiter, error: InsufficientCreditsError): void => {
  waiters.delete(waiter)
  waiter.resume(Effect.fail(error))
}

/** Queues a waiter, unless what it waits for has happened since it was told to wait. */
export const join = (
  self: AccountTurns,
  waiter: Waiter,
  now: number,
  unsent: () => InsufficientCreditsError
): void => {
  self.waiters.add(waiter)
  const entered = ask(self, now)
  if (entered._tag === "Pass") give(self, waiter, entered.admission)
  else if (entered._tag === "Ended") turnAway(self, waiter, unsent())
}

/** Lets the first waiter probe now that a probe is due, or the next call. */
export const elect = (self: AccountTurns, now: number): void => {
  if (self.state._tag !== "Suspended") return
  const [first] = self.waiters
  if (first === undefined) {
    self.due = true
    return
  }
  const entered = ask(self, now)
  if (entered._tag === "Pass") give(self, first, entered.admission)
}

/** Ends the turn of a probe that showed nothing, or nothing yet. What waits in its lane may do the same: it goes last. */
export const end = (self: AccountTurns, { admission, lane }: Leave, probeAt: number): boolean => {
  const [hadTurn, next] = Account.inconclusive(self.state, admission, probeAt)
  self.state = next
  if (!hadTurn) return false
  for (const waiter of Array.from(self.waiters)) {
    if (waiter.lane !== lane) continue
    self.waiters.delete(waiter)
    self.waiters.add(waiter)
  }
  return true
}

/** Takes an answer: that of a probe ends the suspension, which is handed back. */
export const answered = (self: AccountTurns, to: Leave, now: number): Account.Outage | undefined => {
  const [outage, next] = Account.answered(self.state, to.admission, now)
  self.state = next
  if (outage !== undefined) to.admission = current(self)
  return outage
}

/** Takes a refusal for want of credit. */
export const refused = (self: AccountTurns, { admission }: Leave, now: number): Account.Refused => {
  const [refused, next] = Account.refused(self.state, admission, now)
  self.state = next
  return refused
}

/** Ends the suspension by hand. */
export const resume = (self: AccountTurns, now: number): Account.Outage | undefined => {
  const [outage, next] = Account.resume(self.state, now)
  self.state = next
  return outage
}

/** Says when the next probe is due. */
export const schedule = (self: AccountTurns, probeAt: number): void => {
  self.state = Account.scheduled(self.state, probeAt)
}

/** Says that no probe is planned any more: nobody waits for one. */
export const close = (self: AccountTurns, unsent: () => InsufficientCreditsError): void => {
  self.state = Account.scheduled(self.state, undefined)
  for (const waiter of Array.from(self.waiters)) turnAway(self, waiter, unsent())
}

/** Lets all go who wait for an account that may send again. */
export const release = (self: AccountTurns): void => {
  for (const waiter of Array.from(self.waiters)) give(self, waiter, current(self))
}

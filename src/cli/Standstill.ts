/**
 * Why a run sends nothing though it goes on: the credit of its account has run out, or a file finds the disk full.
 *
 * Progress shows it in place of the limit; the summary and the page say when it was. Those who watch write it, those
 * who draw read it. Times are those of the report.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Remedy from "../domain/Remedy.ts"
import * as Credits from "../guard/credits/Credits.ts"
import type * as Account from "../policy/Account.ts"
import type * as Report from "../job/Report.ts"
import * as Format from "./Format.ts"

/** A time without credit. */
export interface Spell {
  readonly from: number
  /** Absent while it lasts. */
  to: number | undefined
}

/** Holds what keeps a run from sending, and what has kept it. */
export interface Standstill {
  /** Whether the run waits for credit. One that does not stops instead, and says so. */
  readonly waits: boolean
  /** Times without credit, the latest last. */
  readonly spells: Array<Spell>
  /** Seconds until a call finds out whether there is credit again; absent where one is under way, or none is planned. */
  probeIn: number | undefined
  /** Files that wait for space on a disk, and the seconds that they still wait. */
  readonly full: Map<string, number>
}

/** Makes the record of a run that has just begun. */
export const make = (waits: boolean): Standstill => ({ waits, spells: [], probeIn: undefined, full: new Map() })

/** Takes in whether the account may send, as of `now`, which is `wall` in the seconds of the account. */
export const see = (self: Standstill, account: Account.State, now: number, wall: number): void => {
  const last = self.spells.at(-1)
  const open = last !== undefined && last.to === undefined ? last : undefined
  if (account._tag === "Active") {
    if (open !== undefined) open.to = now
    self.probeIn = undefined
    return
  }
  if (open === undefined) self.spells.push({ from: now - Math.max(0, wall - account.since) * 1000, to: undefined })
  const until = account._tag === "Suspended" ? account.probeAt - wall : Infinity
  self.probeIn = Number.isFinite(until) ? Math.max(0, until) : undefined
}

/** Looks whether the account of a run that waits for credit may send. */
export const look = Effect.fnUntraced(function*(self: Standstill, now: number) {
  if (!self.waits) return
  const account = yield* (yield* Credits.Credits).account()
  see(self, account, now, (yield* Clock.currentTimeMillis) / 1000)
})

/** Looks twice a second. */
export const watching = (self: Standstill, now: () => number): Effect.Effect<never, never, Credits.Credits> =>
  Effect.forever(Effect.andThen(Effect.suspend(() => look(self, now())), Effect.sleep("500 millis")))

/** Takes in that a file waits for space, or, with 0, that it does so no more. */
export const hearFull = (self: Standstill) => (path: string, millisLeft: number): void => {
  if (millisLeft > 0) self.full.set(path, millisLeft / 1000)
  else self.full.delete(path)
}

/** Says what keeps the run from sending just now, if anything. */
export const now = ({ full, probeIn, spells }: Standstill, startedAt: number): string | undefined => {
  for (const [path, left] of full) return `waiting for disk space at ${path}, ${Format.span(left)} left`
  const last = spells.at(-1)
  if (last === undefined || last.to !== undefined) return undefined
  const probe = probeIn === undefined ? "" : ` · next probe in ${Math.ceil(probeIn)} s`
  // the page stands within 80 columns
  return `no credit since ${Format.clock((last.from - startedAt) / 1000)} · top up at ${Remedy.billingPage}${probe}`
}

/** Says for the end of a run when it was without credit, if it was. */
export const told = ({ spells }: Standstill, { endedAt, startedAt }: Report.Report): string | undefined => {
  const last = spells.at(-1)
  if (last === undefined) return undefined
  const end = endedAt ?? startedAt
  const clock = (at: number) => Format.clock((at - startedAt) / 1000)
  const sum = spells.reduce((total, { from, to }) => total + (to ?? end) - from, 0) / 1000
  const when = spells.length === 1 && last.to !== undefined
    ? `from ${clock(last.from)} to ${clock(last.to)}`
    : last.to === undefined
    ? `since ${clock(last.from)}`
    : `${spells.length} times, at last until ${clock(last.to)}`
  return `out of credit ${when}: the run waited for ${Format.span(sum)}${
    last.to === undefined ? `. Top up at ${Remedy.billingPage}` : ""
  }`
}

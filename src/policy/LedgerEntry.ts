/**
 * What a ledger remembers: the entries that its state is a fold over, and the lines of its file.
 *
 *     Reserve   a call starts            Settle   it ended, and cost this
 *     Stated    a balance, as read       Refund   it ended, and cost nothing
 *     Summary   many ended calls in one (see `LedgerCompaction`)
 *
 * The module is re-exported by `Ledger`.
 */
import * as Schema from "effect/Schema"
import * as Money from "../domain/Money.ts"

const Amount = Money.NanoUsdFromString
const Seconds = Schema.Finite

/** Opens a reservation. `high` and `expected` are absent where the price is unknown. */
export const Reserve = Schema.TaggedStruct("Reserve", {
  id: Schema.Int,
  /** Epoch seconds. */
  at: Seconds,
  run: Schema.String,
  account: Schema.String,
  label: Schema.String,
  high: Schema.optionalKey(Amount),
  expected: Schema.optionalKey(Amount)
})
/** Opens a reservation. */
export interface Reserve extends Schema.Schema.Type<typeof Reserve> {}

/** Ends a reservation with what the call cost; `sure` is false where the amount is assumed. */
export const Settle = Schema.TaggedStruct("Settle", {
  id: Schema.Int,
  at: Seconds,
  /** Absent: the call was answered, and neither its price nor a bound is known. */
  cost: Schema.optionalKey(Amount),
  sure: Schema.Boolean
})
/** Ends a reservation with what the call cost. */
export interface Settle extends Schema.Schema.Type<typeof Settle> {}

/** Ends a reservation without a cost; `atRisk` where the provider may have billed the call. */
export const Refund = Schema.TaggedStruct("Refund", { id: Schema.Int, at: Seconds, atRisk: Schema.Boolean })
/** Ends a reservation without a cost. */
export interface Refund extends Schema.Schema.Type<typeof Refund> {}

/** States an account's balance, as its owner read it. */
export const Stated = Schema.TaggedStruct("Stated", {
  at: Seconds,
  account: Schema.String,
  balance: Amount,
  /** The part that was given, not bought. */
  free: Amount,
  /**
   * True where it stands in the configuration: a restart states the same again. Absent: written by an earlier version,
   * which did not say.
   */
  declared: Schema.optionalKey(Schema.Boolean)
})
/** States an account's balance. */
export interface Stated extends Schema.Schema.Type<typeof Stated> {}

/** Tells whether a statement stands for what the configuration says, given the one of its account that did so before. */
export const standsAsDeclared = ({ declared }: Stated, before: Stated | undefined): boolean =>
  declared ?? before?.declared !== true

/** Sums up calls of one run, account and label that ended, and began within the same quarter of an hour. */
export const Summary = Schema.TaggedStruct("Summary", {
  /** Begin of the quarter; of a summary of nothing, the latest time of all. */
  at: Seconds,
  run: Schema.String,
  account: Schema.String,
  label: Schema.String,
  settled: Amount,
  uncertain: Amount,
  atRisk: Amount,
  overshoot: Amount,
  calls: Schema.Int,
  unpriced: Schema.Int
})
/** Sums up calls that ended. */
export interface Summary extends Schema.Schema.Type<typeof Summary> {}

/** Anything a ledger remembers: a line of its file. */
export const Entry = Schema.Union([Reserve, Settle, Refund, Stated, Summary])
/** Anything a ledger remembers. */
export type Entry = typeof Entry.Type

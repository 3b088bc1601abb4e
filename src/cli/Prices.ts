/** The prices that a run uses: those of the provider's catalogue if it answers in time, else the shipped ones. */
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Retry from "../guard/retry/Retry.ts"
import * as Report from "../job/Report.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Together from "../together/Together.ts"

/** Knows what models cost, to rows and to the budget alike. */
export type Prices = PriceTable.PriceTable<Together.Together>

/** Retries reading the catalogue, but not for long, since the shipped prices are at hand. */
const retry = Retry.policy({ maxAttempts: 2 })

const untold = "GET /models told no prices"

/** Tells whether the prices of a run are the shipped ones because the catalogue could not be read. */
export const areShipped = ({ warnings }: Report.Report): boolean =>
  warnings.some((warning) => warning.startsWith(untold))

const warn = (report: Report.Report, why: string) =>
  Effect.sync(() =>
    Report.warn(
      report,
      `${untold} (${why}): those of the shipped table of ${PriceTable.shippedAsOf} count`
    )
  )

/** Makes the table of a run. */
export const make = (report: Report.Report): Effect.Effect<Prices> =>
  PriceTable.make({
    models: Effect.flatMap(Together.Together, (client) => client.models({ retry })).pipe(
      Effect.tapError((error) => warn(report, error.message.replace(/\.$/, "")))
    )
  })

/** Reads the prices, until the stop at the latest. If the catalogue tells none, the report says so, and not a log. */
export const read = Effect.fnUntraced(function*(prices: Prices, report: Report.Report, stop: Effect.Effect<unknown>) {
  const late = yield* Effect.raceAllFirst([
    Effect.as(prices.refresh, undefined),
    Effect.as(Effect.sleep("5 seconds"), "no answer within 5 seconds"),
    Effect.as(stop, "no answer before the run was stopped")
  ])
  if (late !== undefined) yield* warn(report, late)
}, Effect.provideService(References.MinimumLogLevel, "None"))

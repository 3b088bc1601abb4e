/**
 * Many fibers against a budget that fits half of them, in an order that a seed decides.
 *
 * Each fiber yields a random number of times before and inside its call, so that
 * every seed interleaves reservations, calls and settlements differently.
 */
import * as Effect from "effect/Effect"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as SimulationRandom from "../../src/testing/SimulationRandom.ts"

const perCall = 10_000_000n

const yields = (times: number): Effect.Effect<void> =>
  times === 0 ? Effect.void : Effect.andThen(Effect.yieldNow, yields(times - 1))

/** Runs one race; gives how many calls were sent and refused, the most that were committed, and what is left open. */
export const race = Effect.fnUntraced(function*(options: {
  readonly seed: number
  readonly fibers: number
  readonly fits: number
}) {
  const source = SimulationRandom.source(options.seed)
  let drawn = 0
  const next = () => SimulationRandom.uniform(source, drawn++)
  const limit = perCall * BigInt(options.fits)
  const credits = yield* Credits.make({ budgets: [Budget.perRun(limit), Budget.perDay(limit * 2n)] })
  const result = { sent: 0, refused: 0, mostCommitted: 0n, spent: 0n, open: 0 }
  let [running, settled] = [0n, 0n]
  const one = Effect.suspend(() => {
    const [before, inside] = [Math.floor(next() * 4), Math.floor(next() * 4)]
    const call = Effect.suspend(() => {
      result.sent++
      running++
      const committed = (running + settled) * perCall
      if (committed > result.mostCommitted) result.mostCommitted = committed
      return Effect.andThen(
        yields(inside),
        Effect.sync(() => {
          running--
          settled++
        })
      )
    })
    return Effect.andThen(
      yields(before),
      credits.run(call, { estimate: Price.exactly(perCall), cost: () => Price.known(perCall) })
    )
  })
  yield* Effect.forEach(
    Array.from({ length: options.fibers }),
    () => Effect.catchTag(one, "BudgetExceededError", () => Effect.sync(() => void result.refused++)),
    { concurrency: "unbounded", discard: true }
  )
  const { budgets } = yield* credits.report
  result.spent = budgets[0]?.tally.settled ?? 0n
  result.open = budgets[0]?.tally.open ?? -1
  return result
})

/**
 * Kills a 5,000-row run 200 times with SIGKILL and prints what was lost, doubled, sent again and billed twice.
 *
 *     node bench/job/killBench.ts [kills] [rows] [seed] [shortest answer in ms] [longest]
 *
 * A row is in flight at a kill when the emulator has received it and the journal does not hold it: sent and not yet
 * durable. Billed twice can only be what was in flight at a kill, and no kill finds more in flight than `concurrency`.
 * Answers of 20 to 80 ms keep the command busier than it can be: most rows in flight are answers on their way back then.
 */
import * as Kill from "./Kill.ts"

const [kills = 200, rows = 5000, seed = 1, min = 200, max = 600] = process.argv.slice(2).map(Number)
const started = performance.now()
const outcome = await Kill.run({
  kills,
  rows,
  seed,
  concurrency: 100,
  within: 2500,
  answers: { min: min / 1000, max: max / 1000 },
  log: (line) => console.log(line)
})
console.log(JSON.stringify(outcome, undefined, 2))
console.log(`in ${Math.round((performance.now() - started) / 1000)} s`)
process.exit(outcome.lost + outcome.doubled + outcome.sentAgain + outcome.overBound === 0 ? 0 : 1)

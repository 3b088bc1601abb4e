/**
 * Kills a 5,000-row run 200 times with SIGKILL and prints what was lost, doubled, sent again and billed twice.
 *
 *     node bench/job/killBench.ts [kills] [rows] [seed]
 */
import * as Kill from "./Kill.ts"

const [kills = 200, rows = 5000, seed = 1] = process.argv.slice(2).map(Number)
const started = performance.now()
const outcome = await Kill.run({ kills, rows, seed, concurrency: 100, within: 2500, log: (line) => console.log(line) })
console.log(JSON.stringify(outcome, undefined, 2))
console.log(`in ${Math.round((performance.now() - started) / 1000)} s`)
process.exit(outcome.lost + outcome.doubled + outcome.sentAgain + outcome.overBound === 0 ? 0 : 1)

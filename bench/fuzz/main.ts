/**
 * Fuzzes the stream decoder, the classifier and the whole client: `node bench/fuzz/main.ts [count] [first seed]`.
 *
 * Default: 1,000,000 streams and 1,000,000 answers, seeds 1 and up, and a fiftieth of each through the whole client.
 * Prints how often each outcome came and the rate; ends with 1 at the first input that makes neither a value nor a
 * `TogetherError`, naming its seed.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as targets from "../../test/fuzz/targets.ts"

const count = Number(process.argv[2] ?? 1_000_000)
const first = Number(process.argv[3] ?? 1)

const report = (name: string, total: number, outcomes: ReadonlyMap<string, number>, millis: number) => {
  const rows = [...outcomes].toSorted(([, a], [, b]) => b - a).map(([outcome, n]) => `${outcome} ${n}`)
  console.log(`${name}: ${total} in ${(millis / 1000).toFixed(1)} s, ${Math.round(total / millis * 1000)} per s`)
  console.log(`  ${rows.join(", ")}`)
}

const tally = (into: Map<string, number>, outcome: string) => into.set(outcome, (into.get(outcome) ?? 0) + 1)

const pure = (name: string, target: (seed: number) => string) => {
  const outcomes = new Map<string, number>()
  const started = performance.now()
  for (let seed = first; seed < first + count; seed++) {
    try {
      tally(outcomes, target(seed))
    } catch (error) {
      console.error(`${name}: seed ${seed} throws`, error)
      process.exit(1)
    }
  }
  report(name, count, outcomes, performance.now() - started)
}

const known: ReadonlySet<string> = new Set(["value", ...TogetherError.tags])

const whole = async (name: string, target: typeof targets.streams) => {
  const outcomes = new Map<string, number>()
  const started = performance.now()
  const total = Math.ceil(count / 50)
  for (let from = first; from < first + total; from += 1000) {
    const seeds = Array.from({ length: Math.min(1000, first + total - from) }, (_, index) => from + index)
    const { exit, fibersLeft, open } = await Effect.runPromise(target(seeds))
    if (Exit.isFailure(exit) || open > 0 || fibersLeft > 0) {
      console.error(`${name}: seeds from ${from}: ${open} sockets and ${fibersLeft} fibers left`, exit)
      process.exit(1)
    }
    for (const outcome of exit.value) {
      if (!known.has(outcome)) {
        console.error(`${name}: ${outcome}`)
        process.exit(1)
      }
      tally(outcomes, outcome)
    }
  }
  report(name, total, outcomes, performance.now() - started)
}

pure("streams into the decoder", targets.decodeStream)
pure("answers into the classifier", targets.classify)
await whole("streams through the client", targets.streams)
await whole("answers through the client", targets.answers)

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Omniscient from "./omniscient.ts"
import * as Ours from "./ours.ts"
import * as Provider from "./provider.ts"
import { modelName, others, scenarios, workload } from "./scenarios.ts"
const [, , name = "", seedsText = "3", flag = ""] = process.argv
for (const s of [...scenarios, ...others]) {
  if (name && s.name !== name) continue
  const rows: Array<string> = []
  for (let seed = 1; seed <= Number(seedsText); seed++) {
    const work = workload(s, 2000, seed)
    const provider = Provider.make(s, seed)
    const r = await Effect.runPromise(VirtualClock.run(Ours.run(s, provider, work, { trace: flag === "trace", ...(flag === "hidden" ? { hidden: true } : {}) })))
    const c = provider.counters()
    const refused = c.refused.requests + c.refused.tokens + c.refused["in-flight"]
    const latency = s.name === "tail" ? 3.54 : 3
    const fluid = Simulation.makespan({ options: { ...s.options, unknownModels: "accept" }, model: modelName, calls: 2000, inputTokens: c.inputTokens, outputTokens: c.outputTokens, meanLatencySeconds: latency })
    const t = Duration.toSeconds(r.elapsed)
    const omni = Omniscient.makespan(s, Provider.make(s, seed), work)
    rows.push(`${t.toFixed(1)}/${omni.toFixed(1)}=${(t / omni).toFixed(3)} (${(t / fluid.seconds).toFixed(3)}) w${refused} f${c.refused.fault} o${c.refused.outage} ${r.exit._tag === "Success" ? "lost" + r.exit.value.lost : String(r.exit.cause)}`)
  }
  console.log(s.name.padEnd(10), rows.join(" | "))
}

import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as Simulation from "../../src/testing/Simulation.ts"

const page = readFileSync(new URL("../../docs/simulation.md", import.meta.url), "utf8")

/** Reads the table of options: each name and the default that stands beside it. */
const table = new Map(
  [...page.slice(page.indexOf("## Options")).matchAll(/^\| `(\w+)` \| (.+?) \| .+ \|$/gm)].map((row) =>
    [row[1] ?? "", row[2] ?? ""] as const
  )
)

describe("The options of docs/simulation.md", () => {
  it("are all options there are", () => {
    expect([...table.keys()].sort()).toEqual(Object.keys(Simulation.Config.fields).sort())
  })

  it("say the defaults of the code", () => {
    for (const [name, said] of table) {
      const value: unknown = Reflect.get(Simulation.defaults, name)
      if (name === "models") expect(said).toBe(`a catalogue of ${Object.keys(Simulation.defaults.models).length}`)
      else if (value === undefined) expect([name, said]).toEqual([name, "none"])
      else expect([name, JSON.parse(said.replaceAll("`", ""))]).toEqual([name, value])
    }
  })

  it("refuse a window that ends before it begins, and a fault of no operation", () => {
    const faults = (rest: object) => () => Simulation.make({ faults: [{ probability: 1, kind: 503, ...rest }] })
    expect(faults({ from: 5, to: 1 })).toThrow("to must be at least from")
    expect(() => Simulation.make({ outages: [{ from: 5, to: 1 }] })).toThrow("to must be at least from")
    expect(faults({ operation: "chatt" })).toThrow("an operation is one of chat")
    expect(faults({ operation: "GET /files" })).not.toThrow()
  })

  it("refuse numbers beyond all measure, by name", () => {
    const refused = (options: object, name: string) => expect(() => Simulation.make(options)).toThrow(name)
    refused({ credits: { balanceUsd: 1e300 } }, "balanceUsd")
    refused({ limits: { requestsPerSecond: 1e13 } }, "requestsPerSecond")
    refused({ limits: { maxInFlight: 1e13 } }, "maxInFlight")
    refused({ defaultMaxTokens: 1e13 }, "defaultMaxTokens")
    refused({ dynamic: { slots: 1e9 } }, "slots")
    refused(
      { credits: { balanceUsd: 1, autoRecharge: { mode: "amount", thresholdUsd: 2, amountUsd: 1e-12 } } },
      "amountUsd"
    )
  })

  it("are refused in the name of whoever was given them", () => {
    const wrong = { limit: {} } as never
    expect(() => Simulation.configure(Simulation.make(), wrong, 0)).toThrow(
      /^Simulation.configure: .*\s+at \["limit"\]/
    )
    expect(() =>
      Simulation.makespan({
        options: wrong,
        model: "m",
        calls: 1,
        inputTokens: 1,
        outputTokens: 1,
        meanLatencySeconds: 1
      })
    ).toThrow(/^Simulation.makespan: /)
  })

  it("say what auto-recharge takes, here and on the page", () => {
    const rules = [`mode: "target", thresholdUsd, targetUsd`, `mode: "amount", thresholdUsd, amountUsd`]
    for (const rule of rules) {
      expect(() => Simulation.make({ credits: { balanceUsd: 1, autoRecharge: { threshold: 5 } } } as never)).toThrow(
        rule
      )
      expect(page).toContain(`{${rule}}`)
    }
  })

  it("name every field of dynamic limits and credits with its default", () => {
    const made = Simulation.make({ dynamic: {}, credits: { balanceUsd: 1 } }).config
    const row = (name: string) => new RegExp(`^\\| \`${name}\` .+$`, "m").exec(page)?.[0] ?? ""
    for (const [name, value] of Object.entries(made.dynamic ?? {})) {
      expect(row("dynamic")).toContain(`\`${name}\` ${value}`)
    }
    for (const name of Object.keys(made.credits ?? {})) expect(row("credits")).toContain(`\`${name}\``)
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as policy from "effect-together/policy"
import { readFileSync } from "node:fs"
import vectors from "./vectors.json" with { type: "json" }
import rules from "./vectors.rules.json" with { type: "json" }

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8")
const text = read("../../docs/policy.md")

/** Prints a default as the page does. */
const print = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? Object.entries(value).map(([key, field]) => key === "_tag" ? String(field) : `${key} ${String(field)}`).join(" ")
    : String(value)

const rows = text.split("## Defaults")[1]?.split("##")[0]?.split("\n").filter((line) => /^\| `[A-Z]/.test(line)) ?? []
const documented = rows.map((row) => /^\| `(\w+)` \| (.*) \|$/.exec(row)?.slice(1) ?? [])
const modules = new Map<string, object>(Object.entries(policy))

describe("docs/policy.md", () => {
  it.each(documented)("lists the defaults of %s as they are", (name, options) => {
    const kernel = modules.get(name ?? "")
    expect(kernel).toHaveProperty("defaults")
    const defaults = kernel !== undefined && "defaults" in kernel ? Object.entries(kernel.defaults ?? {}) : []
    expect(options).toBe(defaults.map(([key, value]) => `\`${key}: ${print(value)}\``).join(", "))
  })

  /** Names the kernels of the rows of all tables. */
  const described = (text: string): ReadonlyArray<string> =>
    [...text.matchAll(/^\| ((?:`[A-Z]\w*`(?:, )?)+) \|/gm)].flatMap(([, names = ""]) => names.match(/\w+/g) ?? [])

  it("describes what the entry exports, and all of it", () => {
    // the shape that all limits share stands in a sentence
    const rows = new Set([...described(text), "ConcurrencyLimit"])
    expect([...rows].toSorted()).toEqual([...modules.keys()].toSorted())
  })

  it("lists the defaults of all the kernels that it describes, but for the parts that others are made of", () => {
    const kernels = described(text.replace(/^### Parts of [\s\S]*?(?=^## )/m, ""))
    const listed = new Set(documented.map(([name]) => name))
    for (const name of kernels) {
      if ("defaults" in (modules.get(name) ?? {})) expect(listed, name).toContain(name)
    }
    expect(new Set(kernels).size).toBeGreaterThan(35)
  })
})

describe("vectors.md", () => {
  it("tells for each suite of both files which functions of a kernel give its numbers", () => {
    const rows = [...read("vectors.md").matchAll(/^\| `(\w+\.[\w.]+)` \| (.*?) \|/gm)]
    expect(rows.map(([, id]) => id)).toEqual([...vectors.suites, ...rules.suites].map(({ id }) => id))
    for (const [, , functions = ""] of rows) {
      let kernel: object | undefined
      for (const [, owner = "", name = ""] of functions.matchAll(/`(?:(\w+)\.)?(\w+)`/g)) {
        if (name === "calculated") continue
        kernel = owner === "" ? kernel : modules.get(owner)
        expect(kernel, functions).toHaveProperty(name)
      }
    }
  })
})

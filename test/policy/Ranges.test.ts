/** The law of every kernel's comments: the range that an option's comment states is the one that is accepted. */
import { describe, expect, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import * as Policy from "../../src/policy/index.ts"
import { required } from "./required.ts"

/** Describes a stated range; an end that is another field is no number. */
interface Range {
  readonly whole: boolean
  readonly least: number
  readonly leastIn: boolean
  readonly most: number
  readonly mostIn: boolean
}

/** Reads `an integer >= 1`, `> 0`, `in [0, 1)`. */
const rangeOf = (comment: string): Range | undefined => {
  const whole = comment.includes("an integer")
  const above = /(>=?) ([\d.]+)/.exec(comment)
  if (above !== null) return { whole, least: Number(above[2]), leastIn: above[1] === ">=", most: NaN, mostIn: false }
  const between = /in ([[(])(\S+), (\S+)([\])])/.exec(comment)
  if (between === null) return undefined
  const [, opened, least, most, closed] = between
  return { whole, least: Number(least), leastIn: opened === "[", most: Number(most), mostIn: closed === "]" }
}

const fileOf = (name: string): string | undefined =>
  ["", "catalogue/"]
    .map((folder) => new URL(`../../src/policy/${folder}${name}.ts`, import.meta.url).pathname)
    .find(existsSync)

/** What is about money has limits and prices for options, which are no plain numbers. */
const money = ["Account", "AutoRecharge", "Budget", "BudgetAlert", "Forecast", "Ledger", "Preflight", "Price"]

const fields = Object.entries(Policy).flatMap(([name, module]) => {
  const file = fileOf(name)
  const made = (["make", "initial", "start"] as const).flatMap((fn) =>
    fn in module ? [module[fn as keyof typeof module]] : []
  )
  const make: unknown = made[0]
  if (file === undefined || typeof make !== "function" || money.includes(name)) return []
  const options = /export interface Options \{(.*?)\n\}/s.exec(readFileSync(file, "utf8"))
  return [...(options?.[1] ?? "").matchAll(/\/\*\*(.*?)\*\/\s*readonly (\w+)\??: number\b/gs)].map(
    ([, comment = "", field = ""]) => ({
      comment: comment.replace(/\s*\n\s*\*\s*/g, " ").trim(),
      of: `${name}.${field}`,
      accepts: (value: number): boolean => {
        try {
          make({ ...required[name], [field]: value })
          return true
        } catch (error) {
          return !String(error).includes(`: ${field} must be`)
        }
      }
    })
  )
})

describe("ranges", () => {
  it.each(fields)("$of: $comment", ({ accepts, comment }) => {
    const range = rangeOf(comment)
    expect(range).toBeDefined()
    const { least, leastIn, most, mostIn, whole } = range!
    if (!Number.isNaN(least)) {
      expect([accepts(least), accepts(least - (whole ? 1 : 1e-6))]).toEqual([leastIn, false])
    }
    if (!Number.isNaN(most)) expect([accepts(most), accepts(most + (whole ? 1 : 1e-6))]).toEqual([mostIn, false])
    expect([accepts(NaN), accepts(least + 0.5) && whole]).toEqual([false, false])
  })
})

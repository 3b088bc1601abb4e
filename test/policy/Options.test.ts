/** The law of every kernel's options: what it settles on is what was given, and it accepts that again. */
import { describe, expect, it } from "@effect/vitest"
import * as Policy from "../../src/policy/index.ts"
import { seeded } from "./events.ts"
import { type Options, required } from "./required.ts"

const values = [
  0,
  1,
  2,
  3,
  5,
  7.5,
  10,
  20,
  50,
  100,
  300,
  1000,
  0.1,
  0.5,
  0.9,
  1e-9,
  1e12,
  1e308,
  Infinity,
  NaN,
  -1,
  1.2
]

/** Makes a kernel, and reads what it settled on, where it tells. */
type Make = (options: Options) => Options | undefined

const settingsOf = (made: unknown): Options | undefined => {
  const state: unknown = Array.isArray(made) ? made[1] : made
  return typeof state === "object" && state !== null && "settings" in state ? state.settings as Options : undefined
}

const kernels = Object.entries(Policy).flatMap(([name, module]) => {
  // what `Forecast.defaults` holds are not options of its `make` alone
  if (!("defaults" in module) || name === "Forecast") return []
  const fields = Object.entries(module.defaults).flatMap(([field, value]) => typeof value === "number" ? [field] : [])
  return (["make", "initial", "start"] as const).flatMap((fn) => {
    const make: unknown = fn in module ? module[fn as keyof typeof module] : undefined
    return typeof make === "function" && fields.length > 0
      ? [{ fields, make: ((options) => settingsOf(make(options))) as Make, name, of: `${name}.${fn}` }]
      : []
  })
})

describe("options", () => {
  it.each(kernels)("$of settles on what was given and accepts it again, or blames what was given", (kernel) => {
    const random = seeded(5)
    const below = (n: number) => Math.floor(random() * n)
    for (let i = 0; i < 300; i++) {
      const given: Record<string, unknown> = { ...required[kernel.name] }
      for (let k = 1 + below(3); k > 0; k--) {
        given[kernel.fields[below(kernel.fields.length)]!] = values[below(values.length)]
      }
      let settled: Options | undefined
      try {
        settled = kernel.make(given)
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
        const blamed = /: (\S+) must be/.exec(String(error))?.[1]
        expect(Object.keys(given), String(error)).toContain(blamed)
        continue
      }
      if (settled === undefined) continue
      expect(settled).toMatchObject(given)
      expect(kernel.make(settled)).toEqual(settled)
    }
  })
})

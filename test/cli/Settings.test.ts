import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdirSync, rmSync, symlinkSync } from "node:fs"
import * as Shell from "./Shell.ts"

describe("Settings", () => {
  it.live("takes a flag over the environment over the config file", () =>
    Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", `${JSON.stringify({ custom_id: "a", prompt: "Hi" })}\n`)
      shell.write(".effect-together.json", JSON.stringify({ model: "from-file" }))
      const modelOf = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
        Effect.map(
          shell.run(["plan", input, "--json", ...args], env),
          ({ out }) => Object.keys((JSON.parse(out) as { readonly models: object }).models)
        )
      expect(yield* modelOf([])).toEqual(["from-file"])
      expect(yield* modelOf([], { EFFECT_TOGETHER_MODEL: "from-env" })).toEqual(["from-env"])
      expect(yield* modelOf(["--model", "from-flag"], { EFFECT_TOGETHER_MODEL: "from-env" })).toEqual(["from-flag"])
      shell.write(".effect-together.json", JSON.stringify({ modle: "x" }))
      expect(yield* shell.run(["plan", input])).toMatchObject({ code: 2 })
      shell.write(".effect-together.json", JSON.stringify({ "max-cost": "much" }))
      const refused = yield* shell.run(["run", input])
      expect([refused.code, refused.err.includes("--max-cost must be an amount in dollars, like 2.50, got \"much\"")])
        .toEqual([2, true])
    }))

  it.live.each<[string, string, (path: string) => void]>([
    ["directory", "EISDIR", (path) => mkdirSync(path)],
    ["link to itself", "ELOOP", (path) => symlinkSync(path, path)]
  ])(
    "refuses a config file that cannot be read, for it may hold a budget: a %s",
    ([, code, put]) =>
      Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(1))
        const path = shell.path(".effect-together.json")
        put(path)
        const args = ["run", input, "--emulator"]
        expect(yield* shell.run(args)).toEqual({
          code: 2,
          out: "",
          err: `error cannot read ${path} (${code}). Make it readable, or remove it.\n`
        })
        expect((yield* shell.run(["explain", "429"])).code).toBe(0)
        rmSync(path, { recursive: true })
        // where its directory is none, it is not there
        expect((yield* shell.run(args, { XDG_CONFIG_HOME: input })).code).toBe(0)
      })
  )
})

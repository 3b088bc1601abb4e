import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import { flatten, marksOf, says, saysNone, tableFrom } from "./tables.ts"

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..")

const below = (folder: string, extension: string): ReadonlyArray<string> =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(extension))
      .map((path) => join(folder, path))
      .sort()
    : []

const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", ...below("docs", ".md")]
  .filter((path) => existsSync(join(root, path)))
const textOf = (path: string): string => readFileSync(join(root, path), "utf8")
const sources = below("src", ".ts")

/** Finds the one source file of a module given as `Retry` or `guard/retry/Retry`. */
const moduleFile = (name: string): string => {
  const found = sources.filter((path) => path.endsWith(`/${name}.ts`))
  if (found.length !== 1) {
    throw new Error(`${name} names ${found.length} modules${found.length > 1 ? `: ${found.join(", ")}` : ""}`)
  }
  return found[0] ?? ""
}

const defaultsOf = async (name: string): Promise<ReadonlyMap<string, unknown>> => {
  const module: unknown = await import(pathToFileURL(join(root, moduleFile(name))).href)
  const defaults = typeof module === "object" && module !== null && "defaults" in module ? module.defaults : undefined
  if (typeof defaults !== "object" || defaults === null) throw new Error(`${name} exports no defaults`)
  return flatten(defaults)
}

/** Compares every marked table of a page with the defaults it promises; returns what disagrees. */
const complaintsOf = async (page: string, text: string): Promise<ReadonlyArray<string>> => {
  const lines = text.split("\n")
  const complaints: Array<string> = []
  for (const mark of marksOf(text)) {
    const table = tableFrom(lines, mark.line)
    if (table === undefined) {
      complaints.push(`${page}:${mark.line}: no table follows the mark`)
      continue
    }
    const column = table.head.findIndex((cell) => /^default/i.test(cell))
    if (column < 0) {
      complaints.push(`${page}:${table.line}: the table has no column "default"`)
      continue
    }
    const shown = new Map<string, Set<string>>()
    const show = (module: string, field: string): void => {
      shown.set(module, (shown.get(module) ?? new Set()).add(field))
    }
    for (const { field, module } of mark.without) show(module, field)
    for (const row of table.rows) {
      const option = /`([^`]+)`/.exec(row[0] ?? "")?.[1] ?? ""
      const cell = row[column] ?? ""
      const named = mark.named.find((entry) =>
        entry.field === undefined ? option.startsWith(`${entry.row}.`) : option === entry.row
      )
      const candidates: ReadonlyArray<readonly [string, string]> = named === undefined
        ? mark.modules.map((module) => [module, option] as const)
        : [[named.module, named.field ?? option.slice(named.row.length + 1)]]
      let known = false
      for (const [module, field] of candidates) {
        const defaults = await defaultsOf(module)
        if (!defaults.has(field)) continue
        known = true
        show(module, field)
        const value = defaults.get(field)
        if (!says(cell, field, value)) {
          const meant = Duration.isDuration(value) ? Duration.format(value) : String(value)
          complaints.push(`${page}: ${option} is said to be ${cell}, ${module}.defaults says ${meant}`)
        }
      }
      if (!known && !saysNone(cell)) {
        complaints.push(
          `${page}: ${option} is said to be ${cell}, but ${candidates.map(([m]) => m).join(", ")} has none`
        )
      }
    }
    for (const module of new Set([...mark.modules, ...mark.named.map((entry) => entry.module)])) {
      for (const field of (await defaultsOf(module)).keys()) {
        if (shown.get(module)?.has(field) !== true) complaints.push(`${page}: ${module}.defaults.${field} is not shown`)
      }
    }
  }
  return complaints
}

describe("docs", () => {
  describe("defaults tables", () => {
    for (const page of pages.filter((path) => marksOf(textOf(path)).length > 0)) {
      it(`of ${page} agree with the modules`, async () => {
        expect(await complaintsOf(page, textOf(page))).toEqual([])
      })
    }

    it("are marked in at least the page of the client", () => {
      expect(marksOf(textOf("docs/client.md")).length).toBeGreaterThan(0)
    })

    it("are told apart from wrong, missing and invented rows", async () => {
      const page = [
        "<!-- defaults: together/stream/EventDecoder -->",
        "",
        "| option | default |",
        "| --- | --- |",
        "| `maxEventSize` | 5 MiB |",
        "| `invented` | 3 |"
      ].join("\n")
      expect(await complaintsOf("page", page)).toEqual([
        "page: maxEventSize is said to be 5 MiB, together/stream/EventDecoder.defaults says 4194304",
        "page: invented is said to be 3, but together/stream/EventDecoder has none"
      ])
      expect(await complaintsOf("page", page.replace(/\n\| `max.*\n.*$/, ""))).toEqual([
        "page: together/stream/EventDecoder.defaults.maxEventSize is not shown"
      ])
      expect(await complaintsOf("page", page.replace("5 MiB", "4 MiB").replace("| 3 |", "| none |"))).toEqual([])
    })

    it.each<[string, string, unknown, boolean]>([
      ["120 s", "headers", Duration.seconds(120), true],
      ["2 min", "headers", Duration.seconds(120), true],
      ["`2 minutes`", "headers", Duration.seconds(120), true],
      ["12 s", "headers", Duration.seconds(120), false],
      ["500 ms", "initial", Duration.millis(500), true],
      ["60 s", "capSeconds", 60, true],
      ["1 min", "capSeconds", 60, true],
      ["10 %", "ratio", 0.1, true],
      ["1,000", "max", 1000, true],
      ["none", "max", Number.POSITIVE_INFINITY, true],
      ["5", "max", Number.POSITIVE_INFINITY, false],
      ["`\"normal\"`", "priority", "normal", true],
      ["`\"bulk\"`", "priority", "normal", false],
      ["on", "x", true, true],
      ["`$5`", "amount", 5_000_000_000n, true],
      ["none", "x", undefined, true],
      ["made from the start time", "x", undefined, true],
      ["made from the start time", "x", "run", false]
    ])("read %s as the value of %s", (cell, key, value, expected) => {
      expect(says(cell, key, value)).toBe(expected)
    })
  })

  it("name every tag of the union in the errors table, in order, and say truly which are retried", () => {
    const lines = textOf("docs/errors.md").split("\n")
    const mark = lines.findIndex((line) => line.trim() === "<!-- errors -->")
    const rows = tableFrom(lines, mark + 1)?.rows ?? []
    const named = rows.map((row) => /`(\w+)`/.exec(row[0] ?? "")?.[1])
    expect(named).toEqual(TogetherError.tags)
    const common = { message: "" }
    const samples: Readonly<Record<string, TogetherError.TogetherError>> = {
      RateLimitError: new TogetherError.RateLimitError({ ...common, scope: "unknown" }),
      AuthError: new TogetherError.AuthError(common),
      InsufficientCreditsError: new TogetherError.InsufficientCreditsError(common),
      OverloadedError: new TogetherError.OverloadedError(common),
      ServerError: new TogetherError.ServerError(common),
      RequestTimeoutError: new TogetherError.RequestTimeoutError({ ...common, phase: "headers" }),
      ConnectionError: new TogetherError.ConnectionError({ ...common, permanent: false }),
      ContextLengthError: new TogetherError.ContextLengthError(common),
      InvalidRequestError: new TogetherError.InvalidRequestError(common),
      PermissionDeniedError: new TogetherError.PermissionDeniedError(common),
      NotFoundError: new TogetherError.NotFoundError(common),
      ModelUnavailableError: new TogetherError.ModelUnavailableError(common),
      ConflictError: new TogetherError.ConflictError(common),
      PayloadTooLargeError: new TogetherError.PayloadTooLargeError(common),
      StreamError: new TogetherError.StreamError({ ...common, started: false, partial: { text: "", reasoning: "" } }),
      DecodeError: new TogetherError.DecodeError(common),
      CircuitOpenError: new TogetherError.CircuitOpenError({ ...common, key: "" }),
      BudgetExceededError: new TogetherError.BudgetExceededError({
        ...common,
        budget: "",
        limitNanoUsd: 0n,
        neededNanoUsd: 0n,
        remainingNanoUsd: 0n
      }),
      LaneOverflowError: new TogetherError.LaneOverflowError({ ...common, lane: "", reason: "queue-full" })
    }
    for (const row of rows) {
      const sample = samples[/`(\w+)`/.exec(row[0] ?? "")?.[1] ?? ""]
      if (sample === undefined) throw new Error(`no sample for ${row[0]}`)
      expect([row[0], (row[2] ?? "").startsWith("yes")]).toEqual([row[0], TogetherError.isRetryable(sample)])
    }
  })

  const anchors = (text: string): ReadonlySet<string> =>
    new Set(
      text.split("\n").filter((line) => /^#{1,6} /.test(line)).map((line) =>
        line.replace(/^#+ /, "").toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/ /g, "-")
      )
    )

  it.each(pages)("link only to what is there: %s", (page) => {
    const dead: Array<string> = []
    const prose = textOf(page).replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "")
    for (const match of prose.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"/g)) {
      const target = match[1] ?? match[2] ?? ""
      if (/^[a-z]+:/.test(target)) continue
      const [path = "", anchor] = target.split("#")
      const file = path === "" ? page : relative(root, resolve(root, dirname(page), path))
      if (!existsSync(join(root, file))) dead.push(target)
      else if (anchor !== undefined && file.endsWith(".md") && !anchors(textOf(file)).has(anchor)) dead.push(target)
    }
    expect(dead).toEqual([])
  })

  it("show figures in the README as soon as there are any, and none that docs/benchmarks.md does not hold", () => {
    const lines = textOf("README.md").split("\n")
    const mark = lines.findIndex((line) => line.trim() === "<!-- figures: docs/benchmarks.md -->")
    const measured = existsSync(join(root, "docs/benchmarks.md"))
    expect(mark > 0).toBe(measured)
    if (!measured) return
    const rows = tableFrom(lines, mark + 1)?.rows ?? []
    expect(rows.length).toBeGreaterThan(0)
    const known = textOf("docs/benchmarks.md").replace(/[`*\s]+/g, " ")
    const missing = rows.flatMap((row) =>
      row.slice(1).filter((cell) => /\d/.test(cell) && !known.includes(cell.replace(/[`*\s]+/g, " ").trim()))
    )
    expect(missing).toEqual([])
  })

  it("list every decision in their index", () => {
    const index = textOf("docs/decisions/README.md")
    const pages = readdirSync(join(root, "docs/decisions")).filter((name) => /^\d{4}-/.test(name))
    expect(pages.length).toBeGreaterThan(0)
    expect(pages.filter((name) => !index.includes(`](${name})`))).toEqual([])
    const numbers = pages.map((name) => name.slice(0, 4))
    expect(numbers).toEqual([...new Set(numbers)])
  })

  it.each([
    ["src/index.ts", pages.filter((path) => /^docs\/[^/]+\.md$/.test(path))],
    ["src/policy/index.ts", ["docs/policy.md"]],
    ["src/testing/index.ts", ["docs/testing.md", "docs/simulation.md", "docs/emulator.md"]]
  ])("name every export of %s", (entry, where) => {
    const exported = [...textOf(entry).matchAll(/^export \* as (\w+)/gm)].map((match) => match[1] ?? "")
    const text = where.map(textOf).join("\n")
    expect(exported.length).toBeGreaterThan(0)
    expect(exported.filter((name) => !new RegExp(`\`${name}\\b|\\b${name}\\.[a-z]`).test(text))).toEqual([])
  })

  it("say truly where to begin in each room, and of what a module there is made", () => {
    const map = textOf("docs/architecture.md").split("## Where to begin in each room")[1]?.split("```")[1] ?? ""
    const wrong: Array<string> = []
    let room = ""
    let count = 0
    const fileOf = (name: string) =>
      sources.find((path) => path.startsWith(`src/${room}/`) && path.endsWith(`/${name}.ts`))
    for (const line of map.split("\n")) {
      if (/^[a-z]+$/.test(line)) room = line
      const folder = /^ {2}(\w+\/)? /.exec(line)?.[1] ?? ""
      for (const chain of line.split("·")) {
        const levels = chain.split("▸").map((names) => names.match(/\b[A-Z]\w+/g) ?? [])
        for (const [depth, names] of levels.entries()) {
          for (const name of names) {
            count++
            const file = fileOf(name)
            if (file === undefined) wrong.push(`src/${room} has no ${name}.ts`)
            else if (depth === 0 && !file.includes(`/${folder}`)) wrong.push(`${file} is not in ${folder}`)
            const above = (levels[depth - 1] ?? []).flatMap((owner) => fileOf(owner) ?? [])
            const isPart = above.some((path) => textOf(path).includes(`/${name}.ts"`))
            if (above.length > 0 && !isPart) wrong.push(`${above.join(", ")} does not import ${name}`)
          }
        }
      }
    }
    expect(wrong).toEqual([])
    expect(count).toBeGreaterThan(100)
  })

  it("link to every example", () => {
    const text = pages.map(textOf).join("\n")
    const files = readdirSync(join(root, "docs/examples")).filter((name) => /\.jsonl?$/.test(name))
    expect(files.length).toBeGreaterThan(0)
    expect(files.filter((name) => !text.includes(`docs/examples/${name}`))).toEqual([])
  })

  it("say nothing of scripts that package.json does not have", () => {
    const manifest: unknown = JSON.parse(textOf("package.json"))
    const { scripts } = manifest as { readonly scripts: Readonly<Record<string, string>> } // our own
    const named = [...pages, ...below("src", ".ts"), ...below("bench", ".ts")].flatMap((path) =>
      [...textOf(path).matchAll(/npm (?:run ([\w:-]+)|(start|test)\b)/g)].map((match) => match[1] ?? match[2] ?? "")
    )
    expect([...new Set(named)].filter((name) => scripts[name] === undefined)).toEqual([])
  })
})

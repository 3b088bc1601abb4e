/**
 * Runs extracted examples, one after the other in one process, and checks what they promise.
 *
 * An example that takes key and address from the environment talks to the package's own emulator, over real HTTP. Output
 * is held back and shown only for an example that fails.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { createServer } from "node:http"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { format, inspect } from "node:util"
import * as Emulator from "../src/testing/Emulator.ts"
import { root } from "./shell.ts"

const folder = process.argv[2] ?? join(root, ".gate", "examples")
const limitMillis = 20_000

const show = (u: unknown): string =>
  inspect(u, { depth: Infinity, breakLength: Infinity, maxArrayLength: Infinity, sorted: true })

/** Brings a text to one form, whatever its quotes, breaks and spaces. */
const plain = (text: string): string => text.replace(/\s+/g, " ").replace(/['`]/g, "\"").trim()

/**
 * Starts the provider that examples call when they take key and address from the environment: the package's own
 * emulator, with limits that no example is told.
 */
const emulated = async (): Promise<() => Promise<void>> => {
  const runtime = ManagedRuntime.make(
    Emulator.layer({
      options: {
        limits: { requestsPerSecond: 50, tokensPerSecond: 20_000 },
        firstToken: { kind: "uniform", min: 0.1, max: 0.3 },
        tokensPerSecond: { kind: "constant", value: 2000 }
      }
    }).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0 })))
  )
  const server = await runtime.runPromise(Effect.service(HttpServer.HttpServer))
  const { port } = new URL(HttpServer.formatAddress(server.address))
  process.env["TOGETHER_BASE_URL"] = `http://127.0.0.1:${port}/v1`
  process.env["TOGETHER_API_KEY"] = "an-example-key"
  return () => runtime.dispose()
}

let printed: Array<string> = []
let marked = 0
let failures: Array<string> = []
let where = ""

const attempt = (make: (() => unknown) | undefined): { readonly value: unknown } | undefined => {
  try {
    return make === undefined ? undefined : { value: make() }
  } catch {
    return undefined // the text names something that is no value of the example: it is compared as text
  }
}

const complain = (line: number, expected: string, got: string): void => {
  failures.push(`${where}:${line}: expected ${expected}\n  got ${got}`)
}

const example = {
  mark: (): void => {
    marked = printed.length
  },
  value: (value: unknown, expected: (() => unknown) | undefined, text: string, line: number): void => {
    const meant = attempt(expected)
    const got = show(value)
    if (meant !== undefined && show(meant.value) === got) return
    if (plain(text) === plain(got) || plain(text) === plain(String(value))) return
    complain(line, text, got)
  },
  printed: (expected: (() => unknown) | undefined, text: string, line: number): void => {
    const got = printed.slice(marked).join("\n")
    const meant = attempt(expected)
    if (plain(text) === plain(got) || (meant !== undefined && plain(format(meant.value)) === plain(got))) return
    if (meant !== undefined && plain(show(meant.value)) === plain(got)) return
    complain(line, text, got)
  }
}
Object.assign(globalThis, { __example: example })

for (const level of ["log", "info", "warn", "error", "debug"] as const) {
  console[level] = (...parts: ReadonlyArray<unknown>) => {
    // objects on one line, as a comment shows them
    printed.push(parts.map((part) => typeof part === "string" ? part : show(part)).join(" "))
  }
}

process.on("unhandledRejection", (error) => failures.push(`${where}: unhandled rejection: ${show(error)}`))
process.on("uncaughtException", (error) => failures.push(`${where}: uncaught exception: ${show(error)}`))

const listed: unknown = JSON.parse(await readFile(join(folder, "run.json"), "utf8"))
const examples = listed as ReadonlyArray<{ name: string; source: string; line: number }> // written by examples.ts

const stop = await emulated().catch((error: unknown) => {
  process.stderr.write(`the emulator did not start: ${show(error)}\n`)
  process.exit(1)
})
let red = 0
for (const { line, name, source } of examples) {
  printed = []
  marked = 0
  failures = []
  where = source
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not end within ${limitMillis / 1000} s`)), limitMillis)
  })
  try {
    await Promise.race([import(pathToFileURL(join(folder, "run", `${name}.ts`)).href), tooLong])
    await new Promise((resolve) => setImmediate(resolve))
  } catch (error) {
    const said = error instanceof Error ? error.stack ?? error.message : show(error)
    failures.push(`${source}:${line}: ${said.split("\n").slice(0, 4).join("\n")}`)
  }
  clearTimeout(timer)
  if (failures.length > 0) {
    red++
    process.stdout.write(`${failures.join("\n")}\n`)
    if (printed.length > 0) process.stdout.write(`  it printed:\n${printed.join("\n").replace(/^/gm, "    ")}\n`)
  }
}
process.stdout.write(`${examples.length - red} examples ran as they say, ${red} did not\n`)
await stop()
process.exit(red === 0 ? 0 : 1)

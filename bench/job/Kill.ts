/**
 * Kills a run with SIGKILL at random moments, resumes it, and checks the books of the emulator and of the files.
 *
 * One job after another: each is killed at random moments until it has finished, or until the kills are used up, and
 * then run to its end. After every kill the journal is read: those rows must never be seen by the emulator again.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Connection from "../../src/cli/Connection.ts"
import * as Format from "../../src/job/journal/JournalFormat.ts"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as Simulation from "../../src/testing/Simulation.ts"

/** Says how often to kill which run. */
export interface Options {
  readonly rows: number
  readonly kills: number
  readonly concurrency: number
  /** Longest time from the first request of a run to its kill, in milliseconds. */
  readonly within: number
  readonly seed: number
  /** Shortest and longest time of an answer, in seconds. Default: 0.2 to 0.6. */
  readonly answers?: { readonly min: number; readonly max: number } | undefined
  /** The command's entry. Default: its source. */
  readonly command?: string | undefined
  readonly log?: ((line: string) => void) | undefined
}

/** Holds what the kills did. */
export interface Outcome {
  readonly kills: number
  readonly jobs: number
  /** Rows without an output row at the end of their job. */
  readonly lost: number
  /** Output rows beyond the first of their row. */
  readonly doubled: number
  /** Rows that were in the journal at a kill and reached the emulator after it. */
  readonly sentAgain: number
  /** Rows billed more than once. */
  readonly billedTwice: number
  /** Rows in flight at the kills, all kills added up: the emulator had received them, the journal did not hold them. */
  readonly inFlightAtKills: number
  /** The part of them that the emulator had not finished to answer: the others were on their way back. */
  readonly openAtKills: number
  /** Most rows in flight at one kill. */
  readonly mostInFlight: number
  /** Most rows that one kill left billed and not in the journal. */
  readonly mostBilled: number
  /** Kills with more rows in flight than the job may have under way: its concurrency. */
  readonly overBound: number
}

const model = "openai/gpt-oss-20b"

const source = join(import.meta.dirname, "../../src/cli/main.ts")

const random = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

const promptOf = (row: number, job: number) => `Job ${job}: say what the square of ${row} is.`

const journaled = (path: string): Set<number> => {
  const done = new Set<number>()
  if (!existsSync(path)) return done
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const record = Format.decode(line)
    if (record?._tag === "Row" && record.meta.ok) done.add(record.meta.n)
  }
  return done
}

/** Name under which the emulator counts a row: the hash of operation, model and messages. */
const tagOf = (content: string): string =>
  String(Simulation.hash(`chat\n${model}\n${JSON.stringify([[{ role: "user", content }]])}`))

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

interface Provider {
  readonly url: string
  /** Requests that came and whose answer is not yet with the operating system. */
  readonly open: () => number
  readonly state: () => Promise<Simulation.State>
  readonly reset: () => Promise<void>
  readonly close: () => Promise<void>
}

const serve = async ({ answers = { min: 0.2, max: 0.6 }, seed }: Options): Promise<Provider> => {
  const scope = Scope.makeUnsafe()
  let open = 0
  const counting = () => {
    const server = createServer({ keepAliveTimeout: 60_000 })
    server.on("request", (_, response) => {
      open++
      response.once("close", () => open--)
    })
    return server
  }
  const server = Connection.emulatorServer({
    server: counting,
    options: {
      unknownModels: "accept",
      limits: {},
      firstToken: { kind: "uniform", ...answers },
      tokensPerSecond: { kind: "constant", value: 2000 },
      outputTokens: { kind: "uniform", min: 5, max: 40 }
    },
    seed
  })
  const context = await Effect.runPromise(Layer.buildWithScope(server, scope))
  const emulator = Context.get(context, Emulator.Emulator)
  return {
    url: Connection.addressOf(Context.get(context, HttpServer.HttpServer)),
    open: () => open,
    state: () => Effect.runPromise(emulator.state),
    reset: () => Effect.runPromise(emulator.reset()),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Waits until the emulator has seen that its callers are gone. */
const quiet = async (provider: Provider): Promise<Simulation.State> => {
  for (let i = 0; i < 200; i++) {
    const state = await provider.state()
    if (state.counters.inFlight === 0) return state
    await pause(10)
  }
  return provider.state()
}

interface Checkpoint {
  readonly safe: ReadonlySet<number>
  readonly arrivals: ReadonlyMap<number, number>
}

const arrivalsOf = (state: Simulation.State, tags: ReadonlyMap<number, string>, rows: Iterable<number>) =>
  new Map(Array.from(rows, (row) => [row, Simulation.tag(state, tags.get(row)!)?.arrivals ?? 0]))

/** Counts the rows that the emulator received between two states and that are not safe. */
const sentSince = (
  before: Simulation.State,
  state: Simulation.State,
  tags: ReadonlyMap<number, string>,
  safe: ReadonlySet<number>
): number => {
  let sent = 0
  for (const [row, tag] of tags) {
    const came = Simulation.tag(state, tag)?.arrivals ?? 0
    if (!safe.has(row) && came > (Simulation.tag(before, tag)?.arrivals ?? 0)) sent++
  }
  return sent
}

const countOutput = (path: string, rows: number): { readonly lost: number; readonly doubled: number } => {
  const seen = new Map<string, number>()
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line === "") continue
    const { custom_id } = JSON.parse(line) as { readonly custom_id: string }
    seen.set(custom_id, (seen.get(custom_id) ?? 0) + 1)
  }
  let lost = 0
  let doubled = 0
  for (let row = 1; row <= rows; row++) {
    const count = seen.get(`row-${row}`) ?? 0
    if (count === 0) lost++
    doubled += Math.max(0, count - 1)
  }
  return { lost, doubled }
}

/** Kills runs and counts. */
export const run = async (options: Options): Promise<Outcome> => {
  const log = options.log ?? (() => {})
  const chance = random(options.seed)
  const directory = mkdtempSync(join(tmpdir(), "job-kill-"))
  const provider = await serve(options)
  const total = {
    kills: 0,
    jobs: 0,
    lost: 0,
    doubled: 0,
    sentAgain: 0,
    billedTwice: 0,
    inFlightAtKills: 0,
    openAtKills: 0,
    mostInFlight: 0,
    mostBilled: 0,
    overBound: 0
  }

  const start = (input: string) => {
    const child = spawn(
      process.execPath,
      [options.command ?? source, "run", input, "--concurrency", String(options.concurrency), "--quiet"],
      {
        env: { ...process.env, TOGETHER_BASE_URL: provider.url, TOGETHER_API_KEY: "test" },
        stdio: ["ignore", "ignore", "pipe"]
      }
    )
    let said = ""
    child.stderr.on("data", (data) => (said += String(data)))
    let over = false
    const ended = new Promise<number | null>((resolve) =>
      child.on("exit", (code) => {
        over = true
        resolve(code)
      })
    )
    return { child, ended, isOver: () => over, said: () => said }
  }

  while (total.kills < options.kills) {
    const job = ++total.jobs
    const folder = join(directory, String(job))
    mkdirSync(folder)
    const input = join(folder, "prompts.jsonl")
    await provider.reset()
    const tags = new Map<number, string>()
    let text = ""
    for (let row = 1; row <= options.rows; row++) {
      const content = promptOf(row, job)
      tags.set(row, tagOf(content))
      text += `${
        JSON.stringify({
          custom_id: `row-${row}`,
          body: { model, max_tokens: 40, messages: [{ role: "user", content }] }
        })
      }\n`
    }
    writeFileSync(input, text)
    // The emulator has no limits, so there is none to find: begin at a rate that puts every place to use.
    writeFileSync(
      join(folder, "prompts.results.jsonl.journal.limits.json"),
      JSON.stringify({ [`default/${model}`]: { version: 1, savedAt: Date.now(), requestsPerSecond: 5000 } })
    )
    const checkpoints: Array<Checkpoint> = []
    const unsafe = new Map<number, number>()
    while (true) {
      const begun = await provider.state()
      const before = begun.counters.arrivals
      const process = start(input)
      while (!process.isOver() && (await provider.state()).counters.arrivals === before) await pause(5)
      if (total.kills < options.kills) await Promise.race([process.ended, pause(chance() * options.within)])
      if (process.isOver() || total.kills >= options.kills) {
        const code = await process.ended
        if (code !== 0) throw new Error(`a run ended with ${code}: ${process.said()}`)
        break
      }
      const open = provider.open()
      process.child.kill("SIGKILL")
      await process.ended
      const state = await quiet(provider)
      const safe = journaled(join(folder, "prompts.results.jsonl.journal"))
      const answered = Array.from(tags).filter(([row, tag]) =>
        !safe.has(row) && (Simulation.tag(state, tag)?.succeeded ?? 0) > (unsafe.get(row) ?? 0)
      )
      for (const [row, tag] of answered) unsafe.set(row, Simulation.tag(state, tag)!.succeeded)
      const inFlight = sentSince(begun, state, tags, safe)
      checkpoints.push({ safe, arrivals: arrivalsOf(state, tags, safe) })
      total.kills++
      total.inFlightAtKills += inFlight
      total.openAtKills += open
      total.mostInFlight = Math.max(total.mostInFlight, inFlight)
      total.mostBilled = Math.max(total.mostBilled, answered.length)
      if (inFlight > options.concurrency) total.overBound++
      log(
        `kill ${total.kills}: job ${job}, ${safe.size} rows safe, ${inFlight} in flight (${open} open), ${answered.length} billed`
      )
    }
    const state = await quiet(provider)
    for (const { arrivals, safe } of checkpoints) {
      const now = arrivalsOf(state, tags, safe)
      for (const row of safe) if (now.get(row) !== arrivals.get(row)) total.sentAgain++
    }
    let twice = 0
    for (const tag of tags.values()) twice += Math.max(0, (Simulation.tag(state, tag)?.succeeded ?? 0) - 1)
    total.billedTwice += twice
    const { doubled, lost } = countOutput(join(folder, "prompts.results.jsonl"), options.rows)
    total.lost += lost
    total.doubled += doubled
    log(`job ${job}: done after ${checkpoints.length} kills, ${twice} rows billed twice`)
    rmSync(folder, { recursive: true })
  }
  await provider.close()
  rmSync(directory, { recursive: true, force: true })
  return total
}

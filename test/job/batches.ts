/** Small jobs through batches, over a disk in memory and a simulated provider that counts what reaches it. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as BatchBudget from "../../src/job/batch/BatchBudget.ts"
import * as BatchJob from "../../src/job/batch/BatchJob.ts"
import * as Input from "../../src/job/Input.ts"
import * as Row from "../../src/job/Row.ts"
import * as Price from "../../src/policy/Price.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as Together from "../../src/together/Together.ts"
import type * as MemoryDisk from "./MemoryDisk.ts"

/** Is the model that rows ask. */
export const model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

/** Writes a line of the input. */
export const line = (id: number, of = model) =>
  JSON.stringify({
    custom_id: `r${id}`,
    tag: id,
    body: { model: of, max_tokens: 20, messages: [{ role: "user", content: `question ${id}` }] }
  })

/** Writes lines with the ids `r1`, `r2`, … */
export const prompts = (count: number) => Array.from({ length: count }, (_, i) => `${line(i + 1)}\n`).join("")

/** A provider that counts the requests of each kind. */
export const world = (
  options: Simulation.Options = {},
  spoil: (client: HttpClient.HttpClient) => HttpClient.HttpClient = (client) => client
) => {
  const client = spoil(SimulatedProvider.make({ unknownModels: "accept", ...options }, 1).client)
  const seen = new Map<string, number>()
  const counting = HttpClient.mapRequest(client, (request) => {
    const path = new URL(request.url).pathname.replace(/\/(file|batch)[^/]*-[^/]+|\/[0-9a-f]{8}-[0-9a-f-]+/g, "/…")
    const name = `${request.method} ${path}`
    seen.set(name, (seen.get(name) ?? 0) + 1)
    return request
  })
  return {
    seen,
    layer: Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, counting))
    )
  }
}

/** Runs a job through batches over the input of a disk. */
export const run = (disk: MemoryDisk.Disk, world_: ReturnType<typeof world>, options: Partial<BatchJob.Options> = {}) =>
  BatchJob.run({ input: Input.file("in.jsonl"), ...options }).pipe(
    Effect.provideService(FileSystem.FileSystem, disk.fs),
    Effect.provide(world_.layer)
  )

/** Lists the ids in a file, sorted. */
export const ids = (disk: MemoryDisk.Disk, path: string) =>
  disk.text(path).split("\n").filter((text) => text !== "")
    // what the test reads is what the job wrote
    .map((text) => (JSON.parse(text) as { readonly custom_id: string }).custom_id).sort()

/** Lists the ids of {@link prompts}, sorted. */
export const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`).sort()

/** Says what the model costs. */
export const price = () => Price.stated({ model, inputUsdPerMillion: 1, outputUsdPerMillion: 1 })

/** Computes what lines of {@link prompts} may cost at the most. */
export const boundOf = (from: number, to: number): bigint => {
  const rows = numbered(from, to).map((id) => Row.parse(line(Number(id.slice(1))), 1) as Row.Row) // `line` writes rows
  const bound = BatchBudget.bound(price, model, rows)
  return bound._tag === "Known" ? bound.high : 0n
}

/** Answers each request that the test means by a status, as long as it is told to. */
export const answering = (status: () => number | undefined, of: string) => (client: HttpClient.HttpClient) =>
  HttpClient.transform(client, (effect, request) =>
    Effect.suspend(() => {
      const said = `${request.method} ${request.url}`.includes(of) ? status() : undefined
      const body = JSON.stringify({ error: { message: "no" } })
      return said === undefined
        ? effect
        : Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body, { status: said })))
    }))

/**
 * What an emulator remembers: a running simulation, and the files and jobs of its users.
 *
 * Ids come from the seed and a count, so the same requests in the same order
 * get the same ids. Objects belong to an organization; no other sees them.
 */
import * as Effect from "effect/Effect"
import * as Batch from "./SimulationBatch.ts"
import type { Options } from "./SimulationConfig.ts"
import type { Job } from "./SimulationJob.ts"
import * as Random from "./SimulationRandom.ts"
import * as Run from "./SimulationRun.ts"
import * as State from "./SimulationState.ts"

/** Holds a stored file. */
export interface StoredFile {
  readonly id: string
  readonly org: string
  readonly filename: string
  readonly purpose: string
  readonly fileType: string
  /** Epoch seconds. */
  readonly createdAt: number
  readonly bytes: Uint8Array
}

/** Holds one row of a batch, answered or failed; it counts once it is done. */
export interface BatchRow {
  readonly customId: string
  readonly line: string
  readonly failed: boolean
  readonly nanoUsd: bigint
}

/** Holds a batch. */
export interface StoredBatch extends Batch.Batch {
  readonly id: string
  readonly org: string
  readonly inputFileId: string
  readonly endpoint: string
  readonly model: string
  readonly inputBytes: number
  readonly results: ReadonlyArray<BatchRow>
  /** Epoch seconds that go with `createdAt`. */
  readonly epoch: number
  readonly outputFileId: string
  readonly errorFileId: string
  /** True once its files are written and its rows billed. */
  readonly settled: boolean
}

/** Holds a fine-tune, an evaluation or a video. */
export interface StoredJob extends Job {
  readonly id: string
  readonly org: string
  readonly kind: "fine-tune" | "evaluation" | "video"
  readonly request: Readonly<Record<string, unknown>>
  readonly epoch: number
  readonly nanoUsd: bigint
  readonly tokens: number
}

/** Holds the memory of an emulator. */
export interface World {
  /**
   * Runs the simulation. Before its state is read or changed by this, every batch that has ended is written and billed.
   */
  readonly run: Run.Run
  readonly files: Map<string, StoredFile>
  readonly batches: Map<string, StoredBatch>
  readonly jobs: Map<string, StoredJob>
  /** Makes the next id: a UUID of the seed and a count. */
  readonly nextId: () => string
  /** Lets everything happen that is due without a request: batches that have ended are written and billed. */
  readonly settle: Effect.Effect<void>
  /** Forgets everything and begins again; options and seed, if given, replace those of before. The scale stays. */
  readonly reset: (options?: Options, seed?: number) => void
}

/** Holds a batch that has come to its end and is not settled yet. */
interface Ended {
  readonly batch: StoredBatch
  readonly look: Batch.Look
  readonly endedAt: number
}

const uuid = (from: Random.Source, count: number): string => {
  const hex = [0, 1, 2, 3].map((i) => Random.word(Random.derive(from, count), i).toString(16).padStart(8, "0")).join("")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

const encoder = new TextEncoder()

/** Makes an empty emulator. */
export const make = (options: Options, firstSeed: number, scale: number): World => {
  const inner = Run.make(options, firstSeed, scale)
  let seed = firstSeed
  const files = new Map<string, StoredFile>()
  const batches = new Map<string, StoredBatch>()
  const jobs = new Map<string, StoredJob>()
  let count = 0
  const write = (batch: StoredBatch, id: string, rows: ReadonlyArray<BatchRow>, name: string, createdAt: number) => {
    if (rows.length === 0) return
    files.set(id, {
      id,
      org: batch.org,
      filename: `${batch.id}_${name}.jsonl`,
      purpose: "batch-api",
      fileType: "jsonl",
      createdAt,
      bytes: encoder.encode(rows.map((row) => row.line + "\n").join(""))
    })
  }
  const end = (state: State.State, { batch, look, endedAt }: Ended): State.State => {
    const done = batch.results.slice(0, look.done)
    const epoch = batch.epoch + endedAt - batch.createdAt
    write(batch, batch.outputFileId, done.filter((row) => !row.failed), "output", epoch)
    write(batch, batch.errorFileId, done.filter((row) => row.failed), "error", epoch)
    batches.set(batch.id, { ...batch, settled: true })
    return done.reduce(
      (now, row) =>
        row.nanoUsd === 0n
          ? now
          : State.spend(now, { org: batch.org, tag: row.customId, nanoUsd: row.nanoUsd }, endedAt),
      state
    )
  }
  /** Lets the batches end that are due, each at its own time. */
  const settled = (state: State.State, at: number): State.State => {
    if (batches.size === 0) return state
    const ended: Array<Ended> = []
    for (const batch of batches.values()) {
      if (batch.settled) continue
      const look = Batch.look(state.config.batch, batch, at)
      if (look.endedAt !== undefined) ended.push({ batch, look, endedAt: look.endedAt })
    }
    return ended.sort((a, b) => a.endedAt - b.endedAt).reduce(end, state)
  }
  const modify: Run.Run["modify"] = (f) => inner.modify((state, at) => f(settled(state, at), at))
  const run: Run.Run = { ...inner, modify, update: (f) => modify((state, at) => [undefined, f(state, at)]) }
  return {
    run,
    files,
    batches,
    jobs,
    nextId: () => uuid(run.state().source, count++),
    settle: Effect.suspend(() => batches.size === 0 ? Effect.void : run.update((state) => state)),
    reset: (nextOptions = run.state().config, nextSeed = seed) => {
      // refuses unknown options before anything is forgotten
      run.reset(nextOptions, nextSeed)
      seed = nextSeed
      files.clear()
      batches.clear()
      jobs.clear()
      count = 0
    }
  }
}

/**
 * An append-only file whose appends are durable when they return, thousands per second.
 *
 * Two fibers share the work. The writer hands everything that has gathered to the operating system as soon as the
 * previous write has returned: from then on a killed process loses nothing. The syncer asks for durability on the
 * device (`fsync`), one call for all writes since the last, and releases the appends it covers: from then on a power
 * cut loses nothing. Nobody waits on a timer: under load the groups grow, alone an append takes one write and one sync.
 *
 * A write that finds the disk full is cut back to the last whole line and tried again until `fullDiskWait` has passed,
 * while the appends wait in memory; then every waiting and later append fails with `disk-full`. Where the file, or what
 * hears of a full disk, dies, they die with it.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as DiskFull from "../files/DiskFull.ts"
import { JournalError, platformCode, platformFailure } from "../JobError.ts"

/** Says how durable an append is when it returns: on the device (`sync`), or handed to the system (`write`). */
export type Durability = "sync" | "write"

/** Says how an append becomes durable. */
export interface Options extends DiskFull.Options {
  /** When an append counts as durable. Default: `sync`. */
  readonly durability?: Durability | undefined
}

/** Holds the defaults of this module. */
export const defaults = { durability: "sync" } as const

/** Appends text durably. */
export interface GroupCommit {
  /**
   * Appends a whole line at once: lines stand in the order of these calls. Hands back its offset in the file, and an
   * effect that waits until it is durable. Interrupting the wait does not undo the append.
   */
  readonly append: (
    line: string
  ) => { readonly offset: number; readonly durable: Effect.Effect<void, JournalError> }
  /** Reads where the file ends once everything appended so far is written: beyond that, another has written to it. */
  readonly end: () => number
  /** Waits until everything appended so far is durable. */
  readonly flush: Effect.Effect<void, JournalError>
}

interface Group {
  bytes: Uint8Array
  used: number
  readonly done: Deferred.Deferred<void, JournalError>
}

const encoder = new TextEncoder()

const firstBytes = 64 * 1024
/** A buffer that one huge group made larger than this is not kept. */
const keptBytes = 4 * 1024 * 1024

/** Adds a line to a group and returns its length in bytes; most lines allocate nothing. */
const add = (group: Group, line: string): number => {
  const most = group.used + line.length * 3
  if (most > group.bytes.length) {
    const larger = new Uint8Array(Math.max(most, group.bytes.length * 2))
    larger.set(group.bytes.subarray(0, group.used))
    group.bytes = larger
  }
  const { written } = encoder.encodeInto(line, group.bytes.subarray(group.used))
  group.used += written
  return written
}

const failed = (path: string) =>
  platformFailure(JournalError, path, {
    full: `the disk is full: ${path} cannot grow. Every answer written before is safe; free some space and run the ` +
      "same command again.",
    other: (cause) =>
      `cannot write ${path} (${platformCode(cause)}). Every answer written before is safe; check the directory and ` +
      "run the same command again."
  })

/**
 * Appends to an open file from `length` on, for the life of the scope; closing the scope flushes first.
 *
 * @param file open for appending, with nothing after `length`
 */
export const make = Effect.fnUntraced(function*(
  file: FileSystem.File,
  path: string,
  length: number,
  options: Options
): Effect.fn.Return<GroupCommit, never, Scope.Scope> {
  const durability = options.durability ?? defaults.durability
  const whileFull = DiskFull.retry(path, options)
  const toWrite = Latch.makeUnsafe()
  const toSync = Latch.makeUnsafe()
  let spare: Uint8Array | undefined
  const newGroup = (): Group => {
    const bytes = spare ?? new Uint8Array(firstBytes)
    spare = undefined
    return { bytes, used: 0, done: Deferred.makeUnsafe() }
  }
  let group = newGroup()
  /** The group of the latest append: groups become durable in order, so it stands for all. */
  let last: Group | undefined
  let written: Array<Group> = []
  /** End of what was written whole. */
  let good = length
  /** End of what was written or waits to be. */
  let end = length
  let broken: Exit.Exit<never, JournalError> | undefined

  const writeAll = (bytes: Uint8Array): Effect.Effect<void, PlatformError.PlatformError> =>
    whileFull(Effect.tapError(file.writeAll(bytes), () => Effect.ignore(file.truncate(good))))

  /** Breaks with any cause: nobody waits for a fiber that has died. */
  const fail = (groups: ReadonlyArray<Group>) => (cause: Cause.Cause<PlatformError.PlatformError>) =>
    Effect.sync(() => {
      broken ??= Exit.failCause(Cause.map(cause, failed(path)))
      for (const each of [...groups, ...written, group]) Deferred.doneUnsafe(each.done, broken)
    })

  const write = Effect.gen(function*() {
    yield* toWrite.await
    toWrite.closeUnsafe()
    const current = group
    if (current.used === 0 || broken !== undefined) return
    group = newGroup()
    const bytes = current.bytes.subarray(0, current.used)
    yield* writeAll(bytes).pipe(
      Effect.andThen(Effect.sync(() => {
        good += bytes.length
        if (current.bytes.length <= keptBytes) spare = current.bytes
        if (durability === "write") {
          Deferred.doneUnsafe(current.done, Effect.void)
        } else {
          written.push(current)
          toSync.openUnsafe()
        }
      })),
      Effect.catchCause(fail([current]))
    )
  })

  const sync = Effect.gen(function*() {
    yield* toSync.await
    toSync.closeUnsafe()
    const groups = written
    written = []
    yield* file.sync.pipe(
      Effect.andThen(Effect.sync(() => {
        for (const each of groups) Deferred.doneUnsafe(each.done, Effect.void)
      })),
      Effect.catchCause(fail(groups))
    )
  })

  const append: GroupCommit["append"] = (line) => {
    const offset = end
    if (broken !== undefined) return { offset, durable: broken }
    last = group
    end += add(last, line)
    toWrite.openUnsafe()
    return { offset, durable: Deferred.await(last.done) }
  }

  yield* Effect.forkScoped(Effect.forever(write))
  if (durability === "sync") yield* Effect.forkScoped(Effect.forever(sync))
  const flush = Effect.suspend(() => last === undefined ? Effect.void : Deferred.await(last.done))
  // Registered after the forks, so it runs before they end.
  yield* Effect.addFinalizer(() => Effect.ignoreCause(flush))
  return { append, end: () => end, flush }
})

/**
 * A lock file that keeps two processes off one journal, or one output file, and never needs a human to remove it.
 *
 * The lock is a file created exclusively, holding who owns it and a token; its owner touches it every `heartbeat`.
 * Finding one, the next process decides:
 *
 * 1. the owner was on this host, in a container the same one, and is no longer alive: stale, taken over at once (so a
 *    resume right after SIGKILL does not wait);
 * 2. the owner is alive, or cannot be asked: watch the file for two and a half heartbeats. Touched: locked, said at
 *    once. Removed: free. Untouched: stale. Only change is looked at, never the time of day, so clock jumps do not
 *    matter.
 *
 * A stale lock is removed by one contender at a time, and whoever creates the new one has it. An owner that slept
 * through all this (a suspended machine) finds a foreign token, or none, at its next heartbeat and fails with
 * `lock-lost`. What it appends until then are whole lines: of two records of a row the later one counts. A lock that
 * cannot be read for another reason (no file handle left) says nothing: its owner looks again at the next heartbeat.
 * A file at the path that is not a lock is never removed.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { advice, JournalError, platformFailure } from "../JobError.ts"
import * as FileIdentity from "./FileIdentity.ts"

/** Names a process. */
export interface Owner {
  readonly pid: number
  readonly host: string
  /**
   * Names the processes among which its number counts, where a host has several such sets: containers may share the name
   * of their host, and do not see each other's processes. Default: the host has one.
   */
  readonly namespace?: string | undefined
}

/** Says who locks, and how often the lock is touched. */
export interface Options {
  /** Who takes the lock, for messages and for rule 1. Default: unknown, and only the heartbeat decides. */
  readonly owner?: Owner | undefined
  /** Tells whether the process still runs. Asked only about an owner of the same host and namespace. Default: yes. */
  readonly isAlive?: ((owner: Owner) => Effect.Effect<boolean>) | undefined
  /** What is locked, for messages. Default: `journal`. */
  readonly what?: "journal" | "file" | undefined
  /** Time between two touches. Default: 2 seconds. */
  readonly heartbeat?: Duration.Input | undefined
}

/** Holds the defaults of this module. */
export const defaults = { heartbeat: Duration.seconds(2) } as const

/** A held lock. */
export interface Lock {
  /** Fails as soon as the lock is found to be someone else's; never succeeds. */
  readonly lost: Effect.Effect<never, JournalError>
}

const Content = Schema.fromJsonString(Schema.Struct({
  token: Schema.String,
  pid: Schema.optional(Schema.Int),
  host: Schema.optional(Schema.String),
  namespace: Schema.optional(Schema.String)
}))

/** How often a lock is looked at while its owner is given two and a half heartbeats. */
const looks = 25

const gone = "gone"

const decodeContent = Schema.decodeOption(Content)

const beginning = "{\"token\":"

/** Tells whether a file is a lock, or the beginning of one; any other file belongs to somebody, and is not removed. */
const isLock = (seen: string | undefined): boolean =>
  seen === undefined || seen.slice(0, beginning.length) === beginning.slice(0, seen.length)

const directoryOf = (path: string): string => FileIdentity.split(path)[0]

const failed = (path: string, inDirectory: boolean) =>
  platformFailure(JournalError, path, {
    full: `cannot write the lock ${path}: the disk is full. Free some space and run the same command again.`,
    other: (cause) =>
      cause.reason._tag !== "NotFound"
        ? `cannot use the lock ${path} ${advice(cause, "Check the directory and its permissions.")}`
        : inDirectory
        ? `no file can be made in the directory ${directoryOf(path)}, though it exists. Give a path in another one.`
        : `the directory ${directoryOf(path)} does not exist: make it, or give another path.`
  })

const locked = (path: string, what: Options["what"], seen: string | undefined) => {
  const holder = Option.getOrUndefined(decodeContent(seen ?? ""))
  const doing = what === "file" ? "writing this file" : "working on this journal"
  const who = holder?.pid === undefined ? "another process" : `process ${holder.pid} on ${holder.host ?? "some host"}`
  return new JournalError({
    message: `${who} is ${doing} (${path}). Wait for it to end, or stop it.`,
    reason: "locked",
    path
  })
}

const occupied = (path: string, what: Options["what"]) =>
  new JournalError({
    message: `${path} is in the place of the lock, but is not a lock. It is not touched: move it away, or give the ` +
      `${what} another path.`,
    reason: "unwritable",
    path
  })

const takenOver = (path: string) =>
  new JournalError({
    message: `the lock ${path} was removed or taken over by another process. Nothing more is written; ` +
      "run the same command again when the other one has ended.",
    reason: "lock-lost",
    path
  })

const unkept = (path: string, cause: unknown) =>
  new JournalError({
    message: `the lock ${path} cannot be kept any more: ${String(cause)}. Nothing more is written.`,
    reason: "lock-lost",
    path,
    cause
  })

/**
 * Takes the lock at `path` for the life of the scope.
 *
 * **Errors**: `JournalError` with `locked` where another process holds it, `unwritable` or `disk-full` where it can be
 * neither read nor written.
 */
export const acquire = Effect.fnUntraced(function*(
  path: string,
  options: Options = {}
): Effect.fn.Return<Lock, JournalError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const heartbeat = Duration.fromInputUnsafe(options.heartbeat ?? defaults.heartbeat)
  const { owner, what = "journal" } = options
  const token = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36) +
    (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
  const content = JSON.stringify({ token, ...owner })

  /** Reads what a file holds: nothing where there is none. */
  const read = (file: string): Effect.Effect<string | undefined, PlatformError.PlatformError> =>
    Effect.catchIf(fs.readFileString(file), (error) => error.reason._tag === "NotFound", () => Effect.undefined)
  const look = Effect.mapError(read(path), failed(path, true))
  /** Tells whether a file is what it was; `unread` is the answer where it cannot be read. */
  const is = (file: string, seen: string | undefined, unread: boolean) =>
    Effect.orElseSucceed(Effect.map(read(file), (now) => now === seen), () => unread)
  /**
   * Removes a file if it is still what it was. It is moved first and then looked at again: if the process slept between
   * the look and the move, it may have moved another process's file, and puts it back.
   */
  const discard = Effect.fnUntraced(function*(file: string, seen: string | undefined) {
    const aside = `${file}.${token}`
    if (!(yield* is(file, seen, false)) || !(yield* Effect.isSuccess(fs.rename(file, aside)))) return
    if (!(yield* is(aside, seen, false))) yield* Effect.ignore(fs.link(aside, file))
    yield* Effect.ignore(fs.remove(aside, { force: true }))
  }, Effect.uninterruptible)
  const touched = fs.stat(path).pipe(
    Effect.map((info) => `${Option.getOrUndefined(info.mtime)?.getTime()}`),
    Effect.orElseSucceed(() => gone)
  )
  const create = fs.writeFileString(path, content, { flag: "wx" }).pipe(
    Effect.as(true),
    Effect.catch((error) =>
      error.reason._tag === "AlreadyExists"
        ? Effect.succeed(false)
        : Effect.flatMap(
          Effect.orElseSucceed(fs.exists(directoryOf(path)), () => false),
          (exists) => Effect.fail(failed(path, exists)(error))
        )
    )
  )

  const isStale = Effect.fnUntraced(function*(seen: string | undefined) {
    const holder = Option.getOrUndefined(decodeContent(seen ?? ""))
    if (
      holder?.pid !== undefined && holder.host !== undefined && holder.host === owner?.host &&
      holder.namespace === owner.namespace && options.isAlive !== undefined &&
      !(yield* options.isAlive({ pid: holder.pid, host: holder.host, namespace: holder.namespace }))
    ) return true
    const before = yield* touched
    for (let at = 0; at < looks; at++) {
      yield* Effect.sleep(Duration.times(heartbeat, 2.5 / looks))
      const now = yield* touched
      if (now !== before) return now === gone
    }
    return (yield* look) === seen
  })

  /** Removes a stale lock. One contender at a time may, who has the file `.evict`. */
  const evict = Effect.fnUntraced(function*(seen: string | undefined) {
    const guard = `${path}.evict`
    const isMine = Effect.isSuccess(fs.writeFileString(guard, token, { flag: "wx" }))
    const removed = Effect.tap(
      isMine,
      (mine) => mine ? Effect.andThen(discard(path, seen), discard(guard, token)) : Effect.void
    )
    if (yield* Effect.uninterruptible(removed)) return
    const left = yield* Effect.orElseSucceed(read(guard), () => undefined)
    yield* Effect.sleep(heartbeat)
    // only a process that was stopped in between can leave it there that long
    yield* discard(guard, left)
  })

  // making the file is not interrupted, only the waits in between are
  yield* Effect.uninterruptibleMask((restore) => {
    const take = Effect.gen(function*() {
      while (!(yield* create)) {
        const seen = yield* look
        if (!isLock(seen)) return yield* occupied(path, what)
        if (!(yield* restore(isStale(seen)))) return yield* locked(path, what, seen)
        yield* restore(evict(seen))
      }
    })
    return Effect.acquireRelease(take, () => discard(path, content))
  })

  const lost = yield* Deferred.make<never, JournalError>()
  const beat = Effect.gen(function*() {
    yield* Effect.sleep(heartbeat)
    if (!(yield* is(path, content, true))) return yield* takenOver(path)
    const at = new Date(yield* Clock.currentTimeMillis)
    yield* Effect.ignore(fs.utimes(path, at, at))
  })
  const kept = Effect.catchDefect(Effect.forever(beat), (defect) => Effect.fail(unkept(path, defect)))
  yield* Effect.forkScoped(Deferred.into(kept, lost))
  return { lost: Deferred.await(lost) }
})

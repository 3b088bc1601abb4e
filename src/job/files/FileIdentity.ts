/**
 * Which file a path leads to, however it is spelled, and what kind of file it is.
 *
 * Two paths are the same file where device and number are, so links and `./` are seen through. A file that does not
 * exist yet is known by the real path of its directory and its name.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"

/** Splits a path into its directory and its name. */
export const split = (path: string): readonly [directory: string, name: string] => {
  const at = path.lastIndexOf("/")
  return at < 0 ? [".", path] : [at === 0 ? "/" : path.slice(0, at), path.slice(at + 1)]
}

/** Takes the endings of an input file off its path: what the names of its job's files begin with. */
export const stemOf = (path: string): string => path.replace(/\.gz$/i, "").replace(/\.(jsonl|ndjson|json)$/i, "")

/** Links that are followed one after another, as many as Linux follows. */
const mostLinks = 40

/** Finds the real path; of a file that does not exist yet, that of its directory and its name, links to it seen through. */
export const real = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  let at = path
  for (let followed = 0;; followed++) {
    const whole = yield* Effect.option(fs.realPath(at))
    if (Option.isSome(whole)) return whole.value
    const [directory, name] = split(at)
    const above = yield* Effect.orElseSucceed(fs.realPath(directory), () => directory)
    const own = `${above === "/" ? "" : above}/${name}`
    const link = followed < mostLinks ? yield* Effect.option(fs.readLink(own)) : Option.none<string>()
    if (Option.isNone(link)) return own
    at = link.value.startsWith("/") ? link.value : `${above}/${link.value}`
  }
})

/** Makes a text that is the same for all paths that lead to one file. */
export const of = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const info = Option.getOrUndefined(yield* Effect.option(fs.stat(path)))
  const number = info === undefined ? undefined : Option.getOrUndefined(info.ino)
  return info === undefined || number === undefined ? yield* real(path) : `${info.dev}:${number}`
})

const segments = (directory: string): ReadonlyArray<string> => directory.split("/").filter((each) => each !== "")

/**
 * Names a file as seen from another one: by the way from that one's directory, and by its real path. The way stays the
 * same where both are moved together.
 */
export const beside = Effect.fnUntraced(function*(path: string, other: string) {
  const [whole, [directory]] = [yield* real(path), split(yield* real(other))]
  const [own, name] = split(whole)
  const [from, to] = [segments(directory), segments(own)]
  const parting = from.findIndex((each, at) => each !== to[at])
  const shared = parting < 0 ? from.length : parting
  return { way: [...from.slice(shared).fill(".."), ...to.slice(shared), name].join("/"), whole }
})

/** Says what a path leads to. `stream` is what takes text and gives none back: a device, a pipe, a socket. */
export type Kind = "none" | "file" | "directory" | "stream"

const standard = /^\/dev\/(stdin|stdout|stderr|tty|fd\/\d+)$/

/** Tells from its spelling alone that a path leads to a device, also where the device leads on to a file. */
export const isDevice = (path: string): boolean => path === "/dev/null" || standard.test(path)

/** Finds what a path leads to. */
export const kindOf = Effect.fnUntraced(function*(path: string): Effect.fn.Return<Kind, never, FileSystem.FileSystem> {
  if (isDevice(path)) return "stream"
  const fs = yield* FileSystem.FileSystem
  const info = Option.getOrUndefined(yield* Effect.option(fs.stat(path)))
  if (info === undefined) return "none"
  return info.type === "File" ? "file" : info.type === "Directory" ? "directory" : "stream"
})

/** Counts the bytes of a regular file, 0 where there is none. */
export const bytesOf = Effect.fnUntraced(function*(path: string) {
  if ((yield* kindOf(path)) !== "file") return 0n
  const fs = yield* FileSystem.FileSystem
  return yield* fs.stat(path).pipe(
    Effect.map((info) => ByteSize.toBigInt(info.size)),
    Effect.orElseSucceed(() => 0n)
  )
})

/** Finds the first two of the named paths that lead to the same file. Streams may be shared. */
export const shared = Effect.fnUntraced(function*(
  paths: ReadonlyArray<readonly [use: string, path: string | undefined]>
) {
  const uses = new Map<string, string>()
  for (const [use, path] of paths) {
    if (path === undefined || (yield* kindOf(path)) === "stream") continue
    const identity = yield* of(path)
    const other = uses.get(identity)
    if (other !== undefined) return { path, use, other }
    uses.set(identity, use)
  }
  return undefined
})

/** A file system in memory, for tests: fast, and it can be full, so that a job meets ENOSPC without a real disk. */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"

interface Node {
  bytes: Uint8Array
  size: number
  mtime: number
  readonly ino: bigint
}

/** Is the disk behind the file system. */
export interface Disk {
  readonly fs: FileSystem.FileSystem
  readonly files: Map<string, Node>
  /** Bytes that still fit; a write beyond them writes what fits and fails with ENOSPC. */
  left: number
  /** Writes that did not fit. */
  refusals: number
  /** Code that every write fails with, where one is set. */
  broken: string | undefined
  /** Calls of `sync`. */
  syncs: number
  readonly text: (path: string) => string
}

const fail = (method: string, tag: PlatformError.SystemErrorTag, path: string, code?: string) =>
  PlatformError.systemError({
    _tag: tag,
    module: "FileSystem",
    method,
    pathOrDescriptor: path,
    ...(code === undefined ? {} : { cause: Object.assign(new Error(code), { code }) })
  })

let disks = 0n

/** Makes an empty disk. */
export const make = (): Disk => {
  const files = new Map<string, Node>()
  const dev = ++disks
  let inodes = 0n
  let times = 0

  const node = (): Node => ({ bytes: new Uint8Array(256), size: 0, mtime: ++times, ino: ++inodes })

  const find = (method: string, path: string) =>
    Effect.suspend(() => {
      const found = files.get(path)
      return found === undefined ? Effect.fail(fail(method, "NotFound", path)) : Effect.succeed(found)
    })

  const writeAt = (file: Node, at: number, data: Uint8Array): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.suspend(() => {
      if (disk.broken !== undefined) return Effect.fail(fail("write", "Unknown", "", disk.broken))
      const grows = Math.max(0, at + data.length - file.size)
      const missing = Math.max(0, grows - disk.left)
      const fits = data.subarray(0, data.length - missing)
      disk.left -= grows - missing
      const end = at + fits.length
      if (end > file.bytes.length) {
        const larger = new Uint8Array(end * 2)
        larger.set(file.bytes)
        file.bytes = larger
      }
      file.bytes.set(fits, at)
      file.size = Math.max(file.size, end)
      file.mtime = ++times
      if (missing === 0) return Effect.void
      disk.refusals++
      return Effect.fail(fail("write", "Unknown", "", "ENOSPC"))
    })

  const resize = (file: Node, length: number) =>
    Effect.sync(() => {
      if (length < file.size) disk.left += file.size - length
      file.bytes.fill(0, Math.min(length, file.size))
      file.size = length
    })

  const info = (file: Node): FileSystem.File.Info => ({
    type: "File",
    mtime: Option.some(new Date(file.mtime)),
    atime: Option.none(),
    birthtime: Option.none(),
    dev,
    ino: Option.some(file.ino),
    mode: 0o644,
    nlink: Option.none(),
    uid: Option.none(),
    gid: Option.none(),
    rdev: Option.none(),
    size: ByteSize.bytes(file.size),
    blksize: Option.none(),
    blocks: Option.none()
  })

  const handle = (file: Node, append: boolean): FileSystem.File => {
    let cursor = 0
    const readAt = (buffer: Uint8Array, position: bigint | undefined) => {
      const at = position === undefined ? cursor : Number(position)
      const part = file.bytes.subarray(at, Math.min(file.size, at + buffer.length))
      buffer.set(part)
      if (position === undefined) cursor += part.length
      return part.length
    }
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      stat: Effect.sync(() => info(file)),
      seek: (offset) =>
        Effect.sync(() => {
          cursor = Number(offset)
          return offset
        }),
      sync: Effect.sync(() => {
        disk.syncs++
      }),
      read: (buffer, options) => Effect.sync(() => readAt(buffer, options?.position)),
      readAlloc: (size, options) =>
        Effect.sync(() => {
          const buffer = new Uint8Array(Math.min(size, file.size))
          const read = readAt(buffer, options?.position)
          return read === 0 ? Option.none() : Option.some(buffer.subarray(0, read))
        }),
      truncate: (length) => resize(file, length ?? 0),
      write: (buffer) => Effect.as(writeAt(file, append ? file.size : cursor, buffer), buffer.length),
      writeAll: (buffer) =>
        Effect.suspend(() => {
          const at = append ? file.size : cursor
          return Effect.tap(writeAt(file, at, buffer), () =>
            Effect.sync(() => {
              cursor = at + buffer.length
            }))
        })
    }
  }

  const create = (method: string, path: string, flag: FileSystem.OpenFlag) =>
    Effect.suspend(() => {
      const found = files.get(path)
      if (flag.includes("x") && found !== undefined) return Effect.fail(fail(method, "AlreadyExists", path))
      if (flag.startsWith("r") && found === undefined) return Effect.fail(fail(method, "NotFound", path))
      const file = found ?? node()
      files.set(path, file)
      return flag.startsWith("w") ? Effect.as(resize(file, 0), file) : Effect.succeed(file)
    })

  const unused = (method: string) => () => Effect.die(new Error(`the disk of the tests has no ${method}`))

  const disk: Disk = {
    files,
    left: Infinity,
    refusals: 0,
    broken: undefined,
    syncs: 0,
    text: (path) => {
      const file = files.get(path)
      return file === undefined ? "" : new TextDecoder().decode(file.bytes.subarray(0, file.size))
    },
    fs: FileSystem.make({
      access: (path) => Effect.asVoid(find("access", path)),
      open: (path, options) =>
        Effect.map(
          create("open", path, options?.flag ?? "r"),
          (file) => handle(file, options?.flag?.startsWith("a") ?? false)
        ),
      readFile: (path) => Effect.map(find("readFile", path), (file) => file.bytes.slice(0, file.size)),
      writeFile: (path, data, options) =>
        Effect.flatMap(create("writeFile", path, options?.flag ?? "w"), (file) => writeAt(file, file.size, data)),
      stat: (path) => Effect.map(find("stat", path), info),
      lstat: (path) => Effect.map(find("lstat", path), info),
      remove: (path, options) =>
        Effect.suspend(() => {
          const found = files.get(path)
          if (found === undefined) {
            return options?.force === true
              ? Effect.void
              : Effect.fail(fail("remove", "NotFound", path))
          }
          disk.left += found.size
          files.delete(path)
          return Effect.void
        }),
      rename: (from, to) =>
        Effect.map(find("rename", from), (file) => {
          files.delete(from)
          files.set(to, file)
        }),
      utimes: (path) =>
        Effect.map(find("utimes", path), (file) => {
          file.mtime = ++times
        }),
      truncate: (path, length) => Effect.flatMap(find("truncate", path), (file) => resize(file, length ?? 0)),
      makeDirectory: () => Effect.void,
      chmod: unused("chmod"),
      chown: unused("chown"),
      copy: unused("copy"),
      copyFile: unused("copyFile"),
      link: (from, to) =>
        Effect.flatMap(find("link", from), (file) => {
          if (files.has(to)) return Effect.fail(fail("link", "AlreadyExists", to))
          files.set(to, file)
          return Effect.void
        }),
      makeTempDirectory: unused("makeTempDirectory"),
      makeTempDirectoryScoped: unused("makeTempDirectoryScoped"),
      makeTempFile: unused("makeTempFile"),
      makeTempFileScoped: unused("makeTempFileScoped"),
      readDirectory: unused("readDirectory"),
      readDirectoryEntries: unused("readDirectoryEntries"),
      readLink: unused("readLink"),
      realPath: (path) => Effect.succeed(path),
      symlink: unused("symlink"),
      watch: () => {
        throw new Error("the disk of the tests has no watch")
      }
    })
  }
  return disk
}

/** A file system whose files can be told to be full, over a real one: for tests of what a job does then. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"

/** Says how much may still be written. */
export interface Disk {
  /** Bytes left; a write beyond them writes what fits and fails with ENOSPC. */
  left: number
  /** Failed writes so far. */
  refusals: number
}

const full = () =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method: "writeAll",
    cause: Object.assign(new Error("no space left on device"), { code: "ENOSPC" })
  })

/** Wraps a file system. */
export const make = (fs: FileSystem.FileSystem, disk: Disk): FileSystem.FileSystem => ({
  ...fs,
  open: (path, options) =>
    Effect.map(fs.open(path, options), (file): FileSystem.File => ({
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      stat: Effect.suspend(() => file.stat),
      seek: (offset, from) => file.seek(offset, from),
      sync: Effect.suspend(() => file.sync),
      read: (buffer, options) => file.read(buffer, options),
      readAlloc: (size, options) => file.readAlloc(size, options),
      truncate: (length) => file.truncate(length),
      write: (buffer) => file.write(buffer),
      writeAll: (buffer) =>
        Effect.suspend(() => {
          const fits = Math.min(disk.left, buffer.length)
          disk.left -= fits
          if (fits === buffer.length) return file.writeAll(buffer)
          disk.refusals++
          return Effect.andThen(file.writeAll(buffer.subarray(0, fits)), Effect.fail(full()))
        })
    }))
})

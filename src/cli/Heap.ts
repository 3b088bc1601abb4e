/**
 * Keeps the command's memory flat, however long a run is.
 *
 * V8 doubles the room for young objects whenever enough of them survive, up to 64 MB and three times that resident on a
 * large machine. A job makes short-lived objects only, so that room buys no speed and shows as memory that grows with
 * the first hundred thousand rows. Its size is fixed when the process starts and cannot be lowered later, but its
 * growth can be stopped: once it is as large as a job can use, it stays there.
 *
 * V8 also makes arrays among the old objects at once if earlier arrays made by the same code lived long (pretenuring).
 * The arrays of a job's queues live long while it starts, and die young later. But as old objects they would each keep
 * their rows until the next full collection. So that is turned off. Decision 0064 has the figures.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8"

/** Holds the defaults of this module. */
export const defaults = {
  /** Bytes of young space, all of its parts together, from which it does not grow any more. */
  enoughBytes: 32_000_000,
  /** Time between two looks. */
  everyMillis: 50
} as const

/** Reads how large the space of young objects is, in bytes. */
export const youngBytes = (): number =>
  getHeapSpaceStatistics().find((space) => space.space_name === "new_space")?.space_size ?? 0

/**
 * Turns pretenuring off, and stops the growth of the young space once it is large enough; does not keep the process
 * alive.
 */
export const steady = (): void => {
  setFlagsFromString("--no-allocation-site-pretenuring")
  const look = (): boolean => {
    if (youngBytes() < defaults.enoughBytes) return false
    setFlagsFromString("--semi-space-growth-factor=1")
    return true
  }
  if (look()) return
  const timer = setInterval(() => {
    if (look()) clearInterval(timer)
  }, defaults.everyMillis)
  timer.unref()
}

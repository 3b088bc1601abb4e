/**
 * What benchmarks of time share.
 */

/** Picks the middle of some figures: NaN of none. */
export const median = (numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? NaN

/** Reads the microseconds of CPU that this process has used. */
export const cpuMicros = (): number => {
  const { system, user } = process.cpuUsage()
  return user + system
}

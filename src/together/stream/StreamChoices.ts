/**
 * Which choices of a stream have begun and finished, and so whether anything of its answer can be missing.
 *
 * | seen of the stream | an end without `[DONE]` |
 * | --- | --- |
 * | fewer choices than were asked for, or one without its finish reason | something is missing |
 * | every finish reason, no tool call | the answer is whole |
 * | every finish reason, none behind the last piece of a tool call but the first | more of the call, or a call, may be missing |
 * | the same, and a finish reason that came again, or usage, behind that piece | the answer is whole |
 *
 * Together may set the finish reason before the last piece of a tool call, and repeats it behind that.
 */

/** Follows the choices of one stream. */
export interface StreamChoices {
  /** Takes what a chunk says of one choice: whether it has finished, and whether it carries a piece of a tool call. */
  readonly note: (index: unknown, isFinish: boolean, hasCalls: boolean) => void
  /** Takes that a chunk without a piece of a tool call says the usage. */
  readonly measured: () => void
  /** Says whether any choice has begun. */
  readonly begun: () => boolean
  /** Says what may be missing; `undefined` where the answer is whole. */
  readonly missing: () => string | undefined
}

/**
 * Follows the choices of one stream.
 *
 * @param asked how many were asked for, 1 or more
 */
export const make = (asked: number): StreamChoices => {
  /** Tells of each choice that began, by its index, whether it has finished. */
  const finished = new Map<unknown, boolean>()
  /** Those whose last piece of a tool call may not be the last. */
  const calling = new Set<unknown>()
  const isFinished = () => finished.size >= asked && [...finished.values()].every(Boolean)
  return {
    note: (index, isFinish, hasCalls) => {
      if (hasCalls) calling.add(index)
      else if (isFinish && finished.get(index) === true) calling.delete(index)
      if (isFinish) finished.set(index, true)
      else if (!finished.has(index)) finished.set(index, false)
    },
    measured: () => {
      if (calling.size > 0 && isFinished()) calling.clear()
    },
    begun: () => finished.size > 0,
    missing: () => {
      if (!isFinished()) {
        return asked > 1
          ? `without a finish reason of each of its ${asked} choices`
          : "without a finish reason"
      }
      return calling.size > 0 ? "with nothing that says whether its last tool call is whole" : undefined
    }
  }
}

/**
 * What a run learned about the limits, kept beside its journal: a resumed run begins there instead of searching again,
 * and `plan` computes with it.
 *
 * Limits are dynamic, so what is older than an hour is not used.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Pace from "./Pace.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Age from which learned limits are not used. */
  maxAgeMillis: 3_600_000,
  /** Time between two writes. */
  every: "5 seconds"
} as const

/** Names the file of learned limits beside a journal. */
export const pathOf = (journal: string): string => `${journal}.limits.json`

const decode = Schema.decodeUnknownOption(Lanes.SavedFromJson)
const encode = Schema.encodeSync(Lanes.SavedFromJson)

/** Reads those of the limits beside a journal that are fresh enough; none if there is no such file. */
export const read = Effect.fnUntraced(function*(journal: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.option(fs.readFileString(pathOf(journal)))
  const saved = Option.getOrUndefined(Option.flatMap(text, decode))
  if (saved === undefined) return undefined
  const now = yield* Clock.currentTimeMillis
  const fresh = Object.entries(saved).filter(([, learned]) => Math.abs(now - learned.savedAt) < defaults.maxAgeMillis)
  return fresh.length === 0 ? undefined : Object.fromEntries(fresh)
})

const write = Effect.fnUntraced(function*(journal: string) {
  const fs = yield* FileSystem.FileSystem
  const lanes = yield* Lanes.Lanes
  const saved = Object.fromEntries(
    Object.entries(yield* lanes.save).filter(([, learned]) =>
      learned.requestsPerSecond !== undefined || learned.tokensPerSecond !== undefined || learned.inFlight !== undefined
    )
  )
  if (Object.keys(saved).length === 0) return
  const aside = `${pathOf(journal)}.new`
  yield* Effect.tapError(
    Effect.andThen(fs.writeFileString(aside, encode(saved)), fs.rename(aside, pathOf(journal))),
    () => Effect.ignore(fs.remove(aside, { force: true }))
  )
})

/** Writes the limits every few seconds and once more at the end; a file that cannot be written is no failure. */
export const keeping = (journal: string): Effect.Effect<never, never, Lanes.Lanes | FileSystem.FileSystem> =>
  Effect.ensuring(
    Effect.andThen(Effect.sleep(defaults.every), Pace.repeat(Effect.ignore(write(journal)), defaults.every)),
    Effect.ignore(write(journal))
  )

/**
 * What a job learns of its rows by kind: those of one model that ask for one operation, since a model may embed and not
 * draw.
 *
 * A kind that was only ever refused is given up, and its other rows are left out.
 */
import type { TogetherError } from "../domain/TogetherError.ts"
import type * as Row from "./Row.ts"

/** Counts what became of the rows of a kind. */
export interface Kind {
  readonly model: string
  answers: number
  refusals: number
  /** Why its other rows are not sent. */
  abandoned: TogetherError | undefined
  /** Rows left out. */
  leftOut: number
}

/** Rows that are not sent, and why. */
export interface LeftOut {
  readonly error: TogetherError
  readonly rows: number
}

/** Holds the kinds of one job. */
export interface RowKinds {
  readonly of: (row: Row.Row) => Kind
  /** Sums up by model which rows were left out, with the error that said so. */
  readonly leftOut: () => ReadonlyMap<string, LeftOut>
}

/** Makes kinds of which nothing is known. */
export const make = (): RowKinds => {
  const kinds = new Map<string, Kind>()
  return {
    of: ({ model, operation }) => {
      const key = `${operation} ${model}`
      let kind = kinds.get(key)
      if (kind === undefined) {
        kinds.set(key, kind = { model, answers: 0, refusals: 0, abandoned: undefined, leftOut: 0 })
      }
      return kind
    },
    leftOut: () => {
      const models = new Map<string, LeftOut>()
      for (const { abandoned, leftOut, model } of kinds.values()) {
        if (abandoned === undefined || leftOut === 0) continue
        const others = models.get(model)
        models.set(model, { error: others?.error ?? abandoned, rows: leftOut + (others?.rows ?? 0) })
      }
      return models
    }
  }
}

/**
 * Says where the state of lanes lives.
 *
 * A lane decides synchronously, from the state in its cell: that is what keeps an admission at a few microseconds. A
 * store opens one cell per key. `memory` keeps them in this process. A shared store (several processes, one limit) can
 * implement the same interface by leasing: its cell holds this process's share of the limit, and a background fiber of
 * the store exchanges what was sent and refused with the others and writes the new share as the rate's ceiling; the
 * lane sees nothing of it but a state that changed between two of its own reads.
 *
 * **Gotchas**: a cell is read and written without a yield in between. A store must replace the state as a whole, and
 * only by a state derived from the one it read in the same step.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { State } from "../../policy/lane/LaneKernel.ts"

/** Holds the state of one lane. */
export interface Cell {
  readonly read: () => State
  readonly write: (state: State) => void
}

/** Opens cells, one per key. */
export interface Service {
  readonly open: (key: string, initial: () => State) => Effect.Effect<Cell>
}

/** Says where the cells of lanes come from: {@link memory} unless a layer provides another. */
export const LaneStore: Context.Reference<Service> = Context.Reference<Service>("effect-together/LaneStore", {
  defaultValue: () => memory
})

/** Makes a cell of this process. */
export const cell = (initial: State): Cell => {
  let state = initial
  return {
    read: () => state,
    write: (next) => {
      state = next
    }
  }
}

/** Keeps the state of lanes in this process. */
export const memory: Service = {
  open: (_key, initial) => Effect.sync(() => cell(initial()))
}

/**
 * The type of what `Effect.uninterruptibleMask` hands to its body, for modules that take it as an argument: Effect names none.
 */
import type * as Effect from "effect/Effect"

/** Makes an effect interruptible that runs where nothing is. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

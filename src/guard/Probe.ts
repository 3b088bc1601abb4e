/**
 * Tells what is inside of an attempt that it finds out whether a provider is well again.
 *
 * Until it ends a circuit admits nobody else. So what queues inside sends it first, as a lane does: at the end of a long
 * queue it would keep a circuit shut whose provider answers all that was queued before.
 */
import * as Context from "effect/Context"

/** Says whether the attempt in progress is the probe of a half-open circuit. */
export const CurrentProbe: Context.Reference<boolean> = Context.Reference<boolean>("effect-together/Probe", {
  defaultValue: () => false
})

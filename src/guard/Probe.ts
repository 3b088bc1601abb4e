/**
 * Marks the attempt that probes a half-open circuit, so that a queue inside of the circuit sends it first.
 *
 * Until the probe ends, the circuit admits nobody else. At the end of a lane's long queue, the probe would keep the
 * circuit shut while the provider answers everything that was queued before.
 */
import * as Context from "effect/Context"

/** Says whether the attempt in progress is the probe of a half-open circuit. */
export const CurrentProbe: Context.Reference<boolean> = Context.Reference<boolean>("effect-together/Probe", {
  defaultValue: () => false
})

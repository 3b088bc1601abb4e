/**
 * Marks calls that have somewhere else to go, so that a lane inside does not make them wait for a provider that is down.
 *
 * In an outage a lane holds everything back for as long as the provider is down. That serves a call that only this
 * provider can answer; one with another target would wait in vain for what the other could say at once.
 */
import * as Context from "effect/Context"

/** Says whether nobody else can serve the call in progress, should its provider be down. */
export const CurrentIsLast: Context.Reference<boolean> = Context.Reference<boolean>("effect-together/LastTarget", {
  defaultValue: () => true
})

/**
 * Makes a call of each model in turn, the one asked for first, as the option `fallback` of a call says.
 *
 * Each model is a call of its own. They share one deadline: each has what is left of it.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { TogetherError } from "../domain/TogetherError.ts"
import * as Fallback from "../guard/Fallback.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import type { CallOptions } from "./CallOptions.ts"
import type { Asking } from "./Routes.ts"

/** Walks over the models of a call. */
export interface Walk<Made> {
  readonly models: readonly [string, ...Array<string>]
  readonly callOf: (model: string) => Made
  /** Tells whether the next model is worth a call. */
  readonly when: (error: TogetherError) => boolean
}

// every request that has a model has it under this name, and nothing else of it changes
const withModel = <Req>(request: Req, model: string): Req => ({ ...request, model })

/**
 * Makes what turns the call of one model into that of several, where a caller names others.
 *
 * @param deadlineOf reads the deadline that a call has by its options
 */
export const make = (deadlineOf: (options: CallOptions | undefined) => Duration.Duration | undefined) =>
<Req, Made>(
  route: Asking<Req>,
  once: (request: Req, options: CallOptions | undefined) => Made,
  walking: (walk: Effect.Effect<Walk<Made>>) => Made
) =>
(request: Req, options?: CallOptions): Made => {
  const others = options?.fallback ?? []
  if (others.length === 0) return once(request, options)
  const models: Walk<Made>["models"] = [route.model(request), ...others]
  const deadline = deadlineOf(options)
  return walking(Clock.clockWith((clock) => {
    const now = () => Monotonic.millis(clock)
    const endsAt = deadline === undefined ? Infinity : now() + Duration.toMillis(deadline)
    const left = () => deadline === undefined ? options : { ...options, deadline: Duration.millis(endsAt - now()) }
    return Effect.succeed<Walk<Made>>({
      models,
      callOf: (model) => once(withModel(request, model), left()),
      when: (error) => Fallback.isCurable(error) && now() < endsAt
    })
  }))
}

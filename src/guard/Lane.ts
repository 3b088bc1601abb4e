/**
 * (interface first; the inside is being filled)
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Priority } from "../domain/Call.ts"
import type { LimitHeaders } from "../domain/Hint.ts"
import type { LaneOverflowError } from "../domain/TogetherError.ts"

/** Describes what a call needs from its lane. */
export interface LaneRequest {
  /** Tokens the provider will charge at admission, as estimated. */
  readonly tokens: number
  readonly priority?: Priority | undefined
  /** True for an attempt after the first: it goes ahead of fresh work of its class. */
  readonly retry?: boolean | undefined
  /** Epoch milliseconds. */
  readonly deadlineAt?: number | undefined
}

export type Scopes = "requests" | "tokens" | "model" | "concurrency" | "unknown"

/** Says how an attempt ended, as far as limits are concerned. */
export type Sample =
  | { readonly _tag: "Success"; readonly tokens?: number | undefined; readonly headers?: LimitHeaders | undefined }
  | {
    readonly _tag: "Throttled"
    readonly scope: Scopes
    readonly retryAfter?: Duration.Duration | undefined
    readonly headers?: LimitHeaders | undefined
  }
  | { readonly _tag: "Overloaded"; readonly retryAfter?: Duration.Duration | undefined }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "TimedOut" }
  | { readonly _tag: "Ignored"; readonly sent: boolean }

/** Holds a place in the provider's limits until it is settled. */
export interface Permit {
  readonly settle: (sample: Sample) => Effect.Effect<void>
}

export interface Decision {
  readonly reason: string
}

export interface LaneStatus {
  readonly key: string
  readonly queued: number
  readonly inFlight: number
}

export interface Options {
  readonly key?: string | undefined
  readonly requestsPerMinute?: number | undefined
  readonly tokensPerMinute?: number | undefined
  readonly maxInFlight?: number | undefined
  readonly maxQueue?: number | undefined
}

/** Paces all calls that share one provider limit. */
export interface Lane {
  readonly key: string
  readonly acquire: (request: LaneRequest) => Effect.Effect<Permit, LaneOverflowError>
  readonly acquireScoped: (request: LaneRequest) => Effect.Effect<Permit, LaneOverflowError, Scope.Scope>
  readonly tryAcquire: (request: LaneRequest) => Effect.Effect<Option.Option<Permit>>
  readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    request: LaneRequest,
    classify: (exit: Exit.Exit<A, E>) => Sample
  ) => Effect.Effect<A, E | LaneOverflowError, R>
  readonly status: Effect.Effect<LaneStatus>
  readonly decisions: Stream.Stream<Decision>
}

/** Makes a lane. */
export const make = (options: Options = {}): Effect.Effect<Lane> =>
  Effect.sync(() => {
    let inFlight = 0
    const permit = (): Permit => {
      inFlight++
      let open = true
      return {
        settle: () =>
          Effect.sync(() => {
            if (open) inFlight--
            open = false
          })
      }
    }
    const acquire = (_: LaneRequest) => Effect.sync(permit)
    const lane: Lane = {
      key: options.key ?? "lane",
      acquire,
      acquireScoped: (request) =>
        Effect.acquireRelease(acquire(request), (permit) => permit.settle({ _tag: "Ignored", sent: true })),
      tryAcquire: () => Effect.sync(() => Option.some(permit())),
      run: (effect, request, classify) =>
        Effect.acquireUseRelease(acquire(request), () => effect, (permit, exit) => permit.settle(classify(exit))),
      status: Effect.sync(() => ({ key: lane.key, queued: 0, inFlight })),
      decisions: Stream.empty
    }
    return lane
  })

/**
 * Our client: a lane, and a plain retry around it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Hint from "../../src/domain/Hint.ts"
import type { RateLimitScope } from "../../src/domain/TogetherError.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import type { Provider } from "./provider.ts"
import type { Scenario, Work } from "./scenarios.ts"

const scopes: Record<string, RateLimitScope> = {
  dynamic_request_limited: "requests",
  dynamic_token_limited: "tokens",
  concurrency_limited: "concurrency",
  model_rate_limit: "model"
}

const scopeOf = (body: string): RateLimitScope => {
  const type = /"type":"(\w+)"/.exec(body)?.[1] ?? ""
  return scopes[type] ?? "unknown"
}

const sampleOf = (reply: Simulation.Reply, hidden: boolean): Lane.Sample => {
  if (reply._tag === "Answer") {
    return {
      _tag: "Success",
      tokens: reply.inputTokens + reply.outputTokens,
      headers: Hint.limitHeaders(reply.headers)
    }
  }
  if (reply._tag === "Dropped") return { _tag: "Failed" }
  const retryAfter = Hint.fromHeaders(reply.headers, 0)?.wait
  if (reply.status === 429) return { _tag: "Throttled", scope: hidden ? "unknown" : scopeOf(reply.body), retryAfter }
  return reply.status === 503 ? { _tag: "Overloaded", retryAfter } : { _tag: "Failed" }
}

/** Runs the workload through a lane; what is lost ends as a failure. */
export const run = (
  scenario: Scenario,
  provider: Provider,
  work: ReadonlyArray<Work>,
  options: { readonly hidden?: boolean | undefined; readonly trace?: boolean | undefined } = {}
): Effect.Effect<{ readonly lost: number }> =>
  Effect.gen(function*() {
    const hidden = options.hidden ?? scenario.hidden ?? false
    const lane = yield* Lane.make({ key: "bench" })
    const start = yield* Clock.currentTimeMillis
    const now = Effect.map(Clock.currentTimeMillis, (millis) => (millis - start) / 1000)
    const exchange = (one: Work) =>
      Effect.flatMap(now, (at) => {
        const reply = provider.arrive(one, at)
        return Effect.as(Effect.sleep(Math.ceil(reply.latencySeconds * 1000)), reply)
      })
    const call = (one: Work, attempt: number): Effect.Effect<boolean> =>
      Effect.flatMap(
        lane.run(
          exchange(one),
          {
            tokens: one.inputTokens + one.maxTokens,
            retry: attempt > 1,
            classify: (exit) => Exit.isSuccess(exit) ? sampleOf(exit.value, hidden) : { _tag: "Failed" }
          }
        ),
        (reply) =>
          reply._tag === "Answer"
            ? Effect.succeed(true)
            : attempt >= 60
            ? Effect.succeed(false)
            : call(one, attempt + 1)
      ).pipe(Effect.orDie)
    if (options.trace === true) {
      const { runForEach } = yield* Effect.promise(() => import("effect/Stream"))
      yield* Effect.forkChild(runForEach(lane.decisions, (d) =>
        Effect.sync(() => {
          if (d.reason === "start-grew") return
          const c = provider.counters()
          const refused = c.refused.requests + c.refused.tokens + c.refused["in-flight"]
          console.log(
            ((d.at - start) / 1000).toFixed(2),
            d.subject,
            d.reason,
            d.from.toFixed(2),
            "→",
            d.to.toFixed(2),
            "refused",
            refused,
            "admitted",
            c.admitted
          )
        })))
      yield* Effect.sleep(0)
    }
    const fibers: Array<Fiber.Fiber<boolean>> = []
    for (const one of work) fibers.push(yield* Effect.forkChild(call(one, 1)))
    let lost = 0
    for (const fiber of fibers) if (!(yield* Fiber.join(fiber))) lost++
    return { lost }
  })

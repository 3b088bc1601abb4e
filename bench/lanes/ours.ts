/**
 * What ships: a lane around each attempt and `Retry.run` with its default policy around the lane, as docs/lanes.md advises
 * around another SDK. Errors are those that the package makes of the replies, samples those that it reads from them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Hint from "../../src/domain/Hint.ts"
import { ConnectionError, type TogetherError } from "../../src/domain/TogetherError.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import { errorFromResponse } from "../../src/together/error/ForeignResponse.ts"
import * as Inexact from "./inexact.ts"
import type { Provider } from "./provider.ts"
import { modelName, type Scenario, type Work } from "./scenarios.ts"

/** Reads the error of a reply; where its words are hidden, from its status and its headers alone. */
const errorOf = (reply: Simulation.Denial, hidden: boolean): TogetherError =>
  reply._tag === "Dropped"
    ? new ConnectionError({ message: `The connection was ${reply.kind}.` })
    : errorFromResponse({
      status: reply.status,
      headers: reply.headers,
      body: hidden ? undefined : reply.body,
      operation: "chat",
      model: modelName
    })

/** Reads a sample as the client does: of an answer also what its headers state. */
const sampleOf = (exit: Exit.Exit<Simulation.Answer, TogetherError>): Lane.Sample => {
  const sample = Lane.sampleOf(exit, {
    usage: ({ inputTokens, outputTokens }) => ({ inputTokens, outputTokens, cachedInputTokens: 0, reasoningTokens: 0 })
  })
  return sample._tag === "Success" && Exit.isSuccess(exit)
    ? { ...sample, headers: Hint.limitHeaders(exit.value.headers) }
    : sample
}

/** Says how a run differs from the plain one. */
export interface Options extends Inexact.Options {
  /** Hides the words of refusals; default: as the scenario says. */
  readonly hidden?: boolean | undefined
  /** Prints the decisions of the lane. */
  readonly trace?: boolean | undefined
}

/** Runs the workload through a lane; what is lost ends as a failure. The seed draws how inexact the clock is. */
export const run = (
  scenario: Scenario,
  provider: Provider,
  work: ReadonlyArray<Work>,
  options: Options,
  seed: number
): Effect.Effect<{ readonly lost: number }> =>
  Inexact.run(options, seed, (over) => client(scenario, provider, work, options, over))

const client = (
  scenario: Scenario,
  provider: Provider,
  work: ReadonlyArray<Work>,
  options: Options,
  over: Inexact.Over
): Effect.Effect<{ readonly lost: number }> =>
  Effect.gen(function*() {
    const hidden = options.hidden ?? scenario.hidden ?? false
    const lane = yield* Lane.make({ key: "bench" })
    const start = yield* Clock.currentTimeMillis
    const now = Effect.map(Clock.currentTimeMillis, (millis) => (millis - start) / 1000)
    const replied = (one: Work) =>
      Effect.flatMap(now, (at) => {
        const reply = provider.arrive(one, at)
        return Effect.as(Effect.sleep(Math.ceil(reply.latencySeconds * 1000)), reply)
      })
    const exchange = (one: Work) =>
      Effect.flatMap(
        over(replied(one)),
        (reply) => reply._tag === "Answer" ? Effect.succeed(reply) : Effect.fail(errorOf(reply, hidden))
      )
    const call = (one: Work): Effect.Effect<boolean> =>
      Retry.CurrentAttempt.pipe(
        Effect.flatMap((attempt) =>
          lane.run(exchange(one), {
            tokens: one.inputTokens + one.maxTokens,
            retry: attempt > 1,
            classify: sampleOf
          })
        ),
        Retry.run(),
        Effect.isSuccess
      )
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
    for (const one of work) fibers.push(yield* Effect.forkChild(call(one)))
    let lost = 0
    for (const fiber of fibers) if (!(yield* Fiber.join(fiber))) lost++
    return { lost }
  })

/**
 * What people use in place of a lane: each peer as its documentation shows it, told nothing about limits.
 *
 * | peer | settings |
 * | --- | --- |
 * | together-ai, openai | `maxRetries` 2 or 10, under `p-limit` 50 |
 * | p-queue + p-retry | concurrency 50, 10 retries, exponential from 1 s, jittered |
 * | bottleneck | `maxConcurrent` 50, `failed` event retries 10 times, exponential from 1 s |
 * | cockatiel | bulkhead 50, `ExponentialBackoff`, 10 retries |
 * | @smithy/util-retry | one `AdaptiveRetryStrategy` with 11 attempts, under `p-limit` 50 |
 * | Effect | `withRateLimiter` told 50 per second for want of better, `retryTransient` 10 times, exponential from 1 s, 50 in flight |
 *
 * Where a peer reads wait hints by itself it gets them; where its documentation leaves that to the user, it does not.
 */
// first: it replaces the timers that the libraries below keep
import * as World from "./world.ts"

import { AdaptiveRetryStrategy } from "@smithy/util-retry"
import type { StandardRetryToken } from "@smithy/types"
import Bottleneck from "bottleneck"
import * as Cockatiel from "cockatiel"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { RateLimiter } from "effect/persistence"
import * as Schedule from "effect/Schedule"
import OpenAI from "openai"
import pLimit from "p-limit"
import PQueue from "p-queue"
import pRetry from "p-retry"
import Together from "together-ai"
import type { Provider } from "./provider.ts"
import type { Work } from "./scenarios.ts"

const concurrency = 50

/** Counts what became of the calls. */
export interface Outcome {
  readonly seconds: number
  readonly lost: number
}

/** Is a client that runs a workload, in the virtual time of `world.ts`. */
export interface Peer {
  readonly name: string
  readonly run: (provider: Provider, work: ReadonlyArray<Work>) => Promise<Outcome>
}

const answer = JSON.stringify({
  id: "x",
  object: "chat.completion",
  created: 0,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "x" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
})

const fetchOf =
  (provider: Provider, work: ReadonlyArray<Work>) => async (_url: unknown, init?: RequestInit): Promise<Response> => {
    const text = typeof init?.body === "string" ? init.body : new TextDecoder().decode(init?.body as Uint8Array)
    const id = Number((JSON.parse(text) as { readonly user: string }).user)
    const reply = provider.arrive(work[id] as Work, World.seconds())
    await World.sleep(reply.latencySeconds)
    if (reply._tag === "Dropped") throw new TypeError("fetch failed")
    return reply._tag === "Answer"
      ? new Response(answer, { status: 200, headers: { ...reply.headers, "content-type": "application/json" } })
      : new Response(reply.body, {
        status: reply.status,
        headers: { ...reply.headers, "content-type": reply.contentType }
      })
  }

const url = "http://provider.test/v1/chat/completions"
const body = (one: Work) => ({ model: "m", messages: [], max_tokens: one.maxTokens, user: String(one.id) })

class StatusError extends Error {
  readonly status: number
  readonly $retryable: { readonly throttling: boolean }
  constructor(status: number) {
    super(`status ${status}`)
    this.status = status
    this.$retryable = { throttling: status === 429 }
  }
}

const all = async (work: ReadonlyArray<Work>, call: (one: Work) => Promise<unknown>): Promise<Outcome> => {
  let lost = 0
  const seconds = await World.run(() =>
    Promise.all(work.map((one) =>
      call(one).then(() => {}, () => {
        lost++
      })
    ))
  )
  return { seconds, lost }
}

const plain = (provider: Provider, work: ReadonlyArray<Work>) => {
  const fetch = fetchOf(provider, work)
  return async (one: Work): Promise<void> => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body(one)) })
    if (!response.ok) throw new StatusError(response.status)
  }
}

const together = (maxRetries: number): Peer => ({
  name: `together-ai, ${maxRetries} retries`,
  run: (provider, work) => {
    const client = new Together({
      apiKey: "k",
      baseURL: "http://provider.test/v1",
      maxRetries,
      fetch: fetchOf(provider, work) as typeof fetch
    })
    const limit = pLimit(concurrency)
    // `user` is no field of this SDK's types; the server of the benchmark reads the number of the call from it
    return all(work, (one) => limit(() => client.chat.completions.create(body(one) as never)))
  }
})

const openai = (maxRetries: number): Peer => ({
  name: `openai, ${maxRetries} retries`,
  run: (provider, work) => {
    const client = new OpenAI({
      apiKey: "k",
      baseURL: "http://provider.test/v1",
      maxRetries,
      fetch: fetchOf(provider, work) as typeof fetch
    })
    const limit = pLimit(concurrency)
    return all(work, (one) => limit(() => client.chat.completions.create(body(one) as never)))
  }
})

/** Lists the peers. */
export const peers: ReadonlyArray<Peer> = [
  together(2),
  together(10),
  openai(2),
  openai(10),
  {
    name: "p-queue + p-retry",
    run: (provider, work) => {
      const queue = new PQueue({ concurrency })
      const call = plain(provider, work)
      return all(
        work,
        (one) => queue.add(() => pRetry(() => call(one), { retries: 10, minTimeout: 1000, randomize: true }))
      )
    }
  },
  {
    name: "bottleneck",
    run: (provider, work) => {
      const limiter = new Bottleneck({ maxConcurrent: concurrency })
      limiter.on(
        "failed",
        (_error: unknown, job: { readonly retryCount: number }) =>
          Promise.resolve(job.retryCount < 10 ? 1000 * 2 ** Math.min(job.retryCount, 6) : undefined)
      )
      const call = plain(provider, work)
      return all(work, (one) => limiter.schedule(() => call(one)))
    }
  },
  {
    name: "cockatiel",
    run: (provider, work) => {
      const policy = Cockatiel.wrap(
        Cockatiel.bulkhead(concurrency, work.length),
        Cockatiel.retry(Cockatiel.handleAll, { maxAttempts: 10, backoff: new Cockatiel.ExponentialBackoff() })
      )
      const call = plain(provider, work)
      return all(work, (one) => policy.execute(() => call(one)))
    }
  },
  {
    name: "@smithy/util-retry adaptive",
    run: (provider, work) => {
      const strategy = new AdaptiveRetryStrategy(() => Promise.resolve(11))
      const call = plain(provider, work)
      const limit = pLimit(concurrency)
      const attempt = async (one: Work): Promise<void> => {
        let token = await strategy.acquireInitialRetryToken("bench") as StandardRetryToken
        while (true) {
          const error = await call(one).then(() => undefined, (error: StatusError) => error)
          if (error === undefined) return strategy.recordSuccess(token)
          token = (await strategy.refreshRetryTokenForRetry(token, {
            errorType: error.status === 429 ? "THROTTLING" : "TRANSIENT"
          })) as StandardRetryToken
          await World.sleep(token.getRetryDelay() / 1000)
        }
      }
      return all(work, (one) => limit(() => attempt(one)))
    }
  },
  {
    name: "Effect withRateLimiter + retryTransient",
    run: (provider, work) => {
      let lost = 0
      const program = Effect.gen(function*() {
        const limiter = yield* RateLimiter.RateLimiter
        const client = (yield* HttpClient.HttpClient).pipe(
          HttpClient.withRateLimiter({ limiter, window: Duration.seconds(1), limit: concurrency, key: "provider" }),
          HttpClient.filterStatusOk,
          HttpClient.retryTransient({ times: 10, schedule: Schedule.exponential("1 second"), retryOn: "errors-only" })
        )
        yield* Effect.forEach(
          work,
          (one) =>
            client.execute(HttpClientRequest.post(url).pipe(HttpClientRequest.bodyJsonUnsafe(body(one)))).pipe(
              Effect.catchCause(() =>
                Effect.sync(() => {
                  lost++
                })
              )
            ),
          { concurrency, discard: true }
        )
      }).pipe(
        Effect.provide(RateLimiter.layer),
        Effect.provide(RateLimiter.layerStoreMemory),
        Effect.provide(FetchHttpClient.layer),
        Effect.provideService(FetchHttpClient.Fetch, fetchOf(provider, work) as typeof fetch)
      )
      return World.run(() => Effect.runPromise(program)).then((seconds) => ({ seconds, lost }))
    }
  }
]

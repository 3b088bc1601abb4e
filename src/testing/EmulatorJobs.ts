/**
 * The emulator's fine-tunes, evaluations and videos: long jobs that go through their phases as time passes.
 *
 * A fine-tune needs its whole price in the balance when it is created, and is
 * billed when it starts; `estimate-price` says the price before.
 */
import * as Effect from "effect/Effect"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import { estimateTokens } from "../domain/Call.ts"
import * as Exchange from "./EmulatorExchange.ts"
import * as Files from "./EmulatorFiles.ts"
import type { StoredJob } from "./EmulatorWorld.ts"
import * as Simulation from "./Simulation.ts"
import type { Config } from "./SimulationConfig.ts"
import * as Credit from "./SimulationCredit.ts"
import * as Job from "./SimulationJob.ts"
import * as Reply from "./SimulationReply.ts"

/** Reads the wall clock at a time of a job. */
const wall = (job: StoredJob, at: number): string => Exchange.iso(job.epoch + at - job.createdAt)

/** Prices of a fine-tune: USD per million training tokens, and the least it costs. An example, as all prices here. */
const trainingUsd = { perMillionTokens: 0.48, minimum: 4 }

type Body = Readonly<Record<string, unknown>>

interface Price {
  readonly tokens: number
  readonly nanoUsd: bigint
}

const priceOf = (exchange: Exchange.Exchange, request: Body): Price | undefined => {
  const file = Files.find(exchange, String(request["training_file"]))
  if (file === undefined) return undefined
  const epochs = typeof request["n_epochs"] === "number" ? request["n_epochs"] : 1
  const tokens = estimateTokens(Files.text(file)) * epochs
  return {
    tokens,
    nanoUsd: Credit.nano(Math.max(trainingUsd.minimum, tokens / 1e6 * trainingUsd.perMillionTokens))
  }
}

const usd = (nanoUsd: bigint): number => Number(nanoUsd) / 1e9

const describeFineTune = (job: StoredJob, at: number): Body => {
  const seen = Job.look(job, at)
  const past = Job.history(job, at)
  const started = past.find(([status]) => status === "running")
  return {
    ...job.request,
    id: job.id,
    status: seen.status,
    created_at: Exchange.iso(job.epoch),
    updated_at: wall(job, seen.since),
    ...(started === undefined ? {} : { started_at: wall(job, started[1]) }),
    user_id: job.org,
    owner_address: job.org,
    model_output_name: `${job.org}/${String(job.request["model"])}-${String(job.request["suffix"] ?? "ft")}-${
      job.id.slice(3, 11)
    }`,
    total_price: Number(job.nanoUsd),
    token_count: job.tokens,
    events: events(job, at),
    progress: { estimate_available: !seen.ended, seconds_remaining: Math.ceil(seen.remaining) }
  }
}

const eventTypes: Readonly<Record<string, string>> = {
  pending: "job_pending",
  queued: "job_pending",
  running: "job_start",
  compressing: "model_compressing",
  uploading: "model_uploading",
  completed: "job_complete",
  cancelled: "job_stopped"
}

const events = (job: StoredJob, at: number): ReadonlyArray<Body> =>
  Job.history(job, at).map(([status, time], index) => ({
    object: "fine-tune-event",
    created_at: wall(job, time),
    level: "info",
    message: `Job is ${status}`,
    type: eventTypes[status] ?? "info",
    param_count: 0,
    token_count: job.tokens,
    total_steps: 0,
    wandb_url: "",
    step: index,
    checkpoint_path: "",
    model_path: "",
    training_offset: 0,
    hash: ""
  }))

const describeEvaluation = (job: StoredJob, at: number): Body => {
  const seen = Job.look(job, at)
  return {
    workflow_id: job.id,
    type: job.request["type"],
    owner_id: job.org,
    status: seen.status,
    status_updates: Job.history(job, at).map(([status, time]) => ({
      status,
      message: `Evaluation is ${status}`,
      timestamp: wall(job, time)
    })),
    parameters: job.request["parameters"],
    created_at: Exchange.iso(job.epoch),
    updated_at: wall(job, seen.since),
    ...(seen.status === "completed" ? { results: { generation_fail_count: 0, judge_fail_count: 0 } } : {})
  }
}

const describeVideo = (job: StoredJob, at: number): Body => {
  const seen = Job.look(job, at)
  return {
    id: job.id,
    object: "video",
    model: job.request["model"],
    status: seen.status,
    created_at: Math.floor(job.epoch),
    size: `${String(job.request["width"] ?? 1280)}x${String(job.request["height"] ?? 720)}`,
    seconds: String(job.request["seconds"] ?? "5"),
    ...(seen.ended
      ? {
        completed_at: Math.floor(job.epoch + seen.since - job.createdAt),
        outputs: { cost: Number(job.nanoUsd), video_url: `https://api.together.ai/videos/${job.id}.mp4` }
      }
      : {})
  }
}

interface Kind {
  readonly prefix: string
  readonly required: ReadonlyArray<string>
  readonly phases: (jobs: Config["jobs"]) => Pick<Job.Job, "phases" | "end">
  readonly describe: (job: StoredJob, at: number) => Body
  /** Prices a request; one whose file is not there has no price. */
  readonly price: (exchange: Exchange.Exchange, request: Body) => Price | undefined
}

const kinds: Readonly<Record<StoredJob["kind"], Kind>> = {
  "fine-tune": {
    prefix: "ft-",
    required: ["model", "training_file"],
    phases: Job.fineTune,
    describe: describeFineTune,
    price: priceOf
  },
  evaluation: {
    prefix: "eval-",
    required: ["type", "parameters"],
    phases: Job.evaluation,
    describe: describeEvaluation,
    price: () => ({ tokens: 0, nanoUsd: 0n })
  },
  video: {
    prefix: "",
    required: ["model"],
    phases: Job.video,
    describe: describeVideo,
    price: ({ world }, request) => ({
      tokens: 0,
      nanoUsd: Simulation.costNanoUsd(world.run.state().config, String(request["model"]), { input: 0, output: 1 })
    })
  }
}

const refusal = (kind: StoredJob["kind"], message: string, status = 400): HttpServerResponse.HttpServerResponse =>
  kind === "fine-tune" ? Exchange.json({ message }, status) : Exchange.failure(status, message)

const suspended = (): HttpServerResponse.HttpServerResponse =>
  Exchange.failure(402, Reply.outOfCredits.message, Reply.outOfCredits)

/** Answers the creation of a job. */
export const create = (kind: StoredJob["kind"]): Exchange.Handler => (exchange) =>
  Effect.flatMap(Exchange.fields(exchange.request), (request) => {
    const { world, org } = exchange
    const { describe, phases, prefix, price: pricing, required } = kinds[kind]
    const absent = required.find((field) => request?.[field] === undefined)
    if (request === undefined || absent !== undefined) {
      return Effect.succeed(refusal(kind, `Invalid request: ${absent ?? "the body"} is required`))
    }
    if (kind === "evaluation" && !["classify", "score", "compare"].includes(String(request["type"]))) {
      return Effect.succeed(refusal(kind, "Invalid request: type must be classify, score or compare"))
    }
    const price = pricing(exchange, request)
    if (price === undefined) {
      return Effect.succeed(refusal(kind, `File ${String(request["training_file"])} not found`, 404))
    }
    return Effect.flatMap(world.run.epoch, (epoch) =>
      world.run.modify((state, at) => {
        const now = Simulation.advance(state, at)
        const balance = Simulation.balance(now, org)
        if (balance !== undefined && balance.nanoUsd < price.nanoUsd) return [suspended(), now]
        const id = `${prefix}${world.nextId()}`
        const job: StoredJob = {
          ...phases(now.config.jobs),
          ...price,
          id,
          org,
          kind,
          request,
          createdAt: at,
          epoch
        }
        world.jobs.set(id, job)
        const answer = Exchange.json(
          kind === "evaluation" ? { workflow_id: id, status: "pending" } : describe(job, at)
        )
        return [
          answer,
          price.nanoUsd === 0n ? now : Simulation.spend(now, { org, tag: id, nanoUsd: price.nanoUsd }, at)
        ]
      }))
  })

const withJob = (
  kind: StoredJob["kind"],
  exchange: Exchange.Exchange,
  answer: (job: StoredJob, at: number) => HttpServerResponse.HttpServerResponse
): Exchange.Outcome =>
  Effect.map(exchange.world.run.now, (at) => {
    const id = exchange.params["id"] ?? exchange.query.get("ft_id") ?? ""
    const job = exchange.world.jobs.get(id)
    return job === undefined || job.org !== exchange.org || job.kind !== kind
      ? refusal(kind, `${id} not found`, 404)
      : answer(job, at)
  })

/** Answers with a job. */
export const retrieve = (kind: StoredJob["kind"]): Exchange.Handler => (exchange) =>
  withJob(kind, exchange, (job, at) => Exchange.json(kinds[kind].describe(job, at)))

const ofKind = ({ world, org }: Exchange.Exchange, kind: StoredJob["kind"]): ReadonlyArray<StoredJob> =>
  [...world.jobs.values()].filter((job) => job.kind === kind && job.org === org).reverse()

/** Answers `GET /fine-tunes`. */
export const fineTunes: Exchange.Handler = (exchange) =>
  Effect.map(
    exchange.world.run.now,
    (at) => Exchange.json({ data: ofKind(exchange, "fine-tune").map((job) => describeFineTune(job, at)) })
  )

/** Answers `GET /evaluation`: a bare list, by status and limit. */
export const evaluations: Exchange.Handler = (exchange) =>
  Effect.map(exchange.world.run.now, (at) => {
    const status = exchange.query.get("status")
    const all = ofKind(exchange, "evaluation").map((job) => describeEvaluation(job, at))
      .filter((job) => status === null || job["status"] === status)
    return Exchange.json(all.slice(0, Number(exchange.query.get("limit") ?? 10)))
  })

/** Answers `GET /evaluation/:id/status`. */
export const evaluationStatus: Exchange.Handler = (exchange) =>
  withJob("evaluation", exchange, (job, at) => {
    const { status, results } = describeEvaluation(job, at)
    return Exchange.json({ status, results: results ?? null })
  })

/** Answers `POST /fine-tunes/:id/cancel`. */
export const cancel: Exchange.Handler = (exchange) =>
  withJob("fine-tune", exchange, (job, at) => {
    if (Job.look(job, at).ended) return refusal("fine-tune", `Job ${job.id} has come to its end`)
    const cancelled = { ...job, cancelledAt: at }
    exchange.world.jobs.set(job.id, cancelled)
    return Exchange.json(describeFineTune(cancelled, at))
  })

/** Answers `DELETE /fine-tunes/:id`. */
export const remove: Exchange.Handler = (exchange) =>
  withJob("fine-tune", exchange, (job) => {
    exchange.world.jobs.delete(job.id)
    return Exchange.json({ message: `Fine-tune job ${job.id} deleted` })
  })

/** Answers `GET /fine-tunes/:id/events`. */
export const listEvents: Exchange.Handler = (exchange) =>
  withJob("fine-tune", exchange, (job, at) => Exchange.json({ data: events(job, at) }))

/** Answers `GET /fine-tunes/:id/checkpoints`: one, when the job is done. */
export const checkpoints: Exchange.Handler = (exchange) =>
  withJob("fine-tune", exchange, (job, at) => {
    const { status, since } = Job.look(job, at)
    const done = status === "completed"
    return Exchange.json({
      data: done
        ? [{
          step: 1,
          created_at: wall(job, since),
          path: `/checkpoints/${job.id}/1`,
          checkpoint_type: "Final"
        }]
        : []
    })
  })

/** Answers `GET /fine-tunes/:id/metrics`. */
export const metrics: Exchange.Handler = (exchange) =>
  withJob(
    "fine-tune",
    exchange,
    (job, at) =>
      Exchange.json({ metrics: Job.look(job, at).status === "completed" ? [{ step: 1, "train/loss": 0.5 }] : [] })
  )

/** Answers `GET /finetune/download`: the bytes of a finished model. */
export const download: Exchange.Handler = (exchange) =>
  withJob("fine-tune", exchange, (job, at) =>
    Job.look(job, at).status === "completed"
      ? Exchange.binary(new TextEncoder().encode(`model of ${job.id}\n`))
      : refusal("fine-tune", `Job ${job.id} is not completed`))

/** Answers `POST /fine-tunes/estimate-price`. */
export const estimatePrice: Exchange.Handler = (exchange) =>
  Effect.map(Exchange.fields(exchange.request), (request) => {
    if (request?.["training_file"] === undefined) {
      return refusal("fine-tune", "Invalid request: training_file is required")
    }
    const price = priceOf(exchange, request)
    if (price === undefined) {
      return Exchange.json({ estimation_available: false, unavailable_reason: "train_file_not_validated" })
    }
    const balance = Simulation.balance(exchange.world.run.state(), exchange.org)
    return Exchange.json({
      estimation_available: true,
      estimated_total_price: usd(price.nanoUsd),
      allowed_to_proceed: balance === undefined || balance.nanoUsd >= price.nanoUsd,
      user_limit: balance === undefined ? 1000 : usd(balance.nanoUsd),
      estimated_train_token_count: price.tokens,
      estimated_eval_token_count: 0
    })
  })

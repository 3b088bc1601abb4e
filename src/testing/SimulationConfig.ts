/**
 * How a simulated provider behaves, as plain data that JSON can hold.
 *
 * Every field has a default, so `{}` is a whole provider: the models of
 * `defaultModels`, 10 requests and 3,000 tokens per second per model (the
 * provider's historic first tier), today's header contract, no credits to run
 * out of, no faults. Times are seconds since the simulation began, rates are
 * per second, money is USD, shares and probabilities are ratios in [0, 1].
 *
 * The table of all options stands in docs/simulation.md and is tested against
 * `defaults`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Bounds every number: 32,000 years, a trillion a second, a trillion dollars. Sums and products of such stay finite. */
const largest = 1e12
const AtMost = Schema.Finite.check(Schema.isLessThanOrEqualTo(largest))
const AtLeast0 = AtMost.check(Schema.isGreaterThanOrEqualTo(0))
const Above0 = AtMost.check(Schema.isGreaterThan(0))
/** A nano-dollar at least: less is nothing. */
const Purchase = AtMost.check(Schema.isGreaterThanOrEqualTo(1e-9))
const Usd = AtMost.check(Schema.isGreaterThanOrEqualTo(-largest))
const Ratio = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0), Schema.isLessThanOrEqualTo(largest))
const Count1 = Schema.Int.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(largest))

const or = <S extends Schema.Constraint>(schema: S, value: S["Encoded"]): Schema.withDecodingDefault<S> =>
  Schema.withDecodingDefault<S>(Effect.succeed(value))(schema)

const SimpleDistribution = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("constant"), value: AtLeast0 }),
  Schema.Struct({ kind: Schema.Literal("uniform"), min: AtLeast0, max: AtLeast0 })
    .check(Schema.makeFilter((d) => d.min <= d.max ? undefined : "min must be at most max")),
  Schema.Struct({ kind: Schema.Literal("exponential"), mean: AtLeast0, max: Schema.optional(Above0) }),
  Schema.Struct({
    kind: Schema.Literal("lognormal"),
    /** Exactly one of `median` and `mean`. */
    median: Schema.optional(Above0),
    mean: Schema.optional(Above0),
    /** Standard deviation of the logarithm: 0.3 is narrow, 1 is wide. */
    sigma: AtLeast0,
    max: Schema.optional(Above0)
  }).check(Schema.makeFilter((d) =>
    (d.median === undefined) === (d.mean === undefined)
      ? "a lognormal has exactly one of median and mean"
      : undefined
  ))
])

/** Describes how a number is drawn: constant, uniform, exponential, log-normal, or a weighted mixture of those. */
export const Distribution = Schema.Union([
  ...SimpleDistribution.members,
  Schema.Struct({
    kind: Schema.Literal("mixture"),
    parts: Schema.NonEmptyArray(Schema.Struct({ weight: Above0, of: SimpleDistribution }))
  })
])
/** Describes how a number is drawn. */
export type Distribution = typeof Distribution.Type

const decodeDistribution = Schema.decodeUnknownResult(Distribution, { onExcessProperty: "error" })

/**
 * Checks a distribution.
 *
 * **Errors**: throws a `RangeError` in the name of the caller, for one that is none.
 */
export const distribution = (caller: string, input: unknown): Distribution => {
  const result = decodeDistribution(input)
  if (Result.isFailure(result)) throw new RangeError(`${caller}: ${result.failure.message}`)
  return result.success
}

/** Names what can go wrong: an HTTP status, or a way for the connection or the stream to break. */
export const FaultKind = Schema.Union([
  Schema.Int.check(Schema.isBetween({ minimum: 400, maximum: 599 })),
  Schema.Literals(["refused", "reset", "hang", "cut", "stall", "error-frame"])
])
/** Names what can go wrong. */
export type FaultKind = typeof FaultKind.Type

const Limits = Schema.Struct({
  /** Requests per second of each (organization, model); absent: unlimited. */
  requestsPerSecond: Schema.optional(AtLeast0),
  /** Tokens per second of each (organization, model); absent: unlimited. */
  tokensPerSecond: Schema.optional(AtLeast0),
  /** Hidden cap on requests in flight of each (organization, model); absent: none. */
  maxInFlight: Schema.optional(Count1)
})

/** Describes one model of the catalogue. */
export const Model = Schema.Struct({
  type: or(Schema.String, "chat"),
  /** `serverless` can be called; `dedicated` is listed but answers 400 `model_not_available`. */
  availability: or(Schema.Literals(["serverless", "dedicated"]), "serverless"),
  contextLength: or(Count1, 131_072),
  /** USD per million tokens; for images, USD per image. */
  inputUsd: or(AtLeast0, 0),
  outputUsd: or(AtLeast0, 0),
  /** Absent: the model has no prompt cache. */
  cachedInputUsd: Schema.optional(AtLeast0),
  /** Share of the answer's tokens that are reasoning. */
  reasoningShare: or(Ratio, 0),
  /** Instead of the common limits, field by field. */
  limits: Schema.optional(Limits),
  /** Capacity bought for this model, so its calls cost nothing; what exceeds it goes to the common pool. */
  provisioned: Schema.optional(Limits),
  /** Whether the Batch API serves it. */
  batch: or(Schema.Boolean, true)
})
/** Describes one model of the catalogue. */
export interface Model extends Schema.Schema.Type<typeof Model> {}

/** Holds a catalogue of models that looks like the provider's; prices are examples. */
export const defaultModels: Readonly<Record<string, typeof Model.Encoded>> = {
  "meta-llama/Llama-3.3-70B-Instruct-Turbo": { inputUsd: 0.88, outputUsd: 0.88 },
  "openai/gpt-oss-20b": { inputUsd: 0.05, outputUsd: 0.2 },
  "openai/gpt-oss-120b": { inputUsd: 0.15, outputUsd: 0.6 },
  "deepseek-ai/DeepSeek-V3.1": { inputUsd: 0.6, outputUsd: 1.7, cachedInputUsd: 0.2, batch: false },
  "Qwen/Qwen2.5-7B-Instruct-Turbo": { inputUsd: 0.3, outputUsd: 0.3, contextLength: 32_768 },
  "Qwen/Qwen2.5-72B-Instruct": { availability: "dedicated" },
  "BAAI/bge-base-en-v1.5": { type: "embedding", inputUsd: 0.01, contextLength: 512 },
  "Salesforce/Llama-Rank-V1": { type: "rerank", inputUsd: 0.1, contextLength: 8192 },
  "black-forest-labs/FLUX.1-schnell": { type: "image", outputUsd: 0.0027 },
  "openai/whisper-large-v3": { type: "transcribe", inputUsd: 0.0015 },
  "cartesia/sonic-2": { type: "audio", inputUsd: 65 },
  "Wan-AI/Wan2.2-T2V-A14B": { type: "video", outputUsd: 0.66 }
}

const Window = {
  from: or(AtLeast0, 0),
  /** Absent: to the end. */
  to: Schema.optional(AtLeast0),
  /** Absent: every model. */
  model: Schema.optional(Schema.String)
}

const inOrder = Schema.makeFilter((d: { readonly from: number; readonly to?: number | undefined }) =>
  d.to === undefined || d.to >= d.from ? undefined : "to must be at least from"
)

const operations = ["chat", "completions", "embeddings", "rerank", "images", "speech", "transcriptions", "translations"]

/** Names what a fault strikes: an operation of a model, or the method and path of anything else. */
const Operation = Schema.String.check(Schema.makeFilter((name) =>
  operations.includes(name) || /^[A-Z]+ \//.test(name)
    ? undefined
    : `an operation is one of ${operations.join(", ")}, or a method and a path, as "GET /models"`
))

const Credits = Schema.Struct({
  balanceUsd: Usd,
  /** Balance at which access is cut: 0 for prepaid, below 0 for an agreed negative balance. */
  floorUsd: or(Usd, 0),
  /** Seconds from the end of a call until its cost is seen in the balance. */
  meteringLagSeconds: or(AtLeast0, 0),
  /** Seconds from a purchase until the balance shows it. */
  purchaseLagSeconds: or(AtLeast0, 0),
  /** Seconds from the end of a suspension until calls are let in again. */
  accessLagSeconds: or(AtLeast0, 0),
  /** True: 402 whatever the balance, as with a past-due invoice. */
  suspended: or(Schema.Boolean, false),
  topUps: or(Schema.Array(Schema.Struct({ at: AtLeast0, usd: Above0 })), []),
  autoRecharge: Schema.optional(
    Schema.Union([
      /** Today's rule: one purchase that brings the balance up to the target. */
      Schema.Struct({ mode: Schema.Literal("target"), thresholdUsd: Usd, targetUsd: Usd })
        .check(
          Schema.makeFilter((d) => d.targetUsd > d.thresholdUsd ? undefined : "targetUsd must be above thresholdUsd")
        ),
      /** The older rule: purchases of one amount, at once and repeatedly, until the threshold is met. */
      Schema.Struct({ mode: Schema.Literal("amount"), thresholdUsd: Usd, amountUsd: or(Purchase, 25) })
    ]).annotate({
      expected: "{ mode: \"target\", thresholdUsd, targetUsd } or { mode: \"amount\", thresholdUsd, amountUsd }"
    })
  ),
  /** What a call costs that its caller left: what was generated until then, all of it, or nothing. */
  cancelled: or(Schema.Literals(["generated", "full", "none"]), "generated")
})

const Dynamic = Schema.Struct({
  /** Limit = growth × successful rate of the window. */
  growth: or(Above0, 2),
  windowSeconds: or(Above0, 3600),
  /** The window moves in steps of windowSeconds / slots. */
  slots: or(Count1.check(Schema.isLessThanOrEqualTo(10_000)), 60),
  floorRequestsPerSecond: or(AtLeast0, 1),
  capRequestsPerSecond: Schema.optional(Above0),
  /** Absent: tokens have no dynamic limit. */
  floorTokensPerSecond: Schema.optional(AtLeast0),
  capTokensPerSecond: Schema.optional(Above0)
})

/** Checks and completes the description of a simulated provider. */
export const Config = Schema.Struct({
  /** API keys and their organizations; where empty, any key is accepted and belongs to `default`. */
  keys: or(Schema.Record(Schema.String, Schema.String), {}),
  models: or(Schema.Record(Schema.String, Model), defaultModels),
  /** `accept`: a model that is not in the catalogue behaves as a chat model without a price. */
  unknownModels: or(Schema.Literals(["reject", "accept"]), "reject"),
  limits: or(Limits, { requestsPerSecond: 10, tokensPerSecond: 3000 }),
  /**
   * How requests and tokens are counted: in buckets that refill all the time, or in windows that admit their rate ×
   * `windowSeconds`, from one multiple of it to the next (`fixed-window`) or within any such span (`sliding-window`).
   */
  counting: or(Schema.Literals(["bucket", "fixed-window", "sliding-window"]), "bucket"),
  /** Depth of each bucket, in seconds of its rate; the request bucket holds 1 at least. */
  burstSeconds: or(AtLeast0, 1),
  /** Length of a window, where limits are counted in windows. */
  windowSeconds: or(AtMost.check(Schema.isGreaterThanOrEqualTo(0.001)), 1),
  /**
   * When tokens are charged: prompt + max_tokens at `admission`, corrected at the end; the prompt at
   * admission and the output at its end (`prompt`); or all at `completion`, for whoever found the bucket not in debt.
   */
  tokenCharge: or(Schema.Literals(["admission", "prompt", "completion"]), "admission"),
  /** What `max_tokens` counts as where a request has none. */
  defaultMaxTokens: or(Count, 512),
  /** A request larger than the whole bucket: `borrow` waits for a full bucket and goes into debt, `reject` is refused. */
  oversize: or(Schema.Literals(["borrow", "reject"]), "borrow"),
  /** Whether a request that is refused for its rate uses up a request all the same. */
  refusedCounts: or(Schema.Boolean, false),
  /** Answer to the request that exceeds `maxInFlight`. */
  inFlightStatus: or(Schema.Literals([429, 503]), 429),
  dynamic: Schema.optional(Dynamic),
  /** Contract of the rate limit headers: see docs/simulation.md. */
  headers: or(Schema.Literals(["v1", "v2", "v3", "v4", "live", "none"]), "v4"),
  /** Whether `x-ratelimit-reset` is rounded up to whole seconds, or to milliseconds. */
  reset: or(Schema.Literals(["integer", "fractional"]), "integer"),
  /** New limits from a time on, for one model or all; fields that are absent stay, `null` lifts a limit. */
  changes: or(
    Schema.Array(Schema.Struct({
      at: AtLeast0,
      model: Schema.optional(Schema.String),
      requestsPerSecond: Schema.optional(Schema.NullOr(AtLeast0)),
      tokensPerSecond: Schema.optional(Schema.NullOr(AtLeast0)),
      maxInFlight: Schema.optional(Schema.NullOr(Count1))
    })),
    []
  ),
  /** Others who use a share of the limits for a while. */
  neighbours: or(Schema.Array(Schema.Struct({ ...Window, share: Ratio }).check(inOrder)), []),
  outages: or(Schema.Array(Schema.Struct({ ...Window, kind: or(FaultKind, 503) }).check(inOrder)), []),
  /** Faults by chance; the first that hits wins. `engine`: after admission, so limits are charged and time passes. */
  faults: or(
    Schema.Array(
      Schema.Struct({
        ...Window,
        operation: Schema.optional(Operation),
        probability: Ratio,
        kind: FaultKind,
        stage: or(Schema.Literals(["edge", "engine"]), "edge"),
        /** Sends a `retry-after` with it. */
        retryAfterSeconds: Schema.optional(AtLeast0)
      }).check(inOrder)
    ),
    []
  ),
  /** Absent: money never runs out. */
  credits: Schema.optional(Credits),
  /** Seconds until the first token. */
  firstToken: or(Distribution, { kind: "lognormal", median: 0.3, sigma: 0.4, max: 30 }),
  /** Tokens per second of one answer. */
  tokensPerSecond: or(Distribution, { kind: "lognormal", median: 100, sigma: 0.3 }),
  /** Seconds of the whole answer; where present, the cadence follows from it. */
  latency: Schema.optional(Distribution),
  /** Share added to every latency per request in flight above `from`. */
  slowdown: Schema.optional(Schema.Struct({ from: Count, perCall: AtLeast0 })),
  /** Seconds that a refusal takes. */
  refusalSeconds: or(AtLeast0, 0.05),
  /** Tokens in one frame of a stream. */
  tokensPerChunk: or(Count1, 1),
  /** Where a stream that was asked for its usage carries it. */
  streamUsage: or(Schema.Literals(["finish", "trailing", "choice", "none"]), "finish"),
  /** Tokens of an answer, before `max_tokens` cuts it. */
  outputTokens: or(Distribution, { kind: "lognormal", median: 120, sigma: 0.7, max: 4096 }),
  /** Status of a request that exceeds the model's context. */
  contextStatus: or(Schema.Literals([400, 403, 422]), 400),
  batch: or(
    Schema.Struct({
      validatingSeconds: or(AtLeast0, 5),
      rowsPerSecond: or(Above0, 20),
      /** Seconds that `CANCELING` lasts. */
      cancelingSeconds: or(AtLeast0, 15),
      expiresSeconds: or(Above0, 86_400),
      /** Share of rows that end in the error file. */
      failedRows: or(Ratio, 0),
      /** Share of the price that a batch row costs. */
      priceShare: or(Ratio, 0.5)
    }),
    {}
  ),
  /** How long the phases of fine-tunes, evaluations and videos last. */
  jobs: or(
    Schema.Struct({
      queuedSeconds: or(AtLeast0, 5),
      runningSeconds: or(AtLeast0, 60),
      finishingSeconds: or(AtLeast0, 5)
    }),
    {}
  )
})
/** Describes a simulated provider, complete. */
export interface Config extends Schema.Schema.Type<typeof Config> {}
/** Describes a simulated provider; every field has a default. */
export type Options = typeof Config.Encoded

/** Describes a change of a provider; `null` brings a default back. */
export type Changes = { readonly [Name in keyof Options]: Options[Name] | null }

const decode = Schema.decodeUnknownResult(Config, { onExcessProperty: "error" })

/**
 * Makes a record that knows no name but its own: a model may be called `constructor`.
 *
 * @internal
 */
export const bare = <A>(record: Readonly<Record<string, A>>): Readonly<Record<string, A>> =>
  Object.assign(Object.create(null), record)

/**
 * Checks and completes options.
 *
 * **Errors**: throws a `RangeError` in the name of the caller that names the field, for a field that is unknown or out of
 * range.
 */
export const make = (options: unknown, caller = "Simulation.make"): Config => {
  const result = decode(options)
  if (Result.isFailure(result)) throw new RangeError(`${caller}: ${result.failure.message}`)
  return { ...result.success, models: bare(result.success.models) }
}

/**
 * Replaces options by those given, whole.
 *
 * **Errors**: throws a `RangeError` that names the field, for a field that is unknown or out of range.
 */
export const change = (config: Config, changes: Changes): Config =>
  make(
    Object.fromEntries(
      Object.entries({ ...config, ...changes }).filter(([name, value]) =>
        value !== null || !Object.hasOwn(Config.fields, name)
      )
    ),
    "Simulation.configure"
  )

/** Holds every default. */
export const defaults: Config = make({})

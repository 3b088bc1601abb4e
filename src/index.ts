/**
 * Typed resilience for Together AI: start at `Together`.
 *
 * `Together` makes typed calls through every guard below; each guard also works
 * alone, around any effect. `effect-together/testing` proves what a program
 * does when Together misbehaves, `effect-together/policy` holds the sums.
 */

// Together
/** Together AI as an Effect service: typed calls, a closed union of errors, every guard in place. */
export * as Together from "./together/Together.ts"
/** Chat completions: requests, answers and stream chunks, as on the wire. */
export * as Chat from "./together/Chat.ts"
/** Plain completions: requests, answers and stream chunks, as on the wire. */
export * as Completions from "./together/Completions.ts"
/** Embeddings: request and answer, as on the wire. */
export * as Embeddings from "./together/Embeddings.ts"
/** Rerank: request and answer, as on the wire. */
export * as Rerank from "./together/Rerank.ts"
/** Images: request and answer, as on the wire. */
export * as Images from "./together/Images.ts"
/** Models and identity: what `GET /models` and `GET /whoami` answer. */
export * as Models from "./together/Models.ts"
/** Files: what batches and fine-tunes read and write. */
export * as Files from "./together/Files.ts"
/** Batches: jobs that Together runs within a day, from a separate pool of limits. */
export * as Batches from "./together/Batches.ts"
/** Fine-tunes: jobs that train a model, and their price before they start. */
export * as FineTunes from "./together/FineTunes.ts"
/** Evaluations: jobs that classify, score or compare a model's answers. */
export * as Evaluations from "./together/Evaluations.ts"
/** Prices of Together's models: from `GET /models`, with a shipped table as fallback. */
export * as PriceTable from "./together/PriceTable.ts"
/** An `HttpClient` over an Undici dispatcher: the fastest way to send from Node. */
export * as UndiciHttpClient from "./together/transport/UndiciHttpClient.ts"

// Together through effect/ai
/** Together as a `LanguageModel` of `effect/ai`: portable code in front, every guard of the client behind. */
export * as TogetherLanguageModel from "./together/ai/TogetherLanguageModel.ts"
/** Together as an `EmbeddingModel` of `effect/ai`: batched calls in front, every guard of the client behind. */
export * as TogetherEmbeddingModel from "./together/ai/TogetherEmbeddingModel.ts"
/** Says a Together failure in the words of `effect/ai`: one `AiError`, whose reason tells what a caller can do. */
export * as AiFailure from "./together/ai/AiFailure.ts"

// Words
/** Every way a Together call can fail, as one closed union of tagged errors. */
export * as TogetherError from "./domain/TogetherError.ts"
/** What a call consumed, in tokens, read from any of the shapes that Together's models answer with. */
export * as Usage from "./domain/Usage.ts"
/** One typed operation as data: what it does, on which model, through which lane, and what it may take. */
export * as Call from "./domain/Call.ts"
/** What a response's headers say about waiting and about limits. */
export * as Hint from "./domain/Hint.ts"
/** Money as whole nano-dollars in a `bigint`, and prices as exact fractions. */
export * as Money from "./domain/Money.ts"

// Guards
/** Retries an effect by a `Schedule`, within a deadline and within a budget that all calls share. */
export * as Retry from "./guard/retry/Retry.ts"
/** A budget of retries that all calls to one provider share: at most a share of the traffic may be retries. */
export * as RetryBudget from "./guard/retry/RetryBudget.ts"
/** A retry schedule as data: a JSON document that a `Schema` checks and that builds an Effect `Schedule`. */
export * as RetryDocument from "./guard/retry/RetryDocument.ts"
/** One lane per key, made at its first use; what all lanes learned can be saved and loaded. */
export * as Lanes from "./guard/lane/Lanes.ts"
/** A lane paces all calls that share one provider limit, and finds that limit by itself. */
export * as Lane from "./guard/lane/Lane.ts"
/** Says where the state of lanes lives. */
export * as LaneStore from "./guard/lane/LaneStore.ts"
/** The credits guard: money is reserved before a call, settled after it, and an empty balance is survived. */
export * as Credits from "./guard/credits/Credits.ts"
/** Where a ledger keeps its entries, so that a restart remembers what was spent. */
export * as LedgerStore from "./guard/ledger/LedgerStore.ts"
/** What the credits guard wants someone to know, as a closed union with a sentence each. */
export * as CreditAlerts from "./guard/credits/CreditAlerts.ts"
/** Stops calling a provider that is down, one circuit per lane. */
export * as Breaker from "./guard/Breaker.ts"
/** One point in time by which a whole call must be done, seen by every guard inside it. */
export * as Deadline from "./guard/Deadline.ts"
/** Sends a second try of a slow call and takes the answer that comes first. */
export * as Hedge from "./guard/Hedge.ts"
/** Turns to the next model or endpoint when one cannot serve a call. */
export * as Fallback from "./guard/Fallback.ts"

// Money
/** Budgets: what may be spent, counted apart per run, day, account or label, and nested. */
export * as Budget from "./policy/Budget.ts"
/** Price sheets, and what work costs by them: before it is done as a range, after it as one amount. */
export * as Price from "./policy/Price.ts"
/** What auto-recharge buys: both behaviours that Together has documented, as sums. */
export * as AutoRecharge from "./policy/AutoRecharge.ts"
/** How long a balance lasts at the present rate of spending, and what auto-recharge will buy meanwhile. */
export * as Forecast from "./policy/Forecast.ts"
/** Whether a balance can pay for work before it is started, and what to buy if not. */
export * as Preflight from "./policy/Preflight.ts"

// Jobs
/** Bulk runs: a stream of rows in, a stream of settled rows out, each one durable before it is handed on. */
export * as Job from "./job/Job.ts"
/** A job from file to file: input JSONL, results and errors apart, a journal beside them. */
export * as JobFiles from "./job/files/JobFiles.ts"
/** The same job through Together's Batch API: cheaper where batches are discounted, within a day. */
export * as BatchJob from "./job/batch/BatchJob.ts"
/** Sends rows through the `Together` service, and counts what each took. */
export * as Sender from "./job/Sender.ts"
/** The input of a job as a stream of numbered lines, in constant memory. */
export * as Input from "./job/Input.ts"
/** What a job has durably done: an append-only file, the one truth that all output is made from. */
export * as Journal from "./job/journal/Journal.ts"
/** Answers kept across jobs, in a directory, by the SHA-256 of who answers, operation and body. */
export * as ResponseCache from "./job/ResponseCache.ts"
/** Which lines of an input a run takes: a range, or a sample. */
export * as Selection from "./job/Selection.ts"
/** What a job does with the failures that its client's retries did not cure. */
export * as Patience from "./job/Patience.ts"
/** Why a job left rows undone: it ended before its input did, or did not send some of the rows that it read. */
export * as Stop from "./job/Stop.ts"
/** The ways a job can break, apart from the rows' own failures. */
export * as JobError from "./job/JobError.ts"
/** One row of a job's input: a request with an id, read from a line of JSONL. */
export * as Row from "./job/Row.ts"
/** What a job did so far: counts, sums, percentiles, a timeline and the failed rows, in constant memory. */
export * as Report from "./job/Report.ts"

/**
 * The sums behind the guards, and many more to build guards from, as pure functions: `(state, event, now) → [decision, state]`.
 *
 * For those who build a guard of their own, in Effect or outside of it: no
 * clock, no chance, no IO. Times are seconds, chance is passed in. Each group says which of them the guards of this package
 * are made of, and which are there for guards of your own: the latter stand in `catalogue/`.
 */

// Waiting: what the guards use
/** How long to wait before the next retry: growth, cap and jitter as one pure function. */
export * as Backoff from "./Backoff.ts"
/** What to do with the wait a provider asked for: obey it, a little later, or give up. */
export * as WaitHint from "./WaitHint.ts"
/** When to send the second try: once a call is slower than nearly all recent calls. */
export * as HedgeDelay from "./HedgeDelay.ts"

// Waiting: for guards of your own
/** What a deadline still allows: how long an attempt may take, whether to start one, whether to wait. */
export * as Deadline from "./catalogue/Deadline.ts"
/** When each try of one hedged call is sent, and which event ends it. */
export * as HedgeTimeline from "./catalogue/HedgeTimeline.ts"

// Budgets of extra attempts: what the guards use
/** A budget of retries that grows with requests: at most a share of the traffic may be retries. */
export * as RetryBudget from "./RetryBudget.ts"
/** A budget of second tries that successes earn: load added by hedges is bounded by construction. */
export * as HedgeBudget from "./HedgeBudget.ts"

// Budgets of extra attempts: for guards of your own
/** A client-wide quota of retries: retries stop when failures are the rule. */
export * as RetryQuota from "./catalogue/RetryQuota.ts"
/** Turns retries and hedges off while failures outnumber successes. */
export * as RetryThrottle from "./catalogue/RetryThrottle.ts"
/** A budget of retries and hedges as a share of what is in flight this moment. */
export * as InflightBudget from "./catalogue/InflightBudget.ts"

// Rates: what the guards use
/** Learns how many units per second (requests, or tokens) a provider admits, from nothing but its refusals. */
export * as AdaptiveRate from "./rate/AdaptiveRate.ts"
/** Mirrors a provider's bucket, or its window, from what it admits and refuses, and says when it admits the next call. */
export * as BucketMirror from "./mirror/BucketMirror.ts"

// Rates: for guards of your own
/** A bucket of tokens that fills at a rate: the plain limiter, with the three rules that keep it honest. */
export * as TokenBucket from "./catalogue/TokenBucket.ts"
/** The token bucket in one number: the generic cell rate algorithm. */
export * as Gcra from "./catalogue/Gcra.ts"
/** At most so many units in a window of time: fixed windows, a sliding log, or a sliding counter between the two. */
export * as WindowLimiter from "./catalogue/WindowLimiter.ts"
/** Hands out starting times at an even distance: a limiter that answers at once, in arrival order. */
export * as SmoothLimiter from "./catalogue/SmoothLimiter.ts"
/** Hands out starting times in bursts: all permits of a period may leave at its start. */
export * as BurstyLimiter from "./catalogue/BurstyLimiter.ts"
/** Requests and tokens taken together or not at all, reserved by estimate and settled by truth. */
export * as TokenReservation from "./catalogue/TokenReservation.ts"
/** Keeps a share of a rate for interactive work, and lends it to bulk work while nobody uses it. */
export * as ReservedShare from "./catalogue/ReservedShare.ts"
/** A send rate that falls on throttling and climbs back along a cubic curve. */
export * as CubicRate from "./catalogue/CubicRate.ts"
/** A send rate that halves on a 429 and grows a little with every success. */
export * as AimdRate from "./catalogue/AimdRate.ts"
/** A send rate that follows the limit which answers state, and learns it where they state none. */
export * as HeaderRate from "./catalogue/HeaderRate.ts"
/** Ramps a rate up after a start or a pause, in place of letting everything go at once. */
export * as SlowStart from "./catalogue/SlowStart.ts"
/** One pause for all calls that share a limit: who is told to wait makes everybody wait. */
export * as Pause from "./catalogue/Pause.ts"
/** What a `remaining` header is worth by the time it is read. */
export * as RemainingBudget from "./catalogue/RemainingBudget.ts"

// Concurrency: for guards of your own
/** One shape for every algorithm that learns how many calls may be in flight. */
export * as ConcurrencyLimit from "./catalogue/ConcurrencyLimit.ts"
/** Concurrency by additive increase and multiplicative decrease. */
export * as AimdLimit from "./catalogue/AimdLimit.ts"
/** Concurrency by slow start, then rounds of additive increase, for long jobs against a rate-limited API. */
export * as InspectAimdLimit from "./catalogue/InspectAimdLimit.ts"
/** Concurrency by the ratio of long-term to present latency. */
export * as Gradient2Limit from "./catalogue/Gradient2Limit.ts"
/** Concurrency by the queue that the latency betrays. */
export * as VegasLimit from "./catalogue/VegasLimit.ts"
/** Concurrency by comparing the median latency of a window with a measured ideal. */
export * as EnvoyGradientLimit from "./catalogue/EnvoyGradientLimit.ts"
/** Concurrency by the queue that recent latency shows against a baseline, checked by correlation. */
export * as FailsafeLimit from "./catalogue/FailsafeLimit.ts"
/** How many calls must be in flight to use a rate: `L = λ·W`. */
export * as LittlesLaw from "./catalogue/LittlesLaw.ts"

// Health and shedding: for guards of your own
/** Stops calling a backend that fails, and finds out with few calls when it is well again. */
export * as Breaker from "./catalogue/Breaker.ts"
/** What a circuit breaker remembers: the last N calls, or the calls of the last N seconds. */
export * as BreakerWindow from "./catalogue/BreakerWindow.ts"
/** Holds everything back while a backend is down, and asks with one call at a time whether it is up. */
export * as Outage from "./catalogue/Outage.ts"
/** Rejects calls locally with a probability that follows the backend's refusals. */
export * as AdaptiveThrottle from "./catalogue/AdaptiveThrottle.ts"
/** Rejects the least important work first, as much of it as must go. */
export * as PriorityShedding from "./catalogue/PriorityShedding.ts"

// Statistics: what the guards use
/** A bounded set of samples of one window, good for quantiles. */
export * as SampleWindow from "./SampleWindow.ts"
/** How many tokens a call will probably take, learned from the calls before it. */
export * as OutputEstimate from "./OutputEstimate.ts"

// Statistics: for guards of your own
/** A quantile of a stream in constant memory. */
export * as MovingQuantile from "./catalogue/MovingQuantile.ts"
/** An exponential moving average that starts as a plain mean. */
export * as ExpAverage from "./catalogue/ExpAverage.ts"

// Lanes: what the guards use
/** Decides, for one lane, whether the next attempt may be sent now, and learns from how attempts end. */
export * as LaneKernel from "./lane/LaneKernel.ts"
/** Learns how many calls a provider lets be in flight at once. */
export * as LaneInFlight from "./lane/LaneInFlight.ts"
/** Tells an outage from bad luck, and finds its end with single probes. */
export * as LaneOutage from "./lane/LaneOutage.ts"
/** Holds what waits in a lane: by priority, retried work before fresh, first in first out, nobody starved. */
export * as LaneQueue from "./lane/LaneQueue.ts"
/** Estimates when a lane would send a call that joins its queue. */
export * as LaneEstimate from "./lane/LaneEstimate.ts"

// Money: what the guards use
/** Price sheets, and what work costs by them: before it is done as a range, after it as one amount. */
export * as Price from "./Price.ts"
/** Budgets: what may be spent, counted apart per run, day, key or label, and nested. */
export * as Budget from "./Budget.ts"
/** The sums of money: what is reserved, what is spent, and whether one more call fits. */
export * as Ledger from "./Ledger.ts"
/** What is left of the budgets of a ledger, now. */
export * as BudgetStatus from "./BudgetStatus.ts"
/** Whether an account may send, after the provider said that its credit ran out. */
export * as Account from "./Account.ts"
/** What auto-recharge buys: both behaviours that Together has documented, as sums. */
export * as AutoRecharge from "./AutoRecharge.ts"
/** How long a balance lasts at the present rate of spending, and what auto-recharge will buy meanwhile. */
export * as Forecast from "./Forecast.ts"
/** Whether a balance can pay for work before it is started, and what to buy if not. */
export * as Preflight from "./Preflight.ts"
/** When rate limits are worth an alert: a sliding count with a rest after each alert. */
export * as BudgetAlert from "./BudgetAlert.ts"

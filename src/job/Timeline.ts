/**
 * What happened when, in at most 240 steps, however long the job runs.
 *
 * Steps begin one second wide; whenever they run out, neighbours are joined and the width doubles. Counts add up,
 * gauges (in flight, limit) keep the highest, pauses add up in seconds.
 */

/** One step of a timeline. */
export interface Step {
  ok: number
  failed: number
  attempts: number
  throttled: number
  overloaded: number
  tokens: number
  /** Highest number of requests in flight. */
  inFlight: number
  /** Highest number of requests that were let in flight, 0 where nobody said. */
  limit: number
  /** Highest rate that was let through, in requests per second, 0 where nobody said. */
  rate: number
  /** Seconds in which a lane was paused. */
  paused: number
}

/** Holds the steps of a job. */
export interface Timeline {
  readonly startedAt: number
  /** Width of a step in seconds. */
  width: number
  steps: Array<Step>
}

/** Holds the most steps that a timeline keeps. */
export const maxSteps = 240

/** Makes an empty timeline that begins at `now`, in milliseconds. */
export const make = (now: number): Timeline => ({ startedAt: now, width: 1, steps: [] })

/** Makes a step in which nothing happened. */
export const empty = (): Step => ({
  ok: 0,
  failed: 0,
  attempts: 0,
  throttled: 0,
  overloaded: 0,
  tokens: 0,
  inFlight: 0,
  limit: 0,
  rate: 0,
  paused: 0
})

const join = (a: Step, b: Step | undefined): Step =>
  b === undefined ? a : {
    ok: a.ok + b.ok,
    failed: a.failed + b.failed,
    attempts: a.attempts + b.attempts,
    throttled: a.throttled + b.throttled,
    overloaded: a.overloaded + b.overloaded,
    tokens: a.tokens + b.tokens,
    inFlight: Math.max(a.inFlight, b.inFlight),
    limit: Math.max(a.limit, b.limit),
    rate: Math.max(a.rate, b.rate),
    paused: a.paused + b.paused
  }

/**
 * Finds the step of an instant, to write into.
 *
 * **Details**: an instant before the start (a clock set back) belongs to the first step; one far ahead (a clock set
 * forward, a suspended machine) widens the steps as far as needed.
 */
export const at = (self: Timeline, now: number): Step => {
  const seconds = Math.max(0, (now - self.startedAt) / 1000)
  while (seconds / self.width >= maxSteps) {
    const joined: Array<Step> = []
    for (let i = 0; i < self.steps.length; i += 2) joined.push(join(self.steps[i]!, self.steps[i + 1]))
    self.steps = joined
    self.width *= 2
  }
  const index = Math.floor(seconds / self.width)
  while (self.steps.length <= index) self.steps.push(empty())
  return self.steps[index]!
}

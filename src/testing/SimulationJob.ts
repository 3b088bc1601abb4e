/**
 * A long job over time: a row of phases, each with its length, until its end or its cancellation.
 *
 * Fine-tunes, evaluations and videos are jobs; they differ in the names of
 * their phases only.
 */
import type { Config } from "./SimulationConfig.ts"

/** Describes a phase: what the job is called while it lasts, and how long that is. */
export type Phase = readonly [status: string, seconds: number]

/** Describes a job by what happened to it. */
export interface Job {
  readonly createdAt: number
  readonly phases: ReadonlyArray<Phase>
  /** Status at the end. */
  readonly end: string
  readonly cancelledAt?: number | undefined
}

/** Holds what a job looks like at one time. */
export interface Look {
  readonly status: string
  /** When the present phase began. */
  readonly since: number
  readonly ended: boolean
  /** Seconds until the end; 0 where it has come. */
  readonly remaining: number
}

/** Lists the phases of a fine-tune. */
export const fineTune = (jobs: Config["jobs"]): Pick<Job, "phases" | "end"> => ({
  phases: [
    ["pending", 0],
    ["queued", jobs.queuedSeconds],
    ["running", jobs.runningSeconds],
    ["compressing", jobs.finishingSeconds / 2],
    ["uploading", jobs.finishingSeconds / 2]
  ],
  end: "completed"
})

/** Lists the phases of an evaluation. */
export const evaluation = (jobs: Config["jobs"]): Pick<Job, "phases" | "end"> => ({
  phases: [["pending", jobs.queuedSeconds / 2], ["queued", jobs.queuedSeconds / 2], ["running", jobs.runningSeconds]],
  end: "completed"
})

/** Lists the phases of a video. */
export const video = (jobs: Config["jobs"]): Pick<Job, "phases" | "end"> => ({
  phases: [["in_progress", jobs.queuedSeconds + jobs.runningSeconds]],
  end: "completed"
})

/** Lists the phases that have begun until a time, each with its time. */
export const history = (job: Job, at: number): ReadonlyArray<readonly [status: string, at: number]> => {
  const until = Math.min(at, job.cancelledAt ?? Infinity)
  const out: Array<readonly [string, number]> = []
  let begins = job.createdAt
  for (const [status, seconds] of job.phases) {
    if (begins > until) break
    out.push([status, begins])
    begins += seconds
  }
  if (job.cancelledAt !== undefined && at >= job.cancelledAt) out.push(["cancelled", job.cancelledAt])
  else if (begins <= until) out.push([job.end, begins])
  return out
}

/** Looks at a job at a time. */
export const look = (job: Job, at: number): Look => {
  const [status, since] = history(job, at).at(-1) ?? [job.phases[0]?.[0] ?? job.end, job.createdAt]
  const ends = job.cancelledAt ?? job.createdAt + job.phases.reduce((sum, [, seconds]) => sum + seconds, 0)
  return { status, since, ended: at >= ends, remaining: Math.max(0, ends - at) }
}

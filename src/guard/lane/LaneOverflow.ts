/**
 * Says why a lane refuses a call: what happened, the numbers, and what to do.
 */
import * as Duration from "effect/Duration"
import { LaneOverflowError } from "../../domain/TogetherError.ts"

/** Shows the lane that refuses. */
export interface Refusing {
  readonly key: string
  /** Calls that wait. */
  readonly queued: number
  readonly maxQueue: number
}

const refused = (
  { key, queued }: Refusing,
  reason: LaneOverflowError["reason"],
  estimate: number,
  message: string
): LaneOverflowError =>
  new LaneOverflowError({ message, lane: key, reason, estimate: Duration.millis(estimate * 1000), queued })

/** Refuses a call for its deadline: one that has waited says so, and one whose deadline has passed names no estimate. */
export const late = (lane: Refusing, estimate: number, waitedSeconds?: number, again = true): LaneOverflowError => {
  const sent = `would be sent in ${estimate.toFixed(1)} s`
  const deadline = waitedSeconds !== undefined
    ? `it has waited ${waitedSeconds.toFixed(1)} s, and ${again ? `coming again now it ${sent}` : `${sent} more`}`
    : estimate === 0
    ? "its deadline leaves no time for it"
    : `it ${sent}, after its deadline`
  return refused(
    lane,
    "deadline",
    estimate,
    `Lane ${lane.key} cannot send this call in time: ${deadline}. ` +
      `${lane.queued} calls wait in the lane; send less, raise its priority or its deadline.`
  )
}

/** Refuses a call for which the queue has no place. */
export const full = (lane: Refusing, estimate: number): LaneOverflowError =>
  refused(
    lane,
    "queue-full",
    estimate,
    `The queue of lane ${lane.key} is full: ${lane.queued} calls wait, which takes ` +
      `${estimate.toFixed(1)} s at the learned limits. Send less, or raise maxQueue (${lane.maxQueue}).`
  )

/** Refuses a call that has another target while the provider is down. */
export const down = (lane: Refusing, estimate: number): LaneOverflowError =>
  refused(
    lane,
    "outage",
    estimate,
    `The provider of lane ${lane.key} fails everything, and this call does not wait until it is up again, since another ` +
      `target may serve it. The next probe is due in ${estimate.toFixed(1)} s.`
  )

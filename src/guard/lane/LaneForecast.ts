/**
 * Keeps what the calls of one lane teach about how long they take, and estimates when a call that joins the queue would
 * be sent.
 *
 * ```
 *   sent ─▶ in flight, for how long? ─▶ ended: seconds held ─▶ experience
 *                     └──────── before the first end ──────┐           │
 *                                                          ▼           ▼
 *                     queue · places that streams leave ─▶ seconds until it is sent
 * ```
 *
 * What is in flight is counted and summed up for each kind, so every step costs O(1). The sums are those of
 * `LaneEstimate`. What a kind of calls taught is forgotten a minute after the last of them: later calls may be
 * different, and a call that is refused because of earlier ones could never show that.
 */
import * as Estimate from "../../policy/lane/LaneEstimate.ts"
import type * as Kernel from "../../policy/lane/LaneKernel.ts"
import * as Queue from "../../policy/lane/LaneQueue.ts"
import * as Streams from "./LaneStreams.ts"

/** Calls of one kind in flight. */
interface InFlight {
  count: number
  /** Their moments of sending, summed up. */
  sum: number
  /** A moment since which one is in flight at the least: that of the first, or of its end where others were. */
  firstAt: number
  /** When the last ended. */
  endedAt: number
}

const none = (): InFlight => ({ count: 0, sum: 0, firstAt: 0, endedAt: -Infinity })

const sentOf = (sample: Kernel.Sample): boolean => sample._tag !== "Ignored" || sample.sent

/** Estimates for one lane. */
export class Forecast {
  readonly #short: InFlight = none()
  readonly #streams: InFlight = none()
  #experience = Estimate.initial

  /** Counts a call that was sent. */
  sent(stream: boolean, now: number): void {
    this.#age(now)
    const held = stream ? this.#streams : this.#short
    if (held.count++ === 0) held.firstAt = now
    held.sum += now
  }

  /** Counts the end of a call, and lets it teach where it was really sent. */
  ended(ticket: Kernel.Ticket, stream: boolean, sample: Kernel.Sample, now: number): void {
    const held = stream ? this.#streams : this.#short
    // no sum of differences outlives the calls that it is about
    held.sum = --held.count === 0 ? 0 : held.sum - ticket.at
    // those that are left were sent before now
    if (ticket.at === held.firstAt) held.firstAt = now
    held.endedAt = now
    if (!sentOf(sample)) return
    this.#experience = Estimate.learn(this.#experience, {
      stream,
      seconds: Math.max(0, now - ticket.at),
      answered: sample._tag === "Success"
    })
  }

  /** Forgets what calls of a kind taught where there was none for long. */
  #age(now: number): void {
    if (silent(this.#short, this.#experience.short, now)) this.#experience = Estimate.forget(this.#experience, "short")
    if (silent(this.#streams, this.#experience.streams, now)) {
      this.#experience = Estimate.forget(this.#experience, "streams")
    }
  }

  /** Estimates the seconds until a call would be sent that joins behind all that wait. */
  whole<E extends Queue.Entry>(
    state: Kernel.State,
    queue: Queue.LaneQueue<E>,
    streams: Streams.Streams,
    now: number
  ): number {
    this.#age(now)
    const ahead = Queue.whole(queue)
    const places = this.#places(state, ahead, 0, this.#keeps(state, queue, streams, now), now)
    return Estimate.estimate(state, ahead, places, true, this.#experience, now)
  }

  /**
   * Estimates the seconds until a call would be sent that joins now, if nobody else does.
   *
   * @param order of one that waits already
   */
  joining<E extends Queue.Entry>(
    call: { readonly level: number; readonly retry: boolean; readonly stream: boolean },
    state: Kernel.State,
    queue: Queue.LaneQueue<E>,
    streams: Streams.Streams,
    now: number,
    order = Infinity
  ): number {
    this.#age(now)
    const all = Queue.ahead(queue, call, true, order)
    const keeps = call.stream ? this.#keeps(state, queue, streams, now) : Infinity
    const places = this.#places(state, all, call.stream ? 0 : Queue.front(queue, call), keeps, now)
    const { cap, most } = places
    // no more streams than have places go before a short call, but where all wait for the only place
    const ahead = call.stream || most >= cap
      ? all
      : Queue.atMost(all, Queue.ahead(queue, call, false, order), Math.max(0, most - this.#streams.count))
    return Estimate.estimate(state, ahead, places, call.stream, this.#experience, now)
  }

  /** Estimates the seconds for which places are kept from streams: no longer than it surely takes. */
  #keeps<E extends Queue.Entry>(
    state: Kernel.State,
    queue: Queue.LaneQueue<E>,
    streams: Streams.Streams,
    now: number
  ): number {
    const waiting = queue.size - queue.streams
    if (waiting === 0) return streams.keeps(false, now)
    return Streams.memory + (waiting * this.#experience.short.seconds) / Streams.cap(state)
  }

  #places(state: Kernel.State, ahead: Queue.Ahead, front: number, keeps: number, now: number): Estimate.Places {
    const cap = Streams.cap(state)
    const short = ahead.requests - ahead.streams
    return {
      cap,
      most: Streams.most(cap),
      keeps,
      short: kind(this.#short, state.count - this.#streams.count, short, this.#experience.short, now),
      streams: kind(this.#streams, this.#streams.count, ahead.streams, this.#experience.streams, now),
      front: Math.min(front, short)
    }
  }
}

const silent = ({ count, endedAt }: InFlight, { calls }: Estimate.Hold, now: number): boolean =>
  count === 0 && calls > 0 && now - endedAt > Estimate.defaults.memory

/** Before the first end of its kind a call takes at least as long as one is in flight. */
const kind = (
  { count, firstAt, sum }: InFlight,
  taken: number,
  waiting: number,
  { calls, seconds }: Estimate.Hold,
  now: number
): Estimate.Kind => ({
  taken,
  heldSoFar: count * now - sum,
  waiting,
  seconds: calls > 0 || count === 0 ? seconds : now - firstAt
})

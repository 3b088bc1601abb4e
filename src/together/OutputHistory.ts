/**
 * What calls of each kind have generated so far, so that the next one reserves about what it will take.
 *
 * The shell around `policy/OutputEstimate`: one state per lane and one per label
 * in a lane, in memory. A label is a kind of prompt: once it has seen enough answers of its own, these are used, and
 * before that those of its lane. A refusal for tokens is one of the lane, whichever label met it, and raises what all
 * its labels reserve.
 *
 * A call that sets no `max_tokens` has no bound of its own. Once enough such calls of its kind were answered, a bound
 * is learned from them (`policy/OpenOutput`), which is never lower than the one assumed for an unknown kind. Then a
 * budget need not reserve the model's whole context.
 */
import type { Call, TokenEstimate } from "../domain/Call.ts"
import * as OpenOutput from "../policy/OpenOutput.ts"
import * as OutputEstimate from "../policy/OutputEstimate.ts"

/** Says of what kind a call is: calls of one kind generate alike. */
export type Kind = Pick<Call, "lane" | "label">

/** Says what an answer generated. */
export interface Answer {
  readonly outputTokens: number
  /** Whether the call set no `max_tokens`. */
  readonly open: boolean
}

/** Learns how much is generated, kind by kind. */
export interface OutputHistory {
  /** Replaces the expected output of a generation, and the upper bound of an open one, by what its kind has learned. */
  readonly expect: (kind: Kind, estimate: TokenEstimate, nowSeconds: number) => TokenEstimate
  readonly record: (kind: Kind, answer: Answer) => void
  /** Books a refusal for tokens: what follows in the lane reserves more. */
  readonly refused: (kind: Pick<Kind, "lane">, nowSeconds: number) => void
}

/**
 * Bounds the states that are kept: of lanes, of labels that have learned enough, and of those that have not. If each
 * call has a label of its own, they must neither fill the memory nor drive out what is known.
 */
export const statesKept = 1000

/** What the answers of one kind have taught: all of them, and those of open calls. */
interface Learned {
  readonly all: OutputEstimate.State
  readonly open: OpenOutput.State
}

const keyOf = (lane: string, label: string): string => `${lane}\n${label}`

/** Holds the states of the kinds that learned last, in the order in which they did. */
class States extends Map<string, Learned> {
  #last: string | undefined

  /** Takes in a state that has learned, and forgets the one that has not for longest where there are too many. */
  learn(key: string, state: Learned): void {
    // mostly the same kind learns again and again, and stands at the end already
    if (key !== this.#last) this.delete(key)
    this.set(this.#last = key, state)
    if (this.size <= statesKept) return
    const [oldest] = this.keys()
    if (oldest !== undefined) this.delete(oldest)
  }
}

/** Makes an empty memory. */
export const make = (options?: OutputEstimate.Options): OutputHistory => {
  const fresh: Learned = { all: OutputEstimate.make(options), open: OpenOutput.empty }
  const lanes = new States()
  const known = new States()
  const cold = new States()
  const laneOf = ({ lane }: Pick<Kind, "lane">) => lanes.get(lane) ?? fresh
  const stateOf = (kind: Kind): OutputEstimate.State => {
    const lane = laneOf(kind).all
    const own = kind.label === undefined ? undefined : known.get(keyOf(kind.lane, kind.label))
    return own === undefined ? lane : { ...own.all, safety: lane.safety, safetyAt: lane.safetyAt }
  }
  /** Bounds an open call, by its label's open answers if these are enough, else by its lane's. */
  const bounded = (kind: Kind, estimate: TokenEstimate, now: number): TokenEstimate => {
    if ((estimate.openChoices ?? 0) === 0) return estimate
    const key = keyOf(kind.lane, kind.label ?? "")
    const own = kind.label === undefined ? undefined : known.get(key)
    const [states, at] = own === undefined || OpenOutput.isCold(own.open) ? [lanes, kind.lane] : [known, key]
    const state = states.get(at) ?? fresh
    if (OpenOutput.isCold(state.open)) return estimate
    const open = OpenOutput.ask(state.open, now)
    // it stays where it stands in the order: being read is not learning
    states.set(at, { ...state, open })
    const most = Math.max(estimate.maxOutputTokens, Math.ceil(OpenOutput.bound(open)))
    // priced tokens are a whole number, whatever an answer says
    return { ...estimate, maxOutputTokens: Math.min(most, Number.MAX_SAFE_INTEGER), learned: true }
  }
  const taught = ({ all, open }: Learned, answer: Answer): Learned => ({
    all: OutputEstimate.record(all, answer.outputTokens),
    open: answer.open ? OpenOutput.record(open, answer.outputTokens) : open
  })
  return {
    expect: (kind, estimate, nowSeconds) => {
      if (estimate.maxOutputTokens === 0) return estimate
      const call = bounded(kind, estimate, nowSeconds)
      return { ...call, outputTokens: OutputEstimate.estimate(stateOf(kind), call, nowSeconds).outputTokens }
    },
    record: (kind, answer) => {
      lanes.learn(kind.lane, taught(laneOf(kind), answer))
      if (kind.label === undefined) return
      const key = keyOf(kind.lane, kind.label)
      const next = taught(known.get(key) ?? cold.get(key) ?? fresh, answer)
      if (OutputEstimate.isCold(next.all)) return cold.learn(key, next)
      cold.delete(key)
      known.learn(key, next)
    },
    refused: (kind, nowSeconds) => {
      const lane = laneOf(kind)
      lanes.learn(kind.lane, { ...lane, all: OutputEstimate.refuse(lane.all, nowSeconds) })
    }
  }
}

/**
 * Whether an account may send, after the provider said that its credit ran out.
 *
 *                first 402 of this generation
 *     Active ───────────────────────────────────▶ Suspended ◀──────────┐
 *       ▲                                            │ probe is due,   │ probe was refused,
 *       │            probe answered, or resume       │ one call enters │ or said nothing
 *       └────────────────────────────────────────── Probing ───────────┘
 *
 * `Active`: calls pass. `Suspended`: none does; at `probeAt` the next call is
 * let through as the probe. `Probing`: that one call has its turn, others wait.
 * A turn ends before its call does, if the call has shown nothing in time; what it shows later still counts.
 *
 * Every suspension opens a new generation, and so does every end of one. A call
 * carries the generation it was sent in. A refusal from an older one is stale:
 * it asks its call to enter again and changes nothing. So a storm of refusals
 * suspends once, and a late refusal, of a probe too, cannot suspend an account that
 * was topped up in the meantime.
 *
 * When the next probe is due is not decided here: after a refusal the caller
 * asks its schedule and says `scheduled`. Times are epoch seconds.
 *
 * **Source**: Together's documentation of billing and credits: access is
 * suspended at a zero balance until credits are added. Purchases may take minutes
 * to show, and metering lags. Hence a slow probe, and no faith in answers of older
 * calls.
 */

/** Calls pass. */
export interface Active {
  readonly _tag: "Active"
  readonly generation: number
}

/** No call passes before `probeAt`. */
export interface Suspended {
  readonly _tag: "Suspended"
  readonly generation: number
  readonly since: number
  /** When the next probe is due; `Infinity` while that is undecided, or when the schedule has ended. */
  readonly probeAt: number
  /** True once the schedule has ended: only `resume` helps. */
  readonly ended: boolean
  /** Probes sent so far in this suspension. */
  readonly probes: number
  /** Refusals counted in this suspension, the first and those of probes included. */
  readonly refusals: number
}

/** One call has its turn to find out. */
export interface Probing {
  readonly _tag: "Probing"
  readonly generation: number
  readonly since: number
  readonly startedAt: number
  readonly probes: number
  readonly refusals: number
}

/** What an account may do. */
export type State = Active | Suspended | Probing

/** Says as what a call was let through. */
export interface Admission {
  readonly generation: number
  /** The number of the probe in its suspension, the first being 1; 0 for any other call. */
  readonly probe: number
}

/** The state of an account that may send. */
export const initial: State = { _tag: "Active", generation: 0 }

/** Says whether a call may pass. */
export type Entered =
  | { readonly _tag: "Pass"; readonly admission: Admission }
  | { readonly _tag: "Wait"; readonly probeAt: number }
  | { readonly _tag: "Ended" }

/** Asks to let a call through; a due probe takes the first that asks. */
export const enter = (state: State, now: number): readonly [Entered, State] => {
  if (state._tag === "Active") {
    return [{ _tag: "Pass", admission: { generation: state.generation, probe: 0 } }, state]
  }
  if (state._tag === "Probing") return [{ _tag: "Wait", probeAt: Infinity }, state]
  if (state.ended) return [{ _tag: "Ended" }, state]
  if (now < state.probeAt) return [{ _tag: "Wait", probeAt: state.probeAt }, state]
  const { generation, probes, refusals, since } = state
  return [
    { _tag: "Pass", admission: { generation, probe: probes + 1 } },
    { _tag: "Probing", generation, since, startedAt: now, probes: probes + 1, refusals }
  ]
}

/** Tells whether a call was let through as a probe of this suspension: also one whose turn is over. */
export const isProbe = (state: State, { generation, probe }: Admission): boolean =>
  state._tag !== "Active" && probe > 0 && generation === state.generation

const hasTurn = (state: State, admission: Admission): state is Probing =>
  state._tag === "Probing" && isProbe(state, admission) && admission.probe === state.probes

/**
 * Says what a refusal for want of credit meant.
 *
 * **Details**: `Suspended`: the first of a storm. `ProbeRefused`: still no credit.
 * After either, the caller says when the next probe is due. `Counted`: one more of
 * a storm, or of a probe while another has its turn. `Stale`: from before the last
 * top-up; its call may enter again.
 */
export type Refused = "Suspended" | "ProbeRefused" | "Counted" | "Stale"

/** Takes a refusal for want of credit. */
export const refused = (state: State, admission: Admission, now: number): readonly [Refused, State] => {
  if (state._tag === "Active") {
    return admission.generation === state.generation
      ? ["Suspended", {
        _tag: "Suspended",
        generation: state.generation + 1,
        since: now,
        probeAt: Infinity,
        ended: false,
        probes: 0,
        refusals: 1
      }]
      : ["Stale", state]
  }
  const decides = state._tag === "Probing" ? hasTurn(state, admission) : !state.ended && isProbe(state, admission)
  if (!decides) return ["Counted", { ...state, refusals: state.refusals + 1 }]
  const { generation, probes, refusals, since } = state
  return ["ProbeRefused", {
    _tag: "Suspended",
    generation,
    since,
    probeAt: Infinity,
    ended: false,
    probes,
    refusals: refusals + 1
  }]
}

/** Sets when the next probe is due; `undefined` ends probing for good. */
export const scheduled = (state: State, probeAt: number | undefined): State =>
  state._tag === "Suspended"
    ? { ...state, probeAt: probeAt ?? Infinity, ended: probeAt === undefined }
    : state

/** Describes a suspension that is over. */
export interface Outage {
  readonly seconds: number
  readonly probes: number
  readonly refusals: number
}

/** Takes an answer: that of a probe makes the account active, and other probes stale; any other changes nothing. */
export const answered = (state: State, admission: Admission, now: number): readonly [Outage | undefined, State] =>
  state._tag !== "Active" && isProbe(state, admission)
    ? [outage(state, now), { _tag: "Active", generation: state.generation + 1 }]
    : [undefined, state]

/** Ends the turn of a probe that showed nothing about credit, or nothing yet; tells whether it had the turn. */
export const inconclusive = (state: State, admission: Admission, probeAt: number): readonly [boolean, State] => {
  if (!hasTurn(state, admission)) return [false, state]
  const { generation, probes, refusals, since } = state
  return [true, { _tag: "Suspended", generation, since, probeAt, ended: false, probes, refusals }]
}

/**
 * Makes an account active by hand, and whatever is still under way stale, also a probe that was sent before the top-up.
 */
export const resume = (state: State, now: number): readonly [Outage | undefined, State] =>
  state._tag === "Active"
    ? [undefined, state]
    : [outage(state, now), { _tag: "Active", generation: state.generation + 1 }]

const outage = (state: Suspended | Probing, now: number): Outage => ({
  seconds: Math.max(0, now - state.since),
  probes: state.probes,
  refusals: state.refusals
})

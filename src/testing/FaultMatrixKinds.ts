/**
 * Lists the kinds of trouble that a fault matrix tries, and what a program owes in each.
 *
 * `survivable`: the provider recovers, so the program must end with the answer it gives without the fault. Otherwise
 * nothing can be done within the call, and the program may end with a typed error; but it must not succeed with another
 * result.
 */
import * as Duration from "effect/Duration"
import * as Equal from "effect/Equal"
import * as Fault from "./Fault.ts"
import type * as Faults from "./Faults.ts"
import type * as Sent from "./Sent.ts"

/** Describes one kind of trouble. */
export interface Kind {
  readonly name: string
  readonly fault: Fault.Fault
  /** `once`: the request it starts at. A number: so many requests from there. `always`: all from there on. */
  readonly lasts: "once" | "always" | number
  readonly survivable: boolean
  /** Says which requests it can meet. Default: all. */
  readonly on?: ((sent: Sent.Sent) => boolean) | undefined
}

/** Makes a kind: struck once and survivable unless told otherwise. */
export const make = (
  name: string,
  fault: Fault.Fault,
  options?: {
    readonly lasts?: Kind["lasts"] | undefined
    readonly survivable?: boolean | undefined
    readonly on?: Kind["on"]
  }
): Kind => ({
  name,
  fault,
  lasts: options?.lasts ?? "once",
  survivable: options?.survivable ?? true,
  on: options?.on
})

/** Says when a kind strikes that starts at a request. */
export const when = (kind: Kind, request: number): Faults.When =>
  kind.lasts === "once" || kind.lasts === 1
    ? { nth: request }
    : kind.lasts === "always"
    ? { from: request }
    : { from: request, times: kind.lasts }

/** Reads the first request that a `When` strikes. */
export const start = (when: Faults.When): number =>
  typeof when.nth === "number" ? when.nth : Math.min(...(when.nth ?? [when.from ?? 1]))

/** Moves a `When` to the first request. */
export const earlier = (when: Faults.When): Faults.When =>
  when.from === undefined ? { ...when, nth: 1 } : { ...when, from: 1 }

/** Lists simpler forms of a fault, the simplest first. */
export const simpler = (fault: Fault.Fault): ReadonlyArray<Fault.Fault> => {
  switch (fault._tag) {
    case "status":
      return fault.options === undefined ? [] : [Fault.status(fault.status)]
    case "rateLimited":
      return fault.options === undefined ? [] : [Fault.rateLimited()]
    case "stallAtByte":
    case "cutAtByte":
    case "endAtByte":
      return fault.bytes === 0 ? [] : [{ ...fault, bytes: 0 }]
    case "stallAtEvent":
    case "cutAtEvent":
    case "endAtEvent":
      return fault.events === 0 ? [] : [{ ...fault, events: 0 }]
    case "malformedFrame":
    case "errorFrame":
    case "duplicateEvent":
    case "reorderEvents":
      return fault.event === 1 ? [] : [{ ...fault, event: 1 }]
    default:
      return []
  }
}

const passes = ({ nth, probability, times, until }: Faults.When): boolean =>
  [nth, probability, times, until].some((bound) => bound !== undefined)

/**
 * Finds the kind of a rule: one that strikes as the rule does, with its fault or a simpler form of it; else one with
 * such a fault. Where none fits, it makes one: trouble that passes is survivable, trouble without an end is not.
 */
export const ofRule = (kinds: ReadonlyArray<Kind>, { fault, when: strikes }: Faults.Rule): Kind => {
  const is = (form: Fault.Fault) => Equal.equals(form, fault)
  const related = [
    ...kinds.filter((kind) => is(kind.fault)),
    ...kinds.filter((kind) => simpler(kind.fault).some(is))
  ]
  return related.find((kind) => Equal.equals(when(kind, start(strikes)), strikes)) ??
    (passes(strikes) ? related[0] : undefined) ??
    make(Fault.toCode(fault), fault, { survivable: passes(strikes) })
}

const streams = (sent: Sent.Sent): boolean => sent.operation.endsWith("Stream")
const onStreams = { on: streams }
const final = { survivable: false }
const finalOnStreams = { ...onStreams, ...final }
const page = { body: "<!doctype html><title>Bad gateway</title>", headers: { "content-type": "text/html" } }
const lasting = { lasts: "always", survivable: false } as const

/** Lists trouble that passes: throttling, overload, broken and silent connections. */
export const transient: ReadonlyArray<Kind> = [
  make("429, wait 2 s", Fault.rateLimited({ reset: 2 })),
  make("429, no hint", Fault.rateLimited()),
  make("429 three times", Fault.rateLimited({ reset: 1 }), { lasts: 3 }),
  make("503", Fault.status(503)),
  make("503 three times", Fault.status(503), { lasts: 3 }),
  make("500", Fault.status(500)),
  make("502, HTML", Fault.status(502, page)),
  make("524, HTML", Fault.status(524, page)),
  make("reset", Fault.broken()),
  make("refused", Fault.broken("refused")),
  make("answer lost", Fault.lost),
  make("hang", Fault.hang),
  make("headers 20 s late", Fault.slowHeaders(Duration.seconds(20))),
  make("body stalls", Fault.stallAtByte(20), { on: (sent) => !streams(sent) }),
  make("body cut", Fault.cutAtByte(20), { on: (sent) => !streams(sent) })
]

/** Lists trouble that only streams meet. What breaks after the first token cannot be repeated unseen. */
export const streaming: ReadonlyArray<Kind> = [
  make("stream stalls before its first event", Fault.stallAtEvent(0), onStreams),
  make("stream cut before its first event", Fault.cutAtEvent(0), onStreams),
  make("stream stalls", Fault.stallAtEvent(1), finalOnStreams),
  make("stream cut", Fault.cutAtEvent(1), finalOnStreams),
  make("stream ends early", Fault.endAtEvent(1), finalOnStreams),
  make("malformed frame", Fault.malformedFrame(2), finalOnStreams),
  make("error frame", Fault.errorFrame(2), finalOnStreams),
  make("error frame, bare text", Fault.errorFrame(2, "Internal error"), finalOnStreams),
  make("one byte at a time", Fault.chopped(1), onStreams)
]

/** Lists trouble that stays until somebody acts. */
export const lastingKinds: ReadonlyArray<Kind> = [
  make("400", Fault.status(400), lasting),
  make("401", Fault.status(401), lasting),
  make("402, out of credit", Fault.outOfCredits, lasting),
  make("403, context", Fault.status(403), lasting),
  make("404", Fault.status(404), lasting),
  make("413", Fault.status(413), lasting),
  make("429 for good", Fault.rateLimited({ reset: 1 }), lasting),
  make("503 for good", Fault.status(503), lasting),
  make("name does not resolve", Fault.broken("dns"), lasting),
  make("200 that is a web page", Fault.status(200, page), final),
  make("wrong content type", Fault.contentType("text/html"), final)
]

/**
 * Lists every kind a matrix tries unless told otherwise.
 *
 * **Gotchas**
 *
 * Duplicated and swapped events are not among them: Together numbers no events, so no client can tell.
 */
export const all: ReadonlyArray<Kind> = [...transient, ...streaming, ...lastingKinds]

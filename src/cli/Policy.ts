/**
 * The policy document of `--policy`: how to retry, how fast to go at most, and what to do when the balance is empty.
 *
 * ```json
 * {
 *   "retry": { "type": "exponential", "base": "500 millis", "cap": "20 seconds", "jitter": "full", "maxAttempts": 8 },
 *   "lanes": { "requestsPerMinute": 600, "maxInFlight": 64 },
 *   "onCredits": "wait"
 * }
 * ```
 *
 * Every part is optional. A bare retry document (with `type`) is taken too.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Json from "../together/Json.ts"
import type * as Lanes from "../guard/lane/Lanes.ts"
import * as RetryDocument from "../guard/retry/RetryDocument.ts"
import * as TextFile from "./TextFile.ts"
import { UsageError } from "./UsageError.ts"

const Positive = Schema.Finite.check(Schema.isGreaterThan(0))

/** Checks a policy document. */
export const Policy = Schema.Struct({
  retry: Schema.optionalKey(RetryDocument.RetryDocument),
  lanes: Schema.optionalKey(Schema.Struct({
    requestsPerMinute: Schema.optionalKey(Positive),
    tokensPerMinute: Schema.optionalKey(Positive),
    maxInFlight: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0)))
  })),
  onCredits: Schema.optionalKey(Schema.Literals(["stop", "wait"]))
})
/** A policy document. */
export interface Policy extends Schema.Schema.Type<typeof Policy> {}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Policy), { onExcessProperty: "error" })
const decodeRetry = Schema.decodeUnknownEffect(Schema.fromJsonString(RetryDocument.RetryDocument), {
  onExcessProperty: "error"
})

/** Reads a policy file. */
export const read = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Policy, UsageError, FileSystem.FileSystem> {
  const text = yield* TextFile.read(path, "the policy ")
  const refuse = (error: Schema.SchemaError) =>
    new UsageError({ message: `the policy ${path} is not valid: ${error.message.replace(/\s+/g, " ")}` })
  const parsed = Json.parse(text)
  return typeof parsed === "object" && parsed !== null && "type" in parsed
    ? { retry: yield* Effect.mapError(decodeRetry(text), refuse) }
    : yield* Effect.mapError(decode(text), refuse)
})

/** Holds the flags about limits that are known. */
export type LimitFlags = Pick<Lanes.Options, "requestsPerMinute" | "tokensPerMinute" | "maxInFlight">

/** Puts the limits of the flags above those of a policy. */
export const limits = (flags: LimitFlags, policy: Policy | undefined): LimitFlags => ({
  requestsPerMinute: flags.requestsPerMinute ?? policy?.lanes?.requestsPerMinute,
  tokensPerMinute: flags.tokensPerMinute ?? policy?.lanes?.tokensPerMinute,
  maxInFlight: flags.maxInFlight ?? policy?.lanes?.maxInFlight
})

/** Tells whether a retry document retries without end while a call fails. */
const goesOn = (node: RetryDocument.RetryDocument): boolean => {
  if (node.maxAttempts !== undefined || node.maxElapsed !== undefined || node.times !== undefined) return false
  if (Object.values(node.byTag ?? {}).some(goesOn)) return true
  switch (node.type) {
    case "delays":
      return false
    case "max":
      return node.schedules.every(goesOn)
    case "sequence":
    case "min":
      return node.schedules.some(goesOn)
    default:
      return true
  }
}

/** Tells whether the retry schedule of a policy does not stop by itself. */
export const isEndless = (policy: Policy | undefined): boolean => policy?.retry !== undefined && goesOn(policy.retry)

/** Builds the retry schedule of a policy, if it has one. */
export const retry = (policy: Policy | undefined): Schedule.Schedule<unknown> | undefined =>
  policy?.retry === undefined ? undefined : RetryDocument.make(policy.retry)

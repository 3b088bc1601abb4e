/**
 * A retry schedule as data: a JSON document that a `Schema` checks and that builds an Effect `Schedule`.
 *
 * One object is one schedule: `type` names its curve, the other keys modify it.
 * The order of keys does not matter, the order of effects is fixed:
 *
 * ```text
 * type → cap → jitter → byTag → retryAfter → floor → maxElapsed → times, maxAttempts
 * ```
 *
 * Nothing is implied: a document without `floor` or `retryAfter` has neither.
 * `defaultDocument` is the default policy, written out.
 *
 * | type | own keys | delays |
 * | --- | --- | --- |
 * | `exponential` | `base`, `factor` (2) | base, base·2, base·4, … |
 * | `decorrelated` | `base`, `cap` | U(base, 3·previous), at most `cap` |
 * | `fibonacci` | `base` | base, base, base·2, base·3, … |
 * | `spaced` | `interval` | the interval after each failure |
 * | `fixed` | `interval` | to the next multiple of the interval since the first failure |
 * | `delays` | `delays` | the listed ones, then stops |
 * | `sequence` | `schedules` | the first until it stops, then the next |
 * | `min`, `max` | `schedules` | the shortest while any goes on; the longest while all go on |
 *
 * Durations are strings: `"500 millis"`, `"1.5 seconds"`, `"2 minutes"`.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Retry } from "effect-together"
 *
 * const program = Effect.gen(function*() {
 *   const schedule = yield* Retry.fromJson(`{ "type": "exponential", "base": "1 second", "cap": "5 seconds" }`)
 *   const delays = yield* Retry.preview(schedule, { attempts: 5 })
 *   return delays.map(String)
 * })
 *
 * await Effect.runPromise(program) // => ["1000 millis", "2000 millis", "4000 millis", "5000 millis"]
 * ```
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as RetryDelay from "./RetryDelay.ts"
import * as RetryPolicy from "./RetryPolicy.ts"

const bounded = (accepts: (millis: number) => boolean, expected: string) =>
  Schema.DurationFromString.check(
    Schema.makeFilter(
      (duration) => {
        const millis = Duration.toMillis(duration)
        return Number.isFinite(millis) && accepts(millis)
      },
      { expected }
    )
  )
const Positive = bounded((millis) => millis > 0, "a finite duration above 0")
const NotNegative = bounded((millis) => millis >= 0, "a finite duration of at least 0")
const Factor = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(1))

const Range = Schema.Struct({
  min: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  max: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
}).check(Schema.makeFilter(({ max, min }) => max >= min, { expected: "max to be at least min" }))

const Hints = Schema.Struct({
  cap: Schema.optionalKey(Positive),
  spread: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.25 })))
})

/** Names what modifies a schedule of any type. */
export interface Modifiers<D> {
  /** Longest delay of the curve. */
  readonly cap?: D
  /** How the delay is drawn; an object is a range of factors. */
  readonly jitter?: "full" | "equal" | "proportional" | "none" | { readonly min: number; readonly max: number }
  /** Other schedules by the error's `_tag`. */
  readonly byTag?: { readonly [tag: string]: Node<D> }
  /** Follow the provider's hints. */
  readonly retryAfter?: boolean | { readonly cap?: D; readonly spread?: number }
  /** Shortest delay. */
  readonly floor?: D
  /** Longest time from the start to the end of the last wait. */
  readonly maxElapsed?: D
  /** How many delays this schedule gives before it stops: how long a part of a `sequence` lasts. */
  readonly times?: number
  /** Attempts of a call, the first included: one more than delays. */
  readonly maxAttempts?: number
}

/** Describes the curve of a document, by type. */
export type Curve<D> =
  | { readonly type: "exponential"; readonly base: D; readonly factor?: number }
  | { readonly type: "decorrelated"; readonly base: D; readonly cap: D }
  | { readonly type: "fibonacci"; readonly base: D }
  | { readonly type: "spaced" | "fixed"; readonly interval: D }
  | { readonly type: "delays"; readonly delays: readonly [D, ...Array<D>] }
  | { readonly type: "sequence" | "min" | "max"; readonly schedules: readonly [Node<D>, ...Array<Node<D>>] }

/** Describes one schedule of a document; `D` is how it writes durations. */
export type Node<D> = Modifiers<D> & Curve<D>

/** Describes a schedule as data, checked: its durations are `Duration`s. */
export type RetryDocument = Node<Duration.Duration>

/** Describes a schedule as data, as written: its durations are strings. */
export type RetryDocumentJson = Node<string>

const self = Schema.suspend((): Schema.Codec<RetryDocument, RetryDocumentJson> => RetryDocument)
const schedules = Schema.NonEmptyArray(self)

const modifiers = {
  cap: Schema.optionalKey(Positive),
  jitter: Schema.optionalKey(Schema.Union([Schema.Literals(["full", "equal", "proportional", "none"]), Range])),
  byTag: Schema.optionalKey(Schema.Record(Schema.String, self)),
  retryAfter: Schema.optionalKey(Schema.Union([Schema.Boolean, Hints])),
  floor: Schema.optionalKey(Positive),
  maxElapsed: Schema.optionalKey(Positive),
  times: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  maxAttempts: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)))
}

/** Names every type of schedule that a document can hold. */
export const types: ReadonlyArray<RetryDocument["type"]> = [
  "exponential",
  "decorrelated",
  "fibonacci",
  "spaced",
  "fixed",
  "delays",
  "sequence",
  "min",
  "max"
]

/** Decodes and encodes a retry document. */
export const RetryDocument: Schema.Codec<RetryDocument, RetryDocumentJson> = Schema.Union([
  Schema.Struct({
    ...modifiers,
    type: Schema.Literal("exponential"),
    base: Positive,
    factor: Schema.optionalKey(Factor)
  }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("decorrelated"), base: Positive, cap: Positive }).check(
    Schema.makeFilter(({ base, cap }) => Duration.isGreaterThanOrEqualTo(cap, base), {
      expected: "cap to be at least base"
    })
  ),
  Schema.Struct({ ...modifiers, type: Schema.Literal("fibonacci"), base: Positive }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("spaced"), interval: Positive }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("fixed"), interval: Positive }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("delays"), delays: Schema.NonEmptyArray(NotNegative) }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("sequence"), schedules }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("min"), schedules }),
  Schema.Struct({ ...modifiers, type: Schema.Literal("max"), schedules })
]).annotate({
  expected: `an object whose "type" is one of ${types.map((type) => `"${type}"`).join(", ")}`
})

const strict = { onExcessProperty: "error" } as const

const makeCurve = (document: RetryDocument): Schedule.Schedule<unknown> => {
  switch (document.type) {
    case "exponential":
      return RetryDelay.exponential(document.base, document.factor)
    case "decorrelated":
      return RetryDelay.decorrelatedJitter(document)
    case "fibonacci":
      return Schedule.fibonacci(document.base)
    case "spaced":
      return Schedule.spaced(document.interval)
    case "fixed":
      return Schedule.fixed(document.interval)
    case "delays":
      return RetryDelay.delays(document.delays)
    case "sequence":
      return document.schedules.map(makeNode).reduce((first, next) => Schedule.concat(first, next))
    case "min": {
      const [first, ...rest] = document.schedules
      return Schedule.min([makeNode(first), ...rest.map(makeNode)])
    }
    case "max": {
      const [first, ...rest] = document.schedules
      return Schedule.max([makeNode(first), ...rest.map(makeNode)])
    }
  }
}

const makeNode = ({ byTag, retryAfter, ...document }: RetryDocument): Schedule.Schedule<unknown> =>
  RetryPolicy.assemble(makeCurve(document), {
    ...document,
    byTag: byTag && Object.fromEntries(Object.entries(byTag).map(([tag, node]) => [tag, makeNode(node)])),
    retryAfter: retryAfter === true ? {} : retryAfter
  })

/**
 * Builds the schedule of a checked document. Its output is the delay.
 *
 * **Details**: like `Retry.policy`, it stops at a `TogetherError` that no repeat can cure.
 */
export const make = (document: RetryDocument): Schedule.Schedule<Duration.Duration> =>
  RetryPolicy.finish(makeNode(document))

/**
 * Builds the schedule of a document written in the program.
 *
 * **Errors**: throws `RangeError`, naming the path, for a value that its type does not rule out.
 */
export const fromDocument = (document: RetryDocumentJson): Schedule.Schedule<Duration.Duration> => {
  const result = Schema.decodeResult(RetryDocument)(document, strict)
  if (Result.isSuccess(result)) return make(result.success)
  throw new RangeError(`Retry.fromDocument: ${result.failure.message}`)
}

/**
 * Builds the schedule of a document in JSON.
 *
 * **Errors**: `SchemaError`, whose message names the path and what was expected there.
 */
export const fromJson = (text: string): Effect.Effect<Schedule.Schedule<Duration.Duration>, Schema.SchemaError> =>
  Effect.map(Schema.decodeEffect(Schema.fromJsonString(RetryDocument))(text, strict), make)

/** Holds what the configuration has at a path, whatever it means: every value is a string, an empty one is none. */
type Tree = string | ReadonlyArray<Tree | undefined> | { readonly [key: string]: Tree | undefined }

const Tree: Schema.Codec<Tree> = Schema.Union([
  Schema.String,
  // variables that end in numbers make an array with holes
  Schema.Array(Schema.UndefinedOr(Schema.suspend(() => Tree))),
  Schema.Record(Schema.String, Schema.UndefinedOr(Schema.suspend(() => Tree)))
])

const FromTree = Schema.toCodecStringTree(RetryDocument)

/** A key in capitals may be a neighbour's variable. */
const isOwn = (key: string): boolean => !/^[A-Z]/.test(key)

/** Adds to what was read the keys beside it that nobody read. */
const withUnread = (read: unknown, held: unknown): unknown => {
  if (Array.isArray(read) && Array.isArray(held)) return read.map((item, index) => withUnread(item, held[index]))
  if (!Predicate.isObject(read) || !Predicate.isObject(held)) return read
  const unread = Object.entries(held).filter(([key, value]) =>
    value !== undefined && !Object.hasOwn(read, key) && isOwn(key)
  )
  const known = Object.entries(read).map(([key, value]) => [key, withUnread(value, held[key])] as const)
  return Object.fromEntries([...unread, ...known])
}

/** Holds at least one key of a document, by the name that its provider has for it. */
const Known = Schema.Struct(Object.fromEntries(
  [...Object.keys(modifiers), "type", "base", "factor", "interval", "delays", "schedules"]
    .map((key) => [key, Schema.optionalKey(Tree)])
)).check(Schema.isMinProperties(1))

/** Holds at least one key that is not a neighbour's, if it is an object. */
const Own = Tree.check(
  Schema.makeFilter((tree) => !Predicate.isObject(tree) || Object.keys(tree).some(isOwn))
)

interface Held {
  readonly held: Tree
  /** The keys of a document among them, by a document's names. */
  readonly known?: typeof Known.Type
}

/** Reads what stands at a path. Where it is only the variables of others that begin with its name, it is absent. */
const heldAt = (path: string): Config.Config<Held> =>
  Config.all({ known: Config.schema(Known, path), held: Config.schema(Tree, path) }).pipe(
    Config.orElse(() => Config.map(Config.schema(Own, path), (held): Held => ({ held }))),
    Config.orElse(() => Config.map(Config.schema(Schema.String, path), (held): Held => ({ held })))
  )

/** Names the part of an object that is no document: a schema that asked for each key says it nine times. */
const complaint = (
  { held, known }: Held,
  error: Config.ConfigError
): Effect.Effect<never, Config.ConfigError | Schema.SchemaError> => {
  const own = Predicate.isObject(held) ? Object.entries(held).filter(([key]) => isOwn(key)) : []
  // a provider that renames the keys writes them in capitals: then they are told by the names that a document has for them
  const tree = own.length === 0 ? known : Object.fromEntries(own)
  if (tree === undefined) return Effect.fail(error)
  return Effect.andThen(Schema.decodeUnknownEffect(FromTree)(tree, strict), Effect.fail(error))
}

/**
 * Reads a schedule from the configuration: an object, or one string of JSON.
 *
 * **Gotchas**: an unknown key is refused as in JSON, unless it begins with a capital: variables share their names' first
 * parts, so `RETRY_BUDGET` beside `RETRY_type` may belong to someone else, and alone it is as if nothing were there.
 *
 * **Errors**: `ConfigError`, whose message names the variable, the path in the document and what was expected there.
 *
 * **Example**
 *
 * ```ts
 * import { ConfigProvider, Effect } from "effect"
 * import { Retry } from "effect-together"
 *
 * const env = ConfigProvider.fromEnvRecord({ RETRY: `{ "type": "spaced", "interval": "2 seconds", "times": 2 }` })
 * const program = Effect.gen(function*() {
 *   const schedule = yield* Retry.config("RETRY")
 *   return (yield* Retry.preview(schedule)).map(String)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, ConfigProvider.layer(env))) // => ["2000 millis", "2000 millis"]
 * ```
 */
export const config = (path: string): Config.Config<Schedule.Schedule<Duration.Duration>> =>
  Config.all({
    // a provider may know the document's keys by other names, so it is asked for each
    given: Config.orElse(Config.schema(RetryDocument, path), Config.succeed),
    found: heldAt(path)
  }).pipe(
    Config.mapEffect(({ found, given }) =>
      Effect.mapError(
        typeof found.held === "string"
          ? fromJson(found.held)
          : given instanceof Config.ConfigError
          ? complaint(found, given)
          : Effect.map(
            Effect.flatMap(
              Schema.encodeEffect(RetryDocument)(given),
              (read) => Schema.decodeUnknownEffect(RetryDocument)(withUnread(read, found.held), strict)
            ),
            make
          ),
        (error) =>
          error instanceof Config.ConfigError
            ? error
            : new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.Pointer([path], error.issue)))
      )
    )
  )

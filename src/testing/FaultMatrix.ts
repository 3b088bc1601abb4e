/**
 * Runs a program once per request it sends and kind of trouble, and says which combinations end badly.
 *
 * ```
 *                  request #1   #2   #3          each cell is one run of the whole program in virtual time:
 *  429, wait 2 s      ok        ok   ok          a fault at one request, everything else as in the run
 *  hang               hang      ok   ok          without a fault (the baseline)
 *  402                lost      ok   ok
 * ```
 *
 * | verdict | the program |
 * | --- | --- |
 * | `ok` | ended as it should |
 * | `flaky` | differs between two runs without a fault, so that no other run can be judged |
 * | `unhandled` | failed although the trouble passed |
 * | `defect` | died |
 * | `hang` | never ended: deadlock, livelock, or over the limit of virtual time |
 * | `lost` | succeeded with something else than its result |
 * | `leak` | left a socket, a fiber or a timer behind |
 * | `waste` | repeated what can never succeed, or one call more often than `maxAttempts` |
 * | `impatient` | repeated a request before the wait it was asked for was over |
 *
 * Every failing cell is shrunk to the smallest plan that still earns its verdict, and printed as code to paste into a
 * test. With `pairs`, two faults at a time are tried as well, up to that budget.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Millis from "../guard/Millis.ts"
import * as Kinds from "./FaultMatrixKinds.ts"
import * as Report from "./FaultMatrixReport.ts"
import * as Judge from "./FaultMatrixJudge.ts"
import * as Faults from "./Faults.ts"
import * as Answering from "./internal/answering.ts"
import * as Argument from "./internal/argument.ts"
import type * as Reply from "./Reply.ts"
import type * as Sent from "./Sent.ts"
import * as SimulationRandom from "./SimulationRandom.ts"
import * as VirtualClock from "./VirtualClock.ts"
import * as Wiretap from "./Wiretap.ts"

/** Names how a run ended, seen from outside. */
export type Verdict = Judge.Verdict

/** Describes the program under test and what it owes. */
export interface Options<A, E> {
  /** The program. Provide what it needs besides an `HttpClient`: each run builds its layers anew. */
  readonly program: Effect.Effect<A, E, HttpClient.HttpClient>
  /** Makes the provider of one run: the same in every run, or nothing can be compared. See {@link answering}. */
  readonly provider: Effect.Effect<HttpClient.HttpClient, never, Scope.Scope>
  /** Default: every kind of `FaultMatrixKinds`. */
  readonly kinds?: ReadonlyArray<Kinds.Kind> | undefined
  /**
   * Says what is wrong with a result, or nothing. Default: a result must equal the one without a fault. The kinds are
   * those of the run: a program that goes on without an answer owes something else where a kind is not `survivable`.
   */
  readonly check?: ((value: A, baseline: A, kinds: ReadonlyArray<Kinds.Kind>) => string | undefined) | undefined
  /** Says which typed failures are right. Default: any, where the trouble cannot be survived; none where it can. */
  readonly accepts?: ((error: E, kinds: ReadonlyArray<Kinds.Kind>) => boolean) | undefined
  /** Requests of the baseline to strike, from the first. Range 1 and up. Default 20. */
  readonly maxRequests?: number | undefined
  /** Attempts one call may take. Range 1 and up. Default 12. */
  readonly maxAttempts?: number | undefined
  /** Virtual time one run may take. Default 1 hour. */
  readonly limit?: Duration.Input | undefined
  /** Runs with two faults. Range 0 and up. Default 0. */
  readonly pairs?: number | undefined
  /** Seeds the program's `Random` and the choice of pairs. Default 1. */
  readonly seed?: number | undefined
}

/** Holds every default of this module. */
export const defaults = {
  maxRequests: 20,
  maxAttempts: 12,
  limit: Duration.hours(1),
  pairs: 0,
  seed: 1
} as const

/** Reports one run. */
export interface Cell<A = unknown, E = unknown> {
  /** Names what was wrong, at which request: none for the baseline, two for a pair. */
  readonly trouble: ReadonlyArray<{ readonly kind: Kinds.Kind; readonly request: number }>
  readonly plan: Faults.Plan
  readonly verdict: Verdict
  /** Says why, in a sentence; empty for `ok`. */
  readonly reason: string
  readonly exit: Exit.Exit<A, E>
  readonly elapsed: Duration.Duration
  readonly exchanges: ReadonlyArray<Wiretap.Entry>
  /** The smallest plan found that earns the same verdict; the plan itself where none is smaller. */
  readonly smallest: Faults.Plan
}

/** Reports a matrix. */
export interface Matrix<A = unknown, E = unknown> {
  /** The run without a fault. */
  readonly baseline: Cell<A, E>
  readonly cells: ReadonlyArray<Cell<A, E>>
  /** The cells that are not `ok`, the baseline included. */
  readonly failures: ReadonlyArray<Cell<A, E>>
  /** Counts the runs, those of shrinking included. */
  readonly runs: number
}

/** Fails a test whose program ends badly somewhere in the matrix. */
export class FaultMatrixError extends Data.TaggedError("FaultMatrixError")<{
  readonly message: string
  readonly matrix: Matrix
}> {}

/** Makes a provider that answers every request by a function of what was sent. */
export const answering = (answer: (sent: Sent.Sent) => Reply.Reply): Effect.Effect<HttpClient.HttpClient> =>
  Effect.sync(() => Answering.answering((sent) => Effect.sync(() => answer(sent))))

type Exchange = ReturnType<HttpClient.HttpClient["execute"]>

/**
 * Bounds the requests of a run: far above what a program sends on purpose, far below what a loop without a wait sends.
 */
const requestLimit = (options: Pick<Options<never, never>, "maxAttempts">, baseline: number | undefined): number =>
  baseline === undefined ? 10_000 : (baseline + 4) * 4 * (options.maxAttempts ?? defaults.maxAttempts)

const execute = <A, E>(
  options: Options<A, E>,
  plan: Faults.Plan,
  limit: number
): Effect.Effect<Judge.Outcome<A, E>> =>
  Effect.suspend(() => {
    let tap: Wiretap.Wiretap | undefined
    let open = 0
    let sent = 0
    const bounded = HttpClient.transform((exchange: Exchange) =>
      ++sent > limit ? Effect.die(new Judge.TooManyRequests({ limit })) : exchange
    )
    const once = Effect.gen(function*() {
      const provider = yield* options.provider
      tap = Wiretap.make(yield* Faults.wrap(provider, plan))
      return yield* options.program.pipe(
        Effect.provideService(HttpClient.HttpClient, bounded(tap.client)),
        // no layer built in one run is seen by another
        Effect.provideServiceEffect(Layer.CurrentMemoMap, Layer.makeMemoMap),
        Effect.onExit(() => Effect.sync(() => void (open = tap?.open().length ?? 0)))
      )
    })
    return Effect.map(
      VirtualClock.run(Effect.scoped(once), {
        seed: options.seed ?? defaults.seed,
        limit: options.limit ?? defaults.limit,
        maxSpins: 20_000
      }),
      (result) => ({ result, exchanges: tap?.entries() ?? [], open })
    )
  })

const noFault = Faults.plan([])

const cellOf = <A, E>(
  options: Options<A, E>,
  trouble: Cell["trouble"],
  plan: Faults.Plan,
  baseline: Cell<A, E> | undefined
): Effect.Effect<Cell<A, E>> =>
  Effect.map(execute(options, plan, requestLimit(options, baseline?.exchanges.length)), (outcome) => ({
    trouble,
    plan,
    ...Judge.judge(
      { check: options.check, accepts: options.accepts, maxAttempts: options.maxAttempts ?? defaults.maxAttempts },
      trouble.map(({ kind }) => kind),
      outcome,
      baseline?.exit
    ),
    exit: outcome.result.exit,
    elapsed: outcome.result.elapsed,
    exchanges: outcome.exchanges,
    smallest: plan
  }))

const planOf = (trouble: Cell["trouble"], seed: number): Faults.Plan =>
  Faults.plan(trouble.map(({ kind, request }) => Faults.when(kind.fault, Kinds.when(kind, request))), { seed })

const troubleOf = (options: Pick<Options<never, never>, "kinds">, plan: Faults.Plan): Cell["trouble"] =>
  plan.rules.map((rule) => ({ kind: Kinds.ofRule(options.kinds ?? Kinds.all, rule), request: Kinds.start(rule.when) }))

/** Lists the plans that are one step smaller: a rule less, an earlier request, a shorter or simpler fault. */
const smaller = (plan: Faults.Plan): ReadonlyArray<Faults.Plan> => {
  const replace = (index: number, rule: Faults.Rule): Faults.Plan => ({
    ...plan,
    rules: plan.rules.map((old, at) => at === index ? rule : old)
  })
  return plan.rules.flatMap((rule, index) => {
    const { fault, when } = rule
    const start = typeof when.nth === "number" ? when.nth : when.from ?? 1
    return [
      ...(plan.rules.length > 1 ? [{ ...plan, rules: plan.rules.filter((_, at) => at !== index) }] : []),
      ...(when.from === undefined ? [] : [replace(index, Faults.when(fault, { nth: when.from }))]),
      ...(start > 1 ? [replace(index, Faults.when(fault, Kinds.earlier(when)))] : []),
      ...Kinds.simpler(fault).map((simple) => replace(index, Faults.when(simple, when)))
    ]
  })
}

/** Looks for the smallest plan that earns the same verdict, one step at a time. */
const shrink = <A, E>(
  options: Options<A, E>,
  cell: Cell<A, E>,
  baseline: Cell<A, E>,
  count: () => void
): Effect.Effect<Cell<A, E>> =>
  Effect.gen(function*() {
    let smallest = cell.plan
    for (let step = 0; step < 24; step++) {
      let next: Faults.Plan | undefined
      for (const candidate of smaller(smallest)) {
        count()
        const tried = yield* cellOf(options, troubleOf(options, candidate), candidate, baseline)
        if (tried.verdict === cell.verdict) {
          next = candidate
          break
        }
      }
      if (next === undefined) break
      smallest = next
    }
    return { ...cell, smallest }
  })

const singles = (
  options: Pick<Options<never, never>, "kinds" | "maxRequests">,
  baseline: Cell
): ReadonlyArray<Cell["trouble"]> =>
  baseline.exchanges.slice(0, options.maxRequests ?? defaults.maxRequests).flatMap((entry) =>
    (options.kinds ?? Kinds.all)
      .filter((kind) => kind.on === undefined || kind.on(entry.sent))
      .map((kind) => [{ kind, request: entry.index }])
  )

/** Picks pairs: every kind against every kind, the second at the request after the first or later, at random. */
const pairs = (
  troubles: ReadonlyArray<Cell["trouble"]>,
  requests: number,
  budget: number,
  seed: number
): ReadonlyArray<Cell["trouble"]> => {
  const source = SimulationRandom.source(seed)
  const seen = new Set<string>()
  const found: Array<Cell["trouble"]> = []
  for (let i = 0; found.length < budget && i < budget * 10 && troubles.length > 0; i++) {
    const pick = (word: number) =>
      troubles[Math.floor(SimulationRandom.uniform(source, 3 * i + word) * troubles.length)]![0]!
    const [first, second] = [pick(0), pick(1)]
    // half of the seconds meet the retry of the first, the rest any later request
    const near = SimulationRandom.uniform(source, 3 * i + 2) < 0.5
    const request = near ? first.request + 1 : Math.min(requests + 1, Math.max(first.request + 1, second.request))
    const pair = [first, { kind: second.kind, request }]
    const key = pair.map(({ kind, request }) => `${kind.name}@${request}`).join(" + ")
    if (seen.has(key)) continue
    seen.add(key)
    found.push(pair)
  }
  return found
}

/** Runs the program without a fault, and where it succeeds once more: what differs then is no fault's doing. */
const baselineOf = <A, E>(options: Options<A, E>, count: () => void): Effect.Effect<Cell<A, E>> =>
  Effect.gen(function*() {
    count()
    const first = yield* cellOf(options, [], noFault, undefined)
    if (Exit.isFailure(first.exit)) return first
    count()
    const second = yield* cellOf(options, [], noFault, first)
    return {
      ...first,
      ...Judge.repeats(
        { verdict: first.verdict, requests: first.exchanges.length },
        { verdict: second.verdict, reason: second.reason, requests: second.exchanges.length }
      )
    }
  })

/** Runs the matrix and reports it. Never fails: see {@link verify} for a test. */
export const run = <A, E>(options: Options<A, E>): Effect.Effect<Matrix<A, E>> => {
  for (const [field, least] of [["maxRequests", 1], ["maxAttempts", 1], ["pairs", 0]] as const) {
    Argument.integer("FaultMatrix.run", field, options[field] ?? defaults[field], least)
  }
  Millis.positive("FaultMatrix.run: limit", options.limit ?? defaults.limit)
  return Effect.gen(function*() {
    const seed = options.seed ?? defaults.seed
    let runs = 0
    const count = () => void runs++
    const baseline = yield* baselineOf(options, count)
    const cells: Array<Cell<A, E>> = []
    if (Exit.isSuccess(baseline.exit) && baseline.verdict !== "flaky") {
      const troubles = singles(options, baseline)
      const all = [...troubles, ...pairs(troubles, baseline.exchanges.length, options.pairs ?? defaults.pairs, seed)]
      for (const trouble of all) {
        count()
        const cell = yield* cellOf(options, trouble, planOf(trouble, seed), baseline)
        cells.push(cell.verdict === "ok" ? cell : yield* shrink(options, cell, baseline, count))
      }
    }
    return { baseline, cells, failures: [baseline, ...cells].filter((cell) => cell.verdict !== "ok"), runs }
  })
}

/**
 * Runs the program once under a plan: what a pasted test does.
 *
 * **Details**
 *
 * Whether the program must survive a rule is what `kinds` say of it. Of a fault that none of them knows: it must, unless
 * the rule has no end.
 */
export const once = <A, E>(options: Options<A, E>, plan: Faults.Plan): Effect.Effect<Cell<A, E>> =>
  Effect.gen(function*() {
    const baseline = yield* cellOf(options, [], noFault, undefined)
    return yield* cellOf(options, troubleOf(options, plan), plan, baseline)
  })

/** Fails with the printed matrix unless every cell is `ok`; also where the program sent nothing that could be struck. */
export const verify = <A, E>(options: Options<A, E>): Effect.Effect<Matrix<A, E>, FaultMatrixError> =>
  Effect.flatMap(run(options), (matrix) =>
    matrix.failures.length > 0
      ? Effect.fail(new FaultMatrixError({ message: format(matrix), matrix }))
      : matrix.baseline.exchanges.length === 0
      ? Effect.fail(new FaultMatrixError({ message: untested, matrix }))
      : Effect.succeed(matrix))

const untested =
  "FaultMatrix.verify: the program sent no request through the HttpClient of its context, so nothing was " +
  "tested. Give it Together.layerHttp: Together.layer brings a transport of its own."

/** Prints a matrix: the table of verdicts, then each kind of failure with its smallest plan as code. */
export const format: (matrix: Matrix) => string = Report.format

/** Prints the smallest plan of a cell as code. */
export const planCode = (cell: Cell): string => Faults.toCode(cell.smallest)

/** Prints a failing cell as a test to paste. */
export const toTest: (cell: Cell) => string = Report.toTest

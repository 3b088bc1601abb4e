import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import {
  AuthError,
  ConnectionError,
  OverloadedError,
  RateLimitError,
  RequestTimeoutError,
  ServerError,
  StreamError
} from "../../src/domain/TogetherError.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import { suite } from "../policy/vectors.ts"

const rateLimit = (retryAfter?: Duration.Input) =>
  new RateLimitError({
    message: "429",
    scope: "requests",
    retryAfter: retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
  })
const server = new ServerError({ message: "500" })
const overloaded = new OverloadedError({ message: "503" })
const auth = new AuthError({ message: "401" })

const millis = <I, E, R>(schedule: Schedule.Schedule<unknown, I, E, R>, options?: Retry.PreviewOptions<I>) =>
  Effect.map(Retry.preview(schedule, options), (delays) => delays.map((delay) => Duration.toMillis(delay)))

/** Draws the listed numbers in turn, for ever. */
const drawing = (...numbers: ReadonlyArray<number>) => {
  let index = 0
  return Effect.provideService(Random.Random, {
    nextIntUnsafe: () => 0,
    nextDoubleUnsafe: () => numbers[index++ % numbers.length] ?? 0
  })
}

/** A schedule whose delay never changes, so that what a jitter adds shows alone. */
const second = Schedule.spaced("1 second")

const draws = 20_000
const statistics = (schedule: Schedule.Schedule<unknown>) =>
  Effect.map(millis(schedule, { attempts: draws + 1, seed: "statistics" }), (all) => {
    const mean = all.reduce((sum, x) => sum + x, 0) / all.length
    return {
      count: all.length,
      mean: mean / 1000,
      variance: all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / all.length / 1e6,
      min: Math.min(...all) / 1000,
      max: Math.max(...all) / 1000
    }
  })

describe("RetrySchedule", () => {
  describe("jitter.formulas", () => {
    const formulas = suite<{
      readonly base: number
      readonly cap: number
      readonly cases: ReadonlyArray<{ n: number; u: number; none: number; full: number; equal: number }>
      readonly decorrelated: ReadonlyArray<{ prev: number; u: number; delay: number }>
    }>("jitter.formulas")
    const ceiling = Retry.exponential(Duration.seconds(formulas.base)).pipe(
      Retry.capped(Duration.seconds(formulas.cap))
    )

    it.effect.each(formulas.cases)(
      "gives the n-th delay for a fixed draw: $n, $u",
      ({ equal, full, n, none, u }) =>
        Effect.gen(function*() {
          const nth = (schedule: Schedule.Schedule<unknown>) =>
            Effect.map(drawing(u)(millis(schedule, { attempts: n + 2 })), (all) => (all[n] ?? Number.NaN) / 1000)
          expect(yield* nth(ceiling)).toBeCloseTo(none, 9)
          expect(yield* nth(Retry.fullJitter(ceiling))).toBeCloseTo(full, 9)
          expect(yield* nth(Retry.equalJitter(ceiling))).toBeCloseTo(equal, 9)
        })
    )

    it.effect("decorrelates from the delay before", () =>
      Effect.gen(function*() {
        const schedule = Retry.decorrelatedJitter({ base: "100 millis", cap: "20 seconds" })
        for (const { delay, prev, u } of formulas.decorrelated.filter(({ prev }) => prev === formulas.base)) {
          expect(prev).toBe(0.1)
          const [first] = yield* drawing(u)(millis(schedule))
          expect((first ?? 0) / 1000).toBeCloseTo(delay, 9)
        }
        // 0.1 → 0.2998 → 0.899… by drawing 0.999; then u = 0 returns to the base whatever came before
        const walked = yield* drawing(0.999, 0.999, 0)(millis(schedule, { attempts: 4 }))
        expect(walked[1]).toBeCloseTo(100 + 0.999 * (3 * 299.8 - 100), 6)
        expect(walked[2]).toBe(100)
      }))
  })

  describe("jitter.statistics", () => {
    const expected = suite<{
      readonly cases: ReadonlyArray<{ kind: string; v: number; mean: number; variance: number }>
    }>("jitter.statistics")
    const kinds: {
      readonly [kind: string]: { schedule: Schedule.Schedule<unknown>; min: number; max: number }
    } = {
      "full": { schedule: Retry.fullJitter(second), min: 0, max: 1 },
      "equal": { schedule: Retry.equalJitter(second), min: 0.5, max: 1 },
      "effect-jittered": { schedule: Retry.proportionalJitter(second), min: 0.8, max: 1.2 },
      "sdk": { schedule: Retry.proportionalJitter(second, { min: 0.75, max: 1 }), min: 0.75, max: 1 }
    }

    it.effect.each(expected.cases)(
      "$kind has the range, mean and variance of its formula",
      ({ kind, mean, variance }) =>
        Effect.gen(function*() {
          const of = kinds[kind]
          if (of === undefined) throw new Error(`no schedule for ${kind}`)
          const seen = yield* statistics(of.schedule)
          expect(seen.count).toBe(draws)
          expect(Math.abs(seen.mean - mean)).toBeLessThan(4 * Math.sqrt(variance / draws))
          expect(seen.variance / variance).toBeCloseTo(1, 1)
          expect(seen.min).toBeGreaterThanOrEqual(of.min)
          expect(seen.max).toBeLessThanOrEqual(of.max)
          // the whole range is used: one part in a thousand from either end
          expect(seen.min).toBeLessThan(of.min + 0.001)
          expect(seen.max).toBeGreaterThan(of.max - 0.001)
        })
    )

    it.effect("decorrelated jitter stays between base and cap, and reaches both ends", () =>
      Effect.gen(function*() {
        const seen = yield* statistics(Retry.decorrelatedJitter({ base: "100 millis", cap: "2 seconds" }))
        expect(seen.min).toBeGreaterThanOrEqual(0.1)
        expect(seen.min).toBeLessThan(0.11)
        expect(seen.max).toBe(2)
        expect(seen.mean).toBeGreaterThan(0.5)
        expect(seen.mean).toBeLessThan(1.5)
      }))

    it.effect("the wait after a hint is uniform from the hint to a quarter later", () =>
      Effect.gen(function*() {
        const all = yield* millis(Retry.retryAfter(second), {
          inputs: [rateLimit("10 seconds")],
          attempts: draws + 1,
          seed: 3
        })
        const mean = all.reduce((sum, x) => sum + x, 0) / all.length
        const variance = 2500 ** 2 / 12
        expect(Math.abs(mean - 11_250)).toBeLessThan(4 * Math.sqrt(variance / draws))
        expect(Math.min(...all)).toBeGreaterThanOrEqual(10_000)
        expect(Math.max(...all)).toBeLessThanOrEqual(12_500)
      }))
  })

  describe("sequences", () => {
    it.effect("exponential doubles, or grows by the factor", () =>
      Effect.gen(function*() {
        expect(yield* millis(Retry.exponential("100 millis"), { attempts: 5 })).toEqual([100, 200, 400, 800])
        expect(yield* millis(Retry.exponential("100 millis", 3), { attempts: 4 })).toEqual([100, 300, 900])
      }))

    it.effect("capped and floored bound the delay, and an infinite one too", () =>
      Effect.gen(function*() {
        const curve = Retry.exponential("1 millis")
        expect(yield* millis(curve.pipe(Retry.capped("4 millis")), { attempts: 6 })).toEqual([1, 2, 4, 4, 4])
        expect(yield* millis(curve.pipe(Retry.floored()), { attempts: 6 })).toEqual([10, 10, 10, 10, 16])
        const far = yield* millis(curve.pipe(Retry.capped("1 minute")), { attempts: 1102 })
        expect(far.at(-1)).toBe(60_000)
      }))

    it.effect("jitter leaves an infinite delay infinite", () =>
      Effect.gen(function*() {
        const all = yield* drawing(0)(millis(Retry.fullJitter(Schedule.spaced("Infinity")), { attempts: 2 }))
        expect(all).toEqual([Infinity])
      }))

    it.effect("delays gives the listed ones and stops", () =>
      Effect.gen(function*() {
        expect(yield* millis(Retry.delays(["1 second", 0, "5 seconds"]))).toEqual([1000, 0, 5000])
      }))

    it.effect("maxAttempts counts the first attempt", () =>
      Effect.gen(function*() {
        expect(yield* millis(second.pipe(Retry.maxAttempts(3)))).toEqual([1000, 1000])
        expect(yield* millis(second.pipe(Retry.maxAttempts(1)))).toEqual([])
      }))

    it.effect("maxElapsed begins no wait that would end too late", () =>
      Effect.gen(function*() {
        expect(yield* millis(second.pipe(Retry.maxElapsed("3 seconds")))).toEqual([1000, 1000, 1000])
        expect(yield* millis(second.pipe(Retry.maxElapsed("2999 millis")))).toEqual([1000, 1000])
      }))

    it.effect("preview fails with the errors of the schedule", () =>
      Effect.gen(function*() {
        const broken = second.pipe(Schedule.tap(({ attempt }) => attempt === 3 ? Effect.fail("broke") : Effect.void))
        expect(yield* Effect.flip(Retry.preview(broken))).toBe("broke")
      }))

    it.effect("a schedule gives the same delays each time it is run", () =>
      Effect.gen(function*() {
        const schedule = Retry.decorrelatedJitter({ base: "100 millis", cap: "5 seconds" })
        const once = yield* millis(schedule, { seed: 7 })
        expect(yield* millis(schedule, { seed: 7 })).toEqual(once)
        expect(yield* millis(schedule, { seed: 8 })).not.toEqual(once)
        expect(once).toHaveLength(9)
      }))
  })

  describe("retryAfter", () => {
    const hinted = second.pipe(Retry.retryAfter())

    it.effect("keeps the schedule's delay where there is no hint, or a hint of zero", () =>
      Effect.gen(function*() {
        expect(yield* millis(hinted, { inputs: [server, rateLimit(0), rateLimit()] })).toEqual([1000, 1000, 1000])
      }))

    it.effect("follows the hint of any error that carries one, shorter or longer than the delay", () =>
      Effect.gen(function*() {
        const busy = new OverloadedError({ message: "503", retryAfter: Duration.millis(40) })
        expect(yield* drawing(0.5)(millis(hinted, { inputs: [busy, rateLimit("8 seconds")] }))).toEqual([45, 9000])
      }))

    it.effect("stops at a hint over the cap, and not at the cap", () =>
      Effect.gen(function*() {
        expect(yield* drawing(0)(millis(hinted, { inputs: [rateLimit("60 seconds")] }))).toEqual([60_000])
        expect(yield* millis(hinted, { inputs: [rateLimit("60001 millis")] })).toEqual([])
        const patient = second.pipe(Retry.retryAfter({ cap: "1 hour", spread: 0 }))
        expect(yield* millis(patient, { inputs: [rateLimit("50 minutes")] })).toEqual([3_000_000])
        const endless = second.pipe(Retry.retryAfter({ cap: "Infinity" }))
        expect(yield* drawing(0)(millis(endless, { inputs: [rateLimit("520 weeks")] }))).toEqual([520 * 7 * 86_400_000])
      }))

    it.effect("shrinks the random part at the deadline, and stops past it", () =>
      Effect.gen(function*() {
        const step = (retryAfter: Duration.Input) =>
          Effect.flatMap(Schedule.toStep(hinted), (step) => step(0, rateLimit(retryAfter))).pipe(
            Effect.map(([, delay]) => Duration.toMillis(delay)),
            drawing(1),
            Effect.provideService(Deadline.CurrentDeadline, { at: 10_000, minAttempt: 1000 })
          )
        expect(yield* step("4 seconds")).toBe(5000)
        expect(yield* step("8 seconds")).toBe(8999)
        expect(yield* step("8999.5 millis")).toBe(8999.5)
        expect((yield* Effect.exit(step("9 seconds")))._tag).toBe("Failure")
      }))

    it.effect("reads the hint of foreign errors by the option", () =>
      Effect.gen(function*() {
        const foreign = second.pipe(
          Retry.retryAfter({ spread: 0, of: (error: { readonly wait: number }) => Duration.seconds(error.wait) })
        )
        expect(yield* millis(foreign, { inputs: [{ wait: 7 }, { wait: 0 }] })).toEqual([7000, 1000])
      }))
  })

  describe("whileRetryable", () => {
    it.effect("stops at what a repeat cannot cure", () =>
      Effect.gen(function*() {
        const schedule = second.pipe(Retry.whileRetryable())
        expect(yield* millis(schedule, { inputs: [server, auth, server] })).toEqual([1000])
        expect(yield* millis(schedule, { inputs: ["not ours"] })).toEqual([])
      }))

    it.effect.each(
      [
        [new RequestTimeoutError({ message: "", phase: "idle" }), 1],
        [new RequestTimeoutError({ message: "", phase: "deadline" }), 0],
        [new ConnectionError({ message: "", permanent: false }), 1],
        [new ConnectionError({ message: "", permanent: true }), 0],
        [new StreamError({ message: "", started: false, partial: { text: "", reasoning: "" } }), 1],
        [new StreamError({ message: "", started: true, partial: { text: "a", reasoning: "" } }), 0],
        [new ServerError({ message: "", shouldRetry: false }), 0],
        [new AuthError({ message: "", shouldRetry: true }), 1]
      ] as const
    )("decides by the data of the error, case %#", ([error, retries]) =>
      Effect.gen(function*() {
        expect(yield* millis(second.pipe(Retry.whileRetryable()), { inputs: [error] })).toHaveLength(retries)
      }))

    it.effect("takes the caller's rule", () =>
      Effect.gen(function*() {
        const schedule = second.pipe(Retry.whileRetryable((status: number) => status >= 500))
        expect(yield* millis(schedule, { inputs: [500, 503, 404, 500] })).toEqual([1000, 1000])
      }))
  })

  describe("byTag", () => {
    const schedule = second.pipe(Retry.byTag({
      OverloadedError: Retry.exponential("100 millis"),
      RateLimitError: Retry.delays(["10 seconds", "20 seconds"])
    }))

    it.effect("gives each kind of error its own schedule, with its own count", () =>
      Effect.gen(function*() {
        expect(
          yield* millis(schedule, { inputs: [overloaded, rateLimit(), server, overloaded, rateLimit(), overloaded] })
        )
          .toEqual([100, 10_000, 1000, 200, 20_000, 400])
      }))

    it.effect("is done when the chosen schedule is", () =>
      Effect.gen(function*() {
        const inputs = [rateLimit(), rateLimit(), rateLimit(), server] as const
        expect(yield* millis(schedule, { inputs })).toEqual([10_000, 20_000])
      }))

    it.effect("when chooses by any predicate", () =>
      Effect.gen(function*() {
        const chosen = second.pipe(Retry.when((n: number) => n > 10, Schedule.spaced("3 seconds")))
        expect(yield* millis(chosen, { inputs: [1, 11, 2] })).toEqual([1000, 3000, 1000])
      }))
  })

  it("refuses options out of range", () => {
    const refused: ReadonlyArray<readonly [() => unknown, RegExp]> = [
      [() => Retry.exponential(0), /Retry.exponential: base must be above 0, got 0 ms/],
      [() => Retry.exponential(1, 0.5), /factor must be a finite number >= 1, got 0.5/],
      [() => Retry.decorrelatedJitter({ base: 0, cap: 1 }), /base must be above 0/],
      [
        () => Retry.decorrelatedJitter({ base: "2 seconds", cap: "1 second" }),
        /cap must be at least base, which is 2000 ms/
      ],
      [() => Retry.delays([-1]), /every delay must be at least 0/],
      [() => Retry.proportionalJitter(second, { min: -1 }), /min must be a finite number >= 0, got -1/],
      [() => Retry.proportionalJitter(second, { min: 2 }), /max must be finite and >= min, which is 2, got 1.2/],
      [() => Retry.capped(second, 0), /Retry.capped: max must be above 0/],
      [() => Retry.floored(second, 0), /Retry.floored: min must be above 0/],
      [() => Retry.retryAfter(second, { cap: 0 }), /Retry.retryAfter: cap must be above 0/],
      [() => Retry.retryAfter(second, { spread: 0.3 }), /Retry.retryAfter: spread must be in \[0, 0.25\], got 0.3/],
      [() => Retry.maxAttempts(second, 0), /attempts must be an integer >= 1, got 0/],
      [() => Retry.maxAttempts(second, 1.5), /got 1.5/],
      [() => Retry.maxElapsed(second, 0), /Retry.maxElapsed: limit must be above 0/],
      [() => Retry.preview(second, { attempts: 0 }), /Retry.preview: attempts must be an integer >= 1, got 0/]
    ]
    for (const [make, message] of refused) expect(make).toThrow(message)
  })
})

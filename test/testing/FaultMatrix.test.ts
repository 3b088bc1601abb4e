import { describe, expect, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Context from "effect/Context"
import * as Fault from "../../src/testing/Fault.ts"
import * as FaultMatrix from "../../src/testing/FaultMatrix.ts"
import * as Kinds from "../../src/testing/FaultMatrixKinds.ts"
import * as Faults from "../../src/testing/Faults.ts"
import * as Reply from "../../src/testing/Reply.ts"

class Refused extends Data.TaggedError("Refused")<{ readonly status: number }> {}

const provider = FaultMatrix.answering((sent) => Reply.raw(`answer to ${sent.path}`))

const ask = (path: string) =>
  Effect.gen(function*() {
    const response = yield* HttpClient.get(`http://localhost/v1${path}`)
    const text = yield* response.text
    return response.status === 200 ? text : yield* new Refused({ status: response.status })
  })

const patient = (path: string) =>
  ask(path).pipe(Effect.timeout("1 minute"), Effect.retry({ times: 5, schedule: Schedule.spaced("3 seconds") }))

const only = (...names: ReadonlyArray<string>) => Kinds.all.filter(({ name }) => names.includes(name))

const verdicts = (matrix: FaultMatrix.Matrix<unknown, unknown>) =>
  matrix.cells.map((
    cell
  ) => [cell.trouble.map(({ kind, request }) => `${kind.name}@${request}`).join("+"), cell.verdict])

describe("FaultMatrix", () => {
  describe("run", () => {
    it.effect("tries every kind at every request of the baseline", () =>
      Effect.gen(function*() {
        const program = Effect.all([patient("/a"), patient("/b")])
        const matrix = yield* FaultMatrix.run({ program, provider, kinds: only("503", "hang") })
        expect(verdicts(matrix)).toStrictEqual([["503@1", "ok"], ["hang@1", "ok"], ["503@2", "ok"], ["hang@2", "ok"]])
        expect(matrix.runs).toBe(6)
        expect(matrix.failures).toStrictEqual([])
        expect(matrix.cells[1]!.exchanges).toHaveLength(3)
      }))

    it.effect("gives stream troubles to streams only", () =>
      Effect.gen(function*() {
        const matrix = yield* FaultMatrix.run({ program: patient("/a"), provider, kinds: Kinds.streaming })
        expect(matrix.cells).toHaveLength(0)
      }))

    it.effect("calls a failure unhandled where the trouble passes, and right where it stays", () =>
      Effect.gen(function*() {
        const matrix = yield* FaultMatrix.run({ program: ask("/a"), provider, kinds: only("503", "400") })
        expect(verdicts(matrix)).toStrictEqual([["503@1", "unhandled"], ["400@1", "ok"]])
        expect(matrix.cells[0]!.reason).toBe("fails with Refused")
      }))

    it.effect("lets the user say which failures are right, and what is wrong with a result", () =>
      Effect.gen(function*() {
        const accepting = yield* FaultMatrix.run({
          program: ask("/a"),
          provider,
          kinds: only("503", "400"),
          accepts: (error) => error._tag === "Refused" && error.status === 503
        })
        expect(verdicts(accepting)).toStrictEqual([["503@1", "ok"], ["400@1", "unhandled"]])
        const checking = yield* FaultMatrix.run({
          program: Effect.orElseSucceed(ask("/a"), () => ""),
          provider,
          kinds: only("503"),
          check: (value, baseline) => value === "" ? `is empty instead of ${baseline}` : undefined
        })
        expect(checking.cells[0]).toMatchObject({ verdict: "lost", reason: "is empty instead of answer to /a" })
      }))

    it.effect("tells a check which trouble there was, so that a program may go on without an answer that cannot come", () =>
      Effect.gen(function*() {
        const matrix = yield* FaultMatrix.run({
          program: Effect.orElseSucceed(ask("/a"), () => ""),
          provider,
          kinds: only("503", "400"),
          check: (value, baseline, kinds) =>
            value === baseline || kinds.some(({ survivable }) => !survivable) ? undefined : "is empty"
        })
        expect(verdicts(matrix)).toStrictEqual([["503@1", "lost"], ["400@1", "ok"]])
      }))

    it.effect("calls a result lost that differs from the one without a fault", () =>
      Effect.gen(function*() {
        const program = Effect.orElseSucceed(ask("/a"), () => "")
        const matrix = yield* FaultMatrix.run({ program, provider, kinds: only("402, out of credit") })
        expect(matrix.cells[0]).toMatchObject({ verdict: "lost", reason: "ends with \"\" instead of \"answer to /a\"" })
      }))

    it.effect("tells hangs, defects and interruptions", () =>
      Effect.gen(function*() {
        const hang = yield* FaultMatrix.run({ program: ask("/a"), provider, kinds: only("hang") })
        expect(hang.cells[0]).toMatchObject({ verdict: "hang" })
        expect(hang.cells[0]!.reason).toContain("deadlock after 0")
        const busy = yield* FaultMatrix.run({
          program: Effect.catch(ask("/a"), () => Effect.forever(Effect.yieldNow)),
          provider,
          kinds: only("503 for good")
        })
        expect(busy.cells[0]!.reason).toContain("livelock")
        const polling = yield* FaultMatrix.run({
          program: Effect.retry(ask("/a"), Schedule.spaced("1 second")),
          provider,
          kinds: only("503 for good"),
          limit: "1 minute"
        })
        expect(polling.cells[0]!.reason).toContain("time-limit")
        const defect = yield* FaultMatrix.run({ program: Effect.orDie(ask("/a")), provider, kinds: only("503") })
        expect(defect.cells[0]).toMatchObject({ verdict: "defect" })
        const interrupted = yield* FaultMatrix.run({
          program: Effect.catch(ask("/a"), () => Effect.interrupt),
          provider,
          kinds: only("503")
        })
        expect(interrupted.cells[0]).toMatchObject({ verdict: "defect", reason: "is interrupted" })
      }))

    it.effect("finds sockets, fibers and timers left behind", () =>
      Effect.gen(function*() {
        const socket = yield* FaultMatrix.run({
          program: Effect.as(HttpClient.get("http://localhost/v1/a"), "done"),
          provider,
          kinds: []
        })
        expect(socket.baseline).toMatchObject({ verdict: "leak", reason: "leaves behind 1 open socket" })
        const fiber = yield* FaultMatrix.run({
          program: Effect.forkDetach(Effect.sleep("1 hour"), { startImmediately: true }).pipe(
            Effect.andThen(ask("/a"))
          ),
          provider,
          kinds: []
        })
        expect(fiber.baseline).toMatchObject({
          verdict: "leak",
          reason: "leaves behind 1 running fiber, 1 timer"
        })
      }))

    it.effect("finds waste and impatience", () =>
      Effect.gen(function*() {
        const stubborn = yield* FaultMatrix.run({ program: patient("/a"), provider, kinds: only("401") })
        expect(stubborn.cells[0]).toMatchObject({
          verdict: "waste",
          reason: "repeats, by request #2, one that was refused with 401"
        })
        const endless = yield* FaultMatrix.run({
          program: Effect.retry(ask("/a"), Schedule.forever),
          provider,
          kinds: only("503 for good")
        })
        expect(endless.cells[0]).toMatchObject({ verdict: "waste", reason: "sends more than 240 requests" })
        const many = yield* FaultMatrix.run({
          program: patient("/a"),
          provider,
          kinds: only("503 for good"),
          maxAttempts: 3
        })
        expect(many.cells[0]).toMatchObject({ verdict: "waste", reason: "makes more than 3 attempts for call 1" })
        const hasty = yield* FaultMatrix.run({
          program: Effect.retry(ask("/a"), { times: 3, schedule: Schedule.spaced("1 second") }),
          provider,
          kinds: only("429, wait 2 s")
        })
        expect(hasty.cells[0]).toMatchObject({
          verdict: "impatient",
          reason: "sends request #2 1000 ms after it was asked to wait 2000 ms"
        })
      }))

    it.effect("takes a slow probe after a refusal for what it is", () =>
      Effect.gen(function*() {
        const probing = Effect.retry(ask("/a"), { times: 2, schedule: Schedule.spaced("30 seconds") })
        const matrix = yield* FaultMatrix.run({ program: probing, provider, kinds: only("402, out of credit") })
        expect(matrix.failures).toStrictEqual([])
      }))

    it.effect("starts every run from nothing: its layers, its provider, its chance", () =>
      Effect.gen(function*() {
        class Count extends Context.Service<Count, Ref.Ref<number>>()("test/Count") {}
        const counting = Effect.gen(function*() {
          yield* patient("/a")
          const random = yield* Random.next
          return [yield* Ref.updateAndGet(yield* Count, (n) => n + 1), random]
        }).pipe(Effect.provide(Layer.effect(Count, Ref.make(0))))
        const matrix = yield* FaultMatrix.run({ program: counting, provider, kinds: only("503", "reset") })
        expect(matrix.failures).toStrictEqual([])
      }))

    it.effect("stops where two runs without a fault end differently, or send differently", () =>
      Effect.gen(function*() {
        let runs = 0
        const counting = Effect.map(patient("/a"), () => ++runs)
        const other = yield* FaultMatrix.run({ program: counting, provider, kinds: only("503") })
        expect(other.baseline).toMatchObject({
          verdict: "flaky",
          reason: "differs between two runs without a fault: the second ends with 2 instead of 1. " +
            "Make the program repeatable, or say with `check` what matters of its result"
        })
        expect([other.cells.length, other.failures.length, other.runs]).toStrictEqual([0, 1, 2])
        expect(FaultMatrix.format(other)).toContain("FLAKY without any fault")

        const compared = yield* FaultMatrix.run({
          program: counting,
          provider,
          kinds: only("503"),
          check: () => undefined
        })
        expect(compared.failures).toStrictEqual([])

        // a cache of the module: no run after the first would meet a fault
        const cached = yield* Effect.cached(patient("/a"))
        const kept = yield* FaultMatrix.run({ program: cached, provider, kinds: only("503") })
        expect(kept.baseline.verdict).toBe("flaky")
        expect(kept.baseline.reason).toContain("the second sends 0 requests, the first 1. Make what outlives a run")
      }))

    it.effect("stops after a baseline that fails", () =>
      Effect.gen(function*() {
        const matrix = yield* FaultMatrix.run({ program: Effect.fail("no"), provider })
        expect(matrix.baseline).toMatchObject({ verdict: "unhandled", reason: "fails with no" })
        expect([matrix.cells.length, matrix.failures.length]).toStrictEqual([0, 1])
      }))

    it.effect("tries pairs up to its budget, and finds what no single fault shows", () =>
      Effect.gen(function*() {
        const once = ask("/a").pipe(
          Effect.timeout("1 minute"),
          Effect.retry({ times: 1, schedule: Schedule.spaced("3 seconds") })
        )
        const options = { program: once, provider, kinds: only("503", "reset") }
        expect((yield* FaultMatrix.run(options)).failures).toStrictEqual([])
        const matrix = yield* FaultMatrix.run({ ...options, pairs: 4 })
        expect(matrix.cells).toHaveLength(6)
        expect(matrix.failures.map(({ verdict }) => verdict)).toStrictEqual([
          "unhandled",
          "unhandled",
          "unhandled",
          "unhandled"
        ])
        expect(matrix.failures.every(({ smallest }) => smallest.rules.length === 2)).toBe(true)
        const again = yield* FaultMatrix.run({ ...options, pairs: 4 })
        expect(verdicts(again)).toStrictEqual(verdicts(matrix))
      }))

    it("refuses options that make no sense", () => {
      expect(() => FaultMatrix.run({ program: ask("/a"), provider, pairs: -1 })).toThrow(
        "FaultMatrix.run: pairs must be an integer >= 0, got -1"
      )
      expect(() => FaultMatrix.run({ program: ask("/a"), provider, maxRequests: 0 })).toThrow("maxRequests")
      expect(() => FaultMatrix.run({ program: ask("/a"), provider, limit: 0 })).toThrow(
        "FaultMatrix.run: limit must be above 0, got 0 ms"
      )
    })
  })

  describe("shrinking", () => {
    it.effect("finds the smallest plan with the same verdict", () =>
      Effect.gen(function*() {
        const program = Effect.all([ask("/a"), ask("/b"), ask("/c")])
        const matrix = yield* FaultMatrix.run({
          program,
          provider,
          kinds: [
            Kinds.make("much", Fault.status(503, { body: "x", headers: { a: "b" } }), { lasts: 3 }),
            Kinds.make("late", Fault.cutAtByte(9))
          ],
          pairs: 2
        })
        expect(matrix.failures.length).toBe(8)
        expect(new Set(matrix.failures.map(FaultMatrix.planCode))).toStrictEqual(
          new Set([
            "Faults.plan([Faults.when(Fault.status(503), { nth: 1 })])",
            "Faults.plan([Faults.when(Fault.cutAtByte(0), { nth: 1 })])"
          ])
        )
      }))

    it.each(Kinds.all)("keeps the tag of $name while it makes it simpler", (kind) => {
      for (const simple of Kinds.simpler(kind.fault)) {
        expect(simple._tag).toBe(kind.fault._tag)
        expect(Kinds.simpler(simple)).toStrictEqual([])
      }
    })
  })

  describe("once", () => {
    it.effect("repeats a failing cell from its plan", () =>
      Effect.gen(function*() {
        const options = { program: ask("/a"), provider, kinds: only("503") }
        const [failure] = (yield* FaultMatrix.run(options)).failures
        const cell = yield* FaultMatrix.once(options, failure!.smallest)
        expect(cell.verdict).toBe("unhandled")
        const unknown = yield* FaultMatrix.once(options, Faults.plan([Fault.status(418)]))
        expect(unknown.trouble[0]!.kind.name).toBe("Fault.status(418)")
      }))

    it.effect("ends every failing cell as the matrix did", () =>
      Effect.gen(function*() {
        const stubborn = Effect.retry(Effect.timeout(ask("/a"), "1 minute"), {
          times: 20,
          schedule: Schedule.spaced("1 second")
        })
        for (const program of [stubborn, Effect.orElseSucceed(ask("/a"), () => "")]) {
          const { failures } = yield* FaultMatrix.run({ program, provider, pairs: 10 })
          for (const { smallest, verdict } of failures) {
            const cell = yield* FaultMatrix.once({ program, provider }, smallest)
            expect(`${FaultMatrix.planCode(cell)} ${cell.verdict}`).toBe(`${FaultMatrix.planCode(cell)} ${verdict}`)
          }
        }
      }))

    it.effect.each(
      [
        ["a kind made simpler", Fault.status(200), { nth: 1 }, "200 that is a web page", "ok"],
        ["a kind that stays", Fault.status(503), { from: 1 }, "503 for good", "ok"],
        ["the same fault where it passes", Fault.status(503), { nth: 1 }, "503", "unhandled"],
        ["a fault without a kind that stays", Fault.status(418), {}, "Fault.status(418)", "ok"],
        ["a fault without a kind that passes", Fault.status(418), { times: 3 }, "Fault.status(418)", "unhandled"]
      ] as const
    )("judges %s by its own rule", ([, fault, when, name, verdict]) =>
      Effect.gen(function*() {
        const program = Effect.filterOrFail(ask("/a"), (text) => text !== "", () => new Refused({ status: 200 }))
        const cell = yield* FaultMatrix.once({ program, provider }, Faults.plan([Faults.when(fault, when)]))
        expect([cell.trouble[0]!.kind.name, cell.verdict]).toStrictEqual([name, verdict])
      }))
  })

  describe("a result that cannot be compared", () => {
    const odd = (status: number) => {
      const value: { [name: string]: unknown } = { status, count: 1n, when: new Date(0), compute: () => status }
      value["itself"] = value
      return value
    }
    const program = Effect.map(HttpClient.get("http://test/a"), ({ status }) => odd(status))

    it.effect("is printed, cycles included, and asks for a check", () =>
      Effect.gen(function*() {
        const same = yield* FaultMatrix.run({
          program: Effect.map(program, () => odd(0)),
          provider,
          kinds: only("503")
        })
        expect(same.baseline.reason).toMatch(
          /ends with a result that does not equal .* both print as \{.*`check`\. Make/
        )
        const other = yield* FaultMatrix.run({
          program: Effect.map(program, (value) => value["status"] === 200 ? "fine" : value),
          provider,
          kinds: only("503")
        })
        expect(other.cells[0]?.reason).toMatch(/^ends with \{"status":503,.* instead of "fine"/)
        expect(other.cells[0]?.reason).not.toContain("\n")
      }))
  })

  describe("verify", () => {
    it.effect("refuses a program that sends nothing through the client of its context", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(FaultMatrix.verify({ program: Effect.succeed("Paris"), provider }))
        expect(error.message).toMatch(/^FaultMatrix.verify: the program sent no request .* nothing was tested/)
        expect(error.matrix.failures).toEqual([])
      }))

    it.effect("passes a program without faults, and fails one with them, with the table and a test to paste", () =>
      Effect.gen(function*() {
        yield* FaultMatrix.verify({ program: patient("/a"), provider, kinds: only("503", "hang") })
        const error = yield* Effect.flip(
          FaultMatrix.verify({
            program: Effect.all([ask("/a"), ask("/b")]),
            provider,
            kinds: only("503", "429, no hint")
          })
        )
        expect(error.message).toMatchInlineSnapshot(`
          "2 requests, 4 combinations, 8 runs: 4 end badly

                        #1         #2
          429, no hint  UNHANDLED  UNHANDLED
          503           UNHANDLED  UNHANDLED

          UNHANDLED 429, no hint at request #1 (and 1 more like it)
            The program fails with Refused, at 0.000s of virtual time.
              #1  call 1  attempt 1  at 0.000s  took 0.000s  GET /a (GET /a)  429

            it.effect("survives 429, no hint at request #1", () =>
              Effect.gen(function*() {
                // unhandled: fails with Refused
                const plan = Faults.plan([Faults.when(Fault.rateLimited(), { nth: 1 })])
                const cell = yield* FaultMatrix.once(options, plan)
                expect(cell.verdict).toBe("ok")
              }))

          UNHANDLED 503 at request #1 (and 1 more like it)
            The program fails with Refused, at 0.000s of virtual time.
              #1  call 1  attempt 1  at 0.000s  took 0.000s  GET /a (GET /a)  503

            it.effect("survives 503 at request #1", () =>
              Effect.gen(function*() {
                // unhandled: fails with Refused
                const plan = Faults.plan([Faults.when(Fault.status(503), { nth: 1 })])
                const cell = yield* FaultMatrix.once(options, plan)
                expect(cell.verdict).toBe("ok")
              }))"
        `)
      }))
  })
})

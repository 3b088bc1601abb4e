import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as naiveLoop from "../../docs/examples/pitfalls/01-naive-loop.ts"
import * as unboundedForEach from "../../docs/examples/pitfalls/02-unbounded-foreach.ts"
import * as retryEverything from "../../docs/examples/pitfalls/03-retry-everything.ts"
import * as catchAll from "../../docs/examples/pitfalls/04-catch-all.ts"
import * as printedTwice from "../../docs/examples/pitfalls/05-stream-printed-twice.ts"
import * as noTimeout from "../../docs/examples/pitfalls/06-no-timeout.ts"
import * as ignoredHint from "../../docs/examples/pitfalls/07-ignored-hint.ts"
import * as truncatedStream from "../../docs/examples/pitfalls/08-truncated-stream.ts"
import * as unreadBody from "../../docs/examples/pitfalls/09-unread-body.ts"
import * as parseOrDie from "../../docs/examples/pitfalls/10-parse-or-die.ts"
import * as twoRetryLoops from "../../docs/examples/pitfalls/11-two-retry-loops.ts"
import * as leakedPermit from "../../docs/examples/pitfalls/12-leaked-permit.ts"
import * as FaultMatrix from "../../src/testing/FaultMatrix.ts"
import * as FaultMatrixKinds from "../../src/testing/FaultMatrixKinds.ts"

interface Found {
  readonly verdict: FaultMatrix.Verdict
  /** Kind of trouble that shows it; the corrected program meets them all. */
  readonly kind?: string
  /** The smallest plan that shows it, as code; empty where it shows without a fault. */
  readonly smallest: string
}

const pitfall = <A1, E1, A2, E2>(
  name: string,
  programs: { readonly broken: FaultMatrix.Options<A1, E1>; readonly corrected: FaultMatrix.Options<A2, E2> },
  found: Found
) =>
  describe(name, () => {
    it.effect(`shows as ${found.verdict} in the broken program`, () =>
      Effect.gen(function*() {
        const kinds = FaultMatrixKinds.all.filter(({ name }) => name === found.kind)
        const matrix = yield* FaultMatrix.run({ ...programs.broken, kinds })
        const cells = matrix.failures.filter((cell) => cell.verdict === found.verdict)
        expect(cells.map((cell) => cell.trouble.length === 0 ? "" : FaultMatrix.planCode(cell))).toContain(
          found.smallest
        )
      }))

    it.effect("shows nowhere in the corrected program", () => Effect.asVoid(FaultMatrix.verify(programs.corrected)))
  })

describe("pitfalls", () => {
  pitfall("the naive loop", naiveLoop, {
    verdict: "unhandled",
    kind: "429, no hint",
    smallest: "Faults.plan([Faults.when(Fault.rateLimited(), { nth: 1 })])"
  })
  pitfall("the unbounded forEach", unboundedForEach, { verdict: "unhandled", smallest: "" })
  pitfall("retrying everything", retryEverything, {
    verdict: "waste",
    kind: "402, out of credit",
    smallest: "Faults.plan([Faults.when(Fault.outOfCredits, { nth: 1 })])"
  })
  pitfall("the catch-all that swallows 402", catchAll, {
    verdict: "lost",
    kind: "402, out of credit",
    smallest: "Faults.plan([Faults.when(Fault.outOfCredits, { nth: 1 })])"
  })
  pitfall("the stream printed twice", printedTwice, {
    verdict: "lost",
    kind: "stream cut",
    smallest: "Faults.plan([Faults.when(Fault.cutAtEvent(1), { nth: 1 })])"
  })
  pitfall("no timeout", noTimeout, {
    verdict: "hang",
    kind: "hang",
    smallest: "Faults.plan([Faults.when(Fault.hang, { nth: 1 })])"
  })
  pitfall("the ignored hint", ignoredHint, {
    verdict: "impatient",
    kind: "429, wait 2 s",
    smallest: "Faults.plan([Faults.when(Fault.rateLimited({ reset: 2 }), { nth: 1 })])"
  })
  pitfall("the truncated stream", truncatedStream, {
    verdict: "lost",
    kind: "stream ends early",
    smallest: "Faults.plan([Faults.when(Fault.endAtEvent(0), { nth: 1 })])"
  })
  pitfall("the unread body", unreadBody, {
    verdict: "leak",
    kind: "429, no hint",
    smallest: "Faults.plan([Faults.when(Fault.rateLimited(), { nth: 1 })])"
  })
  pitfall("parsing or dying", parseOrDie, {
    verdict: "defect",
    kind: "502, HTML",
    smallest: "Faults.plan([Faults.when(Fault.status(502), { nth: 1 })])"
  })
  pitfall("two retry loops", twoRetryLoops, {
    verdict: "waste",
    kind: "503 for good",
    smallest: "Faults.plan([Faults.when(Fault.status(503), { from: 1 })])"
  })
  pitfall("the leaked permit", leakedPermit, {
    verdict: "hang",
    kind: "402, out of credit",
    smallest: "Faults.plan([Faults.when(Fault.outOfCredits, { nth: 1 })])"
  })
})

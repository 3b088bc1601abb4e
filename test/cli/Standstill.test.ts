import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Credits, Lanes } from "../../src/index.ts"
import * as Host from "../../src/cli/Host.ts"
import * as Standstill from "../../src/cli/Standstill.ts"
import * as Ticker from "../../src/cli/Ticker.ts"
import * as Report from "../../src/job/Report.ts"
import * as SteadyClock from "../../src/job/SteadyClock.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const billing = "https://api.together.ai/settings/billing"

describe("Standstill", () => {
  it.effect("is shown in place of limit and ETA while a run waits for credit, and told at its end", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const now = yield* SteadyClock.make
        const report = Report.make(now())
        const standstill = Standstill.make(true)
        const written: Array<string> = []
        const host = {
          ...Host.live(),
          stderr: { color: false, redraw: false, columns: 80 },
          writeError: (text: string) => void written.push(text)
        }
        const credits = yield* Credits.Credits
        yield* Effect.forkScoped(Standstill.watching(standstill, now))
        yield* Effect.forkScoped(Ticker.drawing(report, standstill, host))
        yield* Effect.sleep("6 seconds")
        yield* credits.suspend()
        yield* Effect.sleep("5 seconds")
        expect(written[0]).toMatch(/ · no credit since 0:06 · top up at https:\S+\/billing · next probe in [67] s\n$/)
        report.endedAt = now()
        expect(Standstill.told(standstill, report)).toBe(
          `out of credit since 0:06: the run waited for 5 s. Top up at ${billing}`
        )
        yield* Effect.sleep("5 seconds")
        yield* credits.resume()
        yield* Effect.sleep("5 seconds")
        expect(written[1]).toMatch(/ · limit: not found yet · no 429 · ETA –\n$/)
        expect(Standstill.told(standstill, report)).toMatch(
          /^out of credit from 0:06 to 0:1[67]: the run waited for 10(\.\d)? s$/
        )
      }).pipe(Effect.scoped, Effect.provide([Lanes.layer(), Credits.layer()]))
    ))

  it.effect("does not speak of credit where the run stops for want of it", () =>
    Effect.gen(function*() {
      const standstill = Standstill.make(false)
      yield* (yield* Credits.Credits).suspend()
      yield* Standstill.look(standstill, 0)
      expect([Standstill.now(standstill, 0), Standstill.told(standstill, Report.make(0))]).toEqual([
        undefined,
        undefined
      ])
    }).pipe(Effect.provide(Credits.layer())))

  it("sums up the times without credit, and names a probe that is under way by none", () => {
    const report = Report.make(0)
    report.endedAt = 100_000
    const standstill = Standstill.make(true)
    const outage = { generation: 1, since: 0, probes: 1, refusals: 2 }
    const suspended = { _tag: "Suspended", probeAt: Infinity, ended: true, ...outage } as const
    for (const [account, now] of [[suspended, 10], [{ _tag: "Active", generation: 1 }, 20], [suspended, 50]] as const) {
      Standstill.see(standstill, account, now * 1000, 0)
    }
    expect(Standstill.now(standstill, 0)).toBe(`no credit since 0:50 · top up at ${billing}`)
    expect(Standstill.told(standstill, report)).toMatch(/^out of credit since 0:50: the run waited for 1 min\. Top/)
    Standstill.see(standstill, { _tag: "Active", generation: 2 }, 60_000, 0)
    expect(Standstill.told(standstill, report)).toBe(
      "out of credit 2 times, at last until 1:00: the run waited for 20 s"
    )
  })

  it("begins no time without credit later than it is seen, where the clock was set back meanwhile", () => {
    const standstill = Standstill.make(true)
    const suspended = {
      _tag: "Suspended",
      probeAt: 130,
      ended: false,
      generation: 1,
      since: 100,
      probes: 0,
      refusals: 1
    }
    for (const wall of [104, 40]) {
      standstill.spells.length = 0
      Standstill.see(standstill, { ...suspended, _tag: "Suspended" }, 9000, wall)
      expect(standstill.spells).toEqual([{ from: wall === 104 ? 5000 : 9000, to: undefined }])
    }
  })

  it("names a file that waits for space, until it has some", () => {
    const standstill = Standstill.make(false)
    const hear = Standstill.hearFull(standstill)
    hear("j.journal", 29_000)
    expect(Standstill.now(standstill, 0)).toBe("waiting for disk space at j.journal, 29 s left")
    hear("j.journal", 0)
    expect(Standstill.now(standstill, 0)).toBeUndefined()
  })
})

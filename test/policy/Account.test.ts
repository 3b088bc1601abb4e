import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Account from "../../src/policy/Account.ts"

const ordinary = { generation: 0, probe: 0 }

const suspended = (now = 0, probeAt: number | undefined = now + 30) => {
  const [, state] = Account.refused(Account.initial, ordinary, now)
  return Account.scheduled(state, probeAt)
}

const probing = () => {
  const [entered, state] = Account.enter(suspended(), 30)
  if (entered._tag !== "Pass") throw new Error("not admitted")
  return [entered.admission, state] as const
}

describe("Account", () => {
  it("lets calls pass until the first refusal, and counts a storm once", () => {
    expect(Account.enter(Account.initial, 0)[0]).toEqual({ _tag: "Pass", admission: ordinary })
    const [first, state] = Account.refused(Account.initial, ordinary, 5)
    expect(first).toBe("Suspended")
    const [second, after] = Account.refused(state, ordinary, 6)
    expect(second).toBe("Counted")
    expect(after).toMatchObject({ _tag: "Suspended", generation: 1, since: 5, refusals: 2, probes: 0 })
  })

  it("makes calls wait until a probe is due, then lets exactly one pass", () => {
    const state = suspended()
    expect(Account.enter(state, 29)[0]).toEqual({ _tag: "Wait", probeAt: 30 })
    const [entered, next] = Account.enter(state, 30)
    expect(entered).toEqual({ _tag: "Pass", admission: { generation: 1, probe: 1 } })
    expect(next).toMatchObject({ _tag: "Probing", startedAt: 30, probes: 1 })
    expect(Account.enter(next, 31)[0]).toEqual({ _tag: "Wait", probeAt: Infinity })
  })

  it("waits for its schedule before the first probe", () => {
    const [, state] = Account.refused(Account.initial, ordinary, 0)
    expect(Account.enter(state, 1e9)[0]).toEqual({ _tag: "Wait", probeAt: Infinity })
  })

  it("ends when its schedule ends", () => {
    expect(Account.enter(Account.scheduled(suspended(), undefined), 1e9)[0]).toEqual({ _tag: "Ended" })
    expect(Account.scheduled(Account.initial, 5)).toBe(Account.initial)
  })

  it("becomes active when its probe is answered", () => {
    const [admission, state] = probing()
    const [outage, next] = Account.answered(state, admission, 40)
    expect(outage).toEqual({ seconds: 40, probes: 1, refusals: 1 })
    expect(next).toEqual({ _tag: "Active", generation: 2 })
  })

  it("becomes active when a probe is answered whose turn is over, and takes the refusal of the other for stale", () => {
    const [first, state] = probing()
    const [, over] = Account.inconclusive(state, first, 60)
    const [entered, next] = Account.enter(over, 60)
    expect(entered).toEqual({ _tag: "Pass", admission: { generation: 1, probe: 2 } })
    if (entered._tag !== "Pass") return
    expect(Account.inconclusive(next, first, 70)).toEqual([false, next])
    const [outage, active] = Account.answered(next, first, 80)
    expect(outage).toEqual({ seconds: 80, probes: 2, refusals: 1 })
    expect(Account.refused(active, entered.admission, 90)).toEqual(["Stale", active])
    expect(Account.answered(over, first, 65)[1]._tag).toBe("Active")
  })

  it("counts the refusal of a probe whose turn is over, which decides only while no other has one", () => {
    const [first, state] = probing()
    const [, over] = Account.inconclusive(state, first, 60)
    expect(Account.refused(over, first, 61)[0]).toBe("ProbeRefused")
    expect(Account.refused(Account.enter(over, 60)[1], first, 61)).toMatchObject(["Counted", { _tag: "Probing" }])
    const ended = Account.scheduled(over, undefined)
    expect(Account.refused(ended, first, 61)).toMatchObject(["Counted", { ended: true }])
  })

  it("does not believe the answer of an older call", () => {
    const [, state] = probing()
    expect(Account.answered(state, ordinary, 40)).toEqual([undefined, state])
    expect(Account.answered(suspended(), ordinary, 40)[0]).toBeUndefined()
  })

  it("stays suspended when its probe is refused, and counts other refusals meanwhile", () => {
    const [admission, state] = probing()
    const [counted, during] = Account.refused(state, ordinary, 31)
    expect(counted).toBe("Counted")
    const [refused, next] = Account.refused(during, admission, 32)
    expect(refused).toBe("ProbeRefused")
    expect(next).toMatchObject({ _tag: "Suspended", since: 0, probes: 1, refusals: 3, probeAt: Infinity })
  })

  it("probes again after a probe that showed nothing", () => {
    const [admission, state] = probing()
    expect(Account.inconclusive(state, ordinary, 60)).toEqual([false, state])
    const [was, next] = Account.inconclusive(state, admission, 60)
    expect(was).toBe(true)
    expect(next).toMatchObject({ _tag: "Suspended", probeAt: 60, probes: 1 })
    expect(Account.inconclusive(next, admission, 90)[0]).toBe(false)
  })

  it("ignores a refusal from before the last top-up", () => {
    const [admission, state] = probing()
    const [, active] = Account.answered(state, admission, 40)
    expect(Account.refused(active, ordinary, 41)).toEqual(["Stale", active])
    expect(Account.refused(active, { generation: active.generation, probe: 0 }, 41)[0]).toBe("Suspended")
  })

  it("resumes by hand from any state", () => {
    expect(Account.resume(Account.initial, 5)).toEqual([undefined, Account.initial])
    expect(Account.resume(suspended(), 10)).toEqual([
      { seconds: 10, probes: 0, refusals: 1 },
      { _tag: "Active", generation: 2 }
    ])
    const [, state] = probing()
    expect(Account.resume(state, 35)[0]).toEqual({ seconds: 35, probes: 1, refusals: 1 })
  })

  it("takes the refusal of a probe that was sent before it was resumed for stale", () => {
    const [admission, state] = probing()
    const [, resumed] = Account.resume(state, 35)
    expect(Account.refused(resumed, admission, 36)).toEqual(["Stale", resumed])
  })

  const Event = Schema.Literals(["enter", "refused", "answered", "failed", "resume", "schedule"])
  it.prop(
    "has one probe with a turn, and never lets an ordinary call pass while suspended",
    [Schema.Array(Event), Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))],
    ([events, picks]) => {
      let state: Account.State = Account.initial
      let under: Array<Account.Admission> = []
      events.forEach((event, now) => {
        const chosen = under[(picks[now] ?? 0) % Math.max(1, under.length)]
        if (event === "enter") {
          const before = state
          const [entered, next] = Account.enter(state, now)
          state = next
          if (entered._tag === "Pass") {
            expect(entered.admission.probe > 0).toBe(before._tag === "Suspended")
            under.push(entered.admission)
          }
        } else if (event === "schedule") state = Account.scheduled(state, now + 2)
        else if (event === "resume") state = Account.resume(state, now)[1]
        else if (chosen !== undefined) {
          // a turn may be over before its call is
          if (event !== "failed") under = under.filter((admission) => admission !== chosen)
          if (event === "refused") state = Account.refused(state, chosen, now)[1]
          if (event === "answered") state = Account.answered(state, chosen, now)[1]
          if (event === "failed") state = Account.inconclusive(state, chosen, now + 1)[1]
        }
        const probes = under.filter((admission) => Account.isProbe(state, admission)).map(({ probe }) => probe)
        expect(new Set(probes).size).toBe(probes.length)
        if (state._tag === "Probing") expect(Math.max(...probes)).toBe(state.probes)
        if (state._tag === "Active") expect(probes).toEqual([])
      })
    }
  )
})

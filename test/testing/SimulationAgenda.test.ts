import { describe, expect, it } from "@effect/vitest"
import * as Agenda from "../../src/testing/SimulationAgenda.ts"

const drain = <A>(agenda: Agenda.Agenda<A>): ReadonlyArray<A> => {
  const out: Array<A> = []
  for (let rest = agenda; rest !== undefined; rest = Agenda.pop(rest)) {
    const entry = Agenda.peek(rest)
    if (entry !== undefined) out.push(entry.what)
  }
  return out
}

describe("SimulationAgenda", () => {
  it("gives entries back by time, and those of one time in the order they came", () => {
    const times = Array.from({ length: 500 }, (_, i) => (i * 7919) % 50)
    let agenda: Agenda.Agenda<string> = undefined
    for (const [order, at] of times.entries()) agenda = Agenda.push(agenda, { at, order, what: `${at}.${order}` })
    const expected = times.map((at, order) => ({ at, order })).sort((a, b) => a.at - b.at || a.order - b.order)
    expect(drain(agenda)).toEqual(expected.map(({ at, order }) => `${at}.${order}`))
  })

  it("leaves an older agenda as it was", () => {
    const one = Agenda.push<string>(undefined, { at: 2, order: 1, what: "late" })
    const two = Agenda.push(one, { at: 1, order: 2, what: "early" })
    expect(drain(two)).toEqual(["early", "late"])
    expect(drain(one)).toEqual(["late"])
    expect(Agenda.pop(undefined)).toBeUndefined()
    expect(Agenda.peek(undefined)).toBeUndefined()
  })

  it("holds thirty thousand entries without a deep stack", () => {
    let agenda: Agenda.Agenda<number> = undefined
    for (let i = 0; i < 30_000; i++) agenda = Agenda.push(agenda, { at: i, order: i, what: i })
    expect(drain(agenda)).toHaveLength(30_000)
  })
})

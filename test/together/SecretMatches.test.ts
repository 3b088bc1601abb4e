import { describe, expect, it } from "@effect/vitest"
import * as SecretMatches from "../../src/together/redact/SecretMatches.ts"

/** Draws whole numbers below a bound, the same for the same seed. */
const drawing = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}

const quotes = (text: string, secrets: ReadonlyArray<string>): ReadonlyArray<string> => {
  const notes = new SecretMatches.Notes(SecretMatches.cut([text]))
  for (const secret of secrets) notes.add(secret)
  return notes.quotesIn(text).map(({ from, isCutOff, to }) => text.slice(from, to) + (isCutOff ? "|" : ""))
}

describe("SecretMatches", () => {
  const secret = "abcdefghijklmnopqrstuvwxyz0123456789"

  it.each<[what: string, text: string, found: ReadonlyArray<string>]>([
    ["24 characters of the middle", `(${secret.slice(3, 27)})`, [secret.slice(3, 27)]],
    ["no 23 of them", `(${secret.slice(3, 26)})`, []],
    ["12 of the start before an ellipsis", `(${secret.slice(0, 12)}...)`, [secret.slice(0, 12)]],
    ["12 of the end behind an ellipsis", `(… ${secret.slice(-12)})`, [secret.slice(-12)]],
    ["12 of the middle between two ellipses", `(...${secret.slice(5, 17)}…)`, [secret.slice(5, 17)]],
    ["no 11 of them", `(...${secret.slice(5, 16)}…)`, []],
    ["no 12 of the middle beside one ellipsis", `(${secret.slice(5, 17)}...)`, []],
    ["a start that is cut off", `(${secret.slice(0, 24)})`, [`${secret.slice(0, 24)}|`]],
    ["all of it, twice", `(${secret}) (${secret})`, [secret, secret]]
  ])("finds %s", (_, text, found) => {
    expect(quotes(text, [secret])).toEqual(found)
  })

  it("finds a short secret as a whole, and a longer one around it", () => {
    expect(quotes("(Hello there!)", ["Hello there!"])).toEqual(["Hello there!"])
    expect(quotes("(Hello there)", ["Hello there!"])).toEqual([])
    const secrets = ["Hello there!", "1qqqqqqqqqqqHello there!zzzzzzzzzzzz"]
    expect(quotes("(qqqqqqqqqqqHello there!zzzzzzzzzzz)", secrets)).toEqual(["qqqqqqqqqqqHello there!zzzzzzzzzzz"])
  })

  it("takes a start for cut off where other secrets end near the cut, or what stands before it is theirs too", () => {
    const said = "Hello there, I am Karl Maier"
    const whole = [`${said} of Bern`, `${said}, who is ill`, said]
    expect(quotes(`(${said}?)`, [...whole.slice(0, 2), "Yes, I am Karl Maier"])).toEqual([`${said}|`])
    expect(quotes(`(x ${said}?)`, [...whole.slice(0, 2), `ax ${said.slice(0, 26)}`])).toEqual([`x ${said}|`])
    expect(quotes(`(${said}?)`, whole)).toEqual([said])
    expect(quotes(`(${said} of Bern, whoever)`, [whole[0]!, " of Bern, whoever it is"])).toEqual([`${said} of Bern`])
  })

  it("finds every stretch of 24 characters that a text has in common with a secret, and nothing that is in none", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const draw = drawing(seed)
      const words = ["Hello there!", "alpha", "the patient", " is", "0.0, ", "WORDWORDWORD", "x", "12345"]
      const text = (length: number): string => Array.from({ length }, () => words[draw(words.length)]).join("")
      const secrets = Array.from({ length: 1 + draw(4) }, () => text(1 + draw(80)))
      const source = secrets[draw(secrets.length)] ?? ""
      const at = draw(source.length)
      const said = `<${text(draw(4))}${source.slice(at, at + draw(60))}${text(draw(4))}>`
      const notes = new SecretMatches.Notes(SecretMatches.cut([said]))
      for (const secret of secrets) notes.add(secret)
      const found = notes.quotesIn(said)
      const isHeld = (at: number, length: number): boolean =>
        at + length <= said.length && secrets.some((secret) => secret.includes(said.slice(at, at + length)))
      const missed = Array.from(said, (_, at) => at).filter((at) =>
        isHeld(at, 24) && !found.some(({ from, to }) => from <= at && at + 24 <= to)
      )
      // each character that is found has a word around it that is in a secret
      const invented = found.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, index) => from + index))
        .filter((at) => !Array.from({ length: 12 }, (_, before) => at - before).some((start) => isHeld(start, 12)))
      expect({ seed, missed, invented }).toEqual({ seed, missed: [], invented: [] })
    }
  })

  it.each<[what: string, repeated: (length: number) => string, most: number]>([
    ["that repeat 1 character", (length) => "a".repeat(length), 0.2],
    ["that repeat 5", (length) => "0.0, ".repeat(length / 5), 0.2],
    ["that repeat 7", (length) => "abcdefg".repeat(length / 7), 0.2],
    ["that repeat 24", (length) => "the model of the patient ".slice(0, 24).repeat(length / 24), 0.2],
    ["drawn at random", (length) => {
      const draw = drawing(7)
      return Array.from({ length }, () => draw(36).toString(36)).join("")
    }, 0.2],
    ["that hold each word of the text anew", (length) => {
      const draw = drawing(7)
      return Array.from({ length: length / 30 }, () => "lorem ipsum dolor sit amet ok. ".slice(draw(9))).join("")
    }, 4]
  ])("asks about each place of secrets %s a bounded number of times", (_, repeated, most) => {
    const text = repeated(8400).slice(0, 8000)
    const length = 168_000
    const secret = repeated(length)
    for (const step of [1, 12]) {
      const { stretches } = SecretMatches.cut([text])
      let asked = 0
      const counted = { isEmpty: stretches.isEmpty, has: (stretch: string) => (asked++, stretches.has(stretch)) }
      const notes = new SecretMatches.Notes({ stretches: counted, step })
      notes.add(secret)
      notes.quotesIn(text)
      expect(asked / length).toBeLessThan(step === 1 && most < 1 ? 1.5 : most)
    }
  })

  it("looks a word up the same whether it is among the first or not", () => {
    const { stretches } = SecretMatches.cut(["abcdefghijklmnopqrstuvwxyz", "short", "ABCDEFGHIJKLMNOP"])
    const words = ["abcdefghijkl", "abcdefghijklm", "short", "efghijklmnop", "EFGHIJKLMNOP", "EFGHIJKLMNOPa", secret]
    const looked = () => words.map((word) => [word, stretches.has(word), stretches.has(secret.slice(1, 25))])
    const first = looked()
    expect(first.map(([, is]) => is)).toEqual([true, false, false, true, true, false, false])
    for (let times = 0; times < 20; times++) expect(looked()).toEqual(first)
    expect([SecretMatches.cut(["short", ""]).stretches.isEmpty, stretches.isEmpty]).toEqual([true, false])
  })

  it("goes once through what a secret repeats", () => {
    const draw = drawing(7)
    const repeated = Array.from({ length: 128 }, () => draw(36).toString(36)).join("")
    const { step, stretches } = SecretMatches.cut([repeated.slice(-24)])
    const asked = (times: number): number => {
      let count = 0
      const counted = { isEmpty: stretches.isEmpty, has: (stretch: string) => (count++, stretches.has(stretch)) }
      new SecretMatches.Notes({ stretches: counted, step }).add(repeated.repeat(times))
      return count
    }
    expect(asked(50)).toBe(asked(5))
  })
})

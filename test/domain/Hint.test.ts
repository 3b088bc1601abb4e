import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Hint from "../../src/domain/Hint.ts"

const now = Date.UTC(2026, 10, 22, 12, 0, 0)
const wait = (headers: Hint.Headers) => {
  const hint = Hint.fromHeaders(headers, now)
  return hint === undefined ? undefined : [Duration.toMillis(hint.wait), hint.source]
}

describe("Hint", () => {
  describe("fromHeaders", () => {
    it.each<[string, Hint.Headers, [number, Hint.HintSource] | undefined]>([
      ["reads milliseconds", { "retry-after-ms": "1500" }, [1500, "retry-after-ms"]],
      ["reads fractional milliseconds", { "retry-after-ms": "0.5" }, [0.5, "retry-after-ms"]],
      ["reads seconds", { "retry-after": "2" }, [2000, "retry-after"]],
      ["reads fractional seconds", { "retry-after": " 1.25 " }, [1250, "retry-after"]],
      ["reads zero as now", { "retry-after": "0" }, [0, "retry-after"]],
      ["reads an IMF date", { "retry-after": "Sun, 22 Nov 2026 12:00:30 GMT" }, [30_000, "retry-after"]],
      ["reads an RFC 850 date", { "retry-after": "Sunday, 22-Nov-26 12:00:30 GMT" }, [30_000, "retry-after"]],
      ["reads an asctime date", { "retry-after": "Sun Nov 22 12:00:30 2026" }, [30_000, "retry-after"]],
      ["reads an asctime date with a one-digit day", { "retry-after": "Tue Dec  1 12:00:00 2026" }, [
        9 * 86_400_000,
        "retry-after"
      ]],
      ["corrects a date by the response's own", {
        "retry-after": "Sun, 22 Nov 2026 15:00:05 GMT",
        date: "Sun, 22 Nov 2026 15:00:00 GMT"
      }, [5000, "retry-after"]],
      ["falls back to the client's clock on a junk Date", {
        "retry-after": "Sun, 22 Nov 2026 12:00:05 GMT",
        date: "yesterday"
      }, [5000, "retry-after"]],
      ["reads Together's reset as a delta", { "x-ratelimit-reset": "2" }, [2000, "x-ratelimit-reset"]],
      ["reads every decimal that a double prints", { "x-ratelimit-reset": "2.6666666666666665" }, [
        2666.666667,
        "x-ratelimit-reset"
      ]],
      ["reads a fractional reset", { "x-ratelimit-reset": "0.25" }, [250, "x-ratelimit-reset"]],
      ["prefers milliseconds to seconds to reset", {
        "retry-after-ms": "100",
        "retry-after": "2",
        "x-ratelimit-reset": "3"
      }, [100, "retry-after-ms"]],
      ["passes over an invalid first", { "retry-after-ms": "soon", "retry-after": "2" }, [2000, "retry-after"]],
      ["passes over two invalid ones", { "retry-after-ms": "-1", "retry-after": "", "x-ratelimit-reset": "3" }, [
        3000,
        "x-ratelimit-reset"
      ]],
      ["ignores a negative number", { "retry-after": "-5" }, undefined],
      ["ignores an empty value", { "retry-after": "" }, undefined],
      ["ignores junk", { "retry-after": "a while" }, undefined],
      ["ignores exponents and signs", { "retry-after": "1e3", "x-ratelimit-reset": "+3" }, undefined],
      ["ignores Infinity and NaN", { "retry-after": "Infinity", "x-ratelimit-reset": "NaN" }, undefined],
      ["ignores a past date", { "retry-after": "Sun, 22 Nov 2026 11:59:59 GMT" }, undefined],
      ["ignores an impossible date", { "retry-after": "Mon, 31 Feb 2027 00:00:00 GMT" }, undefined],
      ["ignores an impossible time", { "retry-after": "Sun, 22 Nov 2026 25:00:00 GMT" }, undefined],
      ["ignores an unknown month", { "retry-after": "Sun, 22 Foo 2026 12:00:00 GMT" }, undefined],
      ["ignores an epoch in the reset header", { "x-ratelimit-reset": "1795348800" }, undefined],
      ["reads the longest of several seconds", { "retry-after": "5, 7,5" }, [7000, "retry-after"]],
      ["reads the longest of several milliseconds", { "retry-after-ms": "300, 200" }, [300, "retry-after-ms"]],
      ["reads the longest of several resets", { "x-ratelimit-reset": "9, 9" }, [9000, "x-ratelimit-reset"]],
      ["ignores a number beside what is none", { "retry-after": "soon, 4" }, undefined],
      [
        "ignores a number with commas in it",
        { "retry-after": "1,000", "x-ratelimit-reset": "12,345,678.5" },
        undefined
      ],
      ["reads the first of two dates, of its own Date as well", {
        date: "Sun, 22 Nov 2026 12:00:10 GMT, Sun, 22 Nov 2026 12:00:20 GMT",
        "retry-after": "Sun, 22 Nov 2026 12:00:30 GMT, Sun, 22 Nov 2026 12:00:50 GMT"
      }, [20_000, "retry-after"]],
      ["finds nothing in no headers", {}, undefined]
    ])("%s", (_, headers, expected) => {
      expect(wait(headers)).toEqual(expected)
    })

    it("keeps a hint longer than 2^31 ms", () => {
      expect(wait({ "retry-after": "2592000" })).toEqual([2_592_000_000, "retry-after"])
    })
  })

  describe("parseHttpDate", () => {
    it("takes a two-digit year from the past when it would lie more than 50 years ahead", () => {
      const at = Hint.parseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT", now)
      expect(at).toBe(Date.UTC(1994, 10, 6, 8, 49, 37))
    })
    it("accepts a leap second", () => {
      expect(Hint.parseHttpDate("Sat, 31 Dec 2016 23:59:60 GMT", now)).toBe(Date.UTC(2017, 0, 1))
    })
    it("refuses other zones", () => {
      expect(Hint.parseHttpDate("Sun, 06 Nov 1994 08:49:37 CET", now)).toBeUndefined()
    })
  })

  describe("limitHeaders", () => {
    it("reads all generations, and a remaining above its limit", () => {
      expect(Hint.limitHeaders({
        "x-ratelimit-limit": "100",
        "x-ratelimit-remaining": "199",
        "x-ratelimit-reset": "2",
        "x-tokenlimit-limit": "3000",
        "x-tokenlimit-remaining": "2900",
        "x-ratelimit-limit-dynamic": "20",
        "x-tokenlimit-limit-dynamic": "500"
      })).toEqual({
        requestsPerSecond: 100,
        requestsRemaining: 199,
        tokensPerSecond: 3000,
        tokensRemaining: 2900,
        resetSeconds: 2,
        dynamic: {
          requestsPerSecond: 20,
          requestsRemaining: undefined,
          tokensPerSecond: 500,
          tokensRemaining: undefined
        }
      })
    })
    it("takes a limit of tokens whose unit nobody states for none", () => {
      const undocumented = { "x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "1000" }
      expect(Hint.limitHeaders(undocumented)).toBeUndefined()
      expect(Hint.limitHeaders({ ...undocumented, "x-ratelimit-limit": "100" })).toMatchObject({
        requestsPerSecond: 100,
        tokensPerSecond: undefined
      })
    })
    it("reads the longest of several resets", () => {
      expect(Hint.limitHeaders({ "x-ratelimit-reset": "1, 3" })?.resetSeconds).toBe(3)
    })

    it("says nothing where nothing is said", () => {
      expect(Hint.limitHeaders({ "content-type": "application/json", "x-ratelimit": "false" })).toBeUndefined()
    })
  })
})

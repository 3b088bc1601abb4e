import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Format from "../../src/cli/Format.ts"
import * as Settings from "../../src/cli/Settings.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Table from "../../src/cli/Table.ts"

describe("Format", () => {
  it.each([[0, "0:00"], [21.4, "0:21"], [724, "12:04"], [3723, "1:02:03"], [Infinity, "–"]])(
    "writes %d seconds as %s",
    (seconds, text) => {
      expect(Format.clock(seconds)).toBe(text)
    }
  )

  it.each([[0.85, "850 ms"], [0.9999, "1 s"], [4.2, "4.2 s"], [59.96, "1 min"], [200, "3 min 20 s"], [
    7500,
    "2 h 5 min"
  ], [Infinity, "unknown"]])(
    "writes %d seconds as a span of %s",
    (seconds, text) => {
      expect(Format.span(seconds)).toBe(text)
    }
  )

  it.each([[0, "0"], [0.423, "0.42"], [9.84, "9.8"], [42.4, "42"], [4120.4, "4,120"]])(
    "writes the rate %d as %s",
    (value, text) => {
      expect(Format.rate(value)).toBe(text)
    }
  )

  it.each([["90s", 90_000], ["10m", 600_000], ["1.5h", 5_400_000], ["2 days", 172_800_000], ["250 ms", 250], [
    "10",
    undefined
  ], ["soon", undefined]])(
    "reads the span %s",
    (text, millis) => {
      expect(Format.parseSpan(text)).toBe(millis)
    }
  )

  it.each([
    ["10:20", [10, 20]],
    [":100", [1, 100]],
    ["500:", [500, Infinity]],
    ["7", [7, 7]],
    ["3-5", [3, 5]],
    ["0:5", undefined],
    ["9:3", undefined],
    ["", undefined],
    ["x", undefined]
  ])(
    "reads the range %s",
    (text, range) => {
      const read = Format.parseRange(text)
      expect(read === undefined ? undefined : [read.from, read.to]).toEqual(range)
    }
  )
})

describe("Style", () => {
  it.each([
    [{}, true, { color: true, redraw: true }],
    [{}, false, { color: false, redraw: false }],
    [{ NO_COLOR: "1" }, true, { color: false, redraw: true }],
    [{ CI: "true" }, true, { color: true, redraw: false }],
    [{ TERM: "dumb" }, true, { color: false, redraw: false }],
    [{ FORCE_COLOR: "1" }, false, { color: true, redraw: false }],
    [{ FORCE_COLOR: "0" }, false, { color: false, redraw: false }],
    [{ FORCE_COLOR: "0" }, true, { color: false, redraw: true }],
    [{ FORCE_COLOR: "false" }, true, { color: false, redraw: true }]
  ])("reads %j on a terminal: %s", (env, isTTY, expected) => {
    expect(Style.ability(env, { isTTY, columns: 90 })).toEqual({ ...expected, columns: 90 })
    // a terminal that does not know its width
    expect(Style.ability(env, { isTTY, columns: 0 }).columns).toBe(80)
    const stream = { isTTY, columns: 90 }
    const able = Style.ability(env, stream)
    stream.columns = 40
    expect(able.columns).toBe(40)
  })

  it("measures and cuts text without its escape sequences", () => {
    const text = `${Style.colored.red("abc")}def`
    expect(Style.width(text)).toBe(6)
    expect(Style.cut(text, 6)).toBe(text)
    expect(Style.width(Style.cut(text, 4))).toBe(4)
  })
})

describe("Table", () => {
  it("aligns columns by their widest cell", () => {
    expect(Table.draw([{ head: "a" }, { head: "n", align: "right" }], [["x", "1"], ["yyy", "100"]])).toBe(
      "a      n\nx      1\nyyy  100\n"
    )
  })
})

describe("Settings", () => {
  it("reads flags from a config file", () => {
    expect(Settings.fromFile("f", "{\"concurrency\": 64, \"base-url\": \"http://x/v1\"}")).toEqual(
      Result.succeed({ EFFECT_TOGETHER_CONCURRENCY: "64", TOGETHER_BASE_URL: "http://x/v1" })
    )
  })

  it.each([
    ["{", "is not JSON"],
    ["[]", "must hold a JSON object"],
    ["{\"concurency\": 1}", "unknown key \"concurency\". Known: base-url"],
    ["{\"apiKey\": \"x\"}", "The API key is read from TOGETHER_API_KEY only"],
    ["{\"model\": {}}", "model must be a string, a number or a boolean"]
  ])("refuses %s", (text, message) => {
    const read = Settings.fromFile("f", text)
    expect(Result.isFailure(read) ? read.failure : "").toContain(message)
  })
})

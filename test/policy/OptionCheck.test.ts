import { describe, expect, it } from "@effect/vitest"
import * as OptionCheck from "../../src/policy/OptionCheck.ts"

describe("OptionCheck", () => {
  it("returns the value that is in range", () => {
    expect(OptionCheck.positive("M.f", "x", 1)).toBe(1)
    expect(OptionCheck.nonNegative("M.f", "x", 0)).toBe(0)
    expect(OptionCheck.within("M.f", "x", 2, 2, 3)).toBe(2)
    expect(OptionCheck.within("M.f", "x", Infinity, 0, Infinity)).toBe(Infinity)
    expect(OptionCheck.above("M.f", "x", 3, 2, 3)).toBe(3)
    expect(OptionCheck.above("M.f", "x", Infinity, 0, Infinity)).toBe(Infinity)
    expect(OptionCheck.between("M.f", "x", 0.5, 0, 1)).toBe(0.5)
    expect(OptionCheck.integer("M.f", "x", 3, 3)).toBe(3)
    expect(OptionCheck.integerOrInfinity("M.f", "x", 3, 3)).toBe(3)
    expect(OptionCheck.integerOrInfinity("M.f", "x", Infinity, 3)).toBe(Infinity)
    expect(OptionCheck.oneOf("M.f", "x", "a", ["a", "b"])).toBe("a")
    expect(OptionCheck.name("M.f", "x", "a")).toBe("a")
  })

  it.each([
    ["positive 0", () => OptionCheck.positive("M.f", "x", 0), "M.f: x must be a finite number > 0, got 0"],
    ["positive Infinity", () => OptionCheck.positive("M.f", "x", Infinity), "got Infinity"],
    ["positive NaN", () => OptionCheck.positive("M.f", "x", NaN), "got NaN"],
    ["nonNegative -1", () => OptionCheck.nonNegative("M.f", "x", -1), "M.f: x must be a finite number >= 0, got -1"],
    ["nonNegative Infinity", () => OptionCheck.nonNegative("M.f", "x", Infinity), "got Infinity"],
    ["within", () => OptionCheck.within("M.f", "x", 4, 2, 3), "M.f: x must be in [2, 3], got 4"],
    ["within NaN", () => OptionCheck.within("M.f", "x", NaN, 2, 3), "got NaN"],
    [
      "within any number",
      () => OptionCheck.within("M.f", "x", 0, 1, Number.MAX_VALUE),
      "M.f: x must be a finite number >= 1, got 0"
    ],
    [
      "above any number",
      () => OptionCheck.above("M.f", "x", Infinity, 1, Number.MAX_VALUE),
      "M.f: x must be a finite number > 1, got Infinity"
    ],
    ["above", () => OptionCheck.above("M.f", "x", 2, 2, 3), "M.f: x must be in (2, 3], got 2"],
    ["above high", () => OptionCheck.above("M.f", "x", 4, 2, 3), "got 4"],
    ["between", () => OptionCheck.between("M.f", "x", 1, 0, 1), "M.f: x must be in (0, 1), got 1"],
    ["between low", () => OptionCheck.between("M.f", "x", 0, 0, 1), "got 0"],
    ["integer 1.5", () => OptionCheck.integer("M.f", "x", 1.5, 0), "M.f: x must be an integer >= 0, got 1.5"],
    ["integer low", () => OptionCheck.integer("M.f", "x", 0, 1), "M.f: x must be an integer >= 1, got 0"],
    ["integer or Infinity 1.5", () => OptionCheck.integerOrInfinity("M.f", "x", 1.5, 0), "got 1.5"],
    [
      "integer or Infinity low",
      () => OptionCheck.integerOrInfinity("M.f", "x", 0, 1),
      "M.f: x must be an integer >= 1 or Infinity, got 0"
    ],
    [
      "oneOf",
      () => OptionCheck.oneOf<string>("M.f", "x", "c", ["a", "b"]),
      "M.f: x must be one of a, b, got c"
    ],
    ["name", () => OptionCheck.name("M.f", "x", " "), "M.f: x must be a name, got \" \""]
  ])("refuses %s", (_name, check, message) => {
    expect(check).toThrow(RangeError)
    expect(check).toThrow(message)
  })

  // JavaScript compares "0.2" and null with numbers as if they were some.
  it.each(["0.2", null, true, [0.2]])("refuses %o, which is no number", (value) => {
    const wrong = value as unknown as number
    expect(() => OptionCheck.within("M.f", "x", wrong, 0, 1)).toThrow("M.f: x must be in [0, 1], got")
    expect(() => OptionCheck.above("M.f", "x", wrong, -1, 1)).toThrow("M.f: x must be in (-1, 1], got")
    expect(() => OptionCheck.between("M.f", "x", wrong, -1, 2)).toThrow("M.f: x must be in (-1, 2), got")
  })

  it("shows a text in quotes", () => {
    expect(() => OptionCheck.within("M.f", "x", "0.2" as unknown as number, 0, 1)).toThrow("in [0, 1], got \"0.2\"")
  })

  describe("ordered", () => {
    const ordered = (options: { readonly min?: number; readonly initial?: number; readonly max?: number }) =>
      OptionCheck.ordered("M.f", { min: 20, initial: 20, max: 200, ...options }, options, "min", "initial", "max")

    it.each([
      [{}, [20, 20, 200]],
      [{ initial: 10 }, [10, 10, 200]],
      [{ initial: 300 }, [20, 300, 300]],
      [{ max: 10 }, [10, 10, 10]],
      [{ min: 300 }, [300, 300, 300]],
      [{ min: 5, max: 8 }, [5, 8, 8]],
      [{ min: 5, initial: 5, max: 5 }, [5, 5, 5]]
    ])("makes the defaults give way to %o", (options, [min, initial, max]) => {
      expect(ordered(options)).toEqual({ min, initial, max })
    })

    it.each([
      [{ min: 30, initial: 25 }, "M.f: initial must be >= min, which is 30, got 25"],
      [{ initial: 30, max: 25 }, "M.f: max must be >= initial, which is 30, got 25"],
      [{ min: 30, max: 25 }, "M.f: max must be >= min, which is 30, got 25"]
    ])("refuses %o, which contradicts itself", (options, message) => {
      expect(() => ordered(options)).toThrow(new RangeError(message))
    })

    it("keeps the order, whatever is given in order", () => {
      for (const values of [[1, 2, 3], [15, 25, 150], [250, 300, 350]]) {
        for (let mask = 0; mask < 8; mask++) {
          const given = (at: number, field: string) => (mask & 1 << at) === 0 ? {} : { [field]: values[at] }
          const options = { ...given(0, "min"), ...given(1, "initial"), ...given(2, "max") }
          const settings = ordered(options)
          expect(settings).toMatchObject(options)
          expect(settings.min).toBeLessThanOrEqual(settings.initial)
          expect(settings.initial).toBeLessThanOrEqual(settings.max)
        }
      }
    })
  })

  it("fills what is absent or undefined from the defaults", () => {
    expect(OptionCheck.resolve({ a: 1, b: 2, c: 3 }, { a: undefined, b: 0 })).toEqual({ a: 1, b: 0, c: 3 })
  })
})

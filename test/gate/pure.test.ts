import { describe, expect, it } from "@effect/vitest"
import { marked } from "../../.ci/pure.ts"

describe("pure", () => {
  it("marks what a constant keeps, and the calls within", () => {
    expect(marked("export const a = make(new Map(), [part()]), b = c\n"))
      .toBe("export const a = /*#__PURE__*/make(/*#__PURE__*/new Map(), [/*#__PURE__*/part()]), b = c\n")
  })

  it("marks what a class extends and its static fields, the call of a call once", () => {
    expect(
      marked("class A extends Service()(\"A\") {\n  static of = make()\n  own = make()\n  run() { return go() }\n}\n")
    )
      .toBe(
        "class A extends /*#__PURE__*/Service()(\"A\") {\n  static of = /*#__PURE__*/make()\n  own = make()\n" +
          "  run() { return go() }\n}\n"
      )
  })

  it("leaves alone what runs later, and statements, which do something", () => {
    const text = "const a = () => make()\nfunction b() { const c = make() }\nregister()\na.b = make()\n"
    expect(marked(text)).toBe(text)
  })
})

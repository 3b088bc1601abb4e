import { describe, expect, it } from "@effect/vitest"
import { headerOf, withHeader } from "../../.ci/headers.ts"

const header = "/**\n * Is the manual.\n *\n * | a | b * c |\n */"
const map = JSON.stringify({ version: 3, mappings: "AAEA,IAAI" })

describe("headers", () => {
  it("are the comment that opens a module", () => {
    expect(headerOf(`${header}\nimport * as x from "x"\n`)).toBe(header)
    expect(headerOf(`${header}\n\n/** Is one. */\nexport const one = 1\n`)).toBe(header)
    expect(headerOf(`${header}\nexport * as One from "./One.ts"\n`)).toBe(header)
  })

  it("are not the comment of the first declaration", () => {
    expect(headerOf("/** Is one. */\nexport const one = 1\n")).toBeUndefined()
    expect(headerOf("import * as x from \"x\"\n")).toBeUndefined()
  })

  it("come back where tsc has dropped them with an import, and the map moves along", () => {
    const source = `${header}\nimport * as x from "x"\n\n/** Is one. */\nexport const one = x.one\n`
    const text = "/** Is one. */\nexport declare const one = 1;\n"
    expect(withHeader(source, { text, map })).toEqual({
      text: `${header}\n${text}`,
      map: JSON.stringify({ version: 3, mappings: ";;;;;AAEA,IAAI" })
    })
  })

  it("are not put twice", () => {
    const source = `${header}\nimport type { X } from "x"\nexport type Y = X\n`
    const declarations = { text: `${header}\nimport type { X } from "x";\nexport type Y = X;\n`, map }
    expect(withHeader(source, declarations)).toEqual(declarations)
    const once = withHeader(source, { text: "export type Y = 1;\n", map })
    expect(withHeader(source, once)).toEqual(once)
  })
})

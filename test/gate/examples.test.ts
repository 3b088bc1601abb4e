import { describe, expect, it } from "@effect/vitest"
import { blocksOf, instrument } from "../../.ci/examples.ts"

const fenced = (...code: ReadonlyArray<string>) => ["text", "```ts", ...code, "```"].join("\n")

const only = (text: string, source = "page.md") => {
  const [block] = blocksOf(source, text)
  if (block === undefined) throw new Error("no block was found")
  return block
}

describe("examples", () => {
  it("are found in Markdown with the line they stand on", () => {
    expect(only(fenced("const x = 1"))).toMatchObject({ line: 3, code: "const x = 1", kind: "run" })
  })

  it("are found in JSDoc without its stars", () => {
    const text = ["/**", " * Says.", " *", " * ```ts", " * const x = {", " *   a: 1", " * }", " * ```", " */"].join(
      "\n"
    )
    expect(only(text, "src/x.ts")).toMatchObject({ line: 5, code: "const x = {\n  a: 1\n}" })
  })

  it("are not taken from template strings of a source file", () => {
    expect(blocksOf("src/x.ts", "const s = `\n```ts\nconst x = 1\n```\n`")).toEqual([])
  })

  it("are only checked when marked so, and left to vitest when they import it", () => {
    expect(only("```ts no-run\nfetchIt()\n```").kind).toBe("check")
    expect(only(fenced("import { it } from \"@effect/vitest\"")).kind).toBe("test")
    expect(blocksOf("page.md", "```json\n{}\n```\n```sh\nls\n```")).toEqual([])
  })

  it("turn an expectation after an expression into a check of its value", () => {
    expect(instrument(only(fenced("f(1) // => 2")))).toBe(";__example.value((f(1)), () => (2\n), \"2\", 3); // => 2")
  })

  it("turn an expectation after a constant into a check of what it holds", () => {
    expect(instrument(only(fenced("const a = f(", "  1", ") // => [1]"))))
      .toBe("const a = f(\n  1\n);__example.value(a, () => ([1]\n), \"[1]\", 5); // => [1]")
  })

  it("turn an expectation after a print into a check of what it prints, also on the lines below", () => {
    expect(instrument(only(fenced("console.log(a)", "// => one", "//    two")))).toBe(
      ";__example.mark();console.log(a);__example.printed(undefined, \"one\\ntwo\", 4);\n// => one\n//    two"
    )
  })

  it("refuse an expectation that follows nothing", () => {
    expect(() => instrument(only(fenced("// => 2")))).toThrow("page.md:3")
  })
})

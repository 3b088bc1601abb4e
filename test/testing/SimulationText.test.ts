import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as AiPrompt from "../../src/together/ai/AiPrompt.ts"
import * as SimulationText from "../../src/testing/SimulationText.ts"

interface Tree {
  readonly name: string
  readonly parent: Tree | null
  readonly twigs: ReadonlyArray<Tree>
  readonly next?: Tree
}
const Tree: Schema.Codec<Tree> = Schema.Struct({
  name: Schema.String,
  parent: Schema.NullOr(Schema.suspend(() => Tree)),
  twigs: Schema.Array(Schema.suspend(() => Tree)),
  next: Schema.optionalKey(Schema.suspend(() => Tree))
})

const between = Schema.isBetween({ minimum: 3, maximum: 9 })

describe("SimulationText", () => {
  describe("instance", () => {
    it.effect.each<readonly [string, Schema.Codec<unknown, unknown>]>([
      ["an integer between bounds", Schema.Int.check(between)],
      ["a number between bounds", Schema.Finite.check(between)],
      ["an integer below 0", Schema.Int.check(Schema.isLessThan(0))],
      ["a number above 0 and below 1", Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThan(1))],
      ["a multiple", Schema.Int.check(Schema.isGreaterThan(7), Schema.isMultipleOf(5))],
      ["a short string", Schema.String.check(Schema.isMaxLength(2))],
      ["a string of a length", Schema.String.check(Schema.isMinLength(5), Schema.isMaxLength(5))],
      ["a long string", Schema.String.check(Schema.isMinLength(99), Schema.isTrimmed())],
      ["a list that is not empty", Schema.NonEmptyArray(Schema.Literals(["a", "b"]))],
      ["a list of a length", Schema.Array(Schema.Int).check(Schema.isMinLength(3))],
      ["an empty list", Schema.Array(Schema.Int).check(Schema.isMaxLength(0))],
      ["a tuple", Schema.Tuple([Schema.Int, Schema.String, Schema.Boolean])],
      ["a union with a tag", Schema.Union([Schema.Struct({ _tag: Schema.tag("A") }), Schema.Null])],
      ["an option", Schema.Option(Schema.Int.check(between))],
      ["a record", Schema.Record(Schema.String, Schema.Int)],
      ["a schema that refers to itself", Tree]
    ])("fits %s, as Effect writes its JSON Schema", ([, schema]) =>
      Effect.gen(function*() {
        const { codec, jsonSchema } = AiPrompt.codecTransformer(schema)
        yield* Schema.decodeUnknownEffect(codec)(SimulationText.instance(jsonSchema, "text"))
      }))

    it("makes the integer nearest to 0", () => {
      const whole = { type: "integer", minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }
      expect(SimulationText.instance(whole, "text")).toBe(0)
      expect(SimulationText.instance({ ...whole, maximum: -4 }, "text")).toBe(-4)
    })
  })
})

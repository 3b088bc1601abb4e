import { describe, expect, it } from "@effect/vitest"
import { promptsOf, promptsOfLines, promptsOfText } from "../../src/together/redact/Prompts.ts"

describe("promptsOf", () => {
  it("collects texts at any depth, but no names", () => {
    const body = { model: "a-model-with-a-name", messages: [{ role: "user", content: [{ text: "a text of mine" }] }] }
    expect(promptsOf(body)).toEqual(["a text of mine"])
    expect(promptsOfText(JSON.stringify(body))).toEqual(["a text of mine"])
    expect(promptsOfText("a text of mine")).toEqual(["a text of mine"])
  })

  it("takes a name for one at its place alone, and a sentence for none", () => {
    const documents = [{ type: "patient-John-Smith", model: "another private sentence", role: "Karl-Heinz-Maier" }]
    expect(promptsOf({ model: "org/model-of-theirs", query: "who is ill?", documents })).toEqual([
      "patient-John-Smith",
      "another private sentence",
      "Karl-Heinz-Maier"
    ])
    expect(promptsOf({ model: "Karl Maier is ill", messages: [{ role: "Karl Maier is ill, too" }] })).toEqual([
      "Karl Maier is ill",
      "Karl Maier is ill, too"
    ])
    expect(promptsOf({ "messages.role": "Karl-Heinz-Maier" })).toEqual(["Karl-Heinz-Maier"])
  })

  it.each<[what: string, body: unknown]>([
    ["a batch", {
      endpoint: "/v1/chat/completions",
      input_file_id: "file-0f9e8d7c-1234",
      model_id: "openai/gpt-oss-20b"
    }],
    ["a tuning", { training_file: "file-0f9e8d7c-1234", validation_file: "file-1f9e8d7c-1234" }],
    ["an evaluation", { type: "classification", parameters: { judge: { model: "openai/gpt-oss-20b" } } }],
    ["options", { context_length_exceeded_behavior: "truncate_middle", reasoning_effort: "extraordinary" }],
    ["tools", {
      tools: [{
        type: "function",
        function: { name: "get_current_weather", parameters: { required: ["location_name"] } }
      }],
      tool_choice: { type: "function", function: { name: "get_current_weather" } },
      messages: [{ tool_call_id: "call_0123456789", tool_calls: [{ function: { name: "get_current_weather" } }] }]
    }],
    ["a choice of tools", { tool_choice: "get_current_weather" }],
    ["a schema", {
      response_format: {
        json_schema: {
          name: "weather_report",
          schema: { properties: { at: { items: { required: ["location_name", "temperature_unit"] } } } }
        }
      }
    }]
  ])("finds no text in the names of %s", (_, body) => {
    expect(promptsOf(body)).toEqual([])
  })

  it("finds the texts beside names", () => {
    const parameters = {
      description: "about our patients",
      properties: { who: { enum: ["Karl-Heinz-Maier"], default: { required: ["Anna-Lena-Maier"] } } }
    }
    expect(promptsOf({
      tools: [{ function: { name: "get_current_weather", description: "for our patients", parameters } }],
      messages: [{ name: "Karl-Heinz-Maier", tool_calls: [{ function: { arguments: "{\"who\":\"Karl\"}" } }] }],
      wandb_api_key: "0123456789abcdef"
    })).toEqual([
      "for our patients",
      "about our patients",
      "Karl-Heinz-Maier",
      "Anna-Lena-Maier",
      "{\"who\":\"Karl\"}",
      "0123456789abcdef"
    ])
  })

  it("reads what contains itself once, and a list under each of its names", () => {
    const list: Array<unknown> = ["the-first-long-text"]
    list.push(list)
    expect(promptsOf({ model: list })).toEqual([])
    expect(promptsOf({ model: list, input: list })).toEqual(["the-first-long-text"])
  })

  it("reads a body that is deeper than calls can be", () => {
    let body: unknown = "a text of mine"
    for (let depth = 0; depth < 100_000; depth++) body = { messages: [body] }
    expect(promptsOf(body)).toEqual(["a text of mine"])
  })
})

describe("promptsOfLines", () => {
  it("reads a file line by line, whether a line is JSON or not", () => {
    const file = "{\"prompt\":\"the patient is Karl\"}\n\nshort\na line that is no JSON\n{\"custom_id\":\"1\"}"
    expect([...promptsOfLines(file)]).toEqual(["the patient is Karl", "a line that is no JSON"])
  })

  it("takes what names a line for no text of it, at its top alone", () => {
    const named = { custom_id: "request-number-17", method: "POST-to-the-server", url: "/v1/chat/completions" }
    const lines = [{ ...named, body: { url: "https://mine.example/a" } }, [named], "a text by itself"]
    expect([...promptsOfLines(lines.map((line) => JSON.stringify(line)).join("\n"))]).toEqual([
      "https://mine.example/a",
      ...Object.values(named),
      "a text by itself"
    ])
  })

  it("knows names in the body of a line alone", () => {
    const names = { model: "openai/gpt-oss-20b", type: "patient-John-Smith" }
    const lines = [{ custom_id: "1", body: names }, names, [names]]
    expect([...promptsOfLines(lines.map((line) => JSON.stringify(line)).join("\n"))]).toEqual([
      ...Object.values(names),
      ...Object.values(names)
    ])
  })
})

/**
 * Tells which texts of a request are prompts, and may not be repeated.
 *
 * Every text is one, at any depth, whatever it is called, but for the names that an error exists to name: ids, models,
 * endpoints, functions, fields of a schema, and the words that choose an option. Such a name is known by its place in a
 * request of Together's API, and it is one word: the same key elsewhere, or a sentence at that place, is a prompt.
 */
import * as Json from "../Json.ts"
import * as SecretMatches from "./SecretMatches.ts"

const evaluated = ["model_to_evaluate", "model_a", "model_b", "judge"].flatMap((name) => [
  `parameters.${name}`,
  `parameters.${name}.model`,
  `parameters.${name}.model_source`
])

/** The places of names in the body of a request; lists are passed through. */
const names: ReadonlySet<string> = new Set([
  // ids and models
  "model",
  "model_id",
  "model_name",
  "base_model",
  "lora_model",
  "safety_model",
  "endpoint",
  "hardware",
  "input_file_id",
  "training_file",
  "validation_file",
  "from_checkpoint",
  "parameters.input_data_file_path",
  ...evaluated,
  // messages and their parts
  "messages.role",
  "messages.tool_call_id",
  "messages.content.type",
  "messages.content.input_audio.format",
  "messages.tool_calls.id",
  "messages.tool_calls.type",
  "messages.tool_calls.function.name",
  "messages.function_call.name",
  // functions and schemas
  "tools.type",
  "tools.function.name",
  "tool_choice",
  "tool_choice.type",
  "tool_choice.function.name",
  "function_call",
  "function_call.name",
  "response_format.json_schema.name",
  "schema.required",
  "rank_fields",
  // options
  "type",
  "purpose",
  "completion_window",
  "context_length_exceeded_behavior",
  "reasoning_effort",
  "response_format",
  "response_format.type",
  "output_format",
  "response_encoding",
  "lr_scheduler.lr_scheduler_type",
  "training_method.method",
  "training_type.type"
])

/** The places of a JSON Schema, which may be of any depth; lists are passed through. */
export const schemas: ReadonlySet<string> = new Set([
  "tools.function.parameters",
  "response_format.schema",
  "response_format.json_schema.schema"
])
const schema = "schema"
/** Fields of a schema that hold values, not schemas. */
const values: ReadonlySet<string> = new Set(["default", "examples", "enum", "const"])

const parts = (path: string): ReadonlyArray<string> =>
  path.split(".").map((_, index, all) => all.slice(0, index + 1).join("."))

const known: ReadonlySet<string> = new Set([...names, ...schemas].flatMap(parts))

const aName = /^[\w.:/@+-]{1,200}$/

/** A place of a request that leads to names; `undefined` is every other. */
type Place = string | undefined

const top: Place = ""

/** Leads to what stands below a place. */
const below = (place: Place, name: string): Place => {
  if (place === undefined || name.includes(".")) return undefined
  if (place === schema && name !== "required") return values.has(name) ? undefined : schema
  const path = place === top ? name : `${place}.${name}`
  return schemas.has(path) ? schema : path !== schema && known.has(path) ? path : undefined
}

/** Collects the prompts of a value that stands at a place. */
const collected = (root: unknown, at: Place): ReadonlyArray<string> => {
  const found = new Set<string>()
  // what contains itself is read once; one object may stand at several places
  const seen = new Map<Place, Set<object>>()
  // a stack of its own: a request may be deeper than calls can be
  const open: Array<readonly [value: unknown, place: Place]> = [[root, at]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [value, place] = next
    if (typeof value === "string") {
      const isName = place !== undefined && names.has(place) && aName.test(value)
      if (!isName && value.length >= SecretMatches.shortest) found.add(value)
    } else if (typeof value === "object" && value !== null) {
      const here = seen.get(place) ?? new Set()
      if (here.has(value)) continue
      seen.set(place, here.add(value))
      if (Array.isArray(value)) {
        for (let index = value.length - 1; index >= 0; index--) open.push([value[index], place])
      } else for (const [name, item] of Object.entries(value).reverse()) open.push([item, below(place, name)])
    }
  }
  return [...found]
}

/**
 * Collects every text of a request body, at any depth, except names.
 *
 * **Details**: a text that comes again is listed once, and a body that contains itself is read once.
 */
export const promptsOf = (body: unknown): ReadonlyArray<string> => collected(body, top)

/** Reads every text of a request that was sent as JSON; of any other text, itself. */
export const promptsOfText = (text: string): ReadonlyArray<string> => {
  const value = Json.parse(text)
  return promptsOf(typeof value === "object" ? value : text)
}

/** Fields at the top of a line that say which request it is: they hold no prompt. */
const envelope: ReadonlySet<string> = new Set(["custom_id", "method", "url"])

const promptsOfLine = (line: string): ReadonlyArray<string> => {
  const value = Json.parse(line)
  if (value === undefined) return line.length < SecretMatches.shortest ? [] : [line]
  if (typeof value !== "object" || value === null || Array.isArray(value)) return collected(value, undefined)
  return Object.entries(value).flatMap(([name, item]) =>
    envelope.has(name) ? [] : collected(item, name === "body" ? top : undefined)
  )
}

/**
 * Reads every text of a file of lines, one by one: what each line of JSON holds, and other lines as they are.
 *
 * **Details**: of a line of a batch, `custom_id`, `method` and `url` are no texts: an error must be able to name them. Names
 * are known in its `body` alone: what else a line holds has no place in a request.
 */
export function* promptsOfLines(text: string): Generator<string> {
  for (let from = 0; from < text.length;) {
    const end = text.indexOf("\n", from)
    const to = end < 0 ? text.length : end
    yield* promptsOfLine(text.slice(from, to))
    from = to + 1
  }
}

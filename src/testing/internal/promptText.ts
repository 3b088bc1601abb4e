/**
 * Knows the prompts of a request, and takes them out of what a model said.
 *
 * A prompt is what was written for the model to read: a message, a prompt, what stands beside them, an input, a query, a
 * document. No prompt is what an assistant said before, nor what declares a tool or the form of an answer: a model repeats
 * these as it must, and a replay needs them. An answer in JSON loses prompts inside of its texts only, so that its form
 * stays.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { promptsOf } from "../../together/redact/Redact.ts"
import * as JsonText from "./jsonText.ts"

/** Says what to keep of an answer's prompts. */
export interface Prompts {
  /** Texts that may not stand in what the model said, the longest first. */
  readonly written: ReadonlyArray<string>
  /** Texts that may not stand in a refusal: all of the request, the longest first. */
  readonly sent: ReadonlyArray<string>
  /** What the request declares that an answer may hold: names and values of tools and of schemas. */
  readonly declared: ReadonlySet<string>
  /** Every text of the request, for numbers. */
  readonly all: string
  /** The request asked for its prompt in the answer. */
  readonly echo: boolean
  /** Words of an error's message that stay besides the provider's: the model's name, and what decides the error's tag. */
  readonly words: ReadonlySet<string>
}

/** Names of fields with what was written, as it is or inside of a list or an object. */
const written = new Set(
  ("content prompt input inputs query document documents text texts instructions system negative_prompt image_url " +
    "system_template input_template display_name").split(" ")
)
/** Names of fields that declare what an answer may hold. */
const declaring = new Set(["tools", "functions", "response_format"])
/** Names of fields that no model reads. */
const options = new Set([...declaring, "tool_choice", "function_call", "metadata", "stop", "user"])

type Field = readonly [name: string, value: unknown]

/** Lists the fields of an object, and those of the parts of a list under no name. */
const fieldsOf = (value: unknown): ReadonlyArray<Field> =>
  typeof value !== "object" || value === null
    ? []
    : Array.isArray(value)
    ? value.map((item): Field => ["", item])
    : Object.entries(value)

const textsOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : fieldsOf(value).flatMap(([, field]) => textsOf(field))

const writtenIn = (value: unknown): ReadonlyArray<string> => {
  const fields = fieldsOf(value)
  const role = fields.find(([name]) => name === "role")?.[1]
  if (role === "assistant") return []
  // a model reads all that a message holds: names are known by their place
  if (role !== undefined) return promptsOf({ messages: value })
  // it may read any option of its request; that of a file or of a job is a name
  const isRead = fields.some(([name]) => name === "messages" || name === "prompt")
  return fields.flatMap(([name, field]) =>
    options.has(name)
      ? []
      : written.has(name) || (isRead && name !== "messages")
      // names are known by their place: inside of what was written there is none
      ? promptsOf({ [name]: field })
      : writtenIn(field)
  )
}

/** A description says what is meant, not what an answer may hold. */
const declaredIn = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : fieldsOf(value).flatMap(([name, field]) =>
      name === "description" && typeof field === "string" ? [] : [name, ...declaredIn(field)]
    )

/** Lists texts as they stand, without space around them and as the inside of a string, the longest first. */
const searched = (texts: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(texts.flatMap((text) => [text, text.trim(), JsonText.inside(text)]))]
    .filter((text) => text !== "")
    .toSorted((a, b) => b.length - a.length)

/** Reads what an answer must not repeat. */
export const of = (body: unknown, model: string): Prompts => ({
  written: searched(typeof body === "string" ? promptsOf(body) : writtenIn(body)),
  sent: searched(promptsOf(body)),
  declared: new Set(
    fieldsOf(body).flatMap(([name, field]) => declaring.has(name) ? declaredIn(field) : []).filter((text) =>
      text !== ""
    )
  ),
  all: textsOf(body).join("\n"),
  echo: Predicate.hasProperty(body, "echo") && body.echo === true,
  words: new Set([model])
})

/** Stands in an answer where a prompt was removed. */
export const removed = "[prompt]"

/** Finds prompts in a text, in their order. */
const plain = (text: string, prompts: ReadonlyArray<string>): ReadonlyArray<JsonText.Edit> => {
  const taken: Array<JsonText.Edit> = []
  for (const prompt of prompts) {
    for (const edit of JsonText.replacing(prompt, removed)(text)) {
      // the longest come first: what is left overlaps in part, or lies inside
      if (!taken.some(({ from, to }) => edit.from < to && from < edit.to)) taken.push(edit)
    }
  }
  return taken.toSorted((a, b) => a.from - b.from)
}

/** Finds prompts in the texts of JSON, and those that reach over several of its texts. */
const inJson = (
  json: string,
  prompts: ReadonlyArray<string>,
  declared: ReadonlySet<string>
): ReadonlyArray<JsonText.Edit> => {
  const whole = plain(json, prompts)
  let next = 0
  /** Both stand in their order: none is looked at twice that ended before. */
  const touching = (from: number, to: number): ReadonlyArray<JsonText.Edit> => {
    while ((whole[next]?.to ?? Infinity) <= from) next++
    let end = next
    while ((whole[end]?.from ?? Infinity) < to) end++
    return whole.slice(next, end)
  }
  return JsonText.literals(json).flatMap(({ from, kind, to, value }) => {
    if (declared.has(value)) return []
    const touched = touching(from, to)
    if (kind === "number") return touched.length > 0 ? [{ from, to, text: "0" }] : []
    const clean = touched.some((each) => each.from < from || to < each.to)
      ? removed
      : JsonText.edited(value, plain(value, prompts), [value.length]).join("")
    return clean === value ? [] : [{ from, to, text: JsonText.inside(clean) }]
  })
}

/** Finds prompts in what begins like JSON: it may be cut short, or be none. */
const inPart = (
  part: string,
  prompts: ReadonlyArray<string>,
  declared: ReadonlySet<string>
): ReadonlyArray<JsonText.Edit> => {
  const stays = JsonText.literals(part).filter(({ to, value }) =>
    declared.has(value) || (to === part.length && [...declared].some((each) => each.startsWith(value)))
  )
  return plain(part, prompts).filter((each) => !stays.some(({ from, to }) => from <= each.from && each.to <= to))
}

/** Replaces prompts in texts that follow each other, also where one lies across several. */
export const without = (
  texts: ReadonlyArray<string>,
  prompts: ReadonlyArray<string>,
  declared: ReadonlySet<string>
): ReadonlyArray<string> =>
  prompts.length === 0 ? texts : JsonText.across(texts, [(text) =>
    declared.has(text.trim())
      ? []
      : !/^\s*[[{"]/.test(text)
      ? plain(text, prompts)
      : Option.isSome(JsonText.read(text))
      ? inJson(text, prompts, declared)
      : inPart(text, prompts, declared)])

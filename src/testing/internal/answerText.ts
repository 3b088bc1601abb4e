/**
 * Redacts the text of an answer: keys always, and prompts by where a text stands.
 *
 * | text | becomes |
 * | --- | --- |
 * | of a field named as a secret, or inside of one | `[key]` |
 * | what the model said: inside `choices`, a transcript, an image | itself, but for whole prompts of 12 characters or more, also where these lie across events or tokens |
 * | ids, models, kinds, states, times, pages, hashes | itself |
 * | an error's message, in any form of its body | the provider's words of it |
 * | anything else: a prompt, an input, a name | its length |
 * | what lies deeper than 64 levels | its length, whatever is kept |
 */
import { promptsOf } from "../../together/Redact.ts"
import * as JsonText from "./jsonText.ts"
import * as ProviderWords from "./providerWords.ts"
import * as SecretText from "./secretText.ts"

/** Says what to keep of an answer's prompts. */
export interface Prompts {
  /** Texts that may not stand in what the model said, the longest first. */
  readonly long: ReadonlyArray<string>
  /** Every text of the request, for numbers. */
  readonly all: string
  /** The request asked for its prompt in the answer. */
  readonly echo: boolean
  /** Words of an error's message that stay besides the provider's: the model's name, and what decides the error's tag. */
  readonly words: ReadonlySet<string>
}

const textsOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
    ? Object.values(value).flatMap(textsOf)
    : []

/** Reads what an answer must not repeat. */
export const promptsIn = (body: unknown, model: string): Prompts => ({
  long: [...new Set(promptsOf(body).flatMap((prompt) => [prompt, prompt.trim(), JsonText.inside(prompt)]))]
    .filter((prompt) => prompt !== "")
    .toSorted((a, b) => b.length - a.length),
  all: textsOf(body).join("\n"),
  echo: typeof body === "object" && body !== null && "echo" in body && body.echo === true,
  words: new Set([model])
})

/** Shorter secrets are replaced where they are named only: elsewhere these are words. */
export const shortestSecret = 8

/** Replaces secrets by name, and collects them for the rest of the answer. */
export const collecting = (found: Set<string>) => (secret: string): string => {
  if (secret.length >= shortestSecret) found.add(secret)
  return "[key]"
}

/** Longer ones, and those of letters and digits, may be secrets. */
const aToken = /^\s?(?:\P{N}{0,15}|\p{N}{1,15})$/u

/** Tells what a model reads and writes from a list of secrets. */
const isToken = ({ around, name, value }: JsonText.Literal): boolean =>
  around.includes("logprobs") ||
  (name === "tokens" && around.at(-1) === "tokens" && (around.includes("choices") || aToken.test(value)))

const isSecret = (literal: JsonText.Literal): boolean =>
  literal.kind === "text" && literal.value !== "" && !isToken(literal) &&
  (SecretText.isSecretField(literal.name) || [...literal.around, literal.name].some(SecretText.isSecretOwner))

/** Tells a text or a name whose fields are not told: it may be anything. */
const isTooDeep = ({ around, kind }: JsonText.Literal): boolean =>
  kind !== "number" && around.length === JsonText.deepest

const length = (text: string): string => text === "" ? "" : `[${text.length} characters]`

/** JSON inside of JSON inside of JSON. */
const deepest = 3

/** Replaces the secrets of a text, as JSON where it is that. */
export const withoutSecrets = (text: string, replace: (secret: string) => string, depth = 0): string => {
  if (depth > deepest) return text
  const edits = JsonText.isJson(text) || text.includes("\"")
    ? JsonText.literals(text).flatMap((literal): ReadonlyArray<JsonText.Edit> => {
      if (literal.kind !== "text") return []
      const value = isTooDeep(literal)
        ? length(literal.value)
        : isSecret(literal)
        ? replace(literal.value)
        : withoutSecrets(literal.value, replace, depth + 1)
      return value === literal.value ? [] : [{ from: literal.from, to: literal.to, text: JsonText.inside(value) }]
    })
    : []
  return SecretText.withoutNamed(JsonText.edited(text, edits, [text.length]).join(""), replace)
}

/** Names whose fields and texts the user chose. */
const own = new Set(["metadata", "parameters", "properties", "schema", "labels", "json_schema"])
/** Names of what the provider may repeat of a request. */
const echoed = new Set(
  ("prompt messages input inputs query document documents suffix instructions tools request negative_prompt " +
    "system_template input_template").split(" ")
)
const errors = new Set(["error", "errors"])
const kept =
  /^(?:id|event|object|model|type|role|status|code|param|created|finish_reason|stop_reason|endpoint|method|purpose|language|task|organization|display_name|license|link|completion_window|hardware|level|hash|batch_size|lora_trainable_modules|output_name|.*_(?:id|type|model|at|status|reason|tier|fingerprint|file|hash)|(?:.*_)?page_token|.*(?:At|Id|Type|PageToken))$/
const said =
  /^(?:content|text|reasoning|reasoning_content|refusal|arguments|tokens?|b64_json|b64|embedding|transcript|word|data|url|.*_url)$/
const messages = /^(?:message|errors?|details?|msg|reason|error_message|description|title)$/
const aWord = /^[\w.\-[\]]{1,64}$/

type Kind = "own" | "kept" | "said" | "message" | "unknown"

/** Tells a sentence of an error: by its name, or, as in a list, by that of what is around it. */
const isMessage = ({ around, name }: JsonText.Literal, failed: boolean): boolean => {
  if (failed && !echoed.has(name)) {
    const nearest = around.findLast((each) => each !== "")
    return messages.test(name) || (nearest === undefined ? name === "" : messages.test(nearest))
  }
  return messages.test(name) && (around.length === 0 || [...around, name].some((each) => errors.has(each)))
}

const kindOf = (literal: JsonText.Literal, { echo }: Prompts, failed: boolean): Kind => {
  const { around, name, value } = literal
  if (own.has(name) || around.some((each) => own.has(each))) return "own"
  if (isMessage(literal, failed) && !(kept.test(name) && aWord.test(value))) return "message"
  if ([...around, name].some((each) => echoed.has(each) || errors.has(each))) {
    return kept.test(name) && aWord.test(value) ? "kept" : "unknown"
  }
  const isAnswer = around.includes("choices")
  if (kept.test(name) || (isAnswer && name === "name")) return "kept"
  return (said.test(name) || around.includes("logprobs")) && !echo ? "said" : "unknown"
}

/** Replaces prompts in texts that follow each other, also where one lies across several. */
const withoutPrompts = (texts: ReadonlyArray<string>, prompts: ReadonlyArray<string>): ReadonlyArray<string> => {
  const whole = texts.join("")
  const taken: Array<readonly [from: number, to: number]> = []
  for (const prompt of prompts) {
    for (let at = whole.indexOf(prompt); at >= 0; at = whole.indexOf(prompt, at + prompt.length)) {
      const to = at + prompt.length
      // the longest come first: what is left overlaps in part, or lies inside
      if (!taken.some(([from, end]) => at < end && from < to)) taken.push([at, to])
    }
  }
  if (taken.length === 0) return texts
  let end = 0
  const ends = texts.map((text) => end += text.length)
  const edits = taken.toSorted((a, b) => a[0] - b[0]).map(([from, to]) => ({ from, to, text: "[prompt]" }))
  return JsonText.edited(whole, edits, ends)
}

/** Replaces prompts in a text that is no JSON. */
const plain = (text: string, prompts: Prompts, failed: boolean): string =>
  failed
    ? ProviderWords.only(text, prompts.words, (digits) => digits.length > 2 && prompts.all.includes(digits))
    : prompts.echo
    ? length(text)
    : withoutPrompts([text], prompts.long).join("")

/** Tells the numbers that stand for a prompt's tokens. */
const isPromptToken = ({ around, kind, name }: JsonText.Literal, prompts: Prompts | undefined): boolean =>
  prompts !== undefined && kind === "number" && /^(?:token_ids|bytes)$/.test(name) && around.includes("prompt")

interface Place {
  readonly literal: JsonText.Literal
  /** `"done"`: its text is what is stored. */
  readonly kind: Kind | "done"
  text: string
}

/** Tells apart what was said by several choices, and in several fields. */
const speakersOf = (found: ReadonlyArray<JsonText.Literal>): ReadonlyArray<string> => {
  let choice = ""
  return found.map(({ around, kind, name, value }) => {
    if (kind === "number" && name === "index" && around.at(-1) === "choices") choice = value
    return `${choice} ${around.join(".")}.${name}`
  })
}

const bareWord = /\p{L}[\p{L}\p{M}\p{N}_-]*/gu
const grammar = new Set([
  "data",
  "event",
  "id",
  "retry",
  "message",
  "error",
  "ping",
  "done",
  "DONE",
  "true",
  "false",
  "null",
  "NaN",
  "Infinity"
])

/** Replaces words that stand outside of any text, as in an event that is no JSON. */
const bareWords = (text: string, found: ReadonlyArray<JsonText.Literal>): ReadonlyArray<JsonText.Edit> => {
  let from = 0
  return [...found, { from: text.length, to: text.length }].flatMap((next) => {
    const start = from
    from = next.to
    return Array.from(text.slice(start, next.from).matchAll(bareWord), ({ 0: word, index }) => ({
      from: start + index,
      to: start + index + word.length,
      text: grammar.has(word) ? word : "…"
    }))
  }).filter(({ text }) => text === "…")
}

/** Lists what to change in the text of an answer. */
export const edits = (
  text: string,
  { failed, prompts, secrets }: {
    /** Present where prompts are redacted. */
    readonly prompts: Prompts | undefined
    readonly failed: boolean
    /** Takes up the secrets that the answer names. */
    readonly secrets: Set<string>
  }
): ReadonlyArray<JsonText.Edit> => {
  const replace = collecting(secrets)
  if (!JsonText.isJson(text)) {
    const named = withoutSecrets(text, replace)
    const clean = SecretText.withoutKeys(secrets)(named)
    const out = prompts === undefined ? clean : plain(clean, prompts, failed)
    return out === text ? [] : [{ from: 0, to: text.length, text: out }]
  }
  const found = JsonText.literals(text)
  const speakers = speakersOf(found)
  const places = found.map((literal): Place => {
    if (isTooDeep(literal)) return { literal, kind: "done", text: length(literal.value) }
    if (literal.kind !== "text") {
      return { literal, kind: "kept", text: isPromptToken(literal, prompts) ? "0" : literal.value }
    }
    if (isSecret(literal)) return { literal, kind: "done", text: replace(literal.value) }
    const kind = prompts === undefined ? "kept" : kindOf(literal, prompts, failed)
    // what the model wrote as JSON is its answer: names in it are the program's
    const named = literal.around.includes("choices") ? SecretText.withoutNamed : withoutSecrets
    return { literal, kind, text: named(literal.value, replace) }
  })
  const withoutKey = SecretText.withoutKeys(secrets)
  const spoken = new Map<string, Array<Place>>()
  places.forEach((place, index) => {
    if (place.kind === "done" || place.literal.kind === "number") return
    place.text = withoutKey(place.text, place.literal.kind === "text" ? place.literal.name : "")
    if (prompts === undefined) return
    if (place.literal.kind === "name") {
      if (place.literal.around.some((name) => own.has(name))) place.text = length(place.text)
    } else if (place.kind === "said" || place.kind === "kept") {
      const speaker = speakers[index] ?? ""
      const before = spoken.get(speaker)
      if (before === undefined) spoken.set(speaker, [place])
      else before.push(place)
    } else place.text = place.kind === "message" ? plain(place.text, prompts, true) : length(place.text)
  })
  for (const group of prompts === undefined ? [] : spoken.values()) {
    const clean = withoutPrompts(group.map((place) => place.text), prompts?.long ?? [])
    group.forEach((place, index) => {
      place.text = clean[index] ?? ""
    })
  }
  const changed = places.flatMap(({ literal, text }) =>
    text === literal.value ? [] : [{ from: literal.from, to: literal.to, text: JsonText.inside(text) }]
  )
  return prompts === undefined
    ? changed
    : [...changed, ...bareWords(text, found)].toSorted((a, b) => a.from - b.from)
}

/**
 * Redacts the text of an answer: keys always, and prompts by where a text stands.
 *
 * | text | becomes |
 * | --- | --- |
 * | of a field named as a secret, or inside of one | `[key]` |
 * | the name of a tool that the model calls | itself, but for a key that the exchange holds elsewhere |
 * | what the model said: inside `choices`, a transcript, an image | itself, but for whole prompts of 12 characters or more, also where these lie across events, tokens or parts; in JSON, inside of its texts only |
 * | ids, models, kinds, states, times, pages, hashes | itself |
 * | an error's message, in any form of its body | the provider's words of it |
 * | anything else: a prompt, an input, a name | its length |
 * | what lies deeper than 64 levels | its length, whatever is kept |
 */
import * as JsonText from "./jsonText.ts"
import * as PromptText from "./promptText.ts"
import * as ProviderWords from "./providerWords.ts"
import * as SecretText from "./secretText.ts"

/** Shorter secrets are replaced where they are named only: elsewhere these are words. */
const shortestSecret = 8

/** Replaces secrets by name, and collects for the rest of the answer those that are no words too. */
export const collecting = (found: Set<string>): SecretText.Replace => (secret, names) => {
  if (secret.length >= shortestSecret && (names === undefined || SecretText.isCertain(secret, names))) found.add(secret)
  return "[key]"
}

/** Longer ones, and those of letters and digits, may be secrets. */
const aToken = /^\s?(?:\P{N}{0,15}|\p{N}{1,15})$/u

/** Tells what a model reads and writes from a list of secrets. */
const isToken = ({ around, name, value }: JsonText.Literal): boolean =>
  around.includes("logprobs") ||
  (name === "tokens" && around.at(-1) === "tokens" && (around.includes("choices") || aToken.test(value)))

const namesOf = ({ around, name }: JsonText.Literal): ReadonlyArray<string> => [...around, name]

const isSecret = (literal: JsonText.Literal): boolean =>
  literal.kind === "text" && literal.value !== "" && !isToken(literal) &&
  (SecretText.isSecretField(literal.name) || namesOf(literal).some(SecretText.isSecretOwner))

/** Tells a text or a name whose fields are not told: it may be anything. */
const isTooDeep = ({ around, kind }: JsonText.Literal): boolean =>
  kind !== "number" && around.length === JsonText.deepest

const length = (text: string): string => text === "" ? "" : `[${text.length} characters]`

/** JSON inside of JSON inside of JSON. */
const deepest = 3

/** Replaces the secrets of a text, as JSON where it is that. */
export const withoutSecrets = (text: string, replace: SecretText.Replace, depth = 0): string => {
  if (depth > deepest) return text
  const edits = JsonText.isJson(text) || text.includes("\"")
    ? JsonText.literals(text).flatMap((literal): ReadonlyArray<JsonText.Edit> => {
      if (literal.kind !== "text") return []
      const value = isTooDeep(literal)
        ? length(literal.value)
        : isSecret(literal)
        ? replace(literal.value, namesOf(literal))
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
/** Names of what a model says word by word. */
const spoken = /^(?:content|text|reasoning|reasoning_content|refusal|arguments|tokens?|transcript|word)$/
const whole = /^(?:b64_json|b64|embedding|data|url|.*_url)$/
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

const kindOf = (literal: JsonText.Literal, { echo }: PromptText.Prompts, failed: boolean): Kind => {
  const { around, name, value } = literal
  if (own.has(name) || around.some((each) => own.has(each))) return "own"
  if (isMessage(literal, failed) && !(kept.test(name) && aWord.test(value))) return "message"
  if ([...around, name].some((each) => echoed.has(each) || errors.has(each))) {
    return kept.test(name) && aWord.test(value) ? "kept" : "unknown"
  }
  const isAnswer = around.includes("choices")
  if (kept.test(name) || (isAnswer && name === "name")) return "kept"
  return (spoken.test(name) || whole.test(name) || around.includes("logprobs")) && !echo ? "said" : "unknown"
}

/** Replaces prompts in a text that is no JSON. */
const plain = (text: string, prompts: PromptText.Prompts, failed: boolean): string =>
  failed
    ? ProviderWords.only(text, prompts.words, (digits) => digits.length > 2 && prompts.all.includes(digits))
    : prompts.echo
    ? length(text)
    : PromptText.without([text], prompts.written, prompts.declared).join("")

/** Tells the numbers that stand for a prompt's tokens. */
const isPromptToken = ({ around, kind, name }: JsonText.Literal, prompts: PromptText.Prompts | undefined): boolean =>
  prompts !== undefined && kind === "number" && /^(?:token_ids|bytes)$/.test(name) && around.includes("prompt")

/** Tells the name of a tool that the model calls: the program must know it again. */
const isToolName = ({ around, kind, name }: JsonText.Literal): boolean =>
  kind === "text" && name === "name" && around.includes("choices") &&
  /^(?:function|function_call)$/.test(around.at(-1) ?? "")

interface Place {
  readonly literal: JsonText.Literal
  /** `"done"`: its text is what is stored. */
  readonly kind: Kind | "done"
  text: string
}

const events = /^\s*(?:(?:data|event|id|retry):|:)/

/** Names of lists whose texts are one, part by part. */
const parted = /^(?:content|segments)$/

/** Tells a text that goes on in the next of its speaker: a token, a part, or what an event adds. */
const goesOn = ({ around, name }: JsonText.Literal, isEvents: boolean): boolean =>
  spoken.test(name) && !around.includes("top_logprobs") &&
  (isEvents || around.includes("logprobs") || name === "tokens" || parted.test(around.at(-1) ?? ""))

/** Puts texts together that are one: apart is what was said by several choices, in several fields, for several tools. */
const joined = (places: ReadonlyArray<Place>, isEvents: boolean): ReadonlyArray<ReadonlyArray<Place>> => {
  const groups = new Map<string, Array<Place>>()
  const indexes = new Map<string, string>()
  places.forEach((place, at) => {
    const { around, kind, name, value } = place.literal
    if (kind === "number" && name === "index") {
      const list = around.at(-1) ?? ""
      indexes.set(list, value)
      // the tools of each choice are counted anew
      if (list === "choices") indexes.delete("tool_calls")
    }
    if (kind !== "text" || place.kind === "done") return
    const numbers = around.flatMap((each) => indexes.get(each) ?? [])
    const speaker = goesOn(place.literal, isEvents) ? `${numbers.join(".")} ${around.join(".")}.${name}` : `${at}`
    const before = groups.get(speaker)
    if (before === undefined) groups.set(speaker, [place])
    else before.push(place)
  })
  return [...groups.values()]
}

/** Changes the texts of places as if they were one. */
const change = (places: ReadonlyArray<Place>, f: (texts: ReadonlyArray<string>) => ReadonlyArray<string>): void => {
  const texts = f(places.map(({ text }) => text))
  places.forEach((place, index) => {
    place.text = texts[index] ?? ""
  })
}

/** Replaces prompts in the texts of a kind. */
const withoutPrompts =
  (kind: Place["kind"] | undefined, prompts: PromptText.Prompts, failed: boolean) =>
  (texts: ReadonlyArray<string>): ReadonlyArray<string> =>
    kind !== "said" && kind !== "kept"
      ? texts.map((text) => kind === "message" ? plain(text, prompts, true) : length(text))
      : failed
      ? PromptText.without(texts, prompts.sent, new Set())
      : PromptText.without(texts, prompts.written, prompts.declared)

const bareWord = /\p{L}[\p{L}\p{M}\p{N}_-]*/gu
const grammar = new Set("data event id retry message error ping done DONE true false null NaN Infinity".split(" "))

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
    readonly prompts: PromptText.Prompts | undefined
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
  const places = found.map((literal): Place => {
    if (isTooDeep(literal)) return { literal, kind: "done", text: length(literal.value) }
    if (literal.kind === "number") {
      return { literal, kind: "done", text: isPromptToken(literal, prompts) ? "0" : literal.value }
    }
    if (isToolName(literal)) return { literal, kind: "done", text: literal.value }
    if (isSecret(literal)) return { literal, kind: "done", text: replace(literal.value, namesOf(literal)) }
    return { literal, kind: prompts === undefined ? "kept" : kindOf(literal, prompts, failed), text: literal.value }
  })
  const groups = joined(places, events.test(text))
  const named = SecretText.named(replace)
  for (const group of groups) {
    change(group, (texts) =>
      // what the model wrote as JSON is its answer: names in it are the program's
      group.length > 1 || group[0]?.literal.around.includes("choices")
        ? JsonText.across(texts, named)
        : texts.map((each) => withoutSecrets(each, replace)))
  }
  const keys = SecretText.keys(secrets)
  for (const group of groups) change(group, (texts) => JsonText.across(texts, keys(group[0]?.literal.name)))
  for (const place of places) {
    // may look like a key, but be none
    if (isToolName(place.literal)) place.text = JsonText.across([place.text], SecretText.known(secrets)).join("")
    if (place.literal.kind !== "name" || place.kind === "done") continue
    place.text = JsonText.across([place.text], keys()).join("")
    if (prompts !== undefined && place.literal.around.some((name) => own.has(name))) place.text = length(place.text)
  }
  if (prompts !== undefined) {
    for (const group of groups) {
      change(group, withoutPrompts(group[0]?.kind, prompts, failed))
    }
  }
  const changed = places.flatMap(({ literal, text }) =>
    text === literal.value ? [] : [{ from: literal.from, to: literal.to, text: JsonText.inside(text) }]
  )
  return prompts === undefined
    ? changed
    : [...changed, ...bareWords(text, found)].toSorted((a, b) => a.from - b.from)
}

/**
 * Keeps keys and prompts out of what a provider's answer may echo.
 *
 * An error body can quote the request: a refused key, an input that failed its
 * validation. Before a body or a message enters an error, every secret it is
 * told of and everything that looks like a key is replaced. This runs only when
 * a call has failed.
 */

/** Bounds the body kept on an error, in characters. */
export const maxBodyLength = 2000

const keyLike = [
  /bearer\s+[\w.\-~+/]{8,}=*/gi,
  /\b(?:sk|tgp|tok|key|tgp_v1)[-_][\w-]{16,}/gi,
  /\b[0-9a-f]{64}\b/gi
]

/** Shorter pieces of a prompt are words, not text: they stay. */
const shortestPrompt = 12
/** A provider may cut what it echoes: this much of a prompt's start gives it away. */
const giveaway = 24

const withoutPrompt = (text: string, prompt: string): string => {
  if (prompt.length < shortestPrompt) return text
  const escaped = JSON.stringify(prompt).slice(1, -1)
  const whole = text.replaceAll(prompt, "[prompt]").replaceAll(escaped, "[prompt]")
  for (const start of [prompt.slice(0, giveaway), escaped.slice(0, giveaway)]) {
    const at = whole.indexOf(start)
    if (at >= 0) return `${whole.slice(0, at)}[prompt]`
  }
  return whole
}

/** Names what must not appear. */
export interface Secrets {
  readonly apiKey?: string | undefined
  /** Texts of the request; only those of 12 characters or more are looked for. */
  readonly prompts: ReadonlyArray<string>
}

/** Removes keys and prompts from a text and bounds its length. */
export const redact = (text: string, secrets: Secrets): string => {
  let out = text
  if (secrets.apiKey !== undefined && secrets.apiKey !== "") out = out.replaceAll(secrets.apiKey, "[key]")
  for (const pattern of keyLike) out = out.replace(pattern, "[key]")
  for (const prompt of secrets.prompts) out = withoutPrompt(out, prompt)
  return out.length > maxBodyLength ? `${out.slice(0, maxBodyLength)}…` : out
}

/**
 * Collects every text of a request body, at any depth, except the fields that hold no prompt.
 */
export const promptsOf = (body: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  const visit = (value: unknown, key: string): void => {
    if (typeof value === "string") {
      if (key !== "model" && key !== "role" && key !== "type" && value.length >= shortestPrompt) found.push(value)
    } else if (Array.isArray(value)) {
      for (const item of value) visit(item, key)
    } else if (typeof value === "object" && value !== null) {
      for (const [name, item] of Object.entries(value)) visit(item, name)
    }
  }
  visit(body, "")
  return found
}

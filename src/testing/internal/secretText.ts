/**
 * Knows a secret by the name it stands under, and by its looks.
 *
 * Names: of headers, of parameters of URLs, of fields. Looks: credentials after their scheme, the user of a URL, keys of
 * known forms.
 */
import * as JsonText from "./jsonText.ts"

const secretHeader = /authorization|authenticate|cookie|session|signature|api-?key|token|secret|passw|credential/i

/** Tells whether a header holds a secret. Headers of limits may count tokens. */
export const isSecretHeader = (name: string): boolean => secretHeader.test(name) && !/limit/i.test(name)

/** Tells a place in a list, which is no secret. */
const isPageToken = (name: string): boolean => /page_?token$/i.test(name)

const secretParameter = /key|token|secret|signature|passw|passphrase|credential|session|(?:^|[-_])(?:auth|sig)/i

/** Tells whether a parameter of a URL or a form holds a secret. */
export const isSecretParameter = (name: string): boolean => secretParameter.test(name) && !isPageToken(name)

const secretField =
  /(?:key|token|secret|passwd|password|passphrase|credential|signature|authorization)s?(?:_(?:pem|value|hash|base64))?$|access_?key_?id$/i

/** Tells whether a field of a body holds a secret. */
export const isSecretField = (name: string): boolean => secretField.test(name) && !isPageToken(name)

const secretOwner = /secret|credential|passw|passphrase|(?:^|[-_]|api|access|private)keys?$/i

/** Tells whether every text inside a field is a secret. */
export const isSecretOwner = (name: string): boolean => secretOwner.test(name)

/** Names that hold nothing else: of another, as `sort_key` or `token`, the value must look like a secret. */
const certain =
  /secret|passw|passphrase|credential|signature|authorization|(?:api|access|private|auth|account|service|client|deploy|encryption|signing|shared|storage|master|security|subscription|license|ssh|hmac|wandb)[-_]?keys?(?:[-_]|$|Id)|(?:api|access|refresh|auth|bearer|session|security|identity|bot|user|personal|deploy|hf|github|gitlab|slack|wandb|hub)[-_]?tokens?$|(?:^|[-_])(?:auth|sig)$/i

/** Letters and digits among each other, as no word has them. */
const looksSecret = (text: string): boolean =>
  !/\s/.test(text) && (text.match(/[a-z\d]{8,}/gi) ?? []).some((run) => /\d/.test(run) && /[a-z]/i.test(run))

/** Tells whether what stands under these names is a secret wherever it stands, and not a word too. */
export const isCertain = (secret: string, names: ReadonlyArray<string>): boolean =>
  names.some((name) => certain.test(name)) || looksSecret(secret)

/** Replaces a secret; with the names it stands under, where these may be names of something else. */
export type Replace = (secret: string, names?: ReadonlyArray<string>) => string

/** Picks the parameters of URLs and forms, also where JSON or HTML escapes the ampersand. */
const parameters = /(?<before>(?:^|[?&#]|\\u0026|&amp;)(?<name>[\w.\-~%]+)=)(?<secret>[^&#\s"'<>\\]+)/g
/** Asks for no scheme: each word of a long text joined by hyphens may start one, and would be read to its end. */
const userOfUrl = /(?<before>:\/\/)(?<secret>[^\s/?#@"'<>\\]+)@/g
const credentials = /(?<before>authorization["'\\]*\s*[:=]\s*["'\\]*(?:[a-z]+\s+)?)(?<secret>[\w.\-~+/=]{4,})/gi

const searchNamed = (pattern: RegExp, replace: Replace): JsonText.Find => (text) =>
  Array.from(text.matchAll(pattern)).flatMap(({ groups = {}, index }) => {
    const { before = "", name, secret = "" } = groups
    if (name !== undefined && !isSecretParameter(name)) return []
    const from = index + before.length
    return [{ from, to: from + secret.length, text: replace(secret, name === undefined ? undefined : [name]) }]
  })

/** Searches for what is named as a secret inside of a text. */
export const named = (replace: Replace): ReadonlyArray<JsonText.Find> =>
  [credentials, userOfUrl, parameters].map((pattern) => searchNamed(pattern, replace))

/** Replaces what is named as a secret inside of a text. */
export const withoutNamed = (text: string, replace: Replace): string => JsonText.across([text], named(replace)).join("")

/** Looks like a key to the client too, but for keys that an id or a hash may look like. */
const keyLike = /bearer(?:\s|%20|\+)+[\w.\-~+/]{8,}=*|\b(?:sk|tgp)[-_][\w-]{16,}/gi
/** Looks like a key, but for where an id stands. */
const idLike = /\b(?:tok|key)[-_][\w-]{16,}/gi
const isId = (name: string): boolean => /^(?:.*_)?id$|Id$/.test(name) || isPageToken(name)
/** Looks like a key, but for where a hash stands. */
const hashLike = /\b[0-9a-f]{64}\b/gi
const isHash = (name: string): boolean => /^(?:.*_)?hash$/i.test(name)
/** Words may follow these schemes: a credential has a digit, a padding, or capitals inside. */
const schemed = /\b(?:[Bb]asic|[Tt]oken)\s+(?=\S*(?:\d|=|[a-z][A-Z]))[\w.\-~+/]{8,}=*/g

const searchLike = (pattern: RegExp): JsonText.Find => (text) =>
  Array.from(text.matchAll(pattern), ({ 0: key, index }) => ({ from: index, to: index + key.length, text: "[key]" }))

/** Searches for secrets wherever they stand, however escaped. */
export const known = (secrets: Iterable<string>): ReadonlyArray<JsonText.Find> => {
  const written = [...secrets].flatMap((secret) => [
    secret,
    JsonText.inside(secret),
    // half a character has no such form
    .../[\uD800-\uDFFF]/.test(secret) ? [] : [encodeURIComponent(secret)]
  ])
  // the longest first: one may be part of another
  return [...new Set(written)].toSorted((a, b) => b.length - a.length).map((secret) =>
    JsonText.replacing(secret, "[key]")
  )
}

/** Searches for what is {@link known}, and for what looks like a key; ids and hashes may, by their name. */
export const keys = (secrets: Iterable<string>): (name?: string) => ReadonlyArray<JsonText.Find> => {
  const searches = [...known(secrets), searchLike(keyLike), searchLike(schemed)]
  const [ids, hashes] = [searchLike(idLike), searchLike(hashLike)]
  return (name = "") => [...searches, ...isId(name) ? [] : [ids], ...isHash(name) ? [] : [hashes]]
}

/** Replaces secrets and what looks like a key: what {@link keys} searches for. */
export const withoutKeys = (secrets: Iterable<string>): (text: string, name?: string) => string => {
  const searches = keys(secrets)
  return (text, name) => JsonText.across([text], searches(name)).join("")
}

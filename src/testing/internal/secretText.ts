/**
 * Knows a secret by the name it stands under, and by its looks.
 *
 * Names: of headers, of parameters of URLs, of fields. Looks: credentials after their scheme, the user of a URL, keys of
 * known forms.
 */
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

/** Picks the parameters of URLs and forms, also where JSON or HTML escapes the ampersand. */
const parameters = /((?:^|[?&#]|\\u0026|&amp;)([\w.\-~%]+)=)([^&#\s"'<>\\]+)/g
/** Asks for no scheme: each word of a long text joined by hyphens may start one, and would be read to its end. */
const userOfUrl = /:\/\/([^\s/?#@"'<>\\]+)@/g
const credentials = /(authorization["'\\]*\s*[:=]\s*["'\\]*(?:[a-z]+\s+)?)([\w.\-~+/=]{4,})/gi

/** Replaces what is named as a secret inside of a text. */
export const withoutNamed = (text: string, replace: (secret: string) => string): string =>
  text
    .replace(credentials, (_, before: string, secret: string) => before + replace(secret))
    .replace(userOfUrl, (_, user: string) => `://${replace(user)}@`)
    .replace(parameters, (whole, before: string, name: string, value: string) =>
      isSecretParameter(name) ? before + replace(value) : whole)

const keyLike = /\b(?:bearer\s+[\w.\-~+/]{8,}=*|(?:sk|tgp|tgp_v1)[-_][\w-]{16,})\b/gi
/** Looks like a key, but for where an id stands. */
const idLike = /\b(?:tok|key)[-_][\w-]{16,}\b/gi
const isId = (name: string): boolean => /^(?:.*_)?id$|Id$/.test(name) || isPageToken(name)
/** Looks like a key, but for where a hash stands. */
const hashLike = /\b[0-9a-f]{64}\b/gi
const isHash = (name: string): boolean => /^(?:.*_)?hash$/i.test(name)
/** Words may follow these schemes: a credential has a digit, a padding, or capitals inside. */
const schemed = /\b(?:[Bb]asic|[Tt]oken)\s+(?=\S*(?:\d|=|[a-z][A-Z]))[\w.\-~+/]{8,}=*/g

/** Replaces secrets wherever they stand, however escaped, and what looks like a key; ids and hashes may, by their name. */
export const withoutKeys = (secrets: Iterable<string>): (text: string, name?: string) => string => {
  const written = [...secrets].flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    // half a character has no such form
    .../[\uD800-\uDFFF]/.test(secret) ? [] : [encodeURIComponent(secret)]
  ])
  // the longest first: one may be part of another
  const sorted = [...new Set(written)].toSorted((a, b) => b.length - a.length)
  return (text, name = "") => {
    const clean = sorted.reduce((rest, secret) => rest.replaceAll(secret, "[key]"), text)
      .replace(keyLike, "[key]")
      .replace(schemed, "[key]")
    const withId = isId(name) ? clean : clean.replace(idLike, "[key]")
    return isHash(name) ? withId : withId.replace(hashLike, "[key]")
  }
}

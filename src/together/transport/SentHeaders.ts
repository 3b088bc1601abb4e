/**
 * The headers that a client sends with every request: its own, then the caller's, then the key.
 *
 * | header | from |
 * | --- | --- |
 * | `authorization` | the key, always |
 * | `content-type`, `content-length` | the body, always |
 * | `user-agent`, `accept`, of a file `accept-encoding` | the client, unless the caller says otherwise |
 * | others | the caller |
 */

/** Says what to send. */
export interface Options {
  readonly apiKey: string
  readonly userAgent: string
  readonly headers: Readonly<Record<string, string>>
}

/** Holds headers by where and with what they go; names in lower case. */
export interface SentHeaders {
  readonly plain: Readonly<Record<string, string>>
  /** With a body of JSON. */
  readonly json: Readonly<Record<string, string>>
  /** To another origin: without the key and the caller's headers. */
  readonly bare: Readonly<Record<string, string>>
  /** The caller's values, which may be secrets. */
  readonly secrets: ReadonlyArray<string>
}

/** What a transport can carry: no control characters, and none beyond Latin-1. */
const carried = /^[\t\u0020-\u007e\u0080-\u00ff]*$/
const token = /^[!#$%&'*+\-.^_`|~\da-z]+$/i

/** Finds the first character of a value that no transport can carry: its place, from 1. */
export const badCharacter = (value: string): number | undefined => {
  const at = Array.from(value).findIndex((character) => !carried.test(character))
  return at < 0 ? undefined : at + 1
}

/** Headers of a connection, such as those of a request that a proxy hands on: no transport lets a caller say them. */
const transports: ReadonlySet<string> = new Set(["expect", "keep-alive", "transfer-encoding", "upgrade"])

/** What is `undefined` at run time is not sent. */
const said = (headers: Readonly<Record<string, string | undefined>>): ReadonlyArray<readonly [string, string]> =>
  Object.entries(headers).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])

/** Says which header cannot be sent, without its value. */
export const complaint = (headers: Options["headers"]): string | undefined => {
  for (const [name, value] of said(headers)) {
    if (!token.test(name)) return `${JSON.stringify(name)} is no name of a header`
    if (transports.has(name.toLowerCase())) return `The header ${name} is for the transport to say`
    const at = badCharacter(value)
    if (at !== undefined) return `The value of the header ${name} has a character that cannot be sent, at place ${at}`
  }
  return undefined
}

/** Headers whose values are words of HTTP or the id of a request, not secrets. */
const known: ReadonlySet<string> = new Set([
  "user-agent",
  "accept",
  "accept-encoding",
  "accept-language",
  "x-request-id"
])

/** What is accepted, unless the caller says otherwise. */
export const accept = "application/json"

/**
 * Says what is asked of a file: any type, and no compression. Compressed on its way it has no length, by which a transport
 * would notice that it ended early. The caller's word stands.
 */
export const ofFile = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> => ({
  "accept-encoding": "identity",
  ...headers,
  ...(headers["accept"] === accept ? { accept: "*/*" } : undefined)
})

/** Makes the headers of a client. */
export const make = ({ apiKey, headers, userAgent }: Options): SentHeaders => {
  const bare = { "user-agent": userAgent, accept }
  const own = said(headers)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => name !== "content-type" && name !== "content-length")
  const plain = { ...bare, ...Object.fromEntries(own), authorization: `Bearer ${apiKey}` }
  return {
    plain,
    json: { ...plain, "content-type": "application/json" },
    bare,
    secrets: own.filter(([name]) => !known.has(name)).map(([, value]) => value)
  }
}

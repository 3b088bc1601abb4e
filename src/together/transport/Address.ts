/**
 * Addresses: where a client sends, and whether its key goes along.
 *
 * | address | the key and the client's headers |
 * | --- | --- |
 * | a path below the base URL | go along |
 * | a whole address on the base URL's origin, or on a host of Together if the base URL is on one | go along |
 * | a redirect to such an address, of a request without a body | go along |
 * | a redirect to any other, of such a request | stay |
 * | any other | nothing is sent |
 *
 * An address is compared after it was parsed, never by its text: `base + ".evil.example"` is another host.
 */

/** A base URL in its parts. */
export interface Base {
  readonly url: URL
  /** The base URL without a slash at its end. */
  readonly prefix: string
}

/** Reads a base URL that {@link complaint} finds nothing wrong with. */
export const base = (baseUrl: string): Base => {
  const url = new URL(baseUrl)
  return { url, prefix: `${url.origin}${url.pathname}`.replace(/\/+$/, "") }
}

/** Says what is wrong with a base URL, without what may be secret in it. */
export const complaint = (baseUrl: string): string | undefined => {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return `The base URL${/[@?#]/.test(baseUrl) ? "" : ` ${JSON.stringify(baseUrl)}`} is not an http or https address`
  }
  const more = [
    hasCredentials(url) ? "credentials" : "",
    url.search === "" ? "" : "a query",
    url.hash === "" ? "" : "a fragment"
  ].filter((part) => part !== "")
  return more.length === 0
    ? undefined
    : `The base URL ${JSON.stringify(url.origin + url.pathname)} comes with ${
      more.join(" and ")
    }, but may hold no more than host and path: pass the rest in headers`
}

const hasCredentials = (url: URL): boolean => url.username !== "" || url.password !== ""

const absolute = /^[a-z][a-z\d+.-]*:\/\//i

const isTogether = (url: URL): boolean =>
  url.protocol === "https:" && /(?:^|\.)together\.(?:ai|xyz)$/.test(url.hostname)

/** Tells whether the key may go from one address to another: on the same origin, or between hosts of Together. */
export const isOurs = (from: URL, to: URL): boolean => to.origin === from.origin || (isTogether(to) && isTogether(from))

/** Finds the address of a path below the base URL, or of a whole address; `undefined` where the key must not go. */
export const resolve = ({ prefix, url: from }: Base, path: string): URL | undefined => {
  const text = absolute.test(path) ? path : `${prefix}${path.startsWith("/") ? "" : "/"}${path}`
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  return isOurs(from, url) && !hasCredentials(url) ? url : undefined
}

/**
 * Reads a path as Together's own routes are written: below the base URL, or below `/v1`, without a query and a slash at its
 * end; `undefined` where nothing is sent.
 */
export const below = (base: Base, path: string): string | undefined => {
  const url = resolve(base, path)
  if (url === undefined) return undefined
  const prefix = new URL(base.prefix).pathname.replace(/\/$/, "")
  const { pathname } = url
  const rest = pathname.startsWith(`${prefix}/`) ? pathname.slice(prefix.length) : pathname
  return rest.replace(/^\/v1(?=\/)/, "").replace(/\/$/, "")
}

/** Names the target of a path that nothing is sent to, without what may be secret in it. */
export const nameOf = (path: string): string => URL.canParse(path) ? new URL(path).host : "the path"

/** Bounds the redirects that one exchange follows. */
export const maxRedirects = 5

const movedTo: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Finds where an answer sends its request on; `undefined` where it does not, or from https to anything less. */
export const redirect = (from: URL, status: number, location: string | undefined): URL | undefined => {
  if (!movedTo.has(status) || location === undefined || !URL.canParse(location, from.href)) return undefined
  const url = new URL(location, from)
  const asSafe = url.protocol === "https:" || url.protocol === from.protocol
  return asSafe && !hasCredentials(url) ? url : undefined
}

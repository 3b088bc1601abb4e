/**
 * The proxy that the environment names: `HTTPS_PROXY` (for `https:` addresses), `HTTP_PROXY` (for all addresses without
 * one of their own), and `NO_PROXY` for hosts that are reached directly. Names in small letters are read first, as by
 * curl. The loopback, where emulators are, is never asked through a proxy.
 */
import * as CommandLine from "./CommandLine.ts"
import { UsageError } from "./UsageError.ts"

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A proxy, and the variable that names it. */
export interface Named {
  readonly variable: string
  readonly address: string
}

/** The proxies of a process. */
export interface Proxies {
  readonly http: Named | undefined
  readonly https: Named | undefined
  /** Hosts that are asked directly, as in the variable. */
  readonly direct: string
}

const loopback = ["localhost", "127.0.0.1", "::1"]

/** Reads a variable in small letters, else in capitals; an empty one is none. */
const find = (env: Environment, name: string) =>
  [name.toLowerCase(), name].map((variable) => ({ variable, value: (env[variable] ?? "").trim() }))
    .find(({ value }) => value !== "")

const read = (env: Environment, name: string): Named | undefined => {
  const found = find(env, name)
  return found && {
    variable: found.variable,
    address: found.value.includes("://") ? found.value : `http://${found.value}`
  }
}

/** Reads the proxies out of an environment; nothing where it names none. */
export const of = (env: Environment): Proxies | undefined => {
  const [http, https] = [read(env, "HTTP_PROXY"), read(env, "HTTPS_PROXY")]
  return http === undefined && https === undefined ? undefined : {
    http,
    https,
    direct: find(env, "NO_PROXY")?.value ?? ""
  }
}

/** Lists the hosts that are asked directly, those of this machine among them. */
export const noProxy = ({ direct }: Proxies): string => [...(direct === "" ? [] : [direct]), ...loopback].join(",")

const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, "").replace(/(.)\.$/, "$1")

/** Tells whether an address is of this machine. */
export const isLocal = (address: string): boolean =>
  URL.canParse(address) && loopback.includes(hostOf(new URL(address)))

/** Takes an entry of `NO_PROXY` apart: a host, IPv6 in brackets or bare, with or without a port. */
const entryOf = (entry: string) => {
  const [, bracketed, named, port] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? []
  const host = (bracketed ?? named ?? entry).toLowerCase()
  return { host: host.replace(/^\*?\./, "").replace(/(.)\.$/, "$1"), port, isPattern: host.startsWith("*") }
}

/**
 * Tells whether `NO_PROXY` names the host of an address, as Undici reads it: a host is named with those below it, by
 * `*.host` only those below it are, and by `*` all are; an entry with a port is for that port.
 */
const isDirect = (proxies: Proxies, url: URL): boolean => {
  const host = hostOf(url)
  const port = url.port === "" ? url.protocol === "https:" ? "443" : "80" : url.port
  return noProxy(proxies).split(/[,\s]+/).filter((entry) => entry !== "").map(entryOf).some((entry) =>
    (entry.port === undefined || entry.port === port) &&
    (entry.host === "*" || host.endsWith(`.${entry.host}`) || (host === entry.host && !entry.isPattern))
  )
}

/** Finds the proxy that is asked for an address. */
export const forAddress = (proxies: Proxies | undefined, address: string): Named | undefined => {
  const url = new URL(address)
  if (proxies === undefined || isDirect(proxies, url)) return undefined
  return url.protocol === "https:" ? proxies.https ?? proxies.http : proxies.http
}

/** Writes the address of a proxy without its name and password. */
export const shown = ({ address }: Named): string => CommandLine.withoutUser(address)

const isAddress = ({ address }: Named): boolean =>
  URL.canParse(address) && /^(https?|socks5?):$/.test(new URL(address).protocol)

/** Finds what is wrong with proxies. Their values are not quoted, since they may hold a password. */
export const refusal = ({ http, https }: Proxies): UsageError | undefined => {
  const bad = [https, http].find((named) => named !== undefined && !isAddress(named))
  return bad && new UsageError({
    message: `${bad.variable} is no address of a proxy. Set it to one like http://proxy.example:3128, or remove it.`
  })
}

/**
 * What the codes of a transport say: whether a connection came to be, and whether a repeat may find one.
 *
 * A transport tells by codes such as `ECONNRESET`, deep in the causes of what it failed with. Those of name resolution and
 * of certificates are permanent; those that mean that no connection came to be leave nothing to pay for.
 */
import * as Predicate from "effect/Predicate"
import type { TimeoutPhase } from "./TogetherError.ts"

/** Codes that mean that no connection came to be, but for those that come from a call on one that did. */
const twofold: ReadonlySet<string> = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"])

/** A code or the name of a system's call is one word; what else stands there may be anything. */
const isWord = /^\w{1,64}$/

const codeOf = ({ code, syscall }: Readonly<Record<PropertyKey, unknown>>): ReadonlyArray<string> => {
  if (typeof code !== "string" || !isWord.test(code)) return []
  const call = typeof syscall === "string" && isWord.test(syscall) ? syscall : "connect"
  return [call === "connect" || !twofold.has(code) ? code : `${call} ${code}`]
}

/** Lists the codes of a failure and of its causes, outermost first; a code of two meanings follows its system's call. */
export const of = (cause: unknown, depth = 0): ReadonlyArray<string> => {
  if (!Predicate.isObject(cause) || depth > 5) return []
  const own = codeOf(cause)
  const inner = of(cause["cause"], depth + 1)
  const several = Array.isArray(cause["errors"])
    ? cause["errors"].flatMap((error) => of(error, depth + 1))
    : []
  return [...own, ...inner, ...several]
}

/** Tells whether a code means that a repeat is in vain. */
export const isPermanent = (code: string): boolean =>
  code === "ENOTFOUND" || code === "EPROTO" || code.startsWith("CERT_") || code.startsWith("ERR_TLS_") ||
  code.startsWith("ERR_SSL_") || code.includes("SELF_SIGNED_CERT") || code.startsWith("UNABLE_TO_") ||
  code === "HOSTNAME_MISMATCH"

/** Codes that mean that this machine had no more sockets to give. */
export const exhausted: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL"])

/** Codes that mean that no connection came to be, though a repeat may find one. */
export const unconnected: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  ...exhausted
])

const broken: ReadonlySet<string> = new Set(["ECONNRESET", "ECONNABORTED", "EPIPE", "ENETDOWN", "UND_ERR_SOCKET"])

/** Tells whether a code means that a connection did not come to be, or broke. */
export const isConnection = (code: string): boolean =>
  broken.has(code) || unconnected.has(code) || isPermanent(code) ||
  twofold.has(code.split(" ").at(-1) ?? "")

const timeoutPhases: Readonly<Record<string, TimeoutPhase>> = {
  UND_ERR_CONNECT_TIMEOUT: "connect",
  ETIMEDOUT: "connect",
  UND_ERR_HEADERS_TIMEOUT: "headers",
  UND_ERR_BODY_TIMEOUT: "body"
}

/** Names the part of the exchange that took too long, of the first code that says so. */
export const timeoutPhase = (codes: ReadonlyArray<string>): TimeoutPhase | undefined =>
  codes.map((code) => timeoutPhases[code]).find((found) => found !== undefined)

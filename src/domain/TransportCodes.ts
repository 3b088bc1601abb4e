/**
 * What the error codes of a transport say: whether a connection was made, and whether a repeat may succeed.
 *
 * A transport reports codes such as `ECONNRESET`, deep in the causes of its failure. Codes of name resolution and of
 * certificates are permanent. If a code means that no connection was made, there is nothing to pay for.
 */
import * as Predicate from "effect/Predicate"
import type { TimeoutPhase } from "./TogetherError.ts"

/**
 * Codes with two meanings: no connection was made, unless the system call that failed was one on an open connection.
 */
const twofold: ReadonlySet<string> = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"])

/** A code, or the name of a system call, is one word; anything else in these fields is not read. */
const isWord = /^\w{1,64}$/

const codeOf = ({ code, syscall }: Readonly<Record<PropertyKey, unknown>>): ReadonlyArray<string> => {
  if (typeof code !== "string" || !isWord.test(code)) return []
  const call = typeof syscall === "string" && isWord.test(syscall) ? syscall : "connect"
  return [call === "connect" || !twofold.has(code) ? code : `${call} ${code}`]
}

/**
 * Lists the codes of a failure and of its causes, outermost first. A code with two meanings comes with its system call.
 */
export const of = (cause: unknown, depth = 0): ReadonlyArray<string> => {
  if (!Predicate.isObject(cause) || depth > 5) return []
  const own = codeOf(cause)
  const inner = of(cause["cause"], depth + 1)
  const several = Array.isArray(cause["errors"])
    ? cause["errors"].flatMap((error) => of(error, depth + 1))
    : []
  return [...own, ...inner, ...several]
}

/** Finds the code that stands deepest in the causes of a failure, without its system call. */
export const deepest = (cause: unknown): string | undefined => of(cause).at(-1)?.split(" ").at(-1)

/** Tells whether a code means that a repeat is in vain. */
export const isPermanent = (code: string): boolean =>
  code === "ENOTFOUND" || code === "EPROTO" || code.startsWith("CERT_") || code.startsWith("ERR_TLS_") ||
  code.startsWith("ERR_SSL_") || code.includes("SELF_SIGNED_CERT") || code.startsWith("UNABLE_TO_") ||
  code === "HOSTNAME_MISMATCH"

/** Codes that mean that this machine had no more sockets to give. */
export const exhausted: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL"])

/** Codes that mean that no connection was made, though a repeat may make one. */
export const unconnected: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  ...exhausted
])

const broken: ReadonlySet<string> = new Set(["ECONNRESET", "ECONNABORTED", "EPIPE", "ENETDOWN", "UND_ERR_SOCKET"])

/** Tells whether a code means that no connection was made, or that one broke. */
export const isConnection = (code: string): boolean =>
  broken.has(code) || unconnected.has(code) || isPermanent(code) ||
  twofold.has(code.split(" ").at(-1) ?? "")

const timeoutPhases: Readonly<Record<string, TimeoutPhase>> = {
  UND_ERR_CONNECT_TIMEOUT: "connect",
  ETIMEDOUT: "connect",
  UND_ERR_HEADERS_TIMEOUT: "headers",
  UND_ERR_BODY_TIMEOUT: "body"
}

/** Names the part of the exchange that took too long, by the first code that says so. */
export const timeoutPhase = (codes: ReadonlyArray<string>): TimeoutPhase | undefined =>
  codes.map((code) => timeoutPhases[code]).find((found) => found !== undefined)

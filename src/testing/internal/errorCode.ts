/**
 * Reads the code of a failed connection.
 */

/** Finds the code that stands deepest in the causes of a failure. */
export const errorCode = (cause: unknown, depth = 0): string | undefined => {
  if (typeof cause !== "object" || cause === null || depth > 5) return undefined
  const inner = "cause" in cause ? errorCode(cause.cause, depth + 1) : undefined
  return inner ?? ("code" in cause && typeof cause.code === "string" ? cause.code : undefined)
}

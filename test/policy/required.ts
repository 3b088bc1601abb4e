/** The options of kernels that have no default. */

/** Holds options by name. */
export type Options = Readonly<Record<string, unknown>>

/** Options that have no default: the least that a kernel needs. */
export const required: Readonly<Record<string, Options>> = {
  BurstyLimiter: { permits: 2 },
  Gcra: { ratePerSecond: 1, burst: 2 },
  ReservedShare: { ratePerSecond: 10, burst: 20 },
  SmoothLimiter: { intervalSeconds: 1 },
  TokenBucket: { capacity: 2, refillPerSecond: 1 },
  TokenReservation: { requestsPerSecond: 10, tokensPerSecond: 100 },
  WindowLimiter: { kind: "fixed", limit: 2 }
}

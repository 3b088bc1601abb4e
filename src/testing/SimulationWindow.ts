/**
 * What a simulated lane has let through in a window of time, for providers that count instead of pouring.
 *
 * ```text
 * left(t) = rate(t) · seconds - Σ amounts that count at t - owed
 *
 * fixed     │─ ■────────│           an amount counts until the next multiple of the window
 * sliding      ■───────────│        an amount counts for the window's length
 * ```
 *
 * An amount that finds too little left (a request larger than the whole
 * window, tokens that are charged at the end) counts as far as it fits. The
 * rest is owed, and takes what becomes free next: over time no more passes than
 * the rate allows.
 */

/** Holds an amount of both things that are limited. */
export interface Amount {
  readonly requests: number
  readonly tokens: number
}

/** Holds an amount that counts until a time. */
export interface Entry extends Amount {
  readonly until: number
}

/** Holds what counts, the first to end first, and what is owed. */
export interface Window {
  readonly counting: "fixed-window" | "sliding-window"
  readonly seconds: number
  readonly entries: ReadonlyArray<Entry>
  readonly owed: Amount
}

const nothing: Amount = { requests: 0, tokens: 0 }

const plus = (a: Amount, b: Amount): Amount => ({ requests: a.requests + b.requests, tokens: a.tokens + b.tokens })

const minus = (a: Amount, b: Amount): Amount => ({ requests: a.requests - b.requests, tokens: a.tokens - b.tokens })

const epsilon = 1e-9

/** Opens a window in which nothing counts yet. */
export const open = (counting: Window["counting"], seconds: number): Window => ({
  counting,
  seconds,
  entries: [],
  owed: nothing
})

/** Forgives the sum of two times that should be the end of a window. */
const soon = (at: number): number => at + Math.max(epsilon, at * 2 * Number.EPSILON)

const untilOf = ({ counting, seconds }: Window, at: number): number => {
  if (counting === "sliding-window") return at + seconds
  const next = (Math.floor(soon(at) / seconds) + 1) * seconds
  return next > soon(at) ? next : next + seconds
}

const counted = (window: Window): Amount => window.entries.reduce<Amount>(plus, nothing)

/** Computes what is left of an allowance; below 0 where more counts or is owed. */
export const left = (window: Window, most: Amount): Amount => minus(minus(most, counted(window)), window.owed)

/** Counts, from a time on, as much of what is owed as is free. */
const counting = (window: Window, owed: Amount, free: Amount, at: number): Window => {
  const amount: Amount = {
    requests: Math.max(0, Math.min(owed.requests, free.requests)),
    tokens: Math.max(0, Math.min(owed.tokens, free.tokens))
  }
  const until = untilOf(window, at)
  const last = window.entries.at(-1)
  return {
    ...window,
    entries: amount.requests === 0 && amount.tokens === 0
      ? window.entries
      : last?.until === until
      ? [...window.entries.slice(0, -1), { until, ...plus(last, amount) }]
      : [...window.entries, { until, ...amount }],
    owed: minus(owed, amount)
  }
}

/** Takes an amount at a time at which so much is left; what does not fit is owed. */
export const take = (window: Window, free: Amount, amount: Amount, at: number): Window =>
  counting(window, plus(window.owed, amount), free, at)

/** Gives tokens back that were taken at a time: from what is owed, and from what was taken then, if it still counts. */
export const giveBack = (window: Window, tokens: number, takenAt: number): Window => {
  const forgiven = Math.min(window.owed.tokens, tokens)
  const until = untilOf(window, takenAt)
  return {
    ...window,
    entries: window.entries.map((entry) =>
      entry.until === until ? { ...entry, tokens: Math.max(0, entry.tokens - (tokens - forgiven)) } : entry
    ),
    owed: { ...window.owed, tokens: window.owed.tokens - forgiven }
  }
}

const owing = ({ owed }: Window): boolean => owed.requests > 0 || owed.tokens > 0

const paid = (window: Window, most: Amount, at: number): Window =>
  counting(window, window.owed, minus(most, counted(window)), at)

const turnsOf = (owed: number, counts: number, most: number): number =>
  counts === 0 ? owed > 0 ? 0 : Infinity : counts > most + epsilon ? 0 : owed / counts

/**
 * Passes over the whole windows that are alike: nothing but what is owed counts in them, and each leaves as much less
 * of it.
 */
const leap = (window: Window, most: Amount, end: number): Window => {
  const { owed, seconds } = window
  const { requests, tokens } = counted(window)
  const turns = Math.floor(Math.min(
    (end - emptyAt(window)) / seconds,
    turnsOf(owed.requests, requests, most.requests),
    turnsOf(owed.tokens, tokens, most.tokens)
  )) - 1
  if (turns < 1) return window
  return {
    ...window,
    entries: window.entries.map((entry) => ({
      ...entry,
      until: untilOf(window, entry.until + (turns - 1) * seconds)
    })),
    owed: { requests: owed.requests - turns * requests, tokens: owed.tokens - turns * tokens }
  }
}

/** Lets time pass under one allowance: what has counted long enough ends, what is owed takes its place. */
export const pass = (window: Window, most: Amount, from: number, to: number): Window => {
  const end = soon(to)
  let now = owing(window) ? paid(window, most, from) : window
  while (owing(now)) {
    const next = endsAt(now)
    if (next > end) break
    now = leap(paid({ ...now, entries: now.entries.slice(1) }, most, next), most, end)
  }
  if (endsAt(now) > end) return now
  return { ...now, entries: now.entries.filter((entry) => entry.until > end) }
}

/** Finds when the first amount no longer counts; `Infinity` where none does. */
export const endsAt = (window: Window): number => window.entries[0]?.until ?? Infinity

/** Finds when nothing that counts now does any more. */
export const emptyAt = (window: Window): number => window.entries.at(-1)?.until ?? -Infinity

/**
 * Finds when what is lacking has become free, or, if all that counts is too little, a time at which it is not yet:
 * what is owed takes the windows that follow, each as much as counts now at the most.
 */
export const freeAt = (window: Window, lacking: Amount): number => {
  let { requests, tokens } = lacking
  for (const entry of window.entries) {
    requests -= entry.requests
    tokens -= entry.tokens
    if (requests <= epsilon && tokens <= epsilon) return entry.until
  }
  const counts = counted(window)
  const turns = Math.max(turnsFor(requests, counts.requests), turnsFor(tokens, counts.tokens))
  return (window.entries.at(-1)?.until ?? Infinity) + Math.max(0, Math.ceil(turns - epsilon) - 1) * window.seconds
}

const turnsFor = (lacking: number, counts: number): number => lacking <= epsilon || counts === 0 ? 0 : lacking / counts

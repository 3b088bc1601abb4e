/**
 * Tells an outage from bad luck, and finds its end with single probes.
 *
 * A provider that fails 30 % of the attempts is up: each failure is retried, and nothing else should change. A provider
 * that fails everything is down: whatever is sent is wasted. The two are told apart by runs: attempts that were sent
 * one after another and all failed. The order is that of sending, not of answering: failures answer in milliseconds and
 * successes in seconds, so the last answers always look worse than the last attempts. The longest run that chance
 * explains depends on the share of failures before it, of late or for long, whichever is worse: at least 5, at most 16.
 * Where failures are so slow that more than 32 attempts overtake them, only 16 numbers in a row that all failed count.
 *
 * ```
 *   up ──a run that chance does not explain──▶ down ──every 0.5 s … 2 s one probe──▶ down
 *   ▲                                            │
 *   └── a success sent since, or a probe that is silent for six times the latency of a failure
 * ```
 *
 * Silence is a sign of life: where failures return in 50 ms, a probe still under way after 300 ms was admitted.
 *
 * If nothing comes back at all (answers are overdue, or a run of attempts timed out), silence is no sign of life: then
 * probes follow each other without waiting for an end, and an answer to any attempt, or a refusal, ends the outage.
 */

/** Holds the constants of this module. */
export const defaults = {
  shortestRun: 5,
  longestRun: 16,
  /** Chance of a false alarm per run. */
  falseAlarm: 1e-5,
  /** Share of its weight that an attempt older than the last 32 keeps with each that follows. */
  memory: 0.99,
  probeSeconds: 0.5,
  probeSecondsMax: 2,
  /** Times the latency of a failure, and seconds at least, after which a silent probe was admitted. */
  silence: 6,
  silenceSeconds: 0.25,
  /** Seconds after an outage in which the lane returns to its rate, and the share it begins with. */
  rampSeconds: 1,
  rampFrom: 0.25
} as const

/** Holds what is known: plain data. */
export interface State {
  readonly down: boolean
  /** True in an outage in which nothing comes back: then silence is no sign of life. */
  readonly silent: boolean
  /** When the outage began, or ended; -Infinity before the first. */
  readonly since: number
  /** Number of the last attempt sent. */
  readonly head: number
  /** One bit per attempt of the last 32, the last sent in bit 0: failed. */
  readonly failed: number
  /** The first attempt that is counted: those before it belong to an outage that is over. */
  readonly from: number
  /** Attempts older than the last 32, and those of them that failed, the older the less; none of an outage. */
  readonly olderTries: number
  readonly olderFailures: number
  /** Failures that were overtaken by more than 32 attempts: by the 16 numbers to which theirs belongs. */
  readonly late: ReadonlyArray<readonly [numbers: number, failures: number]>
  /** Smoothed seconds that a failure takes to come back. */
  readonly failureSeconds: number
  readonly probeAt: number
  readonly probeEvery: number
  /** The probe under way, -1 if none, and when it was sent. */
  readonly probe: number
  readonly probeSentAt: number
}

/** Attempts that are remembered one by one: the bits of a number. */
const window = 32

/** Groups of overtaken failures that are remembered. */
const groups = 32

/** Begins with a provider that is up. */
export const initial: State = {
  down: false,
  silent: false,
  since: -Infinity,
  head: -1,
  failed: 0,
  from: 0,
  olderTries: 0,
  olderFailures: 0,
  late: [],
  failureSeconds: 0.05,
  probeAt: 0,
  probeEvery: defaults.probeSeconds,
  probe: -1,
  probeSentAt: 0
}

/** Notes that attempt `seq`, the next one, is sent. */
export const send = (state: State, seq: number, now: number): State => {
  const leaves = !state.down && seq - state.from >= window
  return {
    ...state,
    head: seq,
    failed: state.failed << 1,
    olderTries: leaves ? state.olderTries * defaults.memory + 1 : state.olderTries,
    olderFailures: leaves
      ? state.olderFailures * defaults.memory + (state.failed >>> (window - 1))
      : state.olderFailures,
    probe: state.down ? seq : state.probe,
    probeSentAt: state.down ? now : state.probeSentAt,
    // where nothing comes back, the next probe does not wait for the end of this one
    probeAt: state.silent ? now + state.probeEvery : state.probeAt,
    probeEvery: state.silent ? rarer(state) : state.probeEvery
  }
}

const rarer = (state: State): number => Math.min(defaults.probeSecondsMax, state.probeEvery * 1.5)

/** Reads how long to wait before an attempt: 0 while up; while down, the time until the next probe or its verdict. */
export const wait = (state: State, now: number): number =>
  !state.down
    ? 0
    : state.probe >= 0 && !state.silent
    ? Math.max(0, state.probeSentAt + silence(state) - now)
    : Math.max(0, state.probeAt - now)

const silence = (state: State): number => Math.max(defaults.silenceSeconds, defaults.silence * state.failureSeconds)

const up = (state: State, now: number): State => ({
  ...state,
  down: false,
  silent: false,
  since: now,
  failed: 0,
  late: [],
  from: state.head + 1,
  probe: -1,
  probeEvery: defaults.probeSeconds
})

/** Ends the outage where a probe has been silent for long enough. */
export const advance = (state: State, now: number): State =>
  state.down && !state.silent && state.probe >= 0 && now >= state.probeSentAt + silence(state) ? up(state, now) : state

/** Notes the end of an attempt that says nothing of the provider: another takes its place as the probe. */
export const ended = (state: State, seq: number): State =>
  state.down && seq === state.probe ? { ...state, probe: -1 } : state

/** Learns from a success of an attempt sent at `at`. */
export const succeed = (state: State, at: number, now: number): State =>
  state.down && at >= state.since ? up(state, now) : state

/** Ends a silence: an answer that was awaited came. */
export const heard = (state: State, now: number): State => up(state, now)

/** Begins an outage because answers are overdue. */
export const hush = (state: State, now: number): State => ({ ...down(state, now, 0), silent: true })

const ones = (bits: number): number => {
  let n = 0
  for (let rest = bits; rest !== 0; rest &= rest - 1) n++
  return n
}

const unexplained = (failures: number, tries: number): number =>
  Math.ceil(Math.log(defaults.falseAlarm) / Math.log((failures + 0.3) / (tries + 2)))

/** Computes the run of failures that chance no longer explains, from the failures among `tries` earlier attempts. */
export const suspicious = (failures: number, tries: number): number =>
  Math.min(defaults.longestRun, Math.max(defaults.shortestRun, unexplained(failures, tries)))

/**
 * Learns from a failure of attempt `seq`, sent at `at`. `hint` is the wait that the provider asked for.
 *
 * @param silent true where nothing came back: the attempt timed out
 */
export const fail = (before: State, seq: number, at: number, now: number, hint = 0, silent = false): State => {
  const failureSeconds = silent ? before.failureSeconds : before.failureSeconds * 0.7 + (now - at) * 0.3
  const back = before.head - seq
  const counts = back < window && seq >= before.from
  const failed = counts ? before.failed | (1 << back) : before.failed
  const state: State = { ...before, failureSeconds, failed }
  if (state.down) {
    if (seq !== state.probe || (silent && state.silent)) return state
    const probeEvery = rarer(state)
    return { ...state, silent, probe: -1, probeEvery, probeAt: now + Math.max(hint, probeEvery) }
  }
  if (!counts) {
    const next = seq >= state.from ? overtaken(state, seq, now, hint) : state
    return next.down ? { ...next, silent } : next
  }
  let run = 1
  let mask = 1 << back
  for (let i = back + 1; i < window && (failed & (1 << i)) !== 0; i++, run++) mask |= 1 << i
  for (let i = back - 1; i >= 0 && (failed & (1 << i)) !== 0; i--, run++) mask |= 1 << i
  const tries = Math.max(0, Math.min(window, state.head + 1 - state.from) - run - back)
  const failures = ones(failed & ~mask)
  if (run < suspicious(failures, tries)) return state
  if (run < suspicious(failures + state.olderFailures, tries + state.olderTries)) return state
  return { ...down(state, now, hint), silent }
}

const down = (state: State, now: number, hint: number): State => ({
  ...state,
  down: true,
  since: now,
  probe: -1,
  probeEvery: defaults.probeSeconds,
  probeAt: now + Math.max(hint, defaults.probeSeconds)
})

/**
 * Counts a failure that many attempts have overtaken. As many numbers as the longest run that counts, all failed, are
 * one; where others failed before without an outage, chance explains more of them in a row.
 */
const overtaken = (state: State, seq: number, now: number, hint: number): State => {
  const size = defaults.longestRun
  const numbers = Math.floor(seq / size)
  const failures = 1 + (state.late.find((one) => one[0] === numbers)?.[1] ?? 0)
  const others = state.late.filter((one) => one[0] !== numbers)
  const late = [...others, [numbers, failures] as const].slice(-groups)
  if (failures < size) return { ...state, late }
  const whole = new Set(late.filter((one) => one[1] >= size).map((one) => one[0]))
  let first = numbers
  while (whole.has(first - 1)) first--
  // an outage may have begun within the numbers before these
  const before = late.filter((one) => one[0] < first - 1)
  const failed = before.reduce((sum, one) => sum + one[1], 0)
  const run = (numbers - first + 1) * size
  return run >= unexplained(failed, before.length * size) ? down(state, now, hint) : { ...state, late }
}

/** Computes the share of the learned rate that may be used now: less than 1 in the first second after an outage. */
export const ramp = (state: State, now: number): number => {
  const elapsed = now - state.since
  return state.down || elapsed >= defaults.rampSeconds
    ? 1
    : defaults.rampFrom + (1 - defaults.rampFrom) * Math.max(0, elapsed) / defaults.rampSeconds
}

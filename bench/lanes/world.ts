/**
 * Virtual time for promise code: timers and clocks of the globals, moved by hand.
 *
 * Import this module before any client: libraries keep the timer functions they find while they load. Outside of `run`
 * the wrappers do what the originals do.
 */
interface Timer {
  readonly at: number
  readonly order: number
  readonly every: number | undefined
  readonly call: () => void
  cleared: boolean
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate
}

const epoch = 1_767_225_600_000
let active = false
let now = 0
let order = 0
let heap: Array<Timer> = []

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

const push = (timer: Timer): void => {
  heap.push(timer)
  let i = heap.length - 1
  while (i > 0) {
    const parent = (i - 1) >> 1
    const above = heap[parent] as Timer
    if (!before(timer, above)) break
    heap[i] = above
    i = parent
  }
  heap[i] = timer
}

const pop = (): Timer | undefined => {
  const top = heap[0]
  const last = heap.pop()
  if (top === undefined || last === undefined || heap.length === 0) return top
  let i = 0
  while (true) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1] as Timer, heap[child] as Timer)) child++
    if (!before(heap[child] as Timer, last)) break
    heap[i] = heap[child] as Timer
    i = child
  }
  heap[i] = last
  return top
}

class Handle {
  readonly timer: Timer
  constructor(timer: Timer) {
    this.timer = timer
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  hasRef(): boolean {
    return true
  }
  refresh(): this {
    return this
  }
  [Symbol.toPrimitive](): number {
    return this.timer.order
  }
}

const schedule = (
  call: (...args: Array<unknown>) => void,
  millis: number,
  args: Array<unknown>,
  repeat: boolean
): Handle => {
  const wait = Math.max(repeat ? 1 : 0, Number.isFinite(millis) ? millis : 0)
  const timer: Timer = {
    at: now + wait,
    order: order++,
    every: repeat ? wait : undefined,
    call: () => call(...args),
    cleared: false
  }
  push(timer)
  return new Handle(timer)
}

const clear = (handle: unknown): boolean => {
  if (!(handle instanceof Handle)) return false
  handle.timer.cleared = true
  return true
}

// the benchmark replaces the globals on purpose; the shapes are those that the libraries use
Object.assign(globalThis, {
  setTimeout: (call: () => void, millis = 0, ...args: Array<unknown>) =>
    active ? schedule(call, millis, args, false) : real.setTimeout(call, millis, ...args),
  setInterval: (call: () => void, millis = 0, ...args: Array<unknown>) =>
    active ? schedule(call, millis, args, true) : real.setInterval(call, millis, ...args),
  clearTimeout: (handle: unknown) => clear(handle) || real.clearTimeout(handle as number),
  clearInterval: (handle: unknown) => clear(handle) || real.clearInterval(handle as number)
})
// virtual from the start: libraries remember when they were made
Date.now = () => epoch + (active ? Math.floor(now) : 0)
performance.now = () => active ? now : 0

/** Reads the virtual time in seconds. */
export const seconds = (): number => now / 1000

/** Sleeps in virtual time. */
export const sleep = (wait: number): Promise<void> =>
  new Promise((resolve) => {
    schedule(resolve as () => void, wait * 1000, [], false)
  })

const turn = (): Promise<void> => new Promise((resolve) => real.setImmediate(resolve))

/** Runs a program to its end in virtual time, and reads how many seconds that took. */
export const run = async (program: () => Promise<unknown>, limit = 40_000): Promise<number> => {
  active = true
  now = 0
  heap = []
  let done = false
  let failure: unknown
  program().then(() => done = true, (error) => {
    failure = error
    done = true
  })
  while (true) {
    await turn()
    await turn()
    if (done) break
    let next = pop()
    while (next !== undefined && next.cleared) next = pop()
    if (next === undefined || next.at > limit * 1000) break
    now = next.at
    const due = [next]
    while (heap[0] !== undefined && heap[0].at <= now) due.push(pop() as Timer)
    for (const timer of due) {
      if (timer.cleared) continue
      if (timer.every !== undefined) push({ ...timer, at: now + timer.every, order: order++ })
      timer.call()
    }
  }
  const elapsed = now / 1000
  active = false
  if (failure !== undefined) throw failure
  return done ? elapsed : Infinity
}

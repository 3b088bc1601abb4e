/**
 * What a lane costs: CPU per uncontended call, bytes per queued call, CPU per queued call served.
 *
 * `node --expose-gc bench/lanes/cost.ts`
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Kernel from "../../src/policy/lane/LaneKernel.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { cpuMicros } from "../measure.ts"

const success: Lane.Sample = { _tag: "Success" }
const classify = (): Lane.Sample => success

const open: Lane.Options = { key: "cost", start: { requestsPerMinute: 60e9 } }
const calls = 200_000

const perCall = async (body: (lane: Lane.Lane) => Effect.Effect<unknown, unknown>): Promise<number> => {
  const loop = Effect.gen(function*() {
    const lane = yield* Lane.make(open)
    const one = body(lane)
    for (let i = 0; i < calls; i++) yield* one
    const before = cpuMicros()
    for (let i = 0; i < calls; i++) yield* one
    return (cpuMicros() - before) / calls
  })
  let best = Infinity
  for (let i = 0; i < 3; i++) best = Math.min(best, await Effect.runPromise(loop))
  return best
}

const bare = await perCall(() => Effect.void)
const run = await perCall((lane) => lane.run(Effect.void, { tokens: 100, classify }))
const permit = await perCall((lane) => Effect.flatMap(lane.acquire({ tokens: 100 }), (p) => p.settle(success)))

const heap = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

const queued = 1_000_000
const memory = await Effect.runPromise(Effect.gen(function*() {
  const lane = yield* Lane.make({ maxQueue: queued + 1, maxInFlight: 1 })
  const blocker = yield* lane.acquire({ tokens: 1 })
  const never = Effect.never
  const before = heap()
  const idle: Array<Fiber.Fiber<unknown, unknown>> = []
  for (let i = 0; i < queued; i++) {
    idle.push(yield* Effect.forkChild(never))
    if (i % 10_000 === 0) yield* Effect.yieldNow
  }
  yield* Effect.yieldNow
  const fiberBytes = (heap() - before) / queued
  for (const fiber of idle) fiber.interruptUnsafe()
  idle.length = 0
  yield* Effect.yieldNow
  const base = heap()
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  const began = cpuMicros()
  for (let i = 0; i < queued; i++) {
    fibers.push(yield* Effect.forkChild(lane.acquire({ tokens: 100 + (i % 7) })))
    if (i % 10_000 === 0) yield* Effect.yieldNow
  }
  yield* Effect.yieldNow
  const enqueueMicros = (cpuMicros() - began) / queued
  const { queued: waiting } = yield* lane.status
  const bytes = (heap() - base) / queued
  const cancelled = cpuMicros()
  for (let i = fibers.length - 1; i >= 0; i--) fibers[i]?.interruptUnsafe()
  yield* Effect.yieldNow
  const cancelMicros = (cpuMicros() - cancelled) / queued
  const left = (yield* lane.status).queued
  yield* blocker.settle(success)
  return { waiting, bytes, fiberBytes, laneBytes: bytes - fiberBytes, enqueueMicros, cancelMicros, left }
}))

const served = await Effect.runPromise(VirtualClock.wrap(Effect.gen(function*() {
  const lane = yield* Lane.make({ maxQueue: 200_001, maxInFlight: 100, start: { requestsPerMinute: 60e6 } })
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  const began = cpuMicros()
  for (let i = 0; i < 200_000; i++) {
    fibers.push(yield* Effect.forkChild(lane.run(Effect.void, { tokens: 100, classify })))
  }
  for (const fiber of fibers) yield* Fiber.join(fiber)
  const at = yield* Clock.currentTimeMillis
  void at
  return (cpuMicros() - began) / 200_000
})))

/** A lane whose buckets are mirrored, on its sums alone: advance, wait, admit, and the success three seconds later. */
const mirrored = (): number => {
  let state = Kernel.make({ requests: { initial: 1000 } }, 0)
  let now = 0
  const open: Array<Kernel.Ticket> = []
  const send = (tokens: number): Kernel.Ticket => {
    const [ticket, next] = Kernel.admit(state, tokens, "tokens", now)
    state = next
    open.push(ticket)
    return ticket
  }
  for (let i = 0; i < 20; i++) send(100 + 50 * (i % 7))
  state = Kernel.settle(state, send(500), { _tag: "Throttled", scope: "tokens", retryAfter: 1 }, 0.05)[1]
  const step = (i: number): void => {
    now += 0.1
    state = Kernel.advance(state, now)[1]
    Kernel.wait(state, now, 300)
    send(100 + 50 * (i % 7))
    const done = open.shift()
    if (done !== undefined) state = Kernel.settle(state, done, { _tag: "Success", tokens: done.tokens - 20 }, now)[1]
  }
  for (let i = 0; i < 20_000; i++) step(i)
  const began = cpuMicros()
  for (let i = 0; i < 50_000; i++) step(i)
  return (cpuMicros() - began) / 50_000
}

const row = (what: string, value: number, unit: string, bar = ""): void =>
  console.log(what.padEnd(62), value.toFixed(2).padStart(10), unit.padEnd(8), bar)

row("an empty effect", bare, "µs")
row("lane.run, uncontended", run - bare, "µs", "bar 10")
row("lane.acquire and settle, uncontended", permit - bare, "µs")
row("the sums of a call where buckets are mirrored", mirrored(), "µs")
row(`${memory.waiting} queued calls: bytes of the lane each`, memory.laneBytes, "bytes", "bar 600")
row("  with the caller's fiber", memory.bytes, "bytes")
row("  a bare suspended fiber", memory.fiberBytes, "bytes")
row("enqueue, with the fork of its fiber", memory.enqueueMicros, "µs")
row(`cancel in the queue, last first (${memory.left} left)`, memory.cancelMicros, "µs")
row("fork, queue, pace and serve one of 200,000", served, "µs")

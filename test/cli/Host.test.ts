import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { spawnSync } from "node:child_process"
import { mkdtempSync, openSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "../../src/cli/Host.ts"
import { nodeMajor } from "../engine.ts"

const source = (name: string) => join(import.meta.dirname, "../../src/cli", name)

it.layer(NodeServices.layer)("Host", (it) => {
  describe("live", () => {
    it("reads the process", () => {
      const host = Host.live()
      expect([host.pid, host.version, host.cwd]).toEqual([process.pid, process.version, process.cwd()])
      expect(host.env).toBe(process.env)
      expect(host.stderr.columns).toBeGreaterThan(0)
    })

    it("adds no listener however often it is read", () => {
      Host.live()
      const before = process.stdout.listenerCount("error")
      for (let i = 0; i < 20; i++) Host.live()
      expect(process.stdout.listenerCount("error")).toBe(before)
    })

    it("knows whether a process lives", () => {
      const host = Host.live()
      expect(host.isAlive(process.pid)).toBe(true)
      // alive, and another user's where this one is not root
      expect(host.isAlive(1)).toBe(true)
      const { pid } = spawnSync(process.execPath, ["-e", "0"])
      expect(host.isAlive(pid)).toBe(false)
    })

    it.effect("waits for any of three signals; the second one ends the process at once, with last words", () =>
      Effect.gen(function*() {
        const path = join(mkdtempSync(join(tmpdir(), "host-")), "stderr")
        const before = Object.getOwnPropertyDescriptor(process.stderr, "fd")
        Object.defineProperty(process.stderr, "fd", { value: openSync(path, "a"), configurable: true })
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => before === undefined || Object.defineProperty(process.stderr, "fd", before))
        )
        yield* terminal(true)
        for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
          const listening = process.listeners(signal)
          const fiber = yield* Effect.forkChild(Host.live().interrupted("ended\n"), { startImmediately: true })
          const [listener] = process.listeners(signal).filter((each) => !listening.includes(each))
          process.emit(signal, signal)
          yield* Fiber.join(fiber)
          // the test runner answers an exit with an error that names the code
          expect(() => process.emit(signal, signal)).toThrow("130")
          for (const each of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(each, listener!)
        }
        expect(readFileSync(path, "utf8")).toBe("ended\n".repeat(3))
      }).pipe(TestClock.withLive))

    it.effect("outlives a hangup where it has no terminal, as under nohup", () =>
      Effect.gen(function*() {
        yield* terminal(false)
        const fiber = yield* Effect.forkChild(Host.live().interrupted(), { startImmediately: true })
        process.emit("SIGHUP", "SIGHUP")
        process.emit("SIGHUP", "SIGHUP")
        expect(fiber.pollUnsafe()).toBeUndefined()
        process.emit("SIGTERM", "SIGTERM")
        yield* Fiber.join(fiber)
      }).pipe(TestClock.withLive))

    it.effect("stops listening when nobody waits any more", () =>
      Effect.gen(function*() {
        const before = process.listenerCount("SIGINT")
        const fiber = yield* Effect.forkChild(Host.live().interrupted(), { startImmediately: true })
        expect(process.listenerCount("SIGINT")).toBe(before + 1)
        yield* Fiber.interrupt(fiber)
        expect(process.listenerCount("SIGINT")).toBe(before)
      }).pipe(TestClock.withLive))
  })
})

/** Says for the life of the scope whether the process has a terminal. */
const terminal = (has: boolean) =>
  Effect.forEach([process.stdin, process.stdout, process.stderr], (stream) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { isTTY } = stream
        Object.defineProperty(stream, "isTTY", { value: has, configurable: true, writable: true })
        return isTTY
      }),
      (isTTY) =>
        Effect.sync(() =>
          void Object.defineProperty(stream, "isTTY", { value: isTTY, configurable: true, writable: true })
        )
    ))

describe("Heap", () => {
  it("keeps the space of young objects from growing once it is large enough", () => {
    const churn = `
      import { getHeapSpaceStatistics } from "node:v8"
      import * as Heap from ${JSON.stringify(source("Heap.ts"))}
      if (process.argv[1] === "steady") Heap.steady()
      let kept = []
      // free, it has doubled beyond enough by the fourteenth
      for (let round = 0; round < 24; round++) {
        for (let i = 0; i < 30_000; i++) kept.push({ round, text: "x" + i })
        if (kept.length > 100_000) kept = []
        // several looks go by before it could double twice
        await new Promise((resolve) => setTimeout(resolve, 12))
      }
      console.log(Heap.youngBytes(), Heap.defaults.enoughBytes)
    `
    const young = (word: string) => {
      const { stderr, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", churn, word], {
        encoding: "utf8"
      })
      expect(stderr).toBe("")
      return stdout.split(" ").map(Number)
    }
    const [steady, enough] = young("steady")
    expect(steady).toBeGreaterThan(0)
    // one doubling may happen between two looks
    expect(steady).toBeLessThanOrEqual(enough! * 2.2)
    // V8 itself stops there before Node 24, and from Node 26 on grows by less than a doubling
    if (nodeMajor !== 24) return
    const [free] = young("free")
    expect(free).toBeGreaterThan(steady!)
  }, 30_000)
})

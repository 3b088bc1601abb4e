import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Proxy from "../../src/cli/Proxy.ts"
import * as UndiciAgent from "../../src/cli/UndiciAgent.ts"

const together = "https://api.together.ai/v1"

describe("Proxy", () => {
  it("is the one that the environment names for an address, small letters first, and none for this machine", () => {
    const named = (env: Proxy.Environment, address = together) => {
      const found = Proxy.forAddress(Proxy.of(env), address)
      return found && [found.variable, found.address]
    }
    const both = { HTTPS_PROXY: "http://s:1", HTTP_PROXY: "http://p:1" }
    expect(named({})).toBeUndefined()
    expect(named({ HTTPS_PROXY: " " })).toBeUndefined()
    expect(named(both)).toEqual(["HTTPS_PROXY", "http://s:1"])
    expect(named(both, "http://gateway/v1")).toEqual(["HTTP_PROXY", "http://p:1"])
    expect(named({ HTTP_PROXY: "p:1" })).toEqual(["HTTP_PROXY", "http://p:1"])
    expect(named({ ...both, https_proxy: "http://small:1" })).toEqual(["https_proxy", "http://small:1"])
    const direct = (env: Proxy.Environment) => Proxy.of({ ...both, ...env })?.direct
    expect([direct({ NO_PROXY: " a,b " }), direct({ no_proxy: "c", NO_PROXY: "a" })]).toEqual(["a,b", "c"])
    expect(direct({ no_proxy: "", NO_PROXY: "a" })).toBe("a")
    for (const local of ["http://127.0.0.1:8787/v1", "http://localhost/v1", "http://[::1]:1/v1"]) {
      expect(named(both, local)).toBeUndefined()
    }
  })

  it.each<[noProxy: string, direct: ReadonlyArray<string>, asked: ReadonlyArray<string>]>([
    ["together.ai", ["https://api.together.ai/v1", "https://together.ai"], ["https://nottogether.ai", "https://x.ai"]],
    [".together.ai.", ["https://api.together.ai./v1", "https://TOGETHER.ai"], ["https://together.ai.x"]],
    ["*.together.ai", ["https://api.together.ai/v1"], ["https://together.ai"]],
    ["a, api.together.ai:8443 b", ["https://api.together.ai:8443", "http://b", "http://a:9"], [
      "https://api.together.ai"
    ]],
    ["x:443", ["https://x"], ["http://x"]],
    ["[fd00::1]:80,fd00::2", ["http://[fd00::1]", "https://[fd00::2]:5"], ["https://[fd00::1]"]],
    ["*", ["https://api.together.ai/v1"], []],
    ["*:80", ["http://y"], ["https://y"]]
  ])("asks none for what NO_PROXY names by %s", (noProxy, direct, asked) => {
    const proxies = Proxy.of({ HTTPS_PROXY: "http://s:1", HTTP_PROXY: "http://p:1", NO_PROXY: noProxy })
    const through = (address: string) => Proxy.forAddress(proxies, address) !== undefined
    expect([direct.map(through), asked.map(through)]).toEqual([direct.map(() => false), asked.map(() => true)])
  })

  it("tells neither its password nor a value that is no address", () => {
    const proxies = Proxy.of({ HTTPS_PROXY: "user:secret@proxy:3128" })!
    expect([Proxy.shown(proxies.https!), Proxy.refusal(proxies)]).toEqual(["http://proxy:3128", undefined])
    const bad = Proxy.refusal(Proxy.of({ HTTP_PROXY: "ftp://user:secret@proxy" })!)
    expect(bad?.message).toContain("HTTP_PROXY is no address of a proxy")
    expect(bad?.message).not.toContain("secret")
  })

  it.live("is asked by the command's agent, but for hosts of NO_PROXY", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        asked.push(request.url ?? "")
        response.end("{}")
      })
      yield* Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
      const { port } = server.address() as AddressInfo // it listens on a port
      const get = (env: Proxy.Environment, origin: string) =>
        Effect.acquireUseRelease(
          Effect.sync(() => UndiciAgent.make(Proxy.of(env))),
          (agent) => Effect.tryPromise(() => agent.request({ origin, path: "/v1/models", method: "GET" })),
          (agent) => Effect.promise(() => agent.destroy())
        )
      const env = { HTTP_PROXY: `127.0.0.1:${port}`, NO_PROXY: "direct.invalid" }
      yield* get(env, "http://api.invalid")
      yield* get(env, `http://127.0.0.1:${port}`)
      expect(yield* Effect.isFailure(get(env, "http://direct.invalid"))).toBe(true)
      expect(asked).toEqual(["http://api.invalid/v1/models", "/v1/models"])
      server.close()
    }))
})

import { describe, expect, it } from "@effect/vitest"
import * as Address from "../../src/together/transport/Address.ts"

describe("isOurs", () => {
  it.each<[from: string, to: string, ours: boolean]>([
    ["https://api.together.ai/v1", "https://api.together.xyz/v2", true],
    ["https://proxy.corp/v1", "https://proxy.corp/v2", true],
    ["https://proxy.corp/v1", "https://api.together.ai/v1", false],
    ["https://api.together.ai/v1", "https://api.together.ai.evil.example/v1", false],
    ["https://api.together.ai/v1", "http://api.together.ai/v1", false]
  ])("from %s to %s is %s", (from, to, ours) => {
    expect(Address.isOurs(new URL(from), new URL(to))).toBe(ours)
  })
})

describe("below", () => {
  it.each<[base: string, path: string, below: string | undefined]>([
    ["https://api.together.ai/v1", "/chat/completions", "/chat/completions"],
    ["https://api.together.ai/v1/", "chat/completions/?a=1", "/chat/completions"],
    ["https://api.together.ai/v1", "https://api.together.xyz/v1/chat/completions#a", "/chat/completions"],
    ["https://proxy.corp/together/v1", "/chat/completions", "/chat/completions"],
    ["https://proxy.corp/together/v1", "https://proxy.corp/together/v1/chat/completions", "/chat/completions"],
    ["https://proxy.corp/together", "/v1/chat/completions", "/chat/completions"],
    ["https://proxy.corp", "https://proxy.corp/v1/rerank", "/rerank"],
    ["https://proxy.corp/v1", "https://proxy.corp/v12/rerank", "/v12/rerank"],
    ["https://proxy.corp/v1", "https://elsewhere.example/v1/rerank", undefined]
  ])("of %s reads %s as %s", (base, path, below) => {
    expect(Address.below(Address.base(base), path)).toBe(below)
  })
})

describe("redirect", () => {
  const from = new URL("https://api.together.ai/v1/files/f/content")

  it.each<[status: number, location: string | undefined, to: string | undefined]>([
    [302, "/v1/other", "https://api.together.ai/v1/other"],
    [307, "again?part=1", "https://api.together.ai/v1/files/f/again?part=1"],
    [303, "https://store.example/f?token=x", "https://store.example/f?token=x"],
    [301, "//store.example/f", "https://store.example/f"],
    [308, "http://api.together.ai/v1/other", undefined],
    [302, "https://user:pass@store.example/f", undefined],
    [302, "file:///etc/passwd", undefined],
    [302, "https://", undefined],
    [302, undefined, undefined],
    [300, "/v1/other", undefined],
    [304, "/v1/other", undefined]
  ])("by %i to %s leads to %s", (status, location, to) => {
    expect(Address.redirect(from, status, location)?.href).toBe(to)
  })

  it("may leave a base URL of http by http", () => {
    const local = new URL("http://localhost:1/v1/files")
    expect(Address.redirect(local, 302, "http://localhost:2/f")?.href).toBe("http://localhost:2/f")
  })
})

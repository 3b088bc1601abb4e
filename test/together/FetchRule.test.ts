import { describe, expect, it } from "@effect/vitest"
import * as FetchRule from "../../src/together/transport/FetchRule.ts"

describe("FetchRule", () => {
  it("stands wherever a RequestInit says nothing of redirects, undefined included", () => {
    for (const hasBody of [true, false]) {
      const { redirect } = FetchRule.init(hasBody, undefined)
      expect(redirect).not.toBe("follow")
      // a program in plain JavaScript may pass it on so
      const own = { redirect: undefined, keepalive: true } as unknown as RequestInit
      expect(FetchRule.init(hasBody, own)).toMatchObject({ redirect, keepalive: true })
      expect(FetchRule.init(hasBody, { redirect: "follow" }).redirect).toBe("follow")
    }
  })
})

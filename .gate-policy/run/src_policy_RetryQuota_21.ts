



















import { RetryQuota } from "/work/main/src/policy/index.ts"

const [decision, quota] = RetryQuota.fail(RetryQuota.make(), RetryQuota.request, { kind: "throttling" }, 0.5)
;__example.value((decision), () => ({ _tag: "Retry", delaySeconds: 0.5, cost: 5, request: { attempts: 2, lastCost: 5 } }
), "{ _tag: \"Retry\", delaySeconds: 0.5, cost: 5, request: { attempts: 2, lastCost: 5 } }", 24); // => { _tag: "Retry", delaySeconds: 0.5, cost: 5, request: { attempts: 2, lastCost: 5 } }
;__example.value((RetryQuota.succeed(quota, { attempts: 2, lastCost: 5 })[0]), () => ({ _tag: "Refunded", tokens: 5, reason: "last-retry" }
), "{ _tag: \"Refunded\", tokens: 5, reason: \"last-retry\" }", 25); // => { _tag: "Refunded", tokens: 5, reason: "last-retry" }

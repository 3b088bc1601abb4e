



















import { RetryQuota } from "effect-together/policy"

const [decision, quota] = RetryQuota.fail(RetryQuota.make(), RetryQuota.request, { kind: "throttling" }, 0.5)
decision // => { _tag: "Retry", delaySeconds: 0.5, cost: 5, request: { attempts: 2, lastCost: 5 } }
RetryQuota.succeed(quota, { attempts: 2, lastCost: 5 })[0] // => { _tag: "Refunded", tokens: 5, reason: "last-retry" }



























import { Breaker } from "effect-together/policy"

const breaker = Breaker.make({ minimumCalls: 1 })
const [, admitted] = Breaker.acquire(breaker, 0)
const failure = { _tag: "Failure", durationSeconds: 1 } as const
const [decision, open] = Breaker.record(admitted, { generation: 0 }, failure, 1, 0.5)
decision // => { _tag: "Opened", until: 6, reason: "failure-rate" }
Breaker.acquire(open, 2)[0] // => { _tag: "Rejected", reason: "open", retryAfterSeconds: 4 }

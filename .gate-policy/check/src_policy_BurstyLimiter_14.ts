












import { BurstyLimiter } from "effect-together/policy"

let limiter = BurstyLimiter.make({ permits: 2 })
const waits = [1, 2, 3, 4, 5].map(() => {
  const [decision, next] = BurstyLimiter.reserve(limiter, 1, 0)
  limiter = next
  return decision.waitSeconds
})
waits // => [0, 0, 1, 1, 2]

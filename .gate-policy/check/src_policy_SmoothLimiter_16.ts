














import { SmoothLimiter } from "effect-together/policy"

let limiter = SmoothLimiter.make({ intervalSeconds: 0.5 })
const waits = [1, 2, 3].map(() => {
  const [decision, next] = SmoothLimiter.reserve(limiter, 1, 0)
  limiter = next
  return decision.waitSeconds
})
waits // => [0, 0.5, 1]
















import { SmoothLimiter } from "/work/main/src/policy/index.ts"

let limiter = SmoothLimiter.make({ intervalSeconds: 0.5 })
const waits = [1, 2, 3].map(() => {
  const [decision, next] = SmoothLimiter.reserve(limiter, 1, 0)
  limiter = next
  return decision.waitSeconds
})
;__example.value((waits), () => ([0, 0.5, 1]
), "[0, 0.5, 1]", 24); // => [0, 0.5, 1]

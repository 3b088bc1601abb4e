












import { BurstyLimiter } from "/work/main/src/policy/index.ts"

let limiter = BurstyLimiter.make({ permits: 2 })
const waits = [1, 2, 3, 4, 5].map(() => {
  const [decision, next] = BurstyLimiter.reserve(limiter, 1, 0)
  limiter = next
  return decision.waitSeconds
})
;__example.value((waits), () => ([0, 0, 1, 1, 2]
), "[0, 0, 1, 1, 2]", 22); // => [0, 0, 1, 1, 2]

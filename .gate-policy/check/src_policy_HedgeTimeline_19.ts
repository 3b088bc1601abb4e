

















import { HedgeTimeline } from "effect-together/policy"

HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, []).sends // => [0, 0.5, 1]
HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, [{ _tag: "Success", at: 0.7 }])
// => { sends: [0, 0.5], end: { _tag: "Succeed", cancel: 1, reason: "answer" } }

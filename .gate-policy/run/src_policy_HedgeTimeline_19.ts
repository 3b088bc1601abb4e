

















import { HedgeTimeline } from "/work/main/src/policy/index.ts"

;__example.value((HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, []).sends), () => ([0, 0.5, 1]
), "[0, 0.5, 1]", 21); // => [0, 0.5, 1]
;__example.value((HedgeTimeline.preview({ maxAttempts: 3, delaySeconds: 0.5 }, [{ _tag: "Success", at: 0.7 }])), () => ({ sends: [0, 0.5], end: { _tag: "Succeed", cancel: 1, reason: "answer" } }
), "{ sends: [0, 0.5], end: { _tag: \"Succeed\", cancel: 1, reason: \"answer\" } }", 23);
// => { sends: [0, 0.5], end: { _tag: "Succeed", cancel: 1, reason: "answer" } }

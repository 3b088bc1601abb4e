













import { Deadline } from "/work/main/src/policy/index.ts"

const settings = Deadline.make({ perAttemptSeconds: 30 })
;__example.value((Deadline.attempt(settings, 60, 45)), () => ({ _tag: "Start", timeoutSeconds: 15, reason: "deadline" }
), "{ _tag: \"Start\", timeoutSeconds: 15, reason: \"deadline\" }", 18); // => { _tag: "Start", timeoutSeconds: 15, reason: "deadline" }
;__example.value((Deadline.sleep(settings, 60, 50, 9)), () => ({ _tag: "FailNow", etaSeconds: 9, reason: "would-exceed" }
), "{ _tag: \"FailNow\", etaSeconds: 9, reason: \"would-exceed\" }", 19); // => { _tag: "FailNow", etaSeconds: 9, reason: "would-exceed" }

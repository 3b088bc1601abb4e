













import { Deadline } from "effect-together/policy"

const settings = Deadline.make({ perAttemptSeconds: 30 })
Deadline.attempt(settings, 60, 45) // => { _tag: "Start", timeoutSeconds: 15, reason: "deadline" }
Deadline.sleep(settings, 60, 50, 9) // => { _tag: "FailNow", etaSeconds: 9, reason: "would-exceed" }










import { BreakerWindow } from "effect-together/policy"

const failed = { failed: true, slow: false, durationSeconds: 1 }
const window = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 5 }), failed, 0)
BreakerWindow.totals(window, 4.9) // => { calls: 1, failures: 1, slow: 0, durationSeconds: 1 }
BreakerWindow.totals(window, 5) // => { calls: 0, failures: 0, slow: 0, durationSeconds: 0 }

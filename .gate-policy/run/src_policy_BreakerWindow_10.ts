








import { BreakerWindow } from "/work/main/src/policy/index.ts"

const failed = { failed: true, slow: false, durationSeconds: 1 }
const window = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 5 }), failed, 0)
;__example.value((BreakerWindow.totals(window, 4.9)), () => ({ calls: 1, failures: 1, slow: 0, durationSeconds: 1 }
), "{ calls: 1, failures: 1, slow: 0, durationSeconds: 1 }", 14); // => { calls: 1, failures: 1, slow: 0, durationSeconds: 1 }
;__example.value((BreakerWindow.totals(window, 5)), () => ({ calls: 0, failures: 0, slow: 0, durationSeconds: 0 }
), "{ calls: 0, failures: 0, slow: 0, durationSeconds: 0 }", 15); // => { calls: 0, failures: 0, slow: 0, durationSeconds: 0 }

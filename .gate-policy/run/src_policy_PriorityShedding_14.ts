












import { PriorityShedding } from "/work/main/src/policy/index.ts"

let state = PriorityShedding.make()
for (const level of [50, 150, 250, 350, 450]) [, state] = PriorityShedding.admit(state, level)
;[, state] = PriorityShedding.calibrate(state, PriorityShedding.queueRate(state.settings, 24, 10))
;__example.value((PriorityShedding.admit(state, 100)[0]), () => ({ _tag: "Shed", threshold: 150, reason: "below-threshold" }
), "{ _tag: \"Shed\", threshold: 150, reason: \"below-threshold\" }", 19); // => { _tag: "Shed", threshold: 150, reason: "below-threshold" }














import { SlowStart } from "/work/main/src/policy/index.ts"

const ramp = SlowStart.resume(SlowStart.make(), 20, 100)
;__example.value((SlowStart.apply(ramp, 50, 105)), () => ({ _tag: "Ramping", factor: 0.5, rate: 25, reason: "curve" }
), "{ _tag: \"Ramping\", factor: 0.5, rate: 25, reason: \"curve\" }", 17); // => { _tag: "Ramping", factor: 0.5, rate: 25, reason: "curve" }
;__example.value((SlowStart.apply(ramp, 50, 110)), () => ({ _tag: "Done", factor: 1, rate: 50, reason: "window-over" }
), "{ _tag: \"Done\", factor: 1, rate: 50, reason: \"window-over\" }", 18); // => { _tag: "Done", factor: 1, rate: 50, reason: "window-over" }

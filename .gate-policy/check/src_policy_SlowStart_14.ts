












import { SlowStart } from "effect-together/policy"

const ramp = SlowStart.resume(SlowStart.make(), 20, 100)
SlowStart.apply(ramp, 50, 105) // => { _tag: "Ramping", factor: 0.5, rate: 25, reason: "curve" }
SlowStart.apply(ramp, 50, 110) // => { _tag: "Done", factor: 1, rate: 50, reason: "window-over" }

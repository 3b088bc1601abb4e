







import { HedgeDelay } from "effect-together/policy"

let delays = HedgeDelay.make({ maxExtraLoad: 0.05 })
for (let ms = 1; ms <= 100; ms++) delays = HedgeDelay.record(delays, ms / 1000, 0)
HedgeDelay.delay(delays, 0)[0] // => { _tag: "After", seconds: 0.095, reason: "quantile" }



















import { Outage } from "effect-together/policy"

const [decision, out] = Outage.fail(Outage.make({ failures: 1 }), 0, 1, 0.5)
decision // => { _tag: "Paused", until: 1.375, reason: "failures-in-a-row" }
Outage.gate(out, 1.1)[0] // => { _tag: "Hold", until: 1.375, reason: "paused" }
Outage.gate(out, 1.4)[0] // => { _tag: "Probe", reason: "pause-over" }



















import { Outage } from "/work/main/src/policy/index.ts"

const [decision, out] = Outage.fail(Outage.make({ failures: 1 }), 0, 1, 0.5)
;__example.value((decision), () => ({ _tag: "Paused", until: 1.375, reason: "failures-in-a-row" }
), "{ _tag: \"Paused\", until: 1.375, reason: \"failures-in-a-row\" }", 22); // => { _tag: "Paused", until: 1.375, reason: "failures-in-a-row" }
;__example.value((Outage.gate(out, 1.1)[0]), () => ({ _tag: "Hold", until: 1.375, reason: "paused" }
), "{ _tag: \"Hold\", until: 1.375, reason: \"paused\" }", 23); // => { _tag: "Hold", until: 1.375, reason: "paused" }
;__example.value((Outage.gate(out, 1.4)[0]), () => ({ _tag: "Probe", reason: "pause-over" }
), "{ _tag: \"Probe\", reason: \"pause-over\" }", 24); // => { _tag: "Probe", reason: "pause-over" }

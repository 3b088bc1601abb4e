












import { InspectAimdLimit } from "effect-together/policy"

const limit = InspectAimdLimit.initial({ initial: 100 })
const [cut, slower] = InspectAimdLimit.sample(limit, { rttSeconds: 1, inFlight: 100, dropped: true }, 0)
cut // => { _tag: "Lowered", from: 100, to: 80, reason: "dropped" }
InspectAimdLimit.sample(slower, { rttSeconds: 1, inFlight: 80, dropped: true }, 1)[0]
// => { _tag: "Held", from: 80, to: 80, reason: "cooldown" }

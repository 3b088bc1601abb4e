

















import { EnvoyGradientLimit } from "effect-together/policy"

const { defaults } = EnvoyGradientLimit
EnvoyGradientLimit.gradient(defaults, 0.1, 0.25) // => 0.5
EnvoyGradientLimit.step(defaults, 10, 0.1, 0.25) // => 7



















import { EnvoyGradientLimit } from "/work/main/src/policy/index.ts"

const { defaults } = EnvoyGradientLimit
;__example.value((EnvoyGradientLimit.gradient(defaults, 0.1, 0.25)), () => (0.5
), "0.5", 22); // => 0.5
;__example.value((EnvoyGradientLimit.step(defaults, 10, 0.1, 0.25)), () => (7
), "7", 23); // => 7

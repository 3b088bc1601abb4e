
























import { Backoff } from "effect-together/policy"

Backoff.preview({ jitter: "none", baseSeconds: 0.5, capSeconds: 8 }, [0, 0, 0, 0, 0, 0]) // => [0.5, 1, 2, 4, 8, 8]
Backoff.preview({ jitter: "full", baseSeconds: 0.5 }, [0.5, 0.5, 0.5]) // => [0.25, 0.5, 1]

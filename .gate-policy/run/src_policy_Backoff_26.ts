
























import { Backoff } from "/work/main/src/policy/index.ts"

;__example.value((Backoff.preview({ jitter: "none", baseSeconds: 0.5, capSeconds: 8 }, [0, 0, 0, 0, 0, 0])), () => ([0.5, 1, 2, 4, 8, 8]
), "[0.5, 1, 2, 4, 8, 8]", 28); // => [0.5, 1, 2, 4, 8, 8]
;__example.value((Backoff.preview({ jitter: "full", baseSeconds: 0.5 }, [0.5, 0.5, 0.5])), () => ([0.25, 0.5, 1]
), "[0.25, 0.5, 1]", 29); // => [0.25, 0.5, 1]

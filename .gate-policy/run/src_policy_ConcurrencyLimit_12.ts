










import { AimdLimit, ConcurrencyLimit, VegasLimit } from "/work/main/src/policy/index.ts"

const run = <Options, State extends ConcurrencyLimit.Estimated>(
  algorithm: ConcurrencyLimit.Algorithm<Options, State>,
  calls: ReadonlyArray<ConcurrencyLimit.Sample>
) =>
  ConcurrencyLimit.limit(
    calls.reduce((state, call, i) => algorithm.sample(state, call, i, 0.5)[1], algorithm.initial())
  )

const calls = Array.from({ length: 5 }, () => ({ rttSeconds: 1, inFlight: 20, dropped: false }))
;__example.value((run(AimdLimit, calls)), () => (25
), "25", 23); // => 25
;__example.value((run(VegasLimit, calls)), () => (44
), "44", 24); // => 44

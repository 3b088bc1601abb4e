










import { AimdLimit, ConcurrencyLimit, VegasLimit } from "effect-together/policy"

const run = <Options, State extends ConcurrencyLimit.Estimated>(
  algorithm: ConcurrencyLimit.Algorithm<Options, State>,
  calls: ReadonlyArray<ConcurrencyLimit.Sample>
) =>
  ConcurrencyLimit.limit(
    calls.reduce((state, call, i) => algorithm.sample(state, call, i, 0.5)[1], algorithm.initial())
  )

const calls = Array.from({ length: 5 }, () => ({ rttSeconds: 1, inFlight: 20, dropped: false }))
run(AimdLimit, calls) // => 25
run(VegasLimit, calls) // => 44

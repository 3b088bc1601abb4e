











import { MovingQuantile } from "/work/main/src/policy/index.ts"

const samples = [100, 110, 90, 100, 500]
;__example.value((Math.round(samples.reduce(MovingQuantile.add, MovingQuantile.make({ quantile: 0.95 })).value)), () => (120
), "120", 16); // => 120













import { MovingQuantile } from "effect-together/policy"

const samples = [100, 110, 90, 100, 500]
Math.round(samples.reduce(MovingQuantile.add, MovingQuantile.make({ quantile: 0.95 })).value) // => 120










import { SampleWindow } from "effect-together/policy"

const window = [5, 1, 4, 2, 3].reduce(SampleWindow.add, SampleWindow.make())
SampleWindow.quantile([window], 0.5) // => 3

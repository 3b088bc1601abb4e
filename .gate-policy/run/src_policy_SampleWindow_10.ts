








import { SampleWindow } from "/work/main/src/policy/index.ts"

const window = [5, 1, 4, 2, 3].reduce(SampleWindow.add, SampleWindow.make())
;__example.value((SampleWindow.quantile([window], 0.5)), () => (3
), "3", 13); // => 3

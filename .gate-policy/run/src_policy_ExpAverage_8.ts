






import { ExpAverage } from "/work/main/src/policy/index.ts"

const warming = [10, 20].reduce(ExpAverage.add, ExpAverage.make({ window: 3, warmup: 2 }))
;__example.value((warming.value), () => (15
), "15", 11); // => 15
;__example.value((ExpAverage.add(warming, 25).value), () => (20
), "20", 12); // => 20

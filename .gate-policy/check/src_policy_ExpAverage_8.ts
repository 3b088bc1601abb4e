






import { ExpAverage } from "effect-together/policy"

const warming = [10, 20].reduce(ExpAverage.add, ExpAverage.make({ window: 3, warmup: 2 }))
warming.value // => 15
ExpAverage.add(warming, 25).value // => 20

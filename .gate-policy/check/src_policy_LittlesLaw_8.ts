






import { LittlesLaw } from "effect-together/policy"

LittlesLaw.concurrency(100, 20) // => 2000
LittlesLaw.ceiling(10, 5) // => 60

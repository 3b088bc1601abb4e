






import { LittlesLaw } from "/work/main/src/policy/index.ts"

;__example.value((LittlesLaw.concurrency(100, 20)), () => (2000
), "2000", 10); // => 2000
;__example.value((LittlesLaw.ceiling(10, 5)), () => (60
), "60", 11); // => 60

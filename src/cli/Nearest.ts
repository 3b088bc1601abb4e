/** Finds the word that was most likely meant by one that is not known. */

/** Counts the letters that have to be added, removed or changed to make one word of the other. */
const distance = (a: string, b: string): number => {
  let before = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(row[j - 1]! + 1, before[j]! + 1, before[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    before = row
  }
  return before[b.length]!
}

/** Finds the known word that is nearest to a word, whatever its case; nothing where all are far from it. */
export const of = (word: string, known: Iterable<string>): string | undefined => {
  const most = Math.min(3, Math.floor(word.length / 3))
  let found: string | undefined
  let least = most + 1
  for (const each of known) {
    const far = distance(word.toLowerCase(), each.toLowerCase())
    if (far < least) [found, least] = [each, far]
  }
  return found
}

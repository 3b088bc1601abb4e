/** Things in a message: how many there are, and lists whose length nobody bounds, such as of models. */

/** Counts things whose plural ends in s. */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`

/** Keeps the first of many texts, and has a last one tell how many others there are. */
export const first = (
  texts: ReadonlyArray<string>,
  most: number,
  others: (count: number) => string
): ReadonlyArray<string> => texts.length <= most ? texts : [...texts.slice(0, most), others(texts.length - most)]

/** Lists whose length nobody bounds, such as of models, in a message that stays short. */

/** Keeps the first of many texts, and has a last one tell how many others there are. */
export const first = (
  texts: ReadonlyArray<string>,
  most: number,
  others: (count: number) => string
): ReadonlyArray<string> => texts.length <= most ? texts : [...texts.slice(0, most), others(texts.length - most)]

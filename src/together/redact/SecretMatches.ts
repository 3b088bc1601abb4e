/**
 * Finds what texts quote of secrets.
 *
 * | what a text and a secret have in common | gives the secret away |
 * | --- | --- |
 * | `giveaway` characters | always |
 * | `shortest` or more | between two ends, one on each side: an end of the secret, or an ellipsis |
 *
 * The first words of secrets are looked for in the texts as they stand. Where there are more, the texts are cut into all their
 * stretches of these two lengths, once: most texts quote nothing, and most secrets are short. Each secret is gone through once,
 * and it is noted which stretches it holds. A stretch is noted by its characters, not by its places, so what repeats itself is
 * one stretch, and nothing is compared character by character: the work is linear in the length of texts and secrets.
 */

/** Shorter pieces of a text are words: they give nothing away. */
export const shortest = 12
/** So much of a secret gives it away, wherever it stands. */
export const giveaway = 24

const lengths = [shortest, giveaway] as const

const ellipsisBefore = /(?:\.\.|…)\W{0,2}$/
const ellipsisAfter = /^\W{0,2}(?:\.\.|…)/
const betweenEllipses = /(?:\.\.|…)[^]{12,27}?(?:\.\.|…)/

/** So many are looked up before cutting texts into all their stretches is worth its price. */
const enough = 32

/** The stretches of texts, of both lengths. */
class Stretches {
  readonly #texts: ReadonlyArray<string>
  #asked = 0
  #all: ReadonlySet<string> | undefined

  constructor(texts: ReadonlyArray<string>) {
    this.#texts = texts
  }

  /** True where all texts are shorter. */
  get isEmpty(): boolean {
    return this.#texts.every((text) => text.length < shortest)
  }

  has(piece: string): boolean {
    if (piece.length !== shortest && piece.length !== giveaway) return false
    if (this.#all === undefined && this.#asked++ < enough) return this.#texts.some((text) => text.includes(piece))
    return (this.#all ??= this.#cut()).has(piece)
  }

  #cut(): ReadonlySet<string> {
    const all = new Set<string>()
    for (const text of this.#texts) {
      for (const length of lengths) {
        for (let at = 0; at + length <= text.length; at++) all.add(text.slice(at, at + length))
      }
    }
    return all
  }
}

/** Texts to look through. */
export interface Texts {
  /** All their stretches of both lengths. */
  readonly stretches: Pick<Stretches, "has" | "isEmpty">
  /** How far apart the words of a secret may be that are looked for: one of them is in whatever gives it away. */
  readonly step: number
}

/** Takes texts to look through. */
export const cut = (texts: ReadonlyArray<string>): Texts => ({
  stretches: new Stretches(texts),
  // there, words of a secret may stand that are nowhere near an end of it
  step: texts.some((text) => betweenEllipses.test(text)) ? 1 : shortest
})

/** Counts words from one to the next; the last is at the end of the text. */
const nextWord = (at: number, step: number, last: number): number => at < last ? Math.min(at + step, last) : Infinity

/** Tells whether texts may quote a secret. */
const mayQuote = ({ step, stretches }: Texts, secret: string): boolean => {
  const last = secret.length - shortest
  for (let at = 0; at <= last; at = nextWord(at, step, last)) {
    if (stretches.has(secret.slice(at, at + shortest))) return true
  }
  return false
}

/** So much of a long secret is kept or left out at a time: more than is read of a text. */
const partLength = 65_536

/**
 * Gives what texts may quote of a secret: of a picture of megabytes a few parts, so that it is gone through once.
 *
 * **Details**: two parts have in common what a stretch may reach into, so that a quote where one begins is also one of that
 * before. They are joined by a zero, over which none reaches.
 */
export const quotable = (texts: Texts, secret: string): string => {
  const parts: Array<string> = []
  for (let from = 0; from < secret.length; from += partLength) {
    const part = secret.slice(from, from + partLength + giveaway - 1)
    if (mayQuote(texts, part)) parts.push(part)
  }
  return parts.join("\0")
}

const starts = 1
const ends = 2

/** So much of a secret is gone through at a time. */
const portion = 128

/** Notes what of some texts secrets hold. */
export class Notes {
  readonly #texts: Texts
  /** Stretches that are in a secret, and whether one starts or ends with it. */
  readonly #held = new Map<string, number>()
  /** Lengths of the secrets that start with so much as gives them away. */
  readonly #lengths = new Map<string, Set<number>>()
  /** Portions of secrets that were gone through. */
  readonly #known = new Set<string>()

  constructor(texts: Texts) {
    this.#texts = texts
  }

  /** True where no secret holds anything of the texts. */
  get isEmpty(): boolean {
    return this.#held.size === 0
  }

  /** Goes through a secret: each portion with as much of the next as a stretch may reach into. */
  add(secret: string): void {
    const start = secret.slice(0, giveaway)
    if (this.#texts.stretches.has(start)) {
      this.#lengths.set(start, (this.#lengths.get(start) ?? new Set()).add(secret.length))
    }
    for (let from = 0; from + shortest <= secret.length; from += portion) {
      const to = from + portion + giveaway - 1
      const part = secret.slice(from, to)
      const isInside = from > 0 && to < secret.length
      if ((isInside && this.#known.has(part)) || !mayQuote(this.#texts, part)) continue
      if (isInside) this.#known.add(part)
      for (const length of lengths) {
        for (let at = 0; at + length <= part.length; at++) {
          const place = from + at
          this.#note(
            part.slice(at, at + length),
            (place === 0 ? starts : 0) | (place + length === secret.length ? ends : 0)
          )
        }
      }
    }
  }

  #note(stretch: string, is: number): void {
    const held = this.#held.get(stretch)
    if (held === undefined ? this.#texts.stretches.has(stretch) : (held | is) !== held) {
      this.#held.set(stretch, (held ?? 0) | is)
    }
  }

  /** Finds the pieces of a text that give secrets away, in their order. */
  quotesIn(text: string): ReadonlyArray<Quote> {
    const held = (at: number, length: number): number | undefined =>
      at < 0 || at + length > text.length ? undefined : this.#held.get(text.slice(at, at + length))
    const is = (end: number, at: number, length: number): boolean => ((held(at, length) ?? 0) & end) !== 0
    const opens = (at: number): boolean =>
      is(starts, at, shortest) || ellipsisBefore.test(text.slice(Math.max(0, at - 4), at))
    const closes = (at: number): boolean =>
      is(ends, at - shortest, shortest) || ellipsisAfter.test(text.slice(at, at + 4))
    const pieces: Array<{ from: number; to: number }> = []
    const add = (from: number, to: number): void => {
      const last = pieces.at(-1)
      if (last === undefined || from >= last.to) pieces.push({ from, to })
      else [last.from, last.to] = [Math.min(last.from, from), Math.max(last.to, to)]
    }
    // from here on, all words are held
    let first = 0
    for (let at = 0; at + shortest <= text.length; at++) {
      if (held(at, shortest) === undefined) {
        first = at + 1
        continue
      }
      const to = at + shortest
      if (closes(to)) {
        let from = Math.max(first, to - giveaway + 1)
        while (from <= at && !opens(from)) from++
        if (from <= at) add(from, to)
      }
      if (held(at, giveaway) !== undefined) add(at, at + giveaway)
    }
    return pieces.map(({ from, to }) => {
      // what a secret has in common with another may reach beyond its ends, by less than a word
      let beyond = 0
      while (beyond < shortest && !is(ends, to - beyond - shortest, shortest)) beyond++
      const isBlank = beyond === 1 && text.charAt(to - 1) === " "
      // the end of another secret says nothing of one that would reach further
      let start = from
      while (start < from + shortest && !this.#lengths.has(text.slice(start, start + giveaway))) start++
      const lengths = [...this.#lengths.get(text.slice(start, start + giveaway)) ?? []]
      const isWhole = lengths.some((length) => start + length > to - shortest && start + length <= to) ||
        (beyond < shortest && lengths.every((length) => start + length <= to))
      return { from, to: isBlank ? to - 1 : to, isCutOff: lengths.length > 0 && !isWhole }
    })
  }
}

/** A piece of a text that gives a secret away. */
export interface Quote {
  readonly from: number
  readonly to: number
  /** A secret starts where it starts, and none ends where it ends: what follows may still be of that secret. */
  readonly isCutOff: boolean
}

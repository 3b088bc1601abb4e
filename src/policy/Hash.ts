/**
 * Fast, stable, non-cryptographic hashes of text, for indexes and checksums.
 *
 * Two sizes, both over UTF-16 code units, both the same on every machine:
 * - `text32`: 32 bits, for the checksum of a line (`SummedLine`) and to see that a text has changed.
 * - `text96`: 96 bits, three words, to stand for an id in an index: among ten million ids the chance of one collision is
 *   below 10^-15.
 *
 * Neither resists a forger. Where a wrong match would hand out a wrong answer (the response cache), SHA-256 is used.
 *
 * **Source**: the mixing steps and constants of MurmurHash3 (Austin Appleby, public domain).
 */

const final = (hash: number): number => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Hashes `text` from code unit `from` on into an unsigned 32-bit number. */
export const text32 = (text: string, from = 0): number => {
  let hash = 0x9747b28c
  for (let i = from; i < text.length; i++) {
    const word = Math.imul(text.charCodeAt(i), 0xcc9e2d51)
    hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593)
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  return final(hash ^ (text.length - from))
}

/**
 * Hashes `text` into three unsigned 32-bit words, written to `into`.
 *
 * **Details**: the words are written into a caller's array so that hashing a row allocates nothing.
 */
export const text96 = (text: string, into: Uint32Array): void => {
  let a = 0x239b961b
  let b = 0xab0e9789
  let c = 0x38b34ae5
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    a = (Math.imul(((a ^ Math.imul(code, 0x239b961b)) << 15) | ((a ^ Math.imul(code, 0x239b961b)) >>> 17), 0xab0e9789) +
      b) | 0
    b = (Math.imul(((b ^ Math.imul(code, 0x38b34ae5)) << 13) | ((b ^ Math.imul(code, 0x38b34ae5)) >>> 19), 0xa1e38b93) +
      c) | 0
    c = (Math.imul(((c ^ Math.imul(code, 0xcc9e2d51)) << 17) | ((c ^ Math.imul(code, 0xcc9e2d51)) >>> 15), 0x1b873593) +
      a) | 0
  }
  a ^= text.length
  b = (b + a) | 0
  c = (c + b) | 0
  a = (a + c) | 0
  into[0] = final(a)
  into[1] = final(b ^ 0x5bd1e995)
  into[2] = final(c ^ 0x2545f491)
}

/** Writes an unsigned 32-bit number as eight hexadecimal digits. */
export const hex32 = (value: number): string => (value >>> 0).toString(16).padStart(8, "0")

/**
 * A map from row ids to small numbers that holds ten million ids in constant, documented memory.
 *
 * A `Map<string, …>` of ten million ids takes more than a gigabyte and is scanned by every garbage collection. This
 * index keeps no strings: an id is its 96-bit hash, kept with one or two 32-bit numbers in flat typed arrays, by open
 * addressing. Sixteen segments grow one at a time, by three tenths, so that growth never holds the whole index twice.
 *
 * Memory: 16 bytes per slot (20 with the second number), 65 to 85 percent of the slots in use: 19 to 25 bytes per id
 * (24 to 31). A million rows take about 22 MB, ten million about 220 MB.
 *
 * Two different ids are taken for the same one with a chance below 10^-15 in a file of ten million rows.
 */
import * as Hash from "../../policy/Hash.ts"

/** Maps ids to a value of 1 to 2^32 - 1 and, where `width` is 2, a second number. */
export interface IdIndex {
  /** Counts the ids. */
  readonly size: () => number
  /** Counts the bytes of the typed arrays. */
  readonly bytes: () => number
  /** Reads the value of an id, 0 where it has none. */
  readonly get: (id: string) => number
  /** Reads the second number of an id, 0 where it has none. */
  readonly second: (id: string) => number
  /** Sets the value of an id and, where `width` is 2, the second number. */
  readonly set: (id: string, value: number, second?: number) => void
}

const segmentCount = 16
const firstSlots = 64
const highestLoad = 0.85
const growth = 1.3

/** ES2024, which the types are not of; an engine without it frees the table later. */
const transferable = (buffer: ArrayBufferLike) => buffer as { readonly transfer?: (bytes: number) => ArrayBuffer }

interface Segment {
  words: Uint32Array
  slots: number
  used: number
}

/**
 * Makes an empty index.
 *
 * @param width how many numbers each id carries
 */
export const make = (width: 1 | 2 = 1): IdIndex => {
  const stride = 3 + width
  const hash = new Uint32Array(3)
  // Hashes fill all segments alike: they begin at different sizes, so that they do not all grow at the same moment.
  const segments: Array<Segment> = Array.from({ length: segmentCount }, (_, at) => {
    const slots = Math.ceil(firstSlots * growth ** (at / segmentCount))
    return { words: new Uint32Array(slots * stride), slots, used: 0 }
  })

  /** Offset of the slot that holds the hash, or of the empty slot where it belongs. */
  const find = (segment: Segment, a: number, b: number, c: number): number => {
    const { slots, words } = segment
    let slot = b % slots
    while (true) {
      const at = slot * stride
      if (words[at + 3] === 0) return at
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c) return at
      slot = slot + 1 === slots ? 0 : slot + 1
    }
  }

  const grow = (segment: Segment): void => {
    const old = segment.words
    segment.slots = Math.ceil(segment.slots * growth)
    segment.words = new Uint32Array(segment.slots * stride)
    for (let at = 0; at < old.length; at += stride) {
      if (old[at + 3] === 0) continue
      const to = find(segment, old[at]!, old[at + 1]!, old[at + 2]!)
      for (let i = 0; i < stride; i++) segment.words[to + i] = old[at + i]!
    }
    // frees the outgrown table at once: the collector, which has little else to do, would come for it late
    transferable(old.buffer).transfer?.(0)
  }

  const locate = (id: string): [Segment, number] => {
    Hash.text96(id, hash)
    const segment = segments[hash[0]! % segmentCount]!
    return [segment, find(segment, hash[0]!, hash[1]!, hash[2]!)]
  }

  return {
    size: () => segments.reduce((sum, segment) => sum + segment.used, 0),
    bytes: () => segments.reduce((sum, segment) => sum + segment.words.byteLength, 0),
    get: (id) => {
      const [segment, at] = locate(id)
      return segment.words[at + 3]!
    },
    second: (id) => {
      const [segment, at] = locate(id)
      return width === 2 ? segment.words[at + 4]! : 0
    },
    set: (id, value, second = 0) => {
      if (!Number.isInteger(value) || value < 1 || value > 0xffffffff) {
        throw new RangeError(`IdIndex.set: value must be an integer in [1, 4294967295], got ${value}`)
      }
      const [segment, found] = locate(id)
      let at = found
      if (segment.words[at + 3] === 0) {
        if (segment.used + 1 > segment.slots * highestLoad) {
          grow(segment)
          at = find(segment, hash[0]!, hash[1]!, hash[2]!)
        }
        segment.used++
        segment.words[at] = hash[0]!
        segment.words[at + 1] = hash[1]!
        segment.words[at + 2] = hash[2]!
      }
      segment.words[at + 3] = value
      if (width === 2) segment.words[at + 4] = second
    }
  }
}

/**
 * A line of JSON that tells by itself whether it is as it was written: its first field is a checksum of all behind it.
 *
 *     {"sum":"8f1c2a90","k":"note",…}
 *
 * A torn, zeroed or edited line is seen for what it is. The journal of a job and the ledger are made of such lines.
 */
import * as Hash from "./Hash.ts"

/** Begins every such line. */
export const prefix = "{\"sum\":\""

const sumEnd = prefix.length + 8

/** Where a line goes on behind its checksum. */
export const bodyStart = sumEnd + 2

/** Makes a line from the text of a JSON object without its first brace. */
export const make = (body: string): string => `${prefix}${Hash.hex32(Hash.text32(body))}",${body}`

/** Tells a line, without its line feed, that is as it was written. */
export const isWhole = (line: string): boolean =>
  line.startsWith(prefix) && line.slice(prefix.length, bodyStart) === `${Hash.hex32(Hash.text32(line, bodyStart))}",`

/**
 * Command lines as text: the one that goes on with a run, and the one that a page may show to anyone.
 */

const quoted = (word: string): string => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

const text = (args: ReadonlyArray<string>): string => ["effect-together", ...args.map(quoted)].join(" ")

/** Writes the command line that does the same again. */
export const again = (args: ReadonlyArray<string>): string => text(args)

/** Writes the command line that does the same again and sends failed rows, too. */
export const retrying = (args: ReadonlyArray<string>): string =>
  text([...args.filter((word) => word !== "--retry-errors"), "--retry-errors"])

/** Takes name and password out of an address. */
export const withoutUser = (address: string): string => address.replace(/(\/\/)[^/?#]*@/, "$1")

/** Writes the command line for a page: without prompt text, and without what an address says of its user. */
export const shown = (args: ReadonlyArray<string>): string =>
  text(args.map((word, at) =>
    args[at - 1] === "--system"
      ? "…"
      : word.startsWith("--system=")
      ? "--system=…"
      : /^(--base-url=)?\w+:\/\//.test(word)
      ? withoutUser(word)
      : word
  ))

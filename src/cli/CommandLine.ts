/**
 * Command lines as text: the one that goes on with a run, and the one that a page may show to anyone.
 */
import * as Style from "./Style.ts"

/** Quotes a word for a shell; one with control characters as bash and zsh read it, for a terminal would obey them. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word)
    ? word
    : Style.visible(word) === word
    ? `'${word.replaceAll("'", "'\\''")}'`
    : `$'${Style.visible(word.replace(/[\\']/g, "\\$&"))}'`

const text = (args: ReadonlyArray<string>): string => ["effect-together", ...args.map(quoted)].join(" ")

/** Tells whether a flag is on the command line; the environment and the config file speak for all runs. */
export const has = (args: ReadonlyArray<string>, flag: string): boolean =>
  args.some((word) => word === `--${flag}` || word.startsWith(`--${flag}=`))

/** Writes the command line that does the same again. */
export const again = (args: ReadonlyArray<string>): string => text(args)

/** Writes the command line that does the same without a flag that takes a value, and with further words. */
export const instead = (args: ReadonlyArray<string>, flag: string, ...words: ReadonlyArray<string>): string =>
  text([
    ...args.filter((word, at) => word !== flag && args[at - 1] !== flag && !word.startsWith(`${flag}=`)),
    ...words
  ])

/** Writes the command line that does the same again and sends failed rows, too. */
export const retrying = (args: ReadonlyArray<string>): string =>
  text([...args.filter((word) => word !== "--retry-errors"), "--retry-errors"])

/** Writes the command line that goes on after rows were corrected, and sends those that failed again. */
export const corrected = (args: ReadonlyArray<string>): string =>
  instead(args.filter((word) => word !== "--retry-errors"), "--changed", "--retry-errors", "--changed", "keep")

/** Takes name and password out of an address. */
export const withoutUser = (address: string): string => address.replace(/(\/\/)[^/?#]*@/, "$1")

/** Takes prompt text out of the words of a command line, and what an address says of its user. */
export const redacted = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.map((word, at) =>
    args[at - 1] === "--system"
      ? "…"
      : word.startsWith("--system=")
      ? "--system=…"
      : /^(--base-url=)?\w+:\/\//.test(word)
      ? withoutUser(word)
      : word
  )

/** Writes the command line for a page. */
export const shown = (args: ReadonlyArray<string>): string => text(redacted(args))

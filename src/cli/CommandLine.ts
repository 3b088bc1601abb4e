/**
 * Command lines as text: the one that continues a run, and the one that a page may show to anyone.
 */
import * as Style from "./Style.ts"

/**
 * Quotes a word for a shell. Control characters, which a terminal would obey, are escaped in the form of bash and zsh.
 */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word)
    ? word
    : Style.visible(word) === word
    ? `'${word.replaceAll("'", "'\\''")}'`
    : `$'${Style.visible(word.replace(/[\\']/g, "\\$&"))}'`

/** Writes what follows `--` as paths that do not need it, so that flags can be added at the end. */
const open = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  return end < 0
    ? args
    : [...args.slice(0, end), ...args.slice(end + 1).map((word) => /^-./.test(word) ? `./${word}` : word)]
}

const text = (args: ReadonlyArray<string>): string => ["effect-together", ...open(args).map(quoted)].join(" ")

/** Finds a word that the parser would take apart into flags of one letter, and that is none of them. */
export const dashed = (args: ReadonlyArray<string>): string | undefined => {
  const end = args.indexOf("--")
  return args.slice(0, end < 0 ? args.length : end).find((word) =>
    /^-[^-]./.test(word) && !/^-(?:[ohpqv]+(?:=|$)|[\d.])/.test(word)
  )
}

/** Tells whether a flag is on the command line itself: environment and config file apply to every run anyway. */
export const has = (args: ReadonlyArray<string>, flag: string): boolean =>
  args.some((word) => word === `--${flag}` || word.startsWith(`--${flag}=`))

/** Writes the command line that does the same again. */
export const again = (args: ReadonlyArray<string>): string => text(args)

/** Leaves out a flag that takes a value. */
const without = (args: ReadonlyArray<string>, flag: string): ReadonlyArray<string> =>
  args.filter((word, at) => word !== flag && args[at - 1] !== flag && !word.startsWith(`${flag}=`))

/** Writes the command line that does the same without a flag that takes a value, and with further words. */
export const instead = (args: ReadonlyArray<string>, flag: string, ...words: ReadonlyArray<string>): string =>
  text([...without(open(args), flag), ...words])

/** Leaves out that failed rows are sent again, so that it can be said at the end. */
const once = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  open(args).filter((word) => word !== "--retry-errors")

/** Writes the command line that does the same again and sends failed rows, too. */
export const retrying = (args: ReadonlyArray<string>): string => text([...once(args), "--retry-errors"])

/** Writes the command line that sends failed rows again by calls, in place of a batch. */
export const byCalls = (args: ReadonlyArray<string>): string =>
  instead(without(once(args), "--poll"), "--via", "--via", "calls", "--retry-errors")

/** Writes the command line that goes on after rows were corrected, and sends those that failed again. */
export const corrected = (args: ReadonlyArray<string>): string =>
  instead(once(args), "--changed", "--retry-errors", "--changed", "keep")

/** Removes name and password from an address. */
export const withoutUser = (address: string): string => address.replace(/(\/\/)[^/?#]*@/, "$1")

/** Removes prompt text from the words of a command line, and the user from addresses. */
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

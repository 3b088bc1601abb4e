/**
 * Colours and signs for a terminal, or their absence.
 *
 * Colours are off where `NO_COLOR` is set, where `TERM` is `dumb`, and where the stream is no terminal; `FORCE_COLOR`
 * turns them on, or with 0 or false off. Redrawing needs a terminal, and is off in `CI`.
 */

/** Paints text, or leaves it as it is. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
  /**
   * Makes control characters visible, in lines that quote rows, providers, models or paths: those that a terminal obeys, and
   * those that turn the direction of text. Line feeds, tabs and our own colours stay; a colour that a line leaves on ends
   * with it.
   */
  readonly visible: (text: string) => string
}

const paint = (open: number, close: number) => (text: string) => `\u001b[${open}m${text}\u001b[${close}m`
const plain = (text: string) => text

const escaped = (control: string): string => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`

const bidirectional = "\\u202a-\\u202e\\u2066-\\u2069"
const controls = new RegExp(`[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f${bidirectional}]`, "g")

/** Makes every control character of a text visible, but for line feeds and tabs. */
export const visible = (text: string): string => text.replace(controls, escaped)

const colours = new RegExp(`${String.fromCharCode(27)}\\[(?:1|2|3[1236]|(0|22|39))m`, "g")

/** Our colours cannot be told from the same colours in quoted text; those are harmless, as long as they end. */
const visibleColored = (text: string): string =>
  text.replace(/[^\n]+/g, (line) => {
    let open = 0
    let shown = ""
    let from = 0
    for (const found of line.matchAll(colours)) {
      shown += visible(line.slice(from, found.index)) + found[0]
      from = found.index + found[0].length
      open += found[1] === undefined ? 1 : -1
    }
    shown += visible(line.slice(from))
    return open > 0 ? `${shown}\u001b[0m` : shown
  })

/** Paints with ANSI sequences. */
export const colored: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
  cyan: paint(36, 39),
  visible: visibleColored
}

/** Leaves text as it is. */
export const colorless: Style = {
  bold: plain,
  dim: plain,
  red: plain,
  green: plain,
  yellow: plain,
  cyan: plain,
  visible
}

/** Says what a stream can show. */
export interface Ability {
  readonly color: boolean
  readonly redraw: boolean
  /** As many as there are when it is read: a terminal may be made narrower. */
  readonly columns: number
}

/** Reads what a stream can show from the environment. */
export const ability = (
  env: Readonly<Record<string, string | undefined>>,
  stream: { readonly isTTY?: boolean | undefined; readonly columns?: number | undefined }
): Ability => {
  const terminal = stream.isTTY === true && env["TERM"] !== "dumb"
  const said = (name: string) => env[name] !== undefined && env[name] !== ""
  return {
    color: !said("NO_COLOR") && (said("FORCE_COLOR") ? !["0", "false"].includes(env["FORCE_COLOR"]!) : terminal), // it is set
    redraw: terminal && !said("CI"),
    get columns() {
      // a terminal that does not know its width says 0
      return stream.columns || 80
    }
  }
}

/** Chooses a style by ability. */
export const of = (able: Ability): Style => able.color ? colored : colorless

/** Escape sequences, to leave out when a width is measured. */
const escapes = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g")

/** Counts the columns of a text without its escape sequences. */
export const width = (text: string): number => text.replace(escapes, "").length

/** Cuts a text to so many columns, escape sequences kept whole. */
export const cut = (text: string, columns: number): string => {
  if (width(text) <= columns) return text
  let seen = 0
  let out = ""
  for (let i = 0; i < text.length && seen < columns - 1; i++) {
    if (text[i] === "\u001b") {
      const end = text.indexOf("m", i)
      out += text.slice(i, end + 1)
      i = end
    } else {
      out += text[i]
      seen++
    }
  }
  return `${out}…${text.includes("\u001b") ? "\u001b[0m" : ""}`
}

/**
 * Flags that may be given more than once, and of which the last one counts: a script puts its own flags first, and
 * whoever calls the script adds others after them (`npm start -- --out-dir elsewhere`).
 */
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"

const last = <A>(flag: Flag.Flag<A>): Flag.Flag<A> =>
  // `atLeast(1)` answers with one or more values, so there is a last one
  Flag.map(Flag.atLeast(flag, 1), (values) => values[values.length - 1] as A)

/** Makes a flag of text. */
export const String = (name: string): Flag.Flag<string> => last(Flag.String(name))

/** Makes a flag of a whole number. */
export const Int = (name: string): Flag.Flag<number> => last(Flag.Int(name))

/** Makes a flag of a finite number. */
export const Finite = (name: string): Flag.Flag<number> => last(Flag.Finite(name))

/** Makes a flag that is given or not. */
export const Boolean = (name: string): Flag.Flag<boolean> => last(Flag.Boolean(name))

/** Makes a flag of one of several words. */
export const Literals = <const Words extends ReadonlyArray<string>>(
  name: string,
  words: Words
): Flag.Flag<Words[number]> => last(Flag.Literals(name, words))

/** Makes a flag that may be left out. */
export const orNone = <A>(flag: Flag.Flag<A>): Flag.Flag<A | undefined> =>
  Flag.map(Flag.optional(flag), Option.getOrUndefined)

/** Refuses an empty path: files whose names are derived from it would end up in the root directory. */
export const filled = (name: string, flag: Flag.Flag<string>): Flag.Flag<string> =>
  Flag.filter(flag, (path) => path.trim() !== "", () => `--${name} must not be empty: give a path, or leave it out`)

/** Makes a flag that names a file and may be left out. */
export const file = (name: string, description: string): Flag.Flag<string | undefined> =>
  orNone(filled(name, String(name).pipe(Flag.withMetavar("FILE"), Flag.withDescription(description))))

/** Refuses what is not above 0. */
export const positive = (name: string, flag: Flag.Flag<number>): Flag.Flag<number> =>
  Flag.filter(flag, (value) => value > 0, (value) => `--${name} must be above 0, got ${value}`)

/**
 * Refuses bad options where a kernel is made, in one wording for all kernels.
 *
 * A kernel that accepts a rate of `NaN` fails hours later and far away. Each
 * check returns the value it was given, or throws
 * `RangeError("Module.fn: field must be RANGE, got VALUE")`. What was given is
 * never clamped in silence; a default that stands in its way moves (`ordered`).
 */

/** Throws the `RangeError` of a field that is out of its range: for what is no plain number, such as an amount of money. */
export const refuse = (where: string, field: string, range: string, got: unknown): never => {
  throw new RangeError(`${where}: ${field} must be ${range}, got ${String(got)}`)
}

/** Refuses what is not in a range of numbers. A text shows its quotes: "0.2" would look as if it were in range. */
const outside = (where: string, field: string, range: string, got: unknown): never =>
  refuse(where, field, range, typeof got === "string" ? `"${got}"` : got)

/** Requires a finite number greater than 0. */
export const positive = (where: string, field: string, value: number): number =>
  value > 0 && Number.isFinite(value) ? value : outside(where, field, "a finite number > 0", value)

/** Requires a finite number of at least 0. */
export const nonNegative = (where: string, field: string, value: number): number =>
  value >= 0 && Number.isFinite(value) ? value : outside(where, field, "a finite number >= 0", value)

/** Requires a number in `[min, max]`; either end may be infinite. */
export const within = (where: string, field: string, value: number, min: number, max: number): number =>
  typeof value === "number" && value >= min && value <= max
    ? value
    : outside(where, field, max === Number.MAX_VALUE ? `a finite number >= ${min}` : `in [${min}, ${max}]`, value)

/** Requires a number in `(min, max]`; `max` may be infinite. */
export const above = (where: string, field: string, value: number, min: number, max: number): number =>
  typeof value === "number" && value > min && value <= max
    ? value
    : outside(where, field, max === Number.MAX_VALUE ? `a finite number > ${min}` : `in (${min}, ${max}]`, value)

/** Requires a number in `(min, max)`, the ends excluded. */
export const between = (where: string, field: string, value: number, min: number, max: number): number =>
  typeof value === "number" && value > min && value < max
    ? value
    : outside(where, field, `in (${min}, ${max})`, value)

/** Requires an integer of at least `min`. */
export const integer = (where: string, field: string, value: number, min: number): number =>
  Number.isSafeInteger(value) && value >= min ? value : outside(where, field, `an integer >= ${min}`, value)

/** Requires an integer of at least `min`, or `Infinity` for as many as there are. */
export const integerOrInfinity = (where: string, field: string, value: number, min: number): number =>
  value === Infinity || Number.isSafeInteger(value) && value >= min
    ? value
    : outside(where, field, `an integer >= ${min} or Infinity`, value)

/** Requires one of the listed words. */
export const oneOf = <A extends string>(where: string, field: string, value: A, words: ReadonlyArray<A>): A =>
  words.includes(value) ? value : refuse(where, field, `one of ${words.join(", ")}`, value)

/** Requires a name: a text that is not blank. */
export const name = (where: string, field: string, value: string): string =>
  value.trim() === "" ? outside(where, field, "a name", value) : value

/** Holds every option of a record, none left out. */
export type Complete<Options> = { readonly [K in keyof Options]-?: Exclude<Options[K], undefined> }

/** Holds some options of a record: every field may be absent or `undefined`. */
export type Partially<Settings> = { readonly [K in keyof Settings]?: Settings[K] | undefined }

/**
 * Fills the fields that the options leave out from the defaults.
 *
 * **Gotchas**: a field given as `undefined` counts as left out, unlike with the spread of an object.
 */
export const resolve = <Settings extends object>(defaults: Settings, options: Partially<Settings>): Settings => {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  // `given` holds only fields of `Partially<Settings>` whose `undefined` was taken out, so each has its `Settings` type.
  return { ...defaults, ...(Object.fromEntries(given) as Partial<Settings>) }
}

/**
 * Puts fields in order, smallest first: a default gives way to what was given for another field.
 *
 * **Details**: with `min` 20, `initial` 20 and `max` 200 by default, `initial: 10` lowers `min` to 10, and `max: 10`
 * lowers both. Check each field by itself before.
 *
 * **Errors**: throws `RangeError` where two fields that were both given are not in order.
 */
export const ordered = <Settings extends { readonly [K in Field]: number }, Field extends string>(
  where: string,
  settings: Settings,
  options: { readonly [K in Field]?: number | undefined },
  ...fields: ReadonlyArray<Field>
): Settings => {
  const isGiven = (field: Field) => options[field] !== undefined
  const moved = fields.map((field, at) => {
    const value: number = settings[field]
    const smaller = fields.slice(0, at).filter(isGiven).map((other) => [other, settings[other]] as const)
    const larger = fields.slice(at + 1).filter(isGiven).map((other) => settings[other])
    if (!isGiven(field)) return [field, Math.min(...larger, Math.max(value, ...smaller.map(([, least]) => least)))]
    for (const [other, least] of smaller) {
      if (value < least) return refuse(where, field, `>= ${other}, which is ${least}`, value)
    }
    return [field, value]
  })
  return { ...settings, ...Object.fromEntries(moved) }
}

/**
 * Checks the bounds of a limit of concurrency and its start, which need not be whole, and puts them in order.
 *
 * **Details**: a bound that gives way goes to the next whole number beyond the start.
 *
 * **Errors**: throws `RangeError` as the checks that it is made of.
 */
export const bounds = <Settings extends { readonly min: number; readonly initial: number; readonly max: number }>(
  where: string,
  settings: Settings,
  options: { readonly [K in "min" | "initial" | "max"]?: number | undefined },
  least: number
): Settings => {
  integer(where, "min", settings.min, least)
  integer(where, "max", settings.max, 1)
  within(where, "initial", settings.initial, 1, Number.MAX_SAFE_INTEGER)
  const moved = ordered<Settings, "min" | "initial" | "max">(where, settings, options, "min", "initial", "max")
  return { ...moved, min: Math.floor(moved.min), max: Math.ceil(moved.max) }
}

/**
 * Refuses bad options where a kernel is made, in one wording for all kernels.
 *
 * A kernel that accepts a rate of `NaN` fails hours later and far away. Each
 * check returns the value it was given, or throws
 * `RangeError("Module.fn: field must be RANGE, got VALUE")`. Nothing is ever
 * clamped in silence.
 */

const refuse = (where: string, field: string, range: string, got: unknown): never => {
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
    : outside(where, field, `in [${min}, ${max}]`, value)

/** Requires a number in `(min, max]`; `max` may be infinite. */
export const above = (where: string, field: string, value: number, min: number, max: number): number =>
  typeof value === "number" && value > min && value <= max
    ? value
    : outside(where, field, `in (${min}, ${max}]`, value)

/** Requires a number in `(min, max)`, the ends excluded. */
export const between = (where: string, field: string, value: number, min: number, max: number): number =>
  typeof value === "number" && value > min && value < max
    ? value
    : outside(where, field, `in (${min}, ${max})`, value)

/** Requires an integer of at least `min`. */
export const integer = (where: string, field: string, value: number, min: number): number =>
  Number.isSafeInteger(value) && value >= min ? value : outside(where, field, `an integer >= ${min}`, value)

/** Requires one of the listed words. */
export const oneOf = <A extends string>(where: string, field: string, value: A, words: ReadonlyArray<A>): A =>
  words.includes(value) ? value : refuse(where, field, `one of ${words.join(", ")}`, value)

/** Is a record of options with none left out. */
export type Complete<Options> = { readonly [K in keyof Options]-?: Exclude<Options[K], undefined> }

/** Is a record of options: every field may be absent or `undefined`. */
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

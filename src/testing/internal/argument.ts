/**
 * Refuses arguments that are out of their range, in the name of the function that got them.
 */
import { integer, refuse } from "../../policy/OptionCheck.ts"

export { integer, refuse }

/** Reads a finite number. */
export const finite = (where: string, field: string, value: number): number =>
  Number.isFinite(value) ? value : refuse(where, field, "a finite number", value)

/** Reads the status of an answer. */
export const status = (where: string, value: number): number =>
  Number.isInteger(value) && value >= 200 && value <= 599
    ? value
    : refuse(where, "status", "an integer in [200, 599]", value)

/** Reads the seconds of a wait hint, where there are any. */
export const reset = (where: string, value: number | undefined): number | undefined =>
  value === undefined || (value >= 0 && Number.isFinite(value))
    ? value
    : refuse(where, "reset", "a finite number of seconds, at least 0", value)

/**
 * Makes a guard from options that stand in the configuration.
 *
 * A guard refuses a bad option with a `RangeError`. In code that is a bug, and so a defect. In a variable of the
 * environment the same value is a mistake of whoever deploys the program, and should be reported like a variable that
 * is not a number. So every `layerConfig` makes its guard here, and fails with a `ConfigError` for both.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

const refusal = (error: RangeError): Config.ConfigError =>
  new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message: error.message })))

/**
 * Reads options, and makes a guard of them.
 *
 * **Errors**: `ConfigError` where the options cannot be read, and where `make` refuses one with a `RangeError`.
 */
export const make = <Options, A, E, R>(
  options: Effect.Effect<Options, Config.ConfigError>,
  make: (options: Options) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | Config.ConfigError, R> =>
  Effect.flatMap(options, make).pipe(
    Effect.catchDefect((defect) => defect instanceof RangeError ? Effect.fail(refusal(defect)) : Effect.die(defect))
  )

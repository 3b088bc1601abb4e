/** Fails a command that was called wrongly: exit code 2, one line that says what, why and what to do. */
import * as Schema from "effect/Schema"

/** Fails a command that was called wrongly. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { message: Schema.String }) {}

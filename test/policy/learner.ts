/** Changes what a learner of a rate knows, record by record. */
import type { State } from "../../src/policy/rate/State.ts"

/** Names what differs: of a record, only that. */
export type Over = { readonly [Key in keyof State]?: State[Key] extends object ? Partial<State[Key]> : State[Key] }

/** Puts what differs in place of what is. */
export const changed = (state: State, over: Over): State => {
  const now: Readonly<Record<string, unknown>> = { ...state }
  const merged = Object.entries(over).map(([key, value]) => [
    key,
    typeof value === "object" ? { ...Object(now[key]), ...value } : value
  ])
  // each value is one of its field's type, or some fields of it over those that it had
  return { ...state, ...Object.fromEntries(merged) } as State
}

/**
 * The shape of an error in the provider's bodies: a field that does not apply is `null`.
 */

/** Describes an error. */
export interface Description {
  readonly message: string
  /** Default `invalid_request_error`. */
  readonly type?: string | undefined
  readonly param?: string | undefined
  readonly code?: string | null | undefined
}

/** Writes an error. */
export const make = ({ code = null, message, param, type = "invalid_request_error" }: Description) => ({
  message,
  type,
  param: param ?? null,
  code
})

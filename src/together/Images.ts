/**
 * Images: request and answer, as on the wire.
 *
 * **Source**: Together's API reference, `POST /images/generations`.
 */
import * as Schema from "effect/Schema"
import { maybe, omitNull, open, request, textOf } from "./Wire.ts"

const positive = Schema.Int.check(Schema.isGreaterThan(0))

/** Asks for images. The provider's defaults: 1 image of 1024 × 1024 in 20 steps. */
export const ImagesRequest = request({
  model: Schema.NonEmptyString,
  prompt: Schema.String,
  steps: Schema.optional(positive),
  n: Schema.optional(positive),
  height: Schema.optional(positive),
  width: Schema.optional(positive),
  seed: Schema.optional(Schema.Int),
  image_url: Schema.optional(Schema.String),
  negative_prompt: Schema.optional(Schema.String),
  /** `base64` or `url`. */
  response_format: Schema.optional(Schema.String),
  /** `jpeg` or `png`. */
  output_format: Schema.optional(Schema.String),
  guidance_scale: Schema.optional(Schema.Finite),
  image_loras: Schema.optional(Schema.Array(request({ path: Schema.String, scale: Schema.Finite }))),
  reference_images: Schema.optional(Schema.Array(Schema.String)),
  disable_safety_checker: Schema.optional(Schema.Boolean)
})
/** Asks for images. */
export interface ImagesRequest extends Schema.Schema.Type<typeof ImagesRequest> {}

const Image = open({
  index: omitNull(Schema.Int),
  type: omitNull(Schema.String),
  b64_json: maybe(Schema.String),
  url: maybe(Schema.String)
})

/** One image of several may be missing, such as one that was held back. */
const someImage = Schema.makeFilter((images: ReadonlyArray<typeof Image.Type>) =>
  images.some(({ b64_json, url }) => textOf(b64_json) !== undefined || textOf(url) !== undefined) ||
  "Expected an image, under b64_json or url"
)

/** Answers with images, each as base64 or as a hosted URL. An answer without any image is none. */
export const ImagesResponse = open({
  id: omitNull(Schema.String),
  model: omitNull(Schema.String),
  object: omitNull(Schema.String),
  data: Schema.Array(Image).check(someImage)
})
/** Answers with images, each as base64 or as a hosted URL. */
export interface ImagesResponse extends Schema.Schema.Type<typeof ImagesResponse> {}

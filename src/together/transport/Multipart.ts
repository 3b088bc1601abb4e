/**
 * Writes a form as the body of a request, without reading its files.
 *
 * Left with a form, the Fetch of Node reads every file of it into memory at once; and if the request ends meanwhile, by an
 * interruption or a timeout, it throws where nobody can catch it, which ends the process. A `Blob` of the same bytes
 * refers to the files, is read as the socket takes it, and knows its length.
 *
 * **Source**: HTML, "multipart/form-data encoding algorithm". docs/decisions/0080 has what was measured.
 */

/** A form as it is sent. */
export interface Multipart {
  /** With the boundary, which a `Blob` of this type would spell in lower case. */
  readonly contentType: string
  readonly body: Blob
}

const newlines = (text: string): string => text.replace(/\r\n|\r|\n/g, "\r\n")

const quoted = (name: string): string => `"${name.replace(/[\r\n"]/g, encodeURIComponent)}"`

/** Writes a form. */
export const encode = (form: FormData): Multipart => {
  // of an empty form: reading is begun with the answer's construction
  const contentType = new Response(new FormData()).headers.get("content-type") ?? ""
  const boundary = `--${contentType.slice(contentType.indexOf("=") + 1)}`
  const parts: Array<BlobPart> = []
  form.forEach((value, name) => {
    const head = `${boundary}\r\nContent-Disposition: form-data; name=${quoted(newlines(name))}`
    if (typeof value === "string") parts.push(`${head}\r\n\r\n${newlines(value)}\r\n`)
    else {
      const type = value.type === "" ? "application/octet-stream" : value.type
      parts.push(`${head}; filename=${quoted(value.name)}\r\nContent-Type: ${type}\r\n\r\n`, value, "\r\n")
    }
  })
  return { contentType, body: new Blob([...parts, `${boundary}--\r\n`]) }
}

/** Bytes that are read at a time. */
const pieceBytes = 256 * 1024

/** Reads a body piece by piece, each when it is asked for. A reader may stop at any time. */
export const pieces = (body: Blob): AsyncIterable<Uint8Array> => ({
  [Symbol.asyncIterator]: () => {
    let at = 0
    return {
      next: () => {
        if (at >= body.size) return Promise.resolve({ done: true, value: undefined })
        const piece = body.slice(at, at += pieceBytes)
        return piece.arrayBuffer().then((bytes) => ({ done: false, value: new Uint8Array(bytes) }))
      }
    }
  }
})

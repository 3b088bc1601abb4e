/**
 * The journal's file format: JSON lines, each with a checksum, the answer row kept verbatim inside.
 *
 *     {"sum":"8f1c2a90","k":"head","v":1,"input":{"path":"prompts.jsonl","bytes":81920,"hash":"…"},"target":"https://…"}
 *     {"sum":"03d1e7aa","k":"row","id":"a-1","n":1,"ok":true,"h":915,"a":1,"ms":812,"in":12,"out":80,"nano":18240,"answer":{…}}
 *     {"sum":"77ab0c12","k":"bad","id":"…","n":7,"ok":false,"answer":{…}}
 *     {"sum":"5e00d1ff","k":"note","name":"batch","value":{…}}
 *
 * Four notes are about the journal itself: `input` and `target` take the place of what the head says, `output` names a
 * file that the job writes, `uncertain` holds nano-dollars that a run may cost beyond its rows, or less than zero where
 * that was taken back. A row says by `besides` what has come to it since. Both end with what all lines have cost up to
 * there (`nanoSum`, `besidesSum`), so that what a damaged line said still counts.
 *
 * `sum` covers every character after its own field, so a torn, zeroed or edited line is seen for what it is. `answer` is
 * always the last field and is the very text of the output row: writing an output again from the journal copies text
 * and parses only what stands before it. `jq .answer` reads the answers.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SummedLine from "../../policy/SummedLine.ts"
import * as Json from "../../together/Json.ts"

/** The version this module writes and reads. */
export const version = 1

const InputIdentity = Schema.Struct({
  path: Schema.String,
  bytes: Schema.optionalKey(Schema.Finite),
  hash: Schema.optionalKey(Schema.String)
})

/** Identifies the input that a journal belongs to, and who answers its rows. */
export const Head = Schema.Struct({
  v: Schema.Int,
  input: InputIdentity,
  /** Who answers the rows: the base URL, or `emulator`. Absent where nobody said. */
  target: Schema.optionalKey(Schema.String)
})
/** Identifies the input that a journal belongs to, and who answers its rows. */
export interface Head extends Schema.Schema.Type<typeof Head> {}

/** What all lines of a journal up to one have cost, that line included; absent if nothing, or in an earlier version. */
export interface CostSums {
  /** Nano-dollars that rows have cost. */
  readonly nanoSum?: number | undefined
  /** Nano-dollars that the runs may have cost beyond that. */
  readonly besidesSum?: number | undefined
}

/** Says what one settled row took. Tokens and money are absent where they are unknown. */
export interface Meta extends CostSums {
  /** The row's id; for a bad line a key made of its number and content. */
  readonly id: string
  /** Line in the input. */
  readonly n: number
  readonly ok: boolean
  /** Hash of the request, to see that a row has changed. */
  readonly h: number
  /** Attempts made. */
  readonly a: number
  /** Milliseconds from first attempt to answer. */
  readonly ms: number
  readonly in?: number | undefined
  readonly out?: number | undefined
  /** Cost in nano-dollars. */
  readonly nano?: number | undefined
  /** Nano-dollars that the run may have cost beyond its rows, since the line that said so before. */
  readonly besides?: number | undefined
  /** Tag of the error of a failed row. */
  readonly tag?: string | undefined
}

/** One line of a journal, read. */
export type Record =
  | { readonly _tag: "Head"; readonly head: Head }
  | { readonly _tag: "Row"; readonly bad: boolean; readonly meta: Meta; readonly answer: string }
  | { readonly _tag: "Note"; readonly name: string; readonly value: unknown; readonly sums: CostSums }

const { bodyStart, prefix } = SummedLine
const marker = ",\"answer\":"

const line = (body: string): string => `${SummedLine.make(body)}\n`

/** Writes the head of a journal. */
export const encodeHead = (head: Head): string => line(`"k":"head",${JSON.stringify(head).slice(1)}`)

/** Writes a settled row, `answer` being the text of its output row. */
export const encodeRow = (meta: Meta, answer: string, bad: boolean): string =>
  line(`"k":"${bad ? "bad" : "row"}",${JSON.stringify(meta).slice(1, -1)}${marker}${answer}}`)

/** Writes a note: a fact about the job that is no row, such as a batch that was created. */
export const encodeNote = (name: string, value: unknown, sums: CostSums = {}): string =>
  line(`"k":"note",${JSON.stringify({ name, value, ...sums }).slice(1)}`)

const costSums = { nanoSum: Schema.optionalKey(Schema.Finite), besidesSum: Schema.optionalKey(Schema.Finite) }

const decodeMeta = Schema.decodeUnknownOption(Schema.Struct({
  k: Schema.Literals(["row", "bad"]),
  id: Schema.String,
  n: Schema.Int,
  ok: Schema.Boolean,
  h: Schema.Finite,
  a: Schema.Finite,
  ms: Schema.Finite,
  in: Schema.optionalKey(Schema.Finite),
  out: Schema.optionalKey(Schema.Finite),
  nano: Schema.optionalKey(Schema.Finite),
  besides: Schema.optionalKey(Schema.Finite),
  tag: Schema.optionalKey(Schema.String),
  ...costSums
}))
const decodeHead = Schema.decodeUnknownOption(Head)
const decodeNote = Schema.decodeUnknownOption(
  Schema.Struct({ name: Schema.String, value: Schema.Unknown, ...costSums })
)

const decodeIdentity = Schema.decodeUnknownOption(InputIdentity)

/** Reads the value of an `input` note: which input the rows after it belong to. */
export const decodeInput = (value: unknown): Head["input"] | undefined => Option.getOrUndefined(decodeIdentity(value))

/** Tells whether bytes begin as a line of a journal does, as far as they go. */
export const beginsLikeOurs = (bytes: Uint8Array): boolean => {
  for (let at = 0; at < Math.min(bytes.length, prefix.length); at++) {
    if (bytes[at] !== prefix.charCodeAt(at)) return false
  }
  return true
}

/** Reads one line without its line feed; absent where the line is damaged. */
export const decode = (text: string): Record | undefined => {
  if (!text.endsWith("}") || !SummedLine.isWhole(text)) return undefined
  const kind = text.slice(bodyStart, bodyStart + 9)
  if (kind === "\"k\":\"row\"" || kind === "\"k\":\"bad\"") {
    const at = text.indexOf(marker, bodyStart)
    const meta = at < 0 ? Option.none() : decodeMeta(Json.parse(`{${text.slice(bodyStart, at)}}`))
    return Option.isNone(meta)
      ? undefined
      : { _tag: "Row", bad: meta.value.k === "bad", meta: meta.value, answer: text.slice(at + marker.length, -1) }
  }
  const value = Json.parse(text)
  const head = kind === "\"k\":\"head" ? decodeHead(value) : Option.none()
  if (Option.isSome(head)) return { _tag: "Head", head: head.value }
  return Option.getOrUndefined(
    Option.map(decodeNote(value), ({ name, value, ...sums }): Record => ({ _tag: "Note", name, value, sums }))
  )
}

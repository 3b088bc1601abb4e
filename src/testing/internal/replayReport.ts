/**
 * Says what is wrong with a replay.
 */
import * as TextDiff from "effect/TextDiff"
import * as Enumeration from "../../domain/Enumeration.ts"
import type { Cassette, RecordedRequest } from "../Recorder.ts"
import * as Sent from "../Sent.ts"
import * as CassetteRedaction from "./cassetteRedaction.ts"
import * as PromptText from "./promptText.ts"

const pretty = (request: RecordedRequest): string =>
  `${
    JSON.stringify({ method: request.method, path: request.path, query: request.query, body: request.body }, null, 2)
  }\n`

/** Says how a request differs from what was recorded, and what to do. */
export const refused = (
  sent: Sent.Sent,
  closest: RecordedRequest | undefined,
  position: string,
  known: string | undefined,
  { isOlder, keepsPrompts }: { readonly keepsPrompts: boolean; readonly isOlder: boolean }
): string => {
  const lines = [`Recorder: ${Sent.describe(sent)} is not what was recorded${position}`]
  if (closest === undefined) {
    lines.push("  The cassette holds no further exchange.")
  } else {
    const now = CassetteRedaction.make(sent, keepsPrompts).request
    const edits = TextDiff.lines(pretty(closest), pretty(now))
    const diff = TextDiff.unified(edits, { fromFile: "recorded", toFile: "sent", context: 2 }).trimEnd()
    const same = isOlder
      ? "  It looks the same."
      : "  It differs in a prompt or a file, which the cassette does not store."
    if (diff !== "" || known === undefined) lines.push(diff === "" ? same : diff)
  }
  if (known !== undefined) lines.push(known)
  if (isOlder) lines.push("  The cassette was recorded by an older version, which told requests apart by other rules.")
  lines.push(
    !keepsPrompts && sent.text.includes(PromptText.removed)
      ? "  It sends on an answer that a prompt was removed from: record with { prompts: \"keep\" }."
      : "  Record it again if the change is meant."
  )
  return lines.join("\n")
}

/** Lists the exchanges that no request asked for, and says what to do. */
export const notAsked = (cassette: Cassette, left: Cassette["exchanges"]): string => {
  const lines = left.map((exchange) => {
    const { method, operation, path } = exchange.request
    return `  position ${cassette.exchanges.indexOf(exchange) + 1}: ${operation} (${method} ${path})`
  })
  return [
    `Recorder: ${left.length} of ${cassette.exchanges.length} recorded exchanges not asked for`,
    ...Enumeration.first(lines, 10, (others) => `  … and ${others} more`),
    "  Record it again if the change is meant; { verifyOnClose: false } if the program need not send them."
  ].join("\n")
}

/** What a stream used: as it said itself once it has ended, and until then by what arrived. */
import type { Call } from "../../domain/Call.ts"
import type * as Usage from "../../domain/Usage.ts"
import { tokensOf } from "./EventDecoder.ts"
import type { Opened } from "./EventStream.ts"

/** Reads the usage of a stream that has ended; no output beside a text is no measure of it. */
export const measured = (call: Call, opened: Opened<unknown>): Usage.Usage | undefined => {
  const usage = opened.usage(call.estimate.inputTokens)
  return usage?.outputTokens === 0 && opened.generated().pieces > 0 ? undefined : usage
}

/**
 * Estimates what a stream has used so far: what arrived by its length, within what the call allows, or more where the
 * stream said so. What it said may be of its first chunks.
 */
export const soFar = (call: Call, opened: Opened<unknown>): Usage.Usage => {
  const { inputTokens, maxOutputTokens, openChoices = 0 } = call.estimate
  const arrived = tokensOf(opened.generated())
  const outputTokens = openChoices > 0 ? arrived : Math.min(arrived, maxOutputTokens)
  const said = opened.usage(inputTokens)
  return said === undefined
    ? { inputTokens, outputTokens, cachedInputTokens: 0, reasoningTokens: 0 }
    : {
      ...said,
      // no prompt is empty
      inputTokens: said.inputTokens === 0 ? inputTokens : said.inputTokens,
      outputTokens: Math.max(said.outputTokens, outputTokens)
    }
}

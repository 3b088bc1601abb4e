/**
 * Makes hostile input from a seed: bytes of event streams, and whole answers.
 *
 * Half of it is nearly right, for what is nearly right gets furthest in: frames that a provider could send, spoiled by
 * cuts, swaps, repeats and flipped bytes. The rest is noise.
 */
import * as SimulationRandom from "../../src/testing/SimulationRandom.ts"

/** Draws one thing after the other from a seed. */
export interface Draw {
  readonly below: (n: number) => number
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  readonly chance: (probability: number) => boolean
}

export const draws = (seed: number): Draw => {
  const source = SimulationRandom.source(seed)
  let index = 0
  const below = (n: number) => SimulationRandom.word(source, index++) % n
  return {
    below,
    pick: (from) => from[below(from.length)]!,
    chance: (probability) => below(1_000_000) < probability * 1_000_000
  }
}

const strings = [
  "",
  "a",
  "Paris",
  "\u0000",
  "é",
  "𝕏",
  "\ud800",
  "\"",
  "\\",
  "\n",
  "data: ",
  "[DONE]",
  "null",
  "9".repeat(40),
  "Infinity",
  "-1",
  "1e999",
  "__proto__",
  "constructor",
  "rate limit",
  "credit limit exceeded",
  "context length",
  "dynamic_request_limited",
  "model_not_available",
  "insufficient_quota",
  "<html>",
  "All connection attempts failed"
]
const numbers = [0, -0, 1, -1, 0.5, 1e308, -1e308, 5e-324, 2 ** 53, 2 ** 31, 429, 503]
const keys = [
  "error",
  "message",
  "type",
  "code",
  "error_type",
  "param",
  "id",
  "choices",
  "delta",
  "content",
  "text",
  "reasoning",
  "finish_reason",
  "usage",
  "prompt_tokens",
  "completion_tokens",
  "total_tokens",
  "index",
  "logprobs",
  "tool_calls",
  "function",
  "arguments",
  "detail",
  "errors",
  "request_id",
  "model",
  "object",
  "created",
  "data",
  "__proto__",
  "toString"
]

/** Makes any JSON value, up to a depth. */
export const json = (draw: Draw, depth: number): unknown => {
  switch (draw.below(depth <= 0 ? 5 : 8)) {
    case 0:
      return null
    case 1:
      return draw.chance(0.5)
    case 2:
      return draw.pick(numbers)
    case 3:
    case 4:
      return draw.pick(strings)
    case 5:
      return Array.from({ length: draw.below(4) }, () => json(draw, depth - 1))
    default:
      return Object.fromEntries(Array.from({ length: draw.below(5) }, () => [draw.pick(keys), json(draw, depth - 1)]))
  }
}

const chunk = (draw: Draw): unknown => ({
  id: "x",
  choices: [{
    index: 0,
    delta: draw.chance(0.9) ? { content: draw.pick(strings) } : json(draw, 2),
    finish_reason: draw.pick([null, null, null, "stop", "length", "error", ""])
  }],
  usage: draw.chance(0.3) ? { prompt_tokens: draw.pick(numbers), completion_tokens: 1, total_tokens: 2 } : null
})

const lineEnds = ["\n", "\n", "\n", "\r\n", "\r"]
const fields = [
  "data: ",
  "data:",
  "data: ",
  "event: ",
  "event: error",
  "id: ",
  "retry: ",
  ": ",
  "",
  "data",
  "DATA: ",
  "\ufeffdata: "
]

const frame = (draw: Draw): string => {
  const end = draw.pick(lineEnds)
  const payload = () => {
    switch (draw.below(6)) {
      case 0:
        return draw.pick(["[DONE]", "[done]", " [DONE] ", "[DONE]x"])
      case 1:
        return JSON.stringify(json(draw, 3))
      case 2:
        return JSON.stringify({ error: json(draw, 2) })
      case 3:
        return draw.pick(strings)
      default:
        return JSON.stringify(chunk(draw))
    }
  }
  let text = ""
  for (let lines = 1 + draw.below(2); lines > 0; lines--) {
    text += `${draw.chance(0.8) ? "data: " : draw.pick(fields)}${payload()}${end}`
  }
  return draw.chance(0.9) ? text + end : text
}

const encoder = new TextEncoder()

const spoil = (draw: Draw, bytes: Uint8Array): Uint8Array => {
  const out = bytes.slice()
  for (let times = draw.below(4); times > 0 && out.length > 0; times--) out[draw.below(out.length)] = draw.below(256)
  return draw.chance(0.2) ? out.subarray(0, draw.below(out.length + 1)) : out
}

const noise = (draw: Draw, length: number): Uint8Array => Uint8Array.from({ length }, () => draw.below(256))

/** Makes the bytes of one stream, in pieces. */
export const eventStream = (seed: number): ReadonlyArray<Uint8Array> => {
  const draw = draws(seed)
  const whole = draw.chance(0.15)
    ? noise(draw, draw.below(200))
    : spoil(draw, encoder.encode(Array.from({ length: 1 + draw.below(5) }, () => frame(draw)).join("")))
  const pieces: Array<Uint8Array> = []
  for (let at = 0; at < whole.length;) {
    const size = draw.chance(0.3) ? 1 + draw.below(4) : 1 + draw.below(200)
    pieces.push(whole.subarray(at, at + size))
    at += size
  }
  return pieces
}

const headerValues = [
  "",
  " ",
  "0",
  "1",
  "2.5",
  "-1",
  "1e3",
  "NaN",
  "99999999999999999999",
  "Wed, 21 Oct 2015 07:28:00 GMT",
  "Sunday, 06-Nov-94 08:49:37 GMT",
  "Sun Nov  6 08:49:37 1994",
  "Thu, 32 Jan 2026 25:61:61 GMT",
  "true",
  "false",
  "é",
  "application/json"
]
const headerNames = [
  "retry-after",
  "retry-after-ms",
  "x-ratelimit-reset",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-should-retry",
  "date",
  "content-type",
  "x-request-id",
  "cf-ray",
  "x-tokenlimit-limit"
]
const statuses = [
  200,
  201,
  204,
  301,
  400,
  401,
  402,
  403,
  404,
  405,
  408,
  409,
  410,
  413,
  418,
  422,
  429,
  431,
  500,
  502,
  503,
  504,
  520,
  524,
  529,
  599
]

/** Makes one answer: status, headers and body. */
export const answer = (seed: number): {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
} => {
  const draw = draws(seed)
  const headers = Object.fromEntries(
    Array.from({ length: draw.below(5) }, () => [draw.pick(headerNames), draw.pick(headerValues)])
  )
  const text = () => {
    switch (draw.below(5)) {
      case 0:
        return draw.pick(strings)
      case 1:
        return new TextDecoder().decode(noise(draw, draw.below(100)))
      case 2:
        return JSON.stringify({ error: json(draw, 3), id: draw.pick(strings) })
      case 3:
        return JSON.stringify(json(draw, 4)).slice(0, draw.below(200))
      default:
        return JSON.stringify(json(draw, 4))
    }
  }
  return { status: draw.chance(0.9) ? draw.pick(statuses) : 200 + draw.below(400), headers, body: text() }
}

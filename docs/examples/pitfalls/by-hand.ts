/**
 * What people write by hand before they know better: a request, its status, its JSON.
 *
 * Every broken program in this folder starts from here, every corrected one from `Together`.
 */
import { Data, Effect, Redacted, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { Together } from "effect-together"
import { FaultMatrix, Reply } from "effect-together/testing"

export const model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

export class HttpFailure extends Data.TaggedError("HttpFailure")<{ readonly status: number; readonly body: string }> {}

export const post = (prompt: string, stream = false) =>
  HttpClient.execute(
    HttpClientRequest.post("https://api.together.ai/v1/chat/completions").pipe(
      HttpClientRequest.bearerToken("my-key"),
      HttpClientRequest.bodyJsonUnsafe({ model, stream, messages: [{ role: "user", content: prompt }] })
    )
  )

/** Reads `choices[0].message.content`, trusting that it is there. */
export const contentOf = (text: string): string => JSON.parse(text).choices[0].message.content

/** Asks once, and fails on any status but 200. */
export const ask = (prompt: string) =>
  Effect.gen(function*() {
    const response = yield* post(prompt)
    const body = yield* response.text
    if (response.status !== 200) return yield* new HttpFailure({ status: response.status, body })
    return yield* Effect.try({ try: () => contentOf(body), catch: () => new HttpFailure({ status: 200, body }) })
  })

/** The client of the corrected programs, over whatever transport they are given. */
export const together = Together.layerHttp({ apiKey: Redacted.make("my-key") })

/** A provider that answers every prompt with the prompt in capitals. */
export const provider = FaultMatrix.answering((sent) => {
  const prompt = String((sent.body as { messages: ReadonlyArray<{ content: string }> }).messages[0]?.content)
  const answer = prompt.toUpperCase()
  return sent.operation === "chatStream" ? Reply.stream(answer.split(/(?= )/)) : Reply.chat(answer)
})

export const prompts = ["name a river", "name a lake", "name a sea"]

/** Reads the text of a stream's events, trusting every frame. */
export const contentOfEvents = <E>(body: Stream.Stream<Uint8Array, E>) =>
  body.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => line.startsWith("data: {")),
    Stream.mapEffect((line) =>
      Effect.try({
        try: (): string => JSON.parse(line.slice(6)).choices[0].delta.content ?? "",
        catch: () => new HttpFailure({ status: 200, body: line })
      })
    )
  )

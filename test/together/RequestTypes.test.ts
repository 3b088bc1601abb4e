/** What compiles as a request: the types of other SDKs and a caller's own, and no wrong field among them. */
import { describe, expect, it } from "@effect/vitest"
import type { Batches, Chat, Completions, Embeddings, Files, FineTunes, Rerank, Together } from "effect-together"
import type OpenAI from "openai"
import type TogetherAI from "together-ai"

interface OwnMessage {
  role: "user" | "assistant"
  content: string
}

interface OwnDocument {
  title: string
  year: number
}

// only their types are used
const together = undefined as unknown as Together.Service
const given = <A>(): A => undefined as unknown as A

const compiles = (calls: () => unknown) => expect(calls).toBeTypeOf("function")

describe("a request", () => {
  it("may be of the types of OpenAI's SDK", () => {
    const messages = given<Array<OpenAI.Chat.ChatCompletionMessageParam>>()
    const tools = given<Array<OpenAI.Chat.ChatCompletionTool>>()
    compiles(() => [
      together.chat({ model: "m", messages }),
      together.chat({ model: "m", messages, tools, tool_choice: "auto" }),
      together.chatStream({ model: "m", messages, tools })
    ])
  })

  it("may be of the types of Together's own SDK", () => {
    const params = given<TogetherAI.Chat.CompletionCreateParamsNonStreaming>()
    compiles(() => [
      together.chat({ model: params.model, messages: params.messages }),
      together.chat(params),
      together.completions(given<TogetherAI.CompletionCreateParamsNonStreaming>()),
      together.embeddings(given<TogetherAI.EmbeddingCreateParams>()),
      together.rerank(given<TogetherAI.RerankCreateParams>())
    ])
  })

  it("may be of a caller's interfaces", () => {
    const messages = given<Array<OwnMessage>>()
    const documents = given<ReadonlyArray<OwnDocument>>()
    compiles(() => [
      together.chat({ model: "m", messages }),
      together.rerank({ model: "m", query: "?", documents })
    ])
  })

  it("may continue with the message of an answer", () => {
    type Answered = NonNullable<Chat.ChatResponse["choices"][number]["message"]>
    compiles(() => together.chat({ model: "m", messages: [given<Answered>(), { role: "user", content: "More." }] }))
  })

  it("takes fields that nobody lists, at every depth", () => {
    compiles(() => [
      together.chat({ model: "m", messages: [{ role: "user", content: "?", cache: true }], brand_new_option: 7 }),
      together.fineTunes.create({ model: "m", training_file: "f", lora: true })
    ])
  })

  it("does not compile with a wrong field", () => {
    const numbers = given<Array<{ role: "user"; content: number }>>()
    compiles(() => [
      // @ts-expect-error: content is text or parts
      together.chat({ model: "m", messages: [{ role: "user", content: 7 }] }),
      // @ts-expect-error: content is text or parts
      together.chat({ model: "m", messages: numbers }),
      // @ts-expect-error: a message has a role
      together.chat({ model: "m", messages: [{ rolle: "user", content: "?" }] }),
      // @ts-expect-error: a number
      together.chat({ model: "m", messages: [], max_tokens: "7" }),
      // @ts-expect-error: a number
      together.chat({ model: "m", messages: [], temperature: "1" }),
      // @ts-expect-error: the type of a tool is a text
      together.chat({ model: "m", messages: [], tools: [{ type: 7 }] }),
      // @ts-expect-error: a tool is an object
      together.chat({ model: "m", messages: [], tools: ["f"] }),
      // @ts-expect-error: the text of a part is a text
      together.chat({ model: "m", messages: [{ role: "user", content: [{ type: "text", text: 7 }] }] }),
      // @ts-expect-error: a part is an object
      together.chat({ model: "m", messages: [{ role: "user", content: ["?"] }] }),
      // @ts-expect-error: an object, although all its fields may be absent
      together.chat({ model: "m", messages: [], reasoning: "high" }),
      // @ts-expect-error: a list
      together.chat({ model: "m", messages: [], stop: "." }),
      // @ts-expect-error: texts or objects
      together.rerank({ model: "m", query: "?", documents: [1] }),
      // @ts-expect-error: a model is asked for
      together.embeddings({ input: "?" })
    ])
  })
})

describe("an answer", () => {
  it("has the documented fields, with their types", () => {
    type Count = number | null | undefined
    type Text = string | null | undefined
    compiles(() => {
      const chat = given<Chat.ChatResponse>()
      const chunk = given<Chat.ChatChunk>()
      const fineTune = given<FineTunes.FineTune>()
      const counts: ReadonlyArray<Count> = [
        chat.usage?.prompt_tokens,
        chat.usage?.completion_tokens,
        given<Completions.CompletionResponse>().usage?.total_tokens,
        given<Completions.CompletionChunk>().usage?.prompt_tokens,
        given<Embeddings.EmbeddingsResponse>().usage?.prompt_tokens,
        given<Rerank.RerankResponse>().usage?.total_tokens,
        chunk.usage?.total_tokens,
        chunk.choices[0]?.seed,
        fineTune.learning_rate,
        fineTune.progress?.seconds_remaining
      ]
      const texts: ReadonlyArray<Text> = [
        given<Batches.BatchJob>().job_deadline,
        fineTune.suffix,
        fineTune.wandb_url,
        fineTune.events?.[0]?.message
      ]
      const processed: boolean | null | undefined = given<Files.File>().Processed
      return [counts, texts, processed]
    })
  })
})

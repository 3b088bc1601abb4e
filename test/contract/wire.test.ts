/**
 * The schemas of the wire against Together's OpenAPI document, where one is at hand: no valid answer fails or loses a field,
 * no valid request is refused or changed.
 *
 * Both are written by chance, each from a seed of its own. What the client refuses on purpose is passed over below, with its
 * reason.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { type Chat, type Completions, Together, type TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { draws } from "../fuzz/generate.ts"
import * as Document from "./document.ts"
import { differences, write } from "./valid.ts"

/** Is a call: with its request, or of an answer, so that it asks for as much as that holds. */
type Called = (
  together: Together.Service,
  given: never
) => Effect.Effect<unknown, TogetherError.TogetherError>

const rounds = 60
const messages = [{ role: "user", content: "?" }]
const job = { model: "m", training_file: "f" }

const itself = (answer: Document.Node): unknown => answer
const data = (answer: Document.Node): unknown => answer["data"]

/** Lists a text for each vector of an answer. */
const texts = (answer: Document.Node): ReadonlyArray<string> => (data(answer) as ReadonlyArray<unknown>).map(() => "?")
/** Answers with a vector for each text of a request. */
const vectors = ({ input }: Document.Node): Reply.Reply =>
  Reply.embeddings(Array.isArray(input) ? input.map(() => [1]) : [[1]])

/** Lists the calls with an answer, and what of it they give. */
const answered: ReadonlyArray<readonly [operation: string, call: Called, given: typeof itself]> = [
  ["post /chat/completions", (t) => t.chat({ model: "m", messages }), itself],
  ["post /completions", (t) => t.completions({ model: "m", prompt: "?" }), itself],
  ["post /embeddings", (t, answer) => t.embeddings({ model: "m", input: texts(answer) }), itself],
  ["post /rerank", (t) => t.rerank({ model: "m", query: "?", documents: ["a"] }), itself],
  ["post /images/generations", (t) => t.images({ model: "m", prompt: "?" }), itself],
  ["get /models", (t) => t.models(), itself],
  ["get /whoami", (t) => t.whoami(), itself],
  ["get /files", (t) => t.files.list, data],
  ["get /files/{id}", (t) => t.files.get("a"), itself],
  ["delete /files/{id}", (t) => t.files.delete("a"), itself],
  ["post /files/upload", (t) => t.files.upload({ content: "x", name: "a", purpose: "eval" }), itself],
  ["get /batches", (t) => t.batches.list, itself],
  ["post /batches", (t) => t.batches.create({ endpoint: "/v1/chat/completions", input_file_id: "f" }), itself],
  ["get /batches/{id}", (t) => t.batches.get("a"), itself],
  ["post /batches/{id}/cancel", (t) => t.batches.cancel("a"), itself],
  ["post /fine-tunes", (t) => t.fineTunes.create(job), itself],
  ["get /fine-tunes", (t) => t.fineTunes.list, data],
  ["get /fine-tunes/{id}", (t) => t.fineTunes.get("a"), itself],
  ["post /fine-tunes/{id}/cancel", (t) => t.fineTunes.cancel("a"), itself],
  ["post /fine-tunes/estimate-price", (t) => t.fineTunes.estimatePrice(job), itself],
  ["post /evaluation", (t) => t.evaluations.create({ type: "score", parameters: {} }), itself],
  ["get /evaluation/{id}", (t) => t.evaluations.get("a"), itself],
  ["get /evaluation/{id}/status", (t) => t.evaluations.status("a"), itself]
]

/** Lists the calls with a request, and an answer that they take. */
const requested: ReadonlyArray<readonly [operation: string, call: Called, answer: Reply.Reply | typeof vectors]> = [
  ["post /chat/completions", (t, request) => t.chat(request), Reply.chat("x")],
  ["post /completions", (t, request) => t.completions(request), Reply.completion("x")],
  ["post /embeddings", (t, request) => t.embeddings(request), vectors],
  ["post /rerank", (t, request) => t.rerank(request), Reply.rerank([[0, 1]])],
  ["post /images/generations", (t, request) => t.images(request), Reply.images(["x"])],
  ["post /batches", (t, request) => t.batches.create(request), Reply.json({ job: { id: "b" } })],
  ["post /fine-tunes", (t, request) => t.fineTunes.create(request), Reply.json({ id: "f" })],
  ["post /fine-tunes/estimate-price", (t, request) => t.fineTunes.estimatePrice(request), Reply.json({})],
  ["post /evaluation", (t, request) => t.evaluations.create(request), Reply.json({ workflow_id: "w" })]
]

const imagesOf = ({ data }: Document.Node): ReadonlyArray<unknown> =>
  (Array.isArray(data) ? data : []).map(Document.node).flatMap(({ b64_json, url }) => [b64_json, url])

/** What a call was made for: a creation names what was created, and one of images has an image. */
const contentIn: Readonly<Record<string, (answer: Document.Node) => unknown>> = {
  "post /batches": (answer) => Document.node(answer["job"])["id"],
  "post /evaluation": (answer) => answer["workflow_id"],
  "post /images/generations": (answer) => imagesOf(answer).find((image) => image !== undefined && image !== "")
}

/** An answer without what the call was made for is none, and a job that says nothing but an error is an error. */
const isNoAnswer = (operation: string, answer: Document.Node): boolean =>
  (operation in contentIn && !contentIn[operation]?.(answer)) ||
  (Array.isArray(answer["choices"]) && answer["choices"].length === 0) ||
  (answer["error"] !== undefined && answer["error"] !== null && typeof answer["status"] !== "string")

/** A call names its model and its file, says something, and is asked for as a whole. */
const complete = (request: Document.Node): Document.Node => ({
  ...request,
  stream: undefined,
  ...("model" in request ? { model: request["model"] || "m" } : undefined),
  ...("training_file" in request ? { training_file: request["training_file"] || "f" } : undefined),
  ...(Array.isArray(request["messages"]) && request["messages"].length === 0 ? { messages } : undefined)
})

const contentOf = (api: Document.Document, holder: unknown): Document.Node =>
  Document.node(api.resolved(holder)["content"])

const operationOf = (api: Document.Document, operation: string): Document.Node => {
  const [method = "", path = ""] = operation.split(" ")
  return Document.node(Document.node(api.paths[path])[method])
}

const answerOf = (api: Document.Document, operation: string, type = "application/json"): unknown => {
  const responses = Document.node(operationOf(api, operation)["responses"])
  return Document.node(contentOf(api, responses["200"] ?? responses["201"])[type])["schema"]
}

const requestOf = (api: Document.Document, operation: string): unknown =>
  Document.node(Object.values(contentOf(api, operationOf(api, operation)["requestBody"]))[0])["schema"]

/** The chunk of a stream stands beside its sentinel. */
const chunkOf = (api: Document.Document, operation: string): unknown => {
  const { oneOf } = api.resolved(answerOf(api, operation, "text/event-stream"))
  return (Array.isArray(oneOf) ? oneOf : []).map((option) => Document.node(api.resolved(option)["properties"])["data"])
    .find((data) => api.resolved(data)["type"] === "object")
}

const use = <A>(body: (together: Together.Service) => Effect.Effect<A, unknown, TogetherTest.TogetherTest>) =>
  VirtualClock.wrap(Effect.flatMap(Together.Together, body).pipe(Effect.provide(TogetherTest.layer())))

/** Runs one round for each seed, and says what went wrong in any of them. */
const each = (
  round: (seed: number) => Effect.Effect<ReadonlyArray<string>, unknown, TogetherTest.TogetherTest>
) =>
  Effect.forEach(Array.from({ length: rounds }, (_, seed) => seed), (seed) =>
    Effect.match(round(seed), {
      onFailure: (error) => [`seed ${seed}: ${String(error)}`],
      onSuccess: (found) => found.map((line) => `seed ${seed}: ${line}`)
    })).pipe(Effect.map((all) => all.flat()))

const found = Document.find()

describe("The wire and the OpenAPI document", () => {
  if (found === undefined) {
    it.skip("there is no together-openapi.json beside the repository, and TOGETHER_OPENAPI names none", () => {})
    return
  }
  const api = Document.read(found)

  it.effect.each(answered)("agree on the answer of %s", ([operation, call, given]) =>
    use((together) =>
      Effect.map(
        each((seed) => {
          // a list has no fields, and is taken as it is
          const answer = write(api, answerOf(api, operation), draws(seed)) as Document.Node
          if (isNoAnswer(operation, answer)) return Effect.succeed([])
          return TogetherTest.reply(Reply.json(answer)).pipe(
            Effect.andThen(call(together, answer as never)),
            Effect.map((read) => differences(given(answer), read))
          )
        }),
        (wrong) => expect(wrong).toEqual([])
      )
    ))

  it.effect.each(requested)("agree on the request of %s", ([operation, call, answer]) =>
    use((together) =>
      Effect.map(
        each((seed) => {
          const request = complete(Document.node(write(api, requestOf(api, operation), draws(seed))))
          return TogetherTest.reply(typeof answer === "function" ? answer(request) : answer).pipe(
            // the types of a request are what is in question
            Effect.andThen(call(together, request as never)),
            Effect.andThen(TogetherTest.sent),
            Effect.map((sent) => differences(request, sent.at(-1)?.body))
          )
        }),
        (wrong) => expect(wrong).toEqual([])
      )
    ))

  type Streamed = (
    together: Together.Service
  ) => Stream.Stream<Chat.ChatChunk | Completions.CompletionChunk, TogetherError.TogetherError>

  it.effect.each<readonly [string, Streamed]>([
    ["post /chat/completions", (t) => t.chatStream({ model: "m", messages })],
    ["post /completions", (t) => t.completionsStream({ model: "m", prompt: "?" })]
  ])("agree on the chunks of %s", ([operation, call]) =>
    use((together) =>
      Effect.map(
        each((seed) => {
          const chunks = [0, 1, 2].map((at) => write(api, chunkOf(api, operation), draws(3 * seed + at)))
          // a stream of nothing but empty chunks fails, and is asked for again
          const first = { ...Document.node(chunks[0]), choices: [{ index: 0, delta: { content: "a" } }] }
          const events = [first, ...chunks]
          return TogetherTest.reply(Reply.events([...events, "[DONE]"])).pipe(
            Effect.andThen(Stream.runCollect(call(together))),
            Effect.map((read) => differences(events, read))
          )
        }),
        (wrong) => expect(wrong).toEqual([])
      )
    ))
})

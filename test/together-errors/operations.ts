/** Every operation of the client, with a request and the answer that makes it succeed. */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TogetherError } from "../../src/domain/TogetherError.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as Together from "../../src/together/Together.ts"

export interface Operation {
  readonly name: string
  readonly run: (options?: { readonly deadline?: string }) => Effect.Effect<unknown, TogetherError, Together.Together>
  readonly ok: Reply.Answer
  readonly streams: boolean
  /** Costs money, so that a budget can refuse it. */
  readonly priced: boolean
  /** Repeated after an ambiguous failure. */
  readonly idempotent: boolean
  /** Takes a request that a schema checks before anything is sent. */
  readonly checked: boolean
}

const model = Reply.defaultModel
const messages = [{ role: "user", content: "Name three rivers." }]
type Service = Together.Service

const operation = (
  name: string,
  ok: Reply.Answer,
  use: (service: Service, options: never) => Effect.Effect<unknown, TogetherError>,
  flags: Partial<Pick<Operation, "streams" | "priced" | "idempotent" | "checked">> = {}
): Operation => ({
  name,
  ok,
  run: (options) => Together.Together.use((service) => use(service, options as never)),
  streams: false,
  priced: false,
  idempotent: true,
  checked: false,
  ...flags
})

const typed = { priced: true, checked: true }
const file = Reply.json({ id: "file-1", object: "file", filename: "a.jsonl", bytes: 2, purpose: "batch-api" })
const batch = Reply.json({ id: "batch-1", status: "IN_PROGRESS" })
const tune = Reply.json({ id: "ft-1", status: "pending" })
const evaluation = Reply.json({ workflow_id: "eval-1", status: "pending" })

export const operations: ReadonlyArray<Operation> = [
  operation("chat", Reply.chat("Rhine"), (t, o) => t.chat({ model, messages }, o), typed),
  operation(
    "chatStream",
    Reply.stream(["Rh", "ine"]),
    (t, o) => Stream.runCollect(t.chatStream({ model, messages }, o)),
    { ...typed, streams: true }
  ),
  operation("completions", Reply.completion("Rhine"), (t, o) => t.completions({ model, prompt: "A river:" }, o), typed),
  operation(
    "completionsStream",
    Reply.completionStream(["Rh", "ine"]),
    (t, o) => Stream.runCollect(t.completionsStream({ model, prompt: "A river:" }, o)),
    { ...typed, streams: true }
  ),
  operation("embeddings", Reply.embeddings([[1, 2]]), (t, o) => t.embeddings({ model, input: "river" }, o), typed),
  operation(
    "rerank",
    Reply.rerank([[0, 0.9]]),
    (t, o) => t.rerank({ model, query: "river", documents: ["Rhine"] }, o),
    typed
  ),
  operation(
    "images",
    Reply.images(["https://example.com/a.png"]),
    (t, o) => t.images({ model, prompt: "a river" }, o),
    typed
  ),
  operation("models", Reply.models(), (t, o) => t.models(o)),
  operation("whoami", Reply.whoami(), (t, o) => t.whoami(o)),
  operation(
    "request",
    Reply.json({ ok: true }),
    (t, o) => t.request({ path: "/custom", response: Schema.Struct({ ok: Schema.Boolean }) }, o)
  ),
  operation(
    "files.upload",
    file,
    (t) => t.files.upload({ content: "{}", name: "a.jsonl", purpose: "batch-api" }),
    { idempotent: false }
  ),
  operation("files.list", Reply.json({ data: [] }), (t) => t.files.list),
  operation("files.get", file, (t) => t.files.get("file-1")),
  operation("files.content", Reply.jsonl([{ a: 1 }]), (t) => t.files.content("file-1")),
  operation("files.delete", Reply.json({ id: "file-1", deleted: true }), (t) => t.files.delete("file-1")),
  operation(
    "batches.create",
    Reply.json({ job: { id: "batch-1", status: "VALIDATING" } }),
    (t) => t.batches.create({ input_file_id: "file-1", endpoint: "/v1/chat/completions" }),
    { idempotent: false }
  ),
  operation("batches.list", Reply.json([]), (t) => t.batches.list),
  operation("batches.get", batch, (t) => t.batches.get("batch-1")),
  operation("batches.cancel", batch, (t) => t.batches.cancel("batch-1"), { idempotent: false }),
  operation(
    "fineTunes.create",
    tune,
    (t) => t.fineTunes.create({ model, training_file: "file-1" }),
    { idempotent: false }
  ),
  operation("fineTunes.list", Reply.json({ data: [] }), (t) => t.fineTunes.list),
  operation("fineTunes.get", tune, (t) => t.fineTunes.get("ft-1")),
  operation("fineTunes.cancel", tune, (t) => t.fineTunes.cancel("ft-1"), { idempotent: false }),
  operation(
    "fineTunes.estimatePrice",
    Reply.json({ estimated_total_price: 1, user_limit: 5, allowed_to_proceed: true }),
    (t) => t.fineTunes.estimatePrice({ model, training_file: "file-1" })
  ),
  operation(
    "evaluations.create",
    evaluation,
    (t) => t.evaluations.create({ type: "score", parameters: {} }),
    { idempotent: false }
  ),
  operation("evaluations.get", evaluation, (t) => t.evaluations.get("eval-1")),
  operation("evaluations.status", evaluation, (t) => t.evaluations.status("eval-1"))
]

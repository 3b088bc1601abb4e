/**
 * The emulator's model endpoints: chat, completions, embeddings, rerank, images, audio.
 *
 * A request is read, arrives at the simulation, and is answered when its time
 * has come. A caller who leaves earlier, by closing the connection or by
 * interruption, cancels it. Streams send each frame when its token is due; a
 * slow reader holds up the sending, not the model.
 */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Exchange from "./EmulatorExchange.ts"
import { eventText } from "./internal/replyBody.ts"
import * as Simulation from "./Simulation.ts"
import * as Answer from "./SimulationAnswer.ts"
import * as Reply from "./SimulationReply.ts"
import * as Request from "./SimulationRequest.ts"
import * as Text from "./SimulationText.ts"

type Operation = "chat" | "completions" | "embeddings" | "rerank" | "images"

const encoder = new TextEncoder()

const event = (data: string): Uint8Array => encoder.encode(eventText(data))

const writers: Readonly<Record<Operation, (draft: Answer.Draft) => unknown>> = {
  chat: Answer.chat,
  completions: Answer.completion,
  embeddings: Answer.embeddings,
  rerank: Answer.rerank,
  images: Answer.images
}

interface Admitted {
  readonly exchange: Exchange.Exchange
  readonly draft: Answer.Draft
  readonly at: number
}

const cancel = ({ exchange, draft }: Admitted): Effect.Effect<void> =>
  exchange.world.run.update((state, at) => Simulation.cancel(state, draft.answer.id, at))

const finish = ({ exchange, draft }: Admitted): Effect.Effect<void> =>
  exchange.world.run.update((state, at) => Simulation.finish(state, draft.answer.id, at))

/** Waits until a time; whoever is interrupted meanwhile has left. */
const waiting = (admitted: Admitted, at: number): Effect.Effect<void> =>
  Effect.onInterrupt(admitted.exchange.world.run.sleepUntil(at), () => cancel(admitted))

const brokenFrame = (id: string): string =>
  Reply.errorBody(id, { message: "The engine failed while generating.", type: "server_error" })

/** Answers in one piece. */
const whole = (
  admitted: Admitted,
  write: (draft: Answer.Draft) => HttpServerResponse.HttpServerResponse
): Exchange.Outcome => {
  const { draft, at } = admitted
  const { answer } = draft
  return Effect.flatMap(
    waiting(admitted, at + answer.latencySeconds),
    () =>
      Effect.flatMap(finish(admitted), () => {
        if (answer.broken?.kind === "cut") return Effect.fail(Exchange.Drop.reset)
        return Effect.succeed(
          answer.broken === undefined
            ? write(draft)
            : Exchange.json(JSON.parse(brokenFrame(answer.requestId)), 500, { "x-request-id": answer.requestId })
        )
      })
  )
}

/** Ends a stream as its answer says: with `[DONE]`, an error frame, a cut or silence. */
const ending = (admitted: Admitted): Stream.Stream<Uint8Array, Exchange.Drop> => {
  const { broken, requestId } = admitted.draft.answer
  if (broken?.kind === "stall") return Stream.never
  const done = finish(admitted)
  if (broken?.kind === "cut") return Stream.fromEffect(Effect.andThen(done, Effect.fail(Exchange.Drop.reset)))
  return Stream.fromEffect(Effect.as(done, event(broken === undefined ? "[DONE]" : brokenFrame(requestId))))
}

const streamed = (admitted: Admitted, frames: ReadonlyArray<Answer.Frame>): Exchange.Outcome => {
  const { exchange, draft, at } = admitted
  const { answer } = draft
  const begins = at + answer.firstTokenSeconds
  const sent = answer.broken === undefined
    ? frames
    : frames.filter((frame) => frame.tokens <= (answer.broken?.afterTokens ?? 0))
  const body = Stream.fromIterable(sent).pipe(
    Stream.mapEffect((frame) =>
      Effect.as(
        exchange.world.run.sleepUntil(begins + answer.secondsPerToken * Math.max(0, frame.tokens - 1)),
        event(frame.data)
      )
    ),
    Stream.concat(Stream.suspend(() => ending(admitted))),
    // whoever stops reading early ends a stream without a failure: what has not finished by now is cancelled
    Stream.ensuring(cancel(admitted))
  )
  return Effect.as(
    waiting(admitted, begins),
    HttpServerResponse.stream(body, {
      contentType: "text/event-stream;charset=utf-8",
      headers: { "cache-control": "no-cache, no-transform", ...answer.headers }
    })
  )
}

const tagOf = ({ request }: Exchange.Exchange): string | undefined =>
  request.headers["x-simulation-tag"] ?? request.headers["idempotency-key"]

/** Lets a call arrive, and goes on with it where it is admitted. */
const arrive = (
  exchange: Exchange.Exchange,
  read: Request.Read,
  answer: (admitted: Admitted) => Exchange.Outcome
): Exchange.Outcome => {
  const { run } = exchange.world
  return Effect.flatMap(
    run.modify((state, at) => {
      const [reply, next] = Simulation.arrive(state, { ...read.call, at, key: exchange.key, tag: tagOf(exchange) })
      return [{ reply, at: next.now, config: next.config }, next]
    }),
    ({ reply, at, config }) => {
      if (reply._tag !== "Answer") {
        return Effect.onInterrupt(
          Exchange.refusal(run, reply, at),
          () => run.update((state, now) => Simulation.cancel(state, reply.id, now))
        )
      }
      return Effect.flatMap(
        run.epoch,
        (epoch) => answer({ exchange, at, draft: { config, read, answer: reply, created: Math.floor(epoch) } })
      )
    }
  )
}

/** Refuses a request that was not understood: after the checks that come before reading it. */
const invalid = (exchange: Exchange.Exchange, operation: string, wrong: Request.Invalid): Exchange.Outcome =>
  Exchange.visit(exchange, { operation, promptHash: 0 }, ({ config, now }) =>
    Effect.as(
      exchange.world.run.sleepUntil(now + config.refusalSeconds),
      Exchange.failure(400, wrong.message, { param: wrong.param })
    ))

const notJson: Request.Invalid = { message: "Invalid request: the body is not valid JSON", param: "body" }

/** Reads a request, lets it arrive, and answers it where it is admitted. */
const serving =
  (operation: string, answer: (admitted: Admitted, body: Request.Body) => Exchange.Outcome): Exchange.Handler =>
  (exchange) =>
    Effect.flatMap(Exchange.body(exchange.request), (json) => {
      const read = Option.match(json, { onNone: () => notJson, onSome: (body) => Request.read(operation, body) })
      return Request.isInvalid(read)
        ? invalid(exchange, operation, read)
        : arrive(exchange, read, (admitted) => answer(admitted, read.body))
    })

const frames = { chat: Answer.chatFrames, completions: Answer.completionFrames }

/** Answers a model operation. */
export const serve = (operation: Operation): Exchange.Handler =>
  serving(
    operation,
    (admitted, body) =>
      body["stream"] === true && (operation === "chat" || operation === "completions")
        ? streamed(admitted, frames[operation](admitted.draft))
        : whole(admitted, (draft) => Exchange.json(writers[operation](draft), 200, draft.answer.headers))
  )

/** Makes a WAV file of silence: its length follows the text's. */
const silence = (characters: number): Uint8Array => {
  const samples = Math.min(characters, 4000) * 8
  const out = new Uint8Array(44 + samples)
  const view = new DataView(out.buffer)
  const text = (at: number, value: string) => out.set(encoder.encode(value), at)
  text(0, "RIFF")
  view.setUint32(4, 36 + samples, true)
  text(8, "WAVEfmt ")
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, 8000, true)
  view.setUint32(28, 8000, true)
  view.setUint16(32, 1, true)
  view.setUint16(34, 8, true)
  text(36, "data")
  view.setUint32(40, samples, true)
  return out.fill(128, 44)
}

/** Answers `POST /audio/speech`: silence, whole or in a stream of events. */
export const speech: Exchange.Handler = serving("speech", (admitted, body) => {
  const sound = silence(String(body["input"]).length)
  return body["stream"] === true
    ? streamed(admitted, [{
      tokens: 0,
      data: JSON.stringify({ object: "audio.tts.chunk", model: body["model"], b64: Base64.encode(sound) })
    }])
    : whole(
      admitted,
      ({ answer }) => HttpServerResponse.uint8Array(sound, { contentType: "audio/wav", headers: answer.headers })
    )
})

/** Answers a transcription or a translation: words that depend on the bytes of the sound. */
export const transcribe = (operation: "transcriptions" | "translations"): Exchange.Handler => (exchange) =>
  Effect.flatMap(Exchange.form(exchange.request), (sent) => {
    const file = sent?.get("file")
    if (sent === undefined || file === undefined) {
      return invalid(exchange, operation, { message: "Invalid request: `file` is required", param: "file" })
    }
    const bytes = typeof file === "string" ? encoder.encode(file) : file
    const model = sent.get("model")
    const read: Request.Read = {
      body: {},
      call: {
        operation,
        model: typeof model === "string" ? model : "openai/whisper-large-v3",
        inputTokens: Math.max(1, Math.ceil(bytes.length / 16_000)),
        outputTokens: 0,
        promptHash: Simulation.hash(`${operation} ${bytes.length} ${bytes.slice(0, 4096).join()}`)
      }
    }
    return arrive(exchange, read, (admitted) =>
      whole(admitted, ({ answer }) => {
        const text = Text.tokens(read.call.promptHash, answer.textSeed, 0, 12).join("")
        const duration = read.call.inputTokens
        return Exchange.json(
          sent.get("response_format") === "verbose_json"
            ? {
              task: operation === "translations" ? "translate" : "transcribe",
              language: sent.get("language") ?? "en",
              duration,
              text,
              segments: [{ id: 0, start: 0, end: duration, text }]
            }
            : { text },
          200,
          answer.headers
        )
      }))
  })

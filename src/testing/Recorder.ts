/**
 * Records real exchanges to a cassette, and replays them without a network.
 *
 * ```
 *  record:  program ─▶ recorder ─▶ real client      writes cassette.json when its scope closes
 *  replay:  program ─▶ cassette                     refuses what was not recorded
 * ```
 *
 * **What a cassette holds**
 *
 * Method, path, query and body of each request, status, headers, pieces and times of each answer. It never holds a
 * key: of request headers only `accept` and `content-type` are kept; fields, parameters and headers that are named as a
 * secret (`wandb_api_key`, `X-Amz-Signature`, `x-api-key`) are replaced in requests and answers, and so is what they
 * held, and what looks like a key, wherever it stands. Prompts are replaced by a mark with their length, in requests and
 * wherever an answer may repeat them, unless `prompts: "keep"` is given; objects whose fields the user named
 * (`metadata`, the parameters of a tool, a schema) by one mark each. Of an error's message, the provider's own words
 * stay, and those by which the client tells which error it is. What the model answered is kept, since a replay needs
 * it, except for whole prompts in it. A prompt is what was written for a model to read. Declarations of tools and of
 * the form of an answer are no prompts: they stay in the answer, even if a prompt says the same. What lies deeper than
 * 64 levels is replaced by its length.
 *
 * **What a replay refuses**
 *
 * Every request has a fingerprint of method, path, query and body (files included, secrets not), taken before
 * redaction, so a changed prompt is noticed although no prompt is stored. `strict` replays in the recorded order;
 * `match` in any order, each exchange once. A request without its exchange dies with a {@link ChangedRequestError} and
 * a diff: it is never answered by something similar.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TransportCodes from "../domain/TransportCodes.ts"
import { answering } from "./internal/answering.ts"
import * as CassetteRedaction from "./internal/cassetteRedaction.ts"
import * as Damage from "./internal/damage.ts"
import * as ReplayReport from "./internal/replayReport.ts"
import { overSent } from "./internal/sentTransform.ts"
import * as Reply from "./Reply.ts"
import type * as Sent from "./Sent.ts"
import * as VirtualClock from "./VirtualClock.ts"

const Text = Schema.Struct({ text: Schema.String, waitMillis: Schema.Finite })
const Binary = Schema.Struct({ base64: Schema.String.check(Schema.isBase64()), waitMillis: Schema.Finite })

/** Holds one recorded request: redacted, but for its fingerprint. */
export const RecordedRequest = Schema.Struct({
  fingerprint: Schema.String,
  operation: Schema.String,
  method: Schema.String,
  path: Schema.String,
  query: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Array(Schema.String)])),
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.optionalKey(Schema.Unknown)
})
/** Holds one recorded request. */
export interface RecordedRequest extends Schema.Schema.Type<typeof RecordedRequest> {}

/**
 * Holds one recorded answer (`stall`: the program left while reading it), how the connection broke, or that the program
 * left before an answer came.
 */
export const RecordedResponse = Schema.Union([
  Schema.Struct({
    status: Schema.Int,
    headers: Schema.Record(Schema.String, Schema.String),
    waitMillis: Schema.Finite,
    parts: Schema.Array(Schema.Union([Text, Binary])),
    end: Schema.Literals(["complete", "cut", "stall"])
  }),
  Schema.Struct({
    broken: Schema.Literals(["reset", "refused", "dns", "tls", "connect-timeout"]),
    waitMillis: Schema.Finite
  }),
  Schema.Struct({ left: Schema.Literal(true), waitMillis: Schema.Finite })
])
/** Holds one recorded answer, how the connection broke, or that the program left before an answer came. */
export type RecordedResponse = typeof RecordedResponse.Type

/** Holds recorded exchanges in the order in which they started. */
export const Cassette = Schema.Struct({
  version: Schema.Literal(1),
  /** Absent in cassettes of older versions: there it is read from what the requests hold. */
  prompts: Schema.optionalKey(Schema.Literals(["redact", "keep"])),
  exchanges: Schema.Array(Schema.Struct({ request: RecordedRequest, response: RecordedResponse }))
})
/** Holds recorded exchanges in the order in which they started. */
export interface Cassette extends Schema.Schema.Type<typeof Cassette> {}

/** Reports a file that is missing, or is not a cassette. */
export class CassetteError extends Data.TaggedError("CassetteError")<{
  readonly message: string
  readonly path: string
}> {}

/** Reports a request that the cassette does not hold, or holds elsewhere. It is a defect: see {@link replay}. */
export class ChangedRequestError extends Data.TaggedError("ChangedRequestError")<{
  readonly message: string
  readonly sent: Sent.Sent
}> {}

/**
 * Reports, once the program has succeeded, that it sent other requests than were recorded: a defect of the scope's end.
 * See `verifyOnClose`.
 */
export class ReplayError extends Data.TaggedError("ReplayError")<{
  readonly message: string
}> {}

/** Configures recording. */
export interface RecordOptions {
  /** `"redact"` (default) replaces prompts by their length, `"keep"` stores them. */
  readonly prompts?: "redact" | "keep" | undefined
}

/** Configures replaying. */
export interface ReplayOptions {
  /** `"strict"` (default): in the recorded order; requests that the program left may be left out. `"match"`: in any order, each exchange once. */
  readonly mode?: "strict" | "match" | undefined
  /** `"instant"` (default): no waiting. `"recorded"`: in the times of the recording, on the `Clock` service. */
  readonly pace?: "instant" | "recorded" | undefined
  /**
   * Checks, when {@link layerReplay} closes after a success, that every exchange was asked for (but those that the program
   * had left while recording), and that no request was refused, even if the program caught that. Default true.
   */
  readonly verifyOnClose?: boolean | undefined
}

/** Holds every default of this module. */
export const defaults = {
  prompts: "redact",
  mode: "strict",
  pace: "instant",
  verifyOnClose: true
} as const

interface Slot {
  readonly request: RecordedRequest
  response: RecordedResponse | undefined
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const decode = Option.liftThrowable((bytes: Uint8Array) => strictDecoder.decode(bytes))

const brokenKinds: Readonly<Record<string, Reply.BrokenKind>> = {
  ECONNREFUSED: "refused",
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  UND_ERR_CONNECT_TIMEOUT: "connect-timeout"
}

const brokenKind = (cause: unknown): Reply.BrokenKind => {
  const code = TransportCodes.deepest(cause) ?? ""
  return brokenKinds[code] ?? (/CERT|TLS|SSL/.test(code) ? "tls" : "reset")
}

/** Holds a client that records, and its cassette so far. */
export interface Recording {
  readonly client: HttpClient.HttpClient
  /** Holds the exchanges so far; an answer that was not read to its end is there as far as it was read. */
  readonly cassette: Effect.Effect<Cassette>
}

/** Wraps a client with a recorder. */
export const record = (client: HttpClient.HttpClient, options?: RecordOptions): Recording => {
  const prompts = options?.prompts ?? defaults.prompts
  const slots: Array<Slot> = []

  const tapeBody = (
    response: HttpClientResponse.HttpClientResponse,
    slot: Slot,
    redaction: CassetteRedaction.Redaction,
    startMillis: number,
    clock: Clock.Clock
  ): HttpClientResponse.HttpClientResponse => {
    const headersAt = clock.currentTimeMillisUnsafe()
    const parts: Array<{ readonly bytes: Uint8Array; readonly waitMillis: number }> = []
    let last = headersAt
    let broke = false
    const save = (end: "complete" | "cut" | "stall") => {
      const { headers, parts: pieces } = redaction.response(response.status, response.headers, parts, decode)
      slot.response = { status: response.status, headers, waitMillis: headersAt - startMillis, parts: pieces, end }
    }
    // a body that nobody reads is not waited for
    save("cut")
    const body = response.stream.pipe(
      // a reader that leaves before the end was waiting for more
      Stream.onStart(Effect.sync(() => save("stall"))),
      Stream.tap((bytes) =>
        Effect.sync(() => {
          const now = clock.currentTimeMillisUnsafe()
          parts.push({ bytes, waitMillis: now - last })
          last = now
        })
      ),
      // a failure of the reader, such as its own timeout, does not mean that the connection broke
      Stream.tapCause((cause) => Effect.sync(() => void (broke = !Cause.hasInterruptsOnly(cause)))),
      Stream.onExit((exit) => Effect.sync(() => save(Exit.isSuccess(exit) ? "complete" : broke ? "cut" : "stall")))
    )
    return Damage.rebuild(response, response.headers, body)
  }

  const recorded = overSent(client, (exchange, sent) =>
    Clock.clockWith((clock) => {
      const redaction = CassetteRedaction.make(sent, prompts === "keep")
      const slot: Slot = { request: redaction.request, response: undefined }
      slots.push(slot)
      const startMillis = clock.currentTimeMillisUnsafe()
      const waitMillis = () => clock.currentTimeMillisUnsafe() - startMillis
      return exchange.pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            slot.response = { broken: brokenKind(error.reason.cause), waitMillis: waitMillis() }
          })
        ),
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            slot.response = { left: true, waitMillis: waitMillis() }
          })
        ),
        Effect.map((response) => tapeBody(response, slot, redaction, startMillis, clock))
      )
    }))

  return {
    client: recorded,
    cassette: Effect.sync(() => ({
      version: 1,
      prompts,
      exchanges: slots.flatMap(({ request, response }) => response === undefined ? [] : [{ request, response }])
    }))
  }
}

const JsonCassette = Schema.fromJsonString(Schema.toCodecJson(Cassette))

/** Writes a cassette as JSON. */
export const save = (
  path: string,
  cassette: Cassette
): Effect.Effect<void, PlatformError, FileSystem.FileSystem> =>
  VirtualClock.io(Effect.flatMap(
    FileSystem.FileSystem,
    (files) => files.writeFileString(path, `${JSON.stringify(cassette, null, 2)}\n`)
  ))

/**
 * Reads a cassette.
 *
 * **Errors**
 *
 * `PlatformError` if the file cannot be read, {@link CassetteError} if there is none, or it is not a cassette.
 */
export const load = (
  path: string
): Effect.Effect<Cassette, PlatformError | CassetteError, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const text = yield* Effect.catchReason(
      VirtualClock.io(files.readFileString(path)),
      "PlatformError",
      "NotFound",
      () =>
        Effect.fail(new CassetteError({ path, message: `${path} does not exist: make it with Recorder.layerRecord` }))
    )
    return yield* Effect.mapError(
      Schema.decodeEffect(JsonCassette)(text),
      (error) => new CassetteError({ path, message: `${path} is not a cassette, record it again: ${error.message}` })
    )
  })

const folderOf = (path: string): string => /^(.*[^/\\])[/\\]+[^/\\]*$/.exec(path)?.[1] ?? ""

/**
 * Records the `HttpClient` of the context and writes the cassette when its scope closes.
 *
 * **Details**
 *
 * The folder is made when the layer is built, since recordings that were paid for must not be lost in the end. A
 * cassette that exists is replaced only if the scope succeeds and has recorded something. If none exists, a scope that
 * fails also writes what it has.
 *
 * **Errors**
 *
 * `PlatformError` where the folder cannot be made. A file that cannot be written when the scope closes is a defect.
 */
export const layerRecord = (
  path: string,
  options?: RecordOptions
): Layer.Layer<HttpClient.HttpClient, PlatformError, HttpClient.HttpClient | FileSystem.FileSystem> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function*() {
      const recording = record(yield* HttpClient.HttpClient, options)
      const files = yield* FileSystem.FileSystem
      const folder = folderOf(path)
      if (folder !== "") yield* VirtualClock.io(files.makeDirectory(folder, { recursive: true }))
      yield* Effect.addFinalizer((exit) =>
        Effect.gen(function*() {
          const cassette = yield* recording.cassette
          const isWhole = Exit.isSuccess(exit) && cassette.exchanges.length > 0
          if (isWhole || !(yield* VirtualClock.io(files.exists(path)))) yield* save(path, cassette)
        }).pipe(
          Effect.provideService(FileSystem.FileSystem, files),
          Effect.orDie
        )
      )
      return recording.client
    })
  )

const replyOf = (response: RecordedResponse, pace: "instant" | "recorded"): Reply.Reply => {
  const wait = (millis: number) => pace === "recorded" ? millis : 0
  if ("left" in response) return Reply.hang
  if ("broken" in response) return Reply.after(Reply.broken(response.broken), wait(response.waitMillis))
  return {
    _tag: "Answer",
    status: response.status,
    headers: response.headers,
    waitMillis: wait(response.waitMillis),
    parts: response.parts.map((part) => ({
      data: "text" in part ? part.text : Result.getOrElse(Base64.decode(part.base64), () => ""),
      waitMillis: wait(part.waitMillis)
    })),
    end: response.end
  }
}

/**
 * Tells whether the program left an exchange, before the headers or after: at other times it may not send that request.
 */
const isLeft = (response: RecordedResponse): boolean =>
  "left" in response || ("end" in response && response.end === "stall")

/** Plays a cassette, and tells what of it was not played, or was refused. */
interface Player {
  readonly client: HttpClient.HttpClient
  readonly problems: () => string | undefined
}

const play = (cassette: Cassette, options: ReplayOptions | undefined): Effect.Effect<Player> =>
  Effect.sync(() => {
    const mode = options?.mode ?? defaults.mode
    const pace = options?.pace ?? defaults.pace
    const left = [...cassette.exchanges]
    const refused: Array<string> = []
    const isOlder = cassette.prompts === undefined
    const keepsPrompts = isOlder
      ? CassetteRedaction.keepsPrompts(cassette.exchanges.map(({ request }) => request))
      : cassette.prompts === "keep"

    const find = (sent: Sent.Sent): Effect.Effect<Reply.Reply> => {
      const fingerprint = CassetteRedaction.fingerprint(sent)
      const index = left.findIndex(({ request }) => request.fingerprint === fingerprint)
      const inOrder = left.slice(0, index).every(({ response }) => isLeft(response))
      if (index >= 0 && (mode === "match" || inOrder)) {
        // a request that the program left then may not be sent now: a hedge, if the first answer comes at once
        const [found] = mode === "match" ? left.splice(index, 1) : left.splice(0, index + 1).slice(-1)
        return Effect.succeed(replyOf(found!.response, pace))
      }
      const closest = mode === "strict"
        ? left[0]?.request
        : (left.find(({ request }) => request.operation === sent.operation) ?? left[0])?.request
      const position = mode === "strict" ? ` at position ${cassette.exchanges.length - left.length + 1}` : ""
      const known = index >= 0
        ? `  It was recorded at position ${
          cassette.exchanges.length - left.length + index + 1
        }: { mode: "match" } replays in any order.`
        : cassette.exchanges.some(({ request }) => request.fingerprint === fingerprint)
        ? "  It was recorded, but not so often: each exchange is replayed once."
        : undefined
      const message = ReplayReport.refused(sent, closest, position, known, { isOlder, keepsPrompts })
      refused.push(message)
      return Effect.die(new ChangedRequestError({ message, sent }))
    }

    const problems = () => {
      if (refused.length > 0) return refused.join("\n")
      const missed = left.filter(({ response }) => !isLeft(response))
      return missed.length > 0 ? ReplayReport.notAsked(cassette, missed) : undefined
    }
    return { client: answering(find), problems }
  })

/** Makes a client that answers from a cassette, and from nothing else. Only {@link layerReplay} heeds `verifyOnClose`. */
export const replay = (cassette: Cassette, options?: ReplayOptions): Effect.Effect<HttpClient.HttpClient> =>
  Effect.map(play(cassette, options), ({ client }) => client)

/**
 * Provides a client that answers from the cassette of a file.
 *
 * **Errors**
 *
 * Those of {@link load}. A program that succeeds without what was recorded dies with a {@link ReplayError}.
 */
export const layerReplay = (
  path: string,
  options?: ReplayOptions
): Layer.Layer<HttpClient.HttpClient, PlatformError | CassetteError, FileSystem.FileSystem> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function*() {
      const { client, problems } = yield* play(yield* load(path), options)
      yield* Effect.addFinalizer((exit) => {
        const verifies = Exit.isSuccess(exit) && (options?.verifyOnClose ?? defaults.verifyOnClose)
        const message = verifies ? problems() : undefined
        return message === undefined ? Effect.void : Effect.die(new ReplayError({ message }))
      })
      return client
    })
  )

/**
 * Says what went wrong when no answer came: which silence, which connection, and whether anything was sent.
 *
 * A transport tells by codes, deep in the causes of what it failed with: `domain/TransportCodes`.
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as TransportCodes from "../../domain/TransportCodes.ts"
import * as Address from "../transport/Address.ts"
import * as Advice from "./Advice.ts"
import * as Classify from "./Classify.ts"
import { isClean, redact, type Secrets } from "../redact/Redact.ts"
import * as Subject from "./Subject.ts"
import type { Exchange } from "../transport/Transport.ts"

/** What is read of the exchange that an error is about. */
type Asked = Pick<Exchange, "file" | "model" | "operation" | "path">

const deepest = (cause: unknown, depth = 0): string => {
  if (!(cause instanceof Error)) return typeof cause === "string" ? cause : ""
  const inner = depth < 5 && cause.cause !== undefined ? deepest(cause.cause, depth + 1) : ""
  return inner === "" ? cause.message : inner
}

/** Tells whether a transport could not read what it had to send: a `Blob` of a file that is another by now, or gone. */
const isUnreadable = (cause: unknown, depth = 0): boolean =>
  Predicate.isObject(cause) && depth <= 5 &&
  (cause["name"] === "NotReadableError" || isUnreadable(cause["cause"], depth + 1))

/** Writes a message in one line: those of OpenSSL and of assertions have several. */
const inOneLine = (text: string): string => text.replace(/\s+/g, " ").replace(/[\s.:]+$/, "")

/** What Node says of a server that hangs up before TLS is set up: nothing can have been sent by then. */
const unsecured = "Client network socket disconnected before secure TLS connection was established"

/** What the engine says of a text that is too long for it, with the code or without. */
const isTooLong = (codes: ReadonlyArray<string>, problem: string): boolean =>
  codes.includes("ERR_STRING_TOO_LONG") || problem === "Invalid string length"

/** The code of an answer in an encoding that was not asked for. */
const encodedCode = "ERR_CONTENT_ENCODING"

/** Tells whether a `content-encoding` names one. */
export const isEncoded = (encoding: string | undefined): boolean =>
  encoding !== undefined && !/^(?:\s|,|identity\b)*$/i.test(encoding)

/** Builds what is wrong with an answer in an encoding that was not asked for. */
export const encoded = (encoding: string | undefined): Error =>
  Object.assign(new Error(`it has the content-encoding ${encoding}, which was not asked for`), { code: encodedCode })

const phaseAdvice: Record<TogetherError.TimeoutPhase, string> = {
  connect: "Check the network and the base URL",
  headers: "Stream the answer, lower max_tokens, or raise timeouts.headers",
  body: "Stream the answer, or raise timeouts.body",
  "first-token": "Try again, use another model, or raise timeouts.firstToken",
  idle: "Try again, or raise timeouts.idle",
  deadline: "Raise the deadline or ask for less"
}

/** Only a generation can be streamed or shortened. */
const plainAdvice: Partial<typeof phaseAdvice> = {
  headers: "Try again, or raise timeouts.headers",
  body: "Try again, or raise timeouts.body"
}

/** A limit that the transport has of its own holds whatever `timeouts` says, also on a stream. */
const ownAdvice = "Raise that limit (Node's Fetch has one of 300 s), or send by UndiciHttpClient, which has none"

/** Says what to do about a connection that failed and may work again. */
const tryAgain = " Try again; check the network if it lasts."

/**
 * Builds the error of a silence that lasted too long.
 *
 * @param after `undefined` where the transport has a limit of its own
 */
export const timedOut = (
  exchange: Asked,
  phase: TogetherError.TimeoutPhase,
  after: Duration.Duration | undefined,
  head?: Subject.Head | undefined
): TogetherError.RequestTimeoutError => {
  const what = phase === "connect"
    ? "connection"
    : phase === "body" && exchange.file !== undefined
    ? "more of the body"
    : phase
  const limit = after === undefined ? "the transport's own limit" : Duration.format(after)
  const advice = after === undefined && phase !== "connect"
    ? ownAdvice
    : (Advice.generates(exchange.operation) ? undefined : plainAdvice[phase]) ?? phaseAdvice[phase]
  return new TogetherError.RequestTimeoutError({
    phase,
    message: `No ${what} within ${limit}. ${advice}.`,
    ...(head === undefined ? Subject.ofCall(exchange) : Subject.ofAnswer(exchange, head))
  })
}

/** Says what an exchange failed at, beside what the transport failed with. */
export interface About {
  readonly baseUrl: string
  /** What no message may quote; asked where a message quotes. */
  readonly secrets: () => Secrets
  /** Of an answer whose body failed. */
  readonly head?: Subject.Head | undefined
  /** On a connection that may work again; a stream gives its own. */
  readonly advice?: string | undefined
}

/** Says why an answer that came cannot be read; nothing where something else went wrong. */
const unreadable = (codes: ReadonlyArray<string>, problem: string, secrets: () => Secrets): string | undefined =>
  codes.includes(encodedCode)
    ? `${
      redact(problem, secrets())
    }. Turn compression off in whatever stands between, or use a transport that decodes it: Fetch for gzip, deflate and br.`
    : isTooLong(codes, problem)
    ? "it is longer than a text can be, about 512 MB. Read a file as a stream (files.stream)."
    : undefined

/** Builds the error of an exchange that a transport could not carry. */
export const of = (
  exchange: Asked,
  error: unknown,
  { advice = tryAgain, baseUrl, head, secrets }: About
): TogetherError.TogetherError => {
  const reason = HttpClientError.isHttpClientError(error) ? error.reason : undefined
  const cause = reason === undefined ? error : reason.cause
  const common = head === undefined ? Subject.ofCall(exchange) : Subject.ofAnswer(exchange, head, secrets())
  if (reason?._tag === "InvalidUrlError") {
    return new TogetherError.InvalidRequestError({
      ...common,
      message: `${
        redact(baseUrl, secrets())
      } is not a valid base URL. Set TOGETHER_BASE_URL or baseUrl to an address like https://api.together.ai/v1.`
    })
  }
  const codes = TransportCodes.of(cause)
  const phase = TransportCodes.timeoutPhase(codes)
  if (phase !== undefined) return timedOut(exchange, phase, undefined, head)
  const problem = inOneLine(deepest(cause))
  const unread = unreadable(codes, problem, secrets)
  if (unread !== undefined) {
    return new TogetherError.DecodeError({ ...common, message: `The answer cannot be read: ${unread}` })
  }
  // without a second copy of the body, Node's Fetch has nothing to send when it asks again after a 421
  if (codes.includes("UND_ERR_REQ_CONTENT_LENGTH_MISMATCH")) {
    return new TogetherError.InvalidRequestError({
      ...common,
      status: 421,
      message: "The request was refused (421): the server does not serve the host of the base URL. Check the base URL."
    })
  }
  if (isUnreadable(cause)) {
    return new TogetherError.InvalidRequestError({
      ...common,
      message:
        "A file of the request cannot be read: it was changed or removed since its Blob was made. Make the Blob anew."
    })
  }
  if (problem === "unexpected redirect") {
    return new TogetherError.InvalidRequestError({ ...common, message: Classify.redirected() })
  }
  if (problem === "bad port") {
    return new TogetherError.ConnectionError({
      ...common,
      permanent: true,
      sent: false,
      message:
        "The connection failed (bad port): Fetch refuses this port of the base URL, and nothing was sent. Use another port, or the Undici transport (UndiciHttpClient)."
    })
  }
  const permanent = codes.some(TransportCodes.isPermanent)
  const said = redact(problem, secrets())
  const code = codes.find((code) => isClean(code, secrets()))
  return new TogetherError.ConnectionError({
    ...common,
    permanent,
    // without the name of the system call, which may stand before the code
    code: code?.split(" ").at(-1),
    sent: permanent || problem === unsecured || (codes.length > 0 && codes.every((code) =>
        TransportCodes.unconnected.has(code)
      ))
      ? false
      : undefined,
    message: `The connection failed${code === undefined ? "" : ` (${code})`}${said === "" ? "" : `: ${said}`}.${
      permanent
        ? " Check the base URL, name resolution and certificates."
        : codes.some((code) => TransportCodes.exhausted.has(code))
        ? " The process has no more sockets: raise its limit (ulimit -n), or have fewer calls in flight."
        : advice
    }`
  })
}

/**
 * Builds the error of an answer that ended early, where a transport hides that the connection was cut: some unpack what they
 * have of a compressed answer, and some take an HTTP/2 stream that was reset for one that ended.
 */
export const cutShort = (exchange: Asked, head: Subject.Head, secrets: Secrets): TogetherError.ConnectionError =>
  new TogetherError.ConnectionError({
    ...Subject.ofAnswer(exchange, head, secrets),
    permanent: false,
    message: `The connection failed: the answer ended early.${tryAgain}`
  })

const unsent = (exchange: Asked, why: string): TogetherError.InvalidRequestError =>
  new TogetherError.InvalidRequestError({
    ...Subject.ofCall(exchange),
    sent: false,
    message: `Nothing was sent: ${why}`
  })

/** Builds the error of a path that leads away from the base URL. */
export const foreign = (exchange: Asked): TogetherError.InvalidRequestError =>
  unsent(
    exchange,
    `${
      Address.nameOf(exchange.path)
    } is not the host of the base URL, and the API key goes nowhere else. Give a path below the base URL.`
  )

/** Builds the error of a body that cannot be written. */
export const unwritable = (exchange: Asked): TogetherError.InvalidRequestError =>
  unsent(
    exchange,
    "the request holds what JSON cannot, such as a BigInt or a reference to itself. Correct the request."
  )

/** Builds the error of a body on a request that only reads. */
export const readsWithBody = (exchange: Asked, method: string): TogetherError.InvalidRequestError =>
  unsent(exchange, `a ${method} has no body. Say it in the query, or use another method.`)

/** Finds the answer inside the failure of a client that refuses by status, as `HttpClient.filterStatusOk` does. */
export const answerOf = (error: unknown): HttpClientResponse.HttpClientResponse | undefined =>
  HttpClientError.isHttpClientError(error) && error.reason._tag === "StatusCodeError"
    ? error.reason.response
    : undefined

/**
 * Turns an answer that is not a success into the error that says what it means.
 *
 * Together's statuses do not mean what they mean elsewhere: a 403 is usually a
 * prompt too long for the model, `credit_limit` has stood on ordinary rate
 * limits, a 400 may report a failed hop inside the provider, and some 503 are
 * for ever. So the rules read, in this order: words that are never ambiguous
 * (`dynamic_request_limited`, `insufficient_quota`, …), the status, then the
 * sentence.
 *
 * A sentence may quote the request. An error that suspends an account, stops a job or gives up a model must be in the
 * provider's own words: for these the sentence is read without prompts and quoted text. Words that make an error milder
 * (a rate, the context, a failed hop) are read in the whole sentence. Without such words the mild tag stays:
 * InvalidRequestError for 400 and 422, RateLimitError for 429, and for 403 what the table says.
 *
 * | status | error |
 * | --- | --- |
 * | 401, `invalid_api_key`; 403 that begins with a bad key | AuthError |
 * | 402; 400, 403, 422, 429 that begin with credit run out; 429 about money and no rate | InsufficientCreditsError |
 * | 429, dynamic limits on any status | RateLimitError |
 * | 408 | RequestTimeoutError |
 * | 503, 529 | OverloadedError; ModelUnavailableError for `routing_error` |
 * | other 5xx; 400 "All connection attempts failed" | ServerError |
 * | 400, 403, 422 about context; 403 of inference without another reason | ContextLengthError |
 * | 403 of the edge, about access, account or organization | PermissionDeniedError |
 * | 404, 410 · 409 · 413 | NotFoundError · ConflictError · PayloadTooLargeError |
 * | other 4xx | InvalidRequestError |
 *
 * **Source**: Together's error code page and support article; recorded answers.
 */
import * as Hint from "../../domain/Hint.ts"
import * as TogetherError from "../../domain/TogetherError.ts"
import { remedy, what } from "./Advice.ts"
import * as ErrorBody from "./ErrorBody.ts"
import { isClean, narrowed, redact, type Secrets, withoutPrompts } from "../redact/Redact.ts"
import * as Subject from "./Subject.ts"

/** Holds an answer to classify. */
export interface Answer extends Subject.Call, Subject.Head {
  readonly body: string
  /** The client's clock, epoch milliseconds: for a `Retry-After` date without a `Date`. */
  readonly nowMillis: number
  readonly secrets?: Secrets | undefined
  /**
   * True if its status is not known: then its sentence can prove only that the context overflowed or that credit is
   * lacking.
   */
  readonly assumed?: boolean | undefined
}

const dynamicKinds = new Map<string, TogetherError.RateLimitScope>([
  ["dynamic_request_limited", "requests"],
  ["dynamic_token_limited", "tokens"],
  ["model_rate_limit", "model"],
  ["rate_limit", "unknown"],
  ["rate_limit_exceeded", "unknown"]
])

const speaksOfRate =
  /rate[ -]?limit|(?:quer(?:y|ies)|requests?|tokens?) per|too many requests|too fast|slow down|throttl|concurren|\b(?:rpm|tpm|rps|tps|qps)\b/i
/** Words that mean lack of credit on a 429 that speaks of no rate, and only there. */
const speaksOfMoney =
  /credit limit exceeded|add (?:more )?credits?\b|insufficient (?:credits?|funds|balance|quota)|out of credits?|spending limit|past[- ]due|payment required|exceeded your current quota|balance is (?:too low|insufficient|negative)|negative balance|positive credit balance|\btop[- ]up\b/i
/** Says at its start that credit ran out. */
const saysCreditRanOut =
  /^(?:credit limit exceeded|insufficient (?:credits?|funds|balance)\b|negative balance\b|you need a positive (?:credit )?balance|you (?:are|have run) out of credits?\b|your (?:account |credit )*balance is (?:too low|insufficient|negative)|payment required\b|your (?:account|organization|invoice) (?:is past[- ]due|has an invoice past[- ]due|has run out of credits?\b|has (?:reached|exceeded) its (?:monthly )?spending limit))/i
/** The same for statuses that usually blame the request, which may lack anything else too. */
const saysCreditIsMissing = /^(?:credit limit exceeded|insufficient credits?\b)/i
/** Names the context, whatever the operation. */
const speaksOfContext =
  /context (?:length|window|size)|maximum (?:context|sequence|number of tokens)|(?:inputs?|prompt)\W{0,2} tokens.{0,60}must be (?:<|less|at most)/i
/** Names a length: of the context, if a model reads a prompt, and else perhaps of a file or a queue. */
const speaksOfLength =
  /(?:input|prompt).{0,40}(?:too long|exceeds)|tokens.{0,60}(?:must be (?:<|less|at most)|exceeds?)|exceed.{0,40}(?:context|tokens)/i
/** Names things that are not measured in tokens, so that their length is not that of the context. */
const speaksOfMedia = /^(?![^]*\btokens?\b)[^]*(?:\b(?:image|video|audio)|(?:\b|\d)(?:[kmg]i?b|px|pixels?)\b)/i
/** Says at its start that the key is a bad one. */
const saysKeyIsBad =
  /^(?:an? |the |this |your )?(?:(?:invalid|incorrect|revoked|disabled|expired) api[ _-]?key|api[ _-]?key[^.:;,]{0,40}(?:invalid|incorrect|revoked|disabled|expired|deleted))/i
const speaksOfNoKey = /\b(?:missing|no) api[ _-]?key/i
const namesKey = /^(?:authentication|unauthenticated|unauthori[sz]ed|(?:missing|no)_api_key)/
const speaksOfAccess =
  /access|permission|forbidden|unauthori[sz]ed|not allowed|denied|gated|blocked|banned|tier|region|country|agreement|licen[cs]e|account|organi[sz]ation|api[ _-]?key|suspended|revoked|disabled|balance|credits?\b|past[- ]due|payment|billing|spending/i
/** The model is missing, and not a parameter for it, as in "logprobs for this model are not supported". */
const speaksOfModel =
  /non-serverless model|model(?:[^:;.]|[:.]\S){0,80}(?:not available|unavailable|retired|decommissioned)|(?<!\b(?:by|for|in|of|on|with) (?:the |this |that )?)model(?:(?:[^:;.]|[:.]\S){0,80}(?:deprecated|no longer)|(?: [^\s:;,]+)?(?: is)?(?: currently)? not (?:currently )?supported)/i
const speaksOfUpstream = /all connection attempts failed/i

const speaksOfConcurrency = /concurren|in[-_ ]flight|simultaneous/i

/** A sentence about requests that also states the limit of tokens: refusals of either kind have it. */
const statesTokens = /\b(?:tpm|tps)\b/i

const scopeOf = (message: string): TogetherError.RateLimitScope =>
  /specific to this model|limit for this model/i.test(message)
    ? "model"
    : /request rate limit|queries per|requests per|\bqps\b/i.test(message)
    ? /token rate limit/i.test(message) ? "tokens" : statesTokens.test(message) ? "unknown" : "requests"
    : /token/i.test(message)
    ? "tokens"
    : "unknown"

/** The classes that say no more than all errors do. */
const plain = {
  InsufficientCreditsError: TogetherError.InsufficientCreditsError,
  OverloadedError: TogetherError.OverloadedError,
  ServerError: TogetherError.ServerError,
  ContextLengthError: TogetherError.ContextLengthError,
  PermissionDeniedError: TogetherError.PermissionDeniedError,
  NotFoundError: TogetherError.NotFoundError,
  ModelUnavailableError: TogetherError.ModelUnavailableError,
  ConflictError: TogetherError.ConflictError,
  PayloadTooLargeError: TogetherError.PayloadTooLargeError,
  InvalidRequestError: TogetherError.InvalidRequestError
}

/** Holds the tag of an answer, and, for a rate limit, which limit it is. */
type Verdict =
  | { readonly tag: "AuthError" | "RequestTimeoutError" | keyof typeof plain }
  | { readonly tag: "RateLimitError"; readonly scope: TogetherError.RateLimitScope }

const rateLimit = (kinds: ReadonlyArray<string>, message: string): Verdict => {
  // the documented kinds are all about rates, so any 429 may have one of them
  if (speaksOfConcurrency.test([...kinds, message].join(" "))) return { tag: "RateLimitError", scope: "concurrency" }
  for (const kind of kinds) {
    const scope = dynamicKinds.get(kind)
    if (scope !== undefined && scope !== "unknown") return { tag: "RateLimitError", scope }
  }
  return { tag: "RateLimitError", scope: scopeOf(message) }
}

/** On these operations Together documents 403 as a prompt that exceeds the context. */
const inference = new Set(["chat", "chatStream", "completions", "completionsStream", "embeddings", "rerank"])

const isInference = ({ operation }: Answer): boolean => operation === undefined || inference.has(operation)

/** A sentence in two readings. */
interface Said {
  /** As it came; here words for a mild tag count. */
  readonly whole: string
  /** The provider's own words; here words for a severe tag count. */
  readonly own: string
}

const quotation = /"[^"]*(?:"|$)|“[^”]*(?:”|$)|(?<!\w)'[^]*?(?:'(?!\w)|$)/g

const unquoted = (text: string): string => text.replace(quotation, "…")

/** Tells whether the provider itself says it. Both readings must, since a removed prompt may have held a denial. */
const says = (pattern: RegExp, { own, whole }: Said): boolean => pattern.test(own) && pattern.test(unquoted(whole))

const isTooLong = (answer: Answer, { own, whole }: Said): boolean =>
  speaksOfContext.test(whole) ||
  (isInference(answer) && speaksOfLength.test(whole) && !speaksOfMedia.test(own) &&
    !(answer.assumed === true && speaksOfRate.test(whole)))

const forbidden = (
  answer: Answer,
  body: ErrorBody.ErrorBody,
  said: Said
): Exclude<Verdict["tag"], "RateLimitError"> => {
  if (body.page) return "PermissionDeniedError"
  if (isTooLong(answer, said)) return "ContextLengthError"
  const { own } = said
  if (says(saysKeyIsBad, said) || (speaksOfNoKey.test(own) && body.kinds.some((kind) => namesKey.test(kind)))) {
    return "AuthError"
  }
  if (saysCreditRanOut.test(own)) return "InsufficientCreditsError"
  if (speaksOfAccess.test(`${own} ${body.kinds.join(" ")}`)) return "PermissionDeniedError"
  return isInference(answer) ? "ContextLengthError" : "PermissionDeniedError"
}

/** Reads the sentence of an answer that blames the request: 400 and 422 stand for more than that. */
const refused = (
  answer: Answer,
  { param }: ErrorBody.ErrorBody,
  said: Said
): Exclude<Verdict["tag"], "RateLimitError"> => {
  const { own, whole } = said
  const assumed = answer.assumed === true
  if (speaksOfUpstream.test(whole)) return "ServerError"
  if (isTooLong(answer, said)) return "ContextLengthError"
  if (param !== undefined && param !== "model") return "InvalidRequestError"
  if (!assumed && says(speaksOfModel, said)) return "ModelUnavailableError"
  const money = (assumed ? saysCreditRanOut : saysCreditIsMissing).test(own)
  return param === undefined && money ? "InsufficientCreditsError" : "InvalidRequestError"
}

/**
 * Tells whether a 429 is for want of credit. `credit_limit` has stood on ordinary rate limits, and `rate_limit` names no
 * limit in particular: the sentence decides, and must begin with credit where the kind speaks of a rate.
 */
const isOutOfCredit = (kinds: ReadonlyArray<string>, { own, whole }: Said): boolean => {
  const scopes = kinds.flatMap((kind) => dynamicKinds.get(kind) ?? [])
  return scopes.length === 0
    ? saysCreditRanOut.test(own) || (speaksOfMoney.test(own) && !speaksOfRate.test(whole))
    : scopes.every((scope) => scope === "unknown") && saysCreditRanOut.test(own)
}

/** Decides the tag of an answer from its status, its words and its sentence in both readings. */
const verdict = (answer: Answer, body: ErrorBody.ErrorBody, said: Said): Verdict => {
  const { status } = answer
  const is = (...kinds: ReadonlyArray<string>) => kinds.some((kind) => body.kinds.includes(kind))
  if (status === 402 || is("insufficient_quota")) return { tag: "InsufficientCreditsError" }
  if (status === 429 && isOutOfCredit(body.kinds, said)) return { tag: "InsufficientCreditsError" }
  if (status === 429 || body.kinds.some((kind) => dynamicKinds.has(kind))) return rateLimit(body.kinds, said.whole)
  if (status === 401 || is("invalid_api_key")) return { tag: "AuthError" }
  if (is("routing_error", "model_not_available")) return { tag: "ModelUnavailableError" }
  if (status === 503 || status === 529) return { tag: "OverloadedError" }
  if (status >= 500) return { tag: "ServerError" }
  if (is("context_length_exceeded")) return { tag: "ContextLengthError" }
  switch (status) {
    case 403:
      return { tag: forbidden(answer, body, said) }
    case 404:
    case 410:
      return { tag: "NotFoundError" }
    case 408:
      return { tag: "RequestTimeoutError" }
    case 409:
      return { tag: "ConflictError" }
    case 413:
      return { tag: "PayloadTooLargeError" }
  }
  if (is("request_too_large")) return { tag: "PayloadTooLargeError" }
  return { tag: status === 400 || status === 422 ? refused(answer, body, said) : "InvalidRequestError" }
}

/** Makes a bounded sentence of what the provider says. */
export const sentence = (text: string): string => {
  const trimmed = text.trim().replace(/\s+/g, " ")
  const bounded = trimmed.length > 300 ? `${trimmed.slice(0, 300)}…` : trimmed
  return /[.!?…]$/.test(bounded) ? bounded : `${bounded}.`
}

/** Of a word that comes several times, joined by commas, a veto counts. */
const shouldRetryOf = (headers: Hint.Headers): boolean | undefined => {
  const words = headers["x-should-retry"]?.toLowerCase().split(",").map((word) => word.trim()) ?? []
  return words.includes("false") ? false : words.includes("true") ? true : undefined
}

/** Says that a redirect was not followed. A browser reports its status as 0; Node's Fetch reports none. */
export const redirected = (status?: number, location?: string): string => {
  const target = location !== undefined && URL.canParse(location) ? ` to ${new URL(location).origin}` : ""
  return `The server redirects${
    status === undefined || status === 0 ? "" : ` (${status})`
  }${target}, and the redirect was not followed: what is sent goes to the base URL and nowhere else. Set TOGETHER_BASE_URL or baseUrl to the final address.`
}

/** Says that redirects have no end. */
export const redirectedAgain = (status: number, times: number): string =>
  `The server redirects (${status}) again after ${times} redirects, and no more are followed. Check the path, or set TOGETHER_BASE_URL or baseUrl to the final address.`

const isRedirect = (status: number): boolean => status === 0 || (status >= 300 && status <= 399)

const noSecrets: Secrets = { prompts: [] }

/** Removes the mark that replaces a prompt, which is not a word of the provider's. */
const unmarked = (said: string): string => said.replaceAll("[prompt]", "…")

/** Reads a sentence as it came, and as what the provider says itself: no prompt, and nothing in quotes. */
const readings = (message: string, prompts: Secrets["prompts"]): Said => ({
  whole: unmarked(message),
  own: unquoted(unmarked(withoutPrompts(message, prompts)))
})

/** A plain name, not a sentence or a value. */
const aField = /^[A-Za-z_][\w.[\]-]{0,63}$/

/** Separates the words of a sentence that may be names of fields. */
const notOfAField = /[^\w.[\]-]+|\.(?!\w)/

/**
 * Names the field that an answer blames, if its sentence does not. It must be a plain name, and not part of a secret.
 */
const blamed = ({ field, message = "" }: ErrorBody.ErrorBody, secrets: Secrets): string | undefined =>
  field === undefined || !aField.test(field) || message.split(notOfAField).includes(field) || !isClean(field, secrets)
    ? undefined
    : field

/** Quotes what the provider says, with the field if one is named; beside prompts that are not known only words for its kind. */
const quoted = ({ kinds, message }: ErrorBody.ErrorBody, field: string | undefined, secrets: Secrets): string => {
  if (message === undefined) return field === undefined ? "" : ` Together names the field ${field}.`
  const words = secrets.prompts === "unknown" ? kinds.filter((kind) => aField.test(kind)) : []
  return ` Together says${field === undefined ? "" : ` of the field ${field}`}: ${
    sentence([redact(message, secrets), ...words].join(", "))
  }`
}

/** What is kept of every answer. */
const fieldsOf = (answer: Answer, secrets: Secrets) => ({
  ...Subject.ofCall(answer),
  status: answer.status,
  retryAfter: Hint.fromHeaders(answer.headers, answer.nowMillis)?.wait,
  body: answer.body === "" ? undefined : redact(answer.body, secrets)
})

/**
 * Builds the error of an answer outside 2xx, or of an error frame inside a stream.
 *
 * **Errors**: never throws, whatever the body.
 */
export const fromAnswer = (answer: Answer): TogetherError.TogetherError => {
  const body = ErrorBody.parse(answer.body)
  const secrets = narrowed(
    [body.message ?? "", answer.body, answer.headers["x-request-id"] ?? ""],
    answer.secrets ?? noSecrets
  )
  const decision = verdict(answer, body, readings(body.message ?? "", secrets.prompts))
  const common = fieldsOf(answer, secrets)
  const said = quoted(
    body,
    decision.tag === "InvalidRequestError" ? blamed(body, secrets) : undefined,
    secrets
  )
  const scope = decision.tag === "RateLimitError" && decision.scope !== "unknown" ? `, ${decision.scope}` : ""
  const fields = {
    ...common,
    message: isRedirect(answer.status) && decision.tag === "InvalidRequestError"
      ? redirected(answer.status, answer.headers["location"])
      : `${what[decision.tag]} (${answer.status}${scope}).${said} ${remedy(decision.tag, answer, common.retryAfter)}.`,
    requestId: Subject.idOf(answer.headers, body.requestId, secrets),
    shouldRetry: shouldRetryOf(answer.headers)
  }
  switch (decision.tag) {
    case "RateLimitError":
      return new TogetherError.RateLimitError({ ...fields, scope: decision.scope })
    case "AuthError":
      return new TogetherError.AuthError({ ...fields, reason: "refused" })
    case "RequestTimeoutError":
      return new TogetherError.RequestTimeoutError({ ...fields, phase: "headers" })
    default:
      return new plain[decision.tag](fields)
  }
}

/**
 * Builds the error of an answer outside 2xx from a host that a redirect led to.
 *
 * **Details**: such a host knows neither the key nor the account nor its limits, so its 401, 402 and 429 say nothing of
 * them: NotFoundError for 404 and 410, ServerError for 408, 429 and 5xx, PermissionDeniedError for all others.
 */
export const fromElsewhere = (answer: Answer, host: string): TogetherError.TogetherError => {
  const { status } = answer
  const secrets = narrowed([answer.body], answer.secrets ?? noSecrets)
  const fields = fieldsOf(answer, secrets)
  const said = `The server redirects to ${host}, which answered ${status}.`
  if (status === 404 || status === 410) {
    return new TogetherError.NotFoundError({ ...fields, message: `${said} What is asked for is not there.` })
  }
  return status >= 500 || status === 429 || status === 408
    ? new TogetherError.ServerError({ ...fields, message: `${said} Try again after a brief wait.` })
    : new TogetherError.PermissionDeniedError({
      ...fields,
      message:
        `${said} It was asked without the API key; ask again, since such an address may hold for a short time only.`
    })
}

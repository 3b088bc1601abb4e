import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Classify from "../../src/together/error/Classify.ts"
import * as ErrorBody from "../../src/together/error/ErrorBody.ts"

const classify = (
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
  more: Partial<Classify.Answer> = {}
) =>
  Classify.fromAnswer({
    status,
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    operation: "chat",
    model: "m",
    nowMillis: 0,
    ...more
  })

const error = (
  message: string,
  type: string | null = null,
  code: string | null = null,
  param: string | null = null
) => ({
  error: { message, type, param, code }
})

const html = (title: string) => `<!DOCTYPE html><html><head><title>${title}</title></head><body>…</body></html>`

type Row = [what: string, status: number, body: unknown, tag: TogetherError.TogetherError["_tag"], scope?: string]

describe("Classify", () => {
  describe("each documented status", () => {
    it.each<Row>([
      ["400", 400, error("Invalid JSON"), "InvalidRequestError"],
      ["401", 401, error("Missing key"), "AuthError"],
      ["402", 402, error("spending limit"), "InsufficientCreditsError"],
      [
        "403 about the context",
        403,
        error("Bad request: input tokens and max_tokens must be less than the model context length"),
        "ContextLengthError"
      ],
      ["403 that says nothing about access", 403, error("Bad request"), "ContextLengthError"],
      [
        "403 of the edge as HTML",
        403,
        html("Access denied | api.together.ai used Cloudflare"),
        "PermissionDeniedError"
      ],
      ["403 of the edge as text", 403, "error code: 1010", "PermissionDeniedError"],
      [
        "403 of a retired endpoint",
        403,
        error("creation is closed", null, "endpoints_v1_create_access_disabled"),
        "PermissionDeniedError"
      ],
      ["403 Unauthorized", 403, { error: "Unauthorized" }, "PermissionDeniedError"],
      ["403 Forbidden", 403, { error: "Forbidden" }, "PermissionDeniedError"],
      [
        "403 tier gate",
        403,
        error(
          "Access to this model is allowed for build tier 2 and above. Also please make sure that you have a positive balance."
        ),
        "PermissionDeniedError"
      ],
      ["404", 404, error("model not found"), "NotFoundError"],
      ["410", 410, "", "NotFoundError"],
      ["408", 408, "", "RequestTimeoutError"],
      ["409", 409, { error: "Cannot cancel job - already in terminal state: CANCELLED" }, "ConflictError"],
      ["413 as HTML", 413, html("413 Request Entity Too Large"), "PayloadTooLargeError"],
      ["413", 413, error("Request entity too large", "invalid_request_error"), "PayloadTooLargeError"],
      ["405", 405, "", "InvalidRequestError"],
      ["406", 406, "", "InvalidRequestError"],
      ["415", 415, "", "InvalidRequestError"],
      ["431", 431, "", "InvalidRequestError"],
      ["418", 418, "", "InvalidRequestError"],
      ["301", 301, "", "InvalidRequestError"],
      [
        "422 about the context",
        422,
        error(
          "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000",
          "invalid_request_error",
          null,
          "max_tokens"
        ),
        "ContextLengthError"
      ],
      ["422", 422, error("Input validation error"), "InvalidRequestError"],
      ["429", 429, error("Too many requests"), "RateLimitError", "unknown"],
      ["500", 500, error("Internal server error", "server_error"), "ServerError"],
      ["501", 501, "", "ServerError"],
      ["502 with text", 502, "Bad gateway", "ServerError"],
      ["503", 503, error("The server is overloaded or not ready yet."), "OverloadedError"],
      ["504", 504, html("504 Gateway Time-out"), "ServerError"],
      ["520", 520, html("Web server is returning an unknown error"), "ServerError"],
      ["521", 521, "", "ServerError"],
      ["522", 522, "", "ServerError"],
      ["523", 523, "", "ServerError"],
      ["524", 524, html("A timeout occurred"), "ServerError"],
      ["529", 529, "", "OverloadedError"]
    ])("%s", (_, status, body, tag, scope) => {
      const result = classify(status, body)
      expect(result._tag).toBe(tag)
      if (scope !== undefined) expect(result).toMatchObject({ scope })
    })
  })

  describe("each recorded message", () => {
    it.each<Row>([
      [
        "402 credit_limit",
        402,
        error(
          "Credit limit exceeded. Please navigate to https://api.together.xyz/settings/billing to add credit or upgrade your plan.",
          "credit_limit"
        ),
        "InsufficientCreditsError"
      ],
      [
        "429 credit_limit that is a rate limit",
        429,
        error(
          "You have been rate limited. Your rate limit is 60 queries per minute. Please navigate to https://api.together.xyz/settings/billing to upgrade to a paid plan.",
          "credit_limit"
        ),
        "RateLimitError",
        "requests"
      ],
      [
        "429 credit_limit in prose",
        429,
        error(
          "Request was rejected due to request rate limiting. Your rate limits are 600 RPM (10 QPS) and 180000 TPM (3000 TPS). See details: https://docs.together.ai/docs/rate-limits",
          "credit_limit"
        ),
        "RateLimitError",
        "unknown"
      ],
      [
        "429 token limit in prose",
        429,
        error(
          "Request was rejected due to token rate limiting. Your rate limits are 600 RPM (10 QPS) and 180000 TPM (3000 TPS)."
        ),
        "RateLimitError",
        "tokens"
      ],
      ["429 credit_limit without a word", 429, error("", "credit_limit"), "RateLimitError", "unknown"],
      ["429 about credit", 429, error("Credit limit exceeded. Add credit to continue."), "InsufficientCreditsError"],
      [
        "429 insufficient_quota",
        429,
        error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "InsufficientCreditsError"
      ],
      [
        "429 model_rate_limit",
        429,
        error(
          "You have reached the rate limit specific to this model X. The maximum rate limit for this model is 9 queries per minute.",
          "model_rate_limit"
        ),
        "RateLimitError",
        "model"
      ],
      [
        "429 model limit in prose",
        429,
        error("You have reached the rate limit specific to this model X. 6.0 queries and 180000000 tokens per minute"),
        "RateLimitError",
        "model"
      ],
      ["429 dynamic requests", 429, error("", "dynamic_request_limited"), "RateLimitError", "requests"],
      ["429 dynamic tokens", 429, error("", "dynamic_token_limited"), "RateLimitError", "tokens"],
      [
        "429 dynamic in error_type at the top",
        429,
        { error_type: "dynamic_token_limited", message: "slow down" },
        "RateLimitError",
        "tokens"
      ],
      [
        "429 dynamic in error.error_type",
        429,
        { error: { error_type: "dynamic_request_limited" } },
        "RateLimitError",
        "requests"
      ],
      ["429 dynamic in error.code", 429, error("x", null, "dynamic_token_limited"), "RateLimitError", "tokens"],
      ["429 dynamic in the top-level type", 429, { type: "dynamic_request_limited" }, "RateLimitError", "requests"],
      ["429 concurrency", 429, error("Too many concurrent requests"), "RateLimitError", "concurrency"],
      ["429 concurrency", 429, error("rate limited", "concurrency_limited"), "RateLimitError", "concurrency"],
      [
        "429 concurrency under a kind of rates",
        429,
        error("Too many requests in flight", "dynamic_request_limited"),
        "RateLimitError",
        "concurrency"
      ],
      [
        "429 concurrency under the kind of a model",
        429,
        error("Too many concurrent requests for this model", "model_rate_limit"),
        "RateLimitError",
        "concurrency"
      ],
      [
        "429 of a limit by name, whatever its sentence says",
        429,
        error("Credit limit exceeded", "dynamic_request_limited"),
        "RateLimitError",
        "requests"
      ],
      ["400 dynamic", 400, error("", "dynamic_request_limited"), "RateLimitError", "requests"],
      ["400 rate_limit of the past", 400, error("slow down", null, "rate_limit"), "RateLimitError"],
      [
        "401 invalid key",
        401,
        error(
          "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys.",
          "invalid_request_error",
          "invalid_api_key"
        ),
        "AuthError"
      ],
      [
        "400 non-serverless",
        400,
        error(
          "Unable to access non-serverless model M. Please visit https://api.together.ai/models/M to create and start a new dedicated endpoint for the model.",
          "invalid_request_error",
          "model_not_available"
        ),
        "ModelUnavailableError"
      ],
      [
        "400 retired",
        400,
        error("The model M has been deprecated and is no longer available"),
        "ModelUnavailableError"
      ],
      [
        "400 context",
        400,
        error(
          "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 `inputs` tokens",
          "invalid_request_error",
          null,
          "max_tokens"
        ),
        "ContextLengthError"
      ],
      [
        "400 maximum context",
        400,
        error("This model's maximum context length is 8193 tokens.", "invalid_request_error"),
        "ContextLengthError"
      ],
      ["400 context code", 400, error("too long", null, "context_length_exceeded"), "ContextLengthError"],
      ["400 failed upstream hop", 400, error("All connection attempts failed", "invalid_request_error"), "ServerError"],
      ["400 bare validation", 400, error("Input validation error"), "InvalidRequestError"],
      ["503 routing_error", 503, error("no ready replicas", "routing_error"), "ModelUnavailableError"],
      ["500 without a type", 500, error("Internal Server Error"), "ServerError"],
      ["400 audio", 400, error("too long", null, "audio_too_long"), "InvalidRequestError"],
      ["400 too large by code", 400, error("x", null, "request_too_large"), "PayloadTooLargeError"]
    ])("%s", (_, status, body, tag, scope) => {
      const result = classify(status, body)
      expect(result._tag).toBe(tag)
      if (scope !== undefined) expect(result).toMatchObject({ scope })
    })

    const key = "Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys."
    it.each<Row>([
      ["403 bad key", 403, error(key, "invalid_request_error"), "AuthError"],
      ["403 revoked key", 403, error("This API key has been revoked"), "AuthError"],
      ["403 key without access", 403, error("This API key has no access to model M"), "PermissionDeniedError"],
      ["403 account", 403, error("Your account has been suspended."), "PermissionDeniedError"],
      ["403 organization", 403, error("This organization has been disabled."), "PermissionDeniedError"],
      [
        "403 no serverless",
        403,
        error("Serverless inference is turned off for this organization"),
        "PermissionDeniedError"
      ],
      [
        "403 about credit",
        403,
        error("You need a positive credit balance to use this model"),
        "InsufficientCreditsError"
      ],
      [
        "429 out of credit under a kind that names no limit",
        429,
        error("Credit limit exceeded. Please add credit or upgrade your plan.", "rate_limit", null, "credit_limit"),
        "InsufficientCreditsError"
      ],
      ["429 low balance", 429, error("Your credit balance is too low", "credit_limit"), "InsufficientCreditsError"],
      [
        "429 negative balance",
        429,
        error("Negative balance. Please top up your account", "credit_limit"),
        "InsufficientCreditsError"
      ],
      [
        "400 about credit",
        400,
        error("Insufficient credits to create a fine-tune job", "invalid_request_error"),
        "InsufficientCreditsError"
      ],
      [
        "400 parameter of a named model",
        400,
        error("Model deepseek-ai/DeepSeek-V4-Pro: reasoning_effort 'low' is not supported"),
        "InvalidRequestError"
      ],
      ["400 parameter for this model", 400, error("logprobs for this model are not supported"), "InvalidRequestError"],
      ["400 deprecated parameter", 400, error("Parameter x of model M is deprecated"), "InvalidRequestError"],
      [
        "400 tools",
        400,
        error("The model X does not support tools; tool calling is not supported"),
        "InvalidRequestError"
      ],
      [
        "400 named parameter",
        400,
        error("This model is not supported with it", null, null, "logprobs"),
        "InvalidRequestError"
      ],
      ["400 model", 400, error("Model `M` is not currently supported"), "ModelUnavailableError"],
      ["400 model by param", 400, error("Model M is not supported", null, null, "model"), "ModelUnavailableError"],
      ["400 model with a dot in its name", 400, error("Model Llama-3.3 is not available"), "ModelUnavailableError"],
      [
        "400 max_new_tokens out of range",
        400,
        error("Input validation error: `max_new_tokens` must be strictly positive"),
        "InvalidRequestError"
      ],
      ["422 in a detail object", 422, { detail: { message: "input exceeds context length" } }, "ContextLengthError"],
      ["422 in a list", 422, [{ message: "input exceeds context length" }], "ContextLengthError"]
    ])("%s", (_, status, body, tag) => {
      expect(classify(status, body)._tag).toBe(tag)
    })

    it.each<Row>([
      ["400 stop", 400, error("Parameter stop up to 4 sequences", "invalid_request_error"), "InvalidRequestError"],
      ["400 tool", 400, error("Invalid tool name 'past due invoices'", null, null, "tools"), "InvalidRequestError"],
      ["400 picture", 400, error("Image blocked: prompt 'laptop upgrade' flagged"), "InvalidRequestError"],
      ["400 payment", 400, error("add credits to my card, past due"), "InvalidRequestError"],
      [
        "400 credit in a field",
        400,
        error("Insufficient credits", "credit_limit", null, "user"),
        "InvalidRequestError"
      ],
      [
        "422 detail",
        422,
        { detail: [{ msg: "Input should be a valid list, got: 'how do I add credits to my card'" }] },
        "InvalidRequestError"
      ],
      ["422 cut off", 422, error("Not valid: 'insufficient credits, I'm out of"), "InvalidRequestError"],
      ["403 advice", 403, error("Not for free: add credits"), "PermissionDeniedError"],
      ["403 region", 403, error("Desktop upload is blocked in your region"), "PermissionDeniedError"],
      [
        "403 echo about a key",
        403,
        error("Echo: user wrote 'no api key needed'. Total tokens 9000 over 8192"),
        "ContextLengthError"
      ],
      ["403 no key", 403, error("Access denied, no API key needed"), "PermissionDeniedError"],
      ["403 echo of a key", 403, error("Not allowed: my API key was revoked"), "PermissionDeniedError"],
      ["403 echo of money", 403, error("Not allowed: your balance is negative"), "PermissionDeniedError"],
      ["400 kind", 400, error("max_tokens is over the limit", "credit_limit"), "InvalidRequestError"],
      ["422 kind", 422, error("See the billing page", "credit_limit"), "InvalidRequestError"]
    ])("suspends nothing and stops nothing for words that may be quoted: %s", (_, status, body, tag) => {
      expect(classify(status, body)._tag).toBe(tag)
    })

    it.each<Row>([
      ["400 sentence", 400, error("Credit limit exceeded. Please add credit"), "InsufficientCreditsError"],
      [
        "403 balance",
        403,
        error("Your account balance is insufficient, please add credits"),
        "InsufficientCreditsError"
      ],
      ["403 invoice", 403, error("Your invoice is past due"), "InsufficientCreditsError"],
      ["403 limit", 403, error("Your account has reached its spending limit"), "InsufficientCreditsError"],
      ["403 key by kind", 403, error("Missing API key", "authentication_error"), "AuthError"],
      ["403 key", 403, error("API key disabled"), "AuthError"]
    ])("believes what the provider says itself: %s", (_, status, body, tag) => {
      expect(classify(status, body)._tag).toBe(tag)
    })

    it.each<[message: string, type: string | null, scope: string]>([
      ["Limit of 180000 tokens per minute reached. Top up your account to raise it.", null, "tokens"],
      ["Request rejected: concurrency limit; add credits to raise", null, "concurrency"],
      ["You are sending too fast. Add credits to raise your limit.", "credit_limit", "unknown"],
      ["Slow down, or add credits", null, "unknown"],
      ["Throttled. Please top-up", null, "unknown"]
    ])("takes a 429 about a rate for a rate limit, whatever raises it: %s", (message, type, scope) => {
      expect(classify(429, error(message, type))).toMatchObject({ _tag: "RateLimitError", scope })
    })

    it("takes a 429 that begins with credit run out for that", () => {
      const result = classify(429, error("Credit limit exceeded. No more requests per minute until you top up."))
      expect(result._tag).toBe("InsufficientCreditsError")
    })

    it("reads a sentence without the prompts that it quotes", () => {
      const prompt = "Insufficient credits, says the bank. The model is no longer available."
      const answer = error(`${prompt} is not a valid input`, "invalid_request_error")
      expect(classify(400, answer, {}, { secrets: { prompts: [prompt] } })._tag).toBe("InvalidRequestError")
      expect(classify(400, answer, {}, { secrets: { prompts: "unknown" } })._tag).toBe("ModelUnavailableError")
      const field = error("[prompt] exceeds 64 characters, [prompt]")
      expect(classify(400, field)._tag).toBe("InvalidRequestError")
    })

    it.each<[prompt: string, status: number, body: unknown, tag: string]>([
      [
        "Too many requests",
        429,
        error("Too many requests: add credits at https://x for higher limits", "credit_limit"),
        "RateLimitError"
      ],
      [
        "Your rate limit is low",
        400,
        error("Your rate limit is low. Add credits", "credit_limit"),
        "InvalidRequestError"
      ],
      ["logprobs for this", 400, error("logprobs for this model are not supported"), "InvalidRequestError"],
      [
        "maximum context length",
        400,
        error("This model's maximum context length is 4096 tokens."),
        "ContextLengthError"
      ],
      [
        "usage: all of it",
        403,
        error("API key usage: all of it is disabled for this project"),
        "PermissionDeniedError"
      ],
      ["All connection attempts failed", 400, error("All connection attempts failed"), "ServerError"]
    ])("keeps the words that make an error milder, though a prompt has them too: %s", (prompt, status, body, tag) => {
      expect(classify(status, body, {}, { secrets: { prompts: [prompt] } })._tag).toBe(tag)
    })

    it.each([
      "prompt images: input image exceeds 20 MB",
      "The input image is too long in one dimension: input exceeds 8192 px",
      "The input audio is too long",
      "Input exceeds 20MB",
      "The input exceeds 4096 pixels"
    ])("takes no size of a file for the context: %s", (message) => {
      expect(classify(400, error(message))._tag).toBe("InvalidRequestError")
    })

    it.each([
      ["Input exceeds the limit: 9000 image tokens and 800 text tokens", []],
      ["Input exceeds the 4096-token limit of this audio model", []],
      ["The prompt is too long: draw an image of 20 MB", ["draw an image of 20 MB"]],
      ["This model's maximum context length is 8192, images included", []]
    ])("takes what is counted in tokens, or a prompt about a file, for the context: %s", (message, prompts) => {
      expect(classify(400, error(message), {}, { secrets: { prompts } })._tag).toBe("ContextLengthError")
    })

    it.each<[status: number, message: string, tag: string]>([
      [400, "Upstream error: 'All connection attempts failed'", "ServerError"],
      [
        400,
        "Error code: 400 - {'error': {'message': 'maximum context length exceeded'}}",
        "ContextLengthError"
      ],
      [429, "'Credit limit exceeded. Please add credit'", "RateLimitError"]
    ])("reads in quotes what suspends nothing: %i %s", (status, message, tag) => {
      expect(classify(status, error(message))._tag).toBe(tag)
    })

    it("takes a model that is not there for that, a parameter for it not", () => {
      expect(classify(400, error("Inference for model meta/x is not available"))._tag).toBe("ModelUnavailableError")
      expect(classify(400, error("tools are not supported: logprobs for this model are no longer"))._tag)
        .toBe("InvalidRequestError")
    })

    it.each([
      "Input file exceeds the maximum of 50000 requests",
      "You have exceeded the limit of enqueued tokens for this model"
    ])("takes a length for that of the context on inference only: %s", (message) => {
      expect(classify(400, { error: message }, {}, { operation: "batches.create" })._tag).toBe("InvalidRequestError")
      expect(classify(403, { error: message }, {}, { operation: "batches.create" })._tag).toBe("PermissionDeniedError")
      expect(classify(400, { error: message })._tag).toBe("ContextLengthError")
    })

    it("takes a 403 without words for a context overflow on inference only", () => {
      expect(classify(403, {})._tag).toBe("ContextLengthError")
      expect(classify(403, "", {}, { operation: "files.list" })._tag).toBe("PermissionDeniedError")
    })

    it("retries the failed upstream hop", () => {
      expect(TogetherError.isRetryable(classify(400, error("All connection attempts failed")))).toBe(true)
    })
  })

  describe("each body shape", () => {
    it.each<[string, number, unknown, string, string | undefined]>([
      ["canonical", 400, error("told you"), "told you", undefined],
      ["with a live id", 400, { id: "o3LiXw4-960", ...error("told you") }, "told you", "o3LiXw4-960"],
      ["flat string with a request id", 404, { error: "Job not found", request_id: "833f" }, "Job not found", "833f"],
      [
        "not found without code",
        404,
        { error: { message: "File x not found", type: "not_found" } },
        "File x not found",
        undefined
      ],
      ["queue, flat", 400, { code: "c", message: "told you", param: null, type: "t" }, "told you", undefined],
      ["message alone", 400, { message: "told you" }, "told you", undefined],
      ["detail alone", 400, { detail: "told you" }, "told you", undefined],
      ["detail as a list", 422, { detail: [{ msg: "told you" }] }, "told you", undefined],
      ["detail as an object", 422, { detail: { message: "told you" } }, "told you", undefined],
      ["detail as a list of messages", 422, { detail: [{ message: "told you" }] }, "told you", undefined],
      ["list", 422, [{ message: "told you" }], "told you", undefined],
      ["error as a list", 400, { error: ["told you"] }, "told you", undefined],
      ["error as a list of objects", 400, { error: [{ message: "told you" }] }, "told you", undefined],
      ["error as a flag", 400, { error: true, message: "told you" }, "told you", undefined],
      ["code as a number", 400, { code: 400, message: "told you" }, "told you", undefined],
      ["errors list", 400, { data: null, errors: ["told you"] }, "told you", undefined],
      ["errors list of objects", 400, { errors: [{ message: "told you" }] }, "told you", undefined],
      ["legacy siblings", 500, { model: "M", request_id: "r-1", error: "told you" }, "told you", "r-1"],
      ["JSON string", 400, JSON.stringify("told you"), "told you", undefined],
      ["plain text", 500, "told you", "told you", undefined],
      ["HTML", 502, html("told you"), "told you", undefined]
    ])("reads %s", (_, status, body, said, requestId) => {
      const result = classify(status, body)
      expect(result.message).toContain(`Together says: ${said}`)
      expect(result.requestId).toBe(requestId)
    })

    it.each<[string, number, unknown, string]>([
      ["param", 400, error("Out of range", null, null, "temperature"), "says of the field temperature: Out of range."],
      ["param, flat", 400, { message: "Out of range", param: "n" }, "says of the field n: Out of range."],
      [
        "a loc",
        422,
        { detail: [{ loc: ["body", "max_tokens"], msg: "required" }] },
        "says of the field max_tokens: required."
      ],
      [
        "a deep loc",
        422,
        { detail: [{ loc: ["body", "messages", 0, "role"], msg: "no" }] },
        "the field messages.0.role: no."
      ],
      ["no sentence", 400, { error: { message: "", param: "top_p" } }, "Together names the field top_p. Correct"],
      [
        "what the sentence names",
        400,
        error("top_p is too high", null, null, "top_p"),
        "Together says: top_p is too high."
      ],
      ["no plain name", 422, { detail: [{ loc: ["body", "how do I"], msg: "no" }] }, "Together says: no."],
      ["a name without end", 400, error("no", null, null, "x".repeat(65)), "Together says: no."],
      ["a loc that is none", 422, { detail: [{ loc: [{}], msg: "no" }] }, "Together says: no."],
      ["an empty loc", 422, { detail: [{ loc: ["body"], msg: "no" }] }, "Together says: no."],
      ["another tag", 401, error("no", null, null, "key_id"), "Together says: no."]
    ])("names the field that is blamed: %s", (_, status, body, said) => {
      expect(classify(status, body).message).toContain(said)
    })

    it("names no field that holds a prompt, and one where no prompt is at hand", () => {
      const body = error("no", null, null, "a_secret_of_the_prompt")
      const { message } = classify(400, body, {}, { secrets: { prompts: ["a_secret_of_the_prompt"] } })
      expect(message).toContain("Together says: no.")
      const unknown = classify(400, error("no", null, null, "top_p"), {}, { secrets: { prompts: "unknown" } })
      expect(unknown.message).toContain("of the field top_p: [withheld].")
    })

    it("names the kinds of an error whose sentence is withheld", () => {
      const body = error("clip-of-karl.wav is too large", "invalid_request_error", "file_too_large")
      expect(classify(400, body, {}, { secrets: { prompts: "unknown" } }).message).toBe(
        "The request was refused (400). Together says: [withheld], invalid_request_error, file_too_large. Correct the request."
      )
    })

    it.each<[string, unknown, number | undefined]>([
      ["a number under code", { error: { code: 400 } }, 400],
      ["text under code", { code: "503" }, 503],
      ["a number under status", { status: 429, code: "slow" }, 429],
      ["the nested before the flat", { error: { status: 404 }, status: 500 }, 404],
      ["no status of an error", { code: 200 }, undefined],
      ["no number", { code: "invalid_api_key", status: { valueOf: null, toString: null } }, undefined]
    ])("reads the status that a body names: %s", (_, body, status) => {
      expect(ErrorBody.parse(JSON.stringify(body)).status).toBe(status)
    })

    it.each(["", "   ", "{}", "[]", "null", "{", "\u0000", "<", "42", "{\"error\":null}"])(
      "survives %j",
      (body) => {
        const result = classify(500, body)
        expect(result._tag).toBe("ServerError")
        expect(result.message).toMatch(/^The provider failed \(500\)\./)
      }
    )
  })

  it("takes the request id from the header first, and from the edge last", () => {
    expect(classify(500, { id: "body" }, { "x-request-id": "header", "cf-ray": "ray" }).requestId).toBe("header")
    expect(classify(500, "", { "cf-ray": "ray" }).requestId).toBe("ray")
  })

  it("takes for an id what is one word without a secret in it", () => {
    const secrets = { apiKey: "key/of+mine", headers: ["header-of-mine"], prompts: ["Karl_Maier_is_ill"] }
    const idOf = (id: string) => classify(400, { id }, { "x-request-id": id, "cf-ray": "ray" }, { secrets }).requestId
    expect(idOf("oaQ3nT8-4yUbBN-9a")).toBe("oaQ3nT8-4yUbBN-9a")
    for (const id of ["Karl Maier is ill", "x".repeat(129), "key/of+mine", "header-of-mine.", "a.Karl_Maier_is_ill"]) {
      expect(idOf(id)).toBe("ray")
    }
  })

  it("carries the hint and names it in the remedy", () => {
    const result = classify(429, error("slow"), { "x-ratelimit-reset": "2" })
    expect(result.retryAfter).toEqual(Duration.seconds(2))
    expect(result.message).toContain("Wait 2 s")
    expect(classify(429, error("slow"), { "x-ratelimit-reset": "0" }).message).toMatch(
      /\. Send at a steady, lower rate/
    )
    expect(classify(503, "", { "retry-after-ms": "1" }).message).toContain("a brief wait, or")
  })

  it("says where a server redirects, by its origin alone, and what to do", () => {
    const { _tag, message } = classify(302, "", { location: "https://other.example/v1?token=secret" })
    expect([_tag, message]).toEqual([
      "InvalidRequestError",
      "The server redirects (302) to https://other.example, and the redirect was not followed: what is sent goes to the " +
      "base URL and nowhere else. Set TOGETHER_BASE_URL or baseUrl to the final address."
    ])
    expect(classify(307, "", { location: "/elsewhere" }).message).toMatch(/^The server redirects \(307\), and/)
    expect(classify(0, "").message).toMatch(/^The server redirects, and/)
    expect(classify(200, error("odd")).message).toMatch(/^The request was refused \(200\)/)
  })

  it.each<[status: number, tag: string]>([
    [401, "PermissionDeniedError"],
    [402, "PermissionDeniedError"],
    [403, "PermissionDeniedError"],
    [404, "NotFoundError"],
    [410, "NotFoundError"],
    [429, "ServerError"],
    [408, "ServerError"],
    [503, "ServerError"]
  ])("reads a %i from where a redirect led as %s of that host", (status, tag) => {
    const body = JSON.stringify(error("Credit limit exceeded, says a secret of mine", "insufficient_quota"))
    const answer = { status, headers: { "retry-after": "2" }, body, operation: "files", model: "", nowMillis: 0 }
    const result = Classify.fromElsewhere({ ...answer, secrets: { prompts: ["a secret of mine"] } }, "store.example")
    expect(result).toMatchObject({ _tag: tag, status, operation: "files", retryAfter: Duration.seconds(2) })
    expect(result.message).toContain(`The server redirects to store.example, which answered ${status}.`)
    expect(result.body).toContain("[prompt]")
    expect(Classify.fromElsewhere({ ...answer, body: "" }, "store.example").body).toBeUndefined()
  })

  it("reads x-should-retry", () => {
    expect(classify(500, "", { "x-should-retry": "false" }).shouldRetry).toBe(false)
    expect(classify(400, "", { "x-should-retry": " TRUE " }).shouldRetry).toBe(true)
    expect(classify(400, "", { "x-should-retry": "perhaps" }).shouldRetry).toBeUndefined()
    expect(classify(500, "", { "x-should-retry": "false, false" }).shouldRetry).toBe(false)
    expect(classify(500, "", { "x-should-retry": "true,False" }).shouldRetry).toBe(false)
    expect(classify(400, "", { "x-should-retry": "true, true" }).shouldRetry).toBe(true)
  })

  it("keeps the key and the prompt out of body and message", () => {
    const apiKey = "tgp_v1_0123456789abcdefghij"
    const prompt = "My secret diary begins on a \"rainy\" day in April"
    const echoed = error(`Input validation error for ${apiKey}: ${prompt}`)
    const result = classify(400, echoed, {}, { secrets: { apiKey, prompts: [prompt] } })
    const everything = JSON.stringify({ ...result, message: result.message })
    expect(everything).not.toContain("diary")
    expect(everything).not.toContain(apiKey)
    expect(result.body).toContain("[prompt]")
  })

  it("recognizes a prompt that the provider cut short", () => {
    const prompt = "My secret diary begins on a rainy day in April, and goes on for a long time after that"
    const result = classify(400, error(`Given: ${prompt.slice(0, 40)}`), {}, { secrets: { prompts: [prompt] } })
    expect(result.body).not.toContain("diary")
  })

  it("looks for the title of a page near its start, in good time", () => {
    expect(ErrorBody.parse("<html>" + "<title ".repeat(100_000))).toMatchObject({ message: undefined, page: true })
    expect(ErrorBody.parse(`<html>${" ".repeat(60_000)}<title lang="en">Bad gateway</title>`).message).toBe(
      "Bad gateway"
    )
    expect(ErrorBody.parse(`<html>${" ".repeat(70_000)}<title>Bad gateway</title>`).message).toBeUndefined()
  }, 1000)

  it("bounds the body", () => {
    expect(classify(500, "x".repeat(100_000)).body?.length).toBe(2000)
    expect(classify(500, "x".repeat(100_000)).message.length).toBeLessThan(1000)
  })

  it("says the remedy in Together's own terms", () => {
    expect(classify(402, error("x")).message).toContain("https://api.together.ai/settings/billing")
    expect(classify(524, "").message).toContain("Stream the answer")
    expect(classify(401, "").message).toContain("TOGETHER_API_KEY")
  })

  it.each<[operation: string | undefined, model: string, status: number, remedy: RegExp]>([
    ["files.get", "", 404, /\. Check the id and the base URL\.$/],
    ["chat", "m", 404, /\. Check the model name and the base URL\.$/],
    ["batches.create", "", 524, /\. Try again after a brief wait; contact/],
    ["images", "m", 524, /\. Try again after a brief wait; contact/],
    ["completionsStream", "m", 524, /\. Stream the answer or lower max_tokens/],
    ["files.list", "", 503, /\. Try again after a brief wait\.$/],
    ["embeddings", "m", 503, /\. Try again after a brief wait, or use another model\.$/],
    ["batches.get", "", 403, /may use this endpoint, and/],
    [undefined, "", 503, /\. Try again after a brief wait, or use another model\.$/]
  ])("says a remedy that fits the operation: %s of %s, %s", (operation, model, status, remedy) => {
    expect(classify(status, "", {}, { operation, model }).message).toMatch(remedy)
  })
})

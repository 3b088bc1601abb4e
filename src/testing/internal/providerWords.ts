/**
 * Keeps of a provider's message its own words, by which an error is known, and drops all others: they may be a prompt's,
 * however they are quoted, cut or escaped.
 */
const words = new Set(
  ("a about above access account accounts add additional after again agreement agreements all allow allowed an " +
    "and any api api_key are as at attempts authentication available bad balance banned be because been before " +
    "being below between bill billing bills blocked body brief but by can cannot center check client closed " +
    "cloudflare code completion concurrency concurrent conflict connection content context continue could count " +
    "countries country create creation credit credit_limit credits current currently data decommissioned decrease " +
    "dedicated deleted denied deprecated detail details differs disabled dns doctype does done down due dynamic " +
    "edge encountered endpoint engine enqueued entity error errors event exceed exceeded exceeding exceeds " +
    "expired failed failure false fast field file files find fine-tune flight for forbidden format found free " +
    "from full funds gated gateway general given h1 has have head higher hop host hr html id if in in-flight " +
    "incorrect increase inference input inputs insufficient insufficient_quota internal invalid invoice is it its " +
    "job json key know large later least length less licence licences license licensed licenses limit limited " +
    "limiting limits list long longer longest low lower make many max max_new_tokens max_tokens maximum may " +
    "message messages minute missing model model_rate_limit models monthly more most must navigate need negative " +
    "new nginx no non non-serverless not null number object of off on one only open or organisation organization " +
    "origin other out output over overloaded own p page paid param parameter past past-due pay payload payment " +
    "per permission ping plan please positive priority project prompt provided provider published qps quantity " +
    "queries query queue quota raise ran range rate rate-limit rate-limited rate-limiting rate_limit rates ray " +
    "reached read ready reason receive refused region regions rejected replicas request requested requests " +
    "required reset resource response retired retry revoked rpm rps run schema second seconds see sequence server " +
    "serverless service should simultaneous size slots slow specific spend spending spent start started state " +
    "status stop stream streams string sufficient support supported suspended system temporarily that the there " +
    "this throttled throttling tier time timed timeout title to together together.ai token tokens too tool tools " +
    "top top-up tpd tpm tps true try turned type unable unauthenticated unauthorised unauthorized unavailable " +
    "under unexpected unknown unprocessable unsupported until up upgrade upstream url usage use used user valid " +
    "validation value values visit wait was were while will window with within without x-ratelimit-reset you your")
    .split(" ")
)

const word = /[\p{L}_][\p{L}\p{M}\p{N}_./-]*[\p{L}\p{M}\p{N}_]|\p{L}/gu

/** Lists the words of a text that are not the provider's, each once. */
export const others = (text: string): ReadonlyArray<string> =>
  [...new Set(text.match(word))].filter((found) => !words.has(found.toLowerCase()))

/** Replaces the words that are not the provider's; those of `kept`, and numbers that `quotes` does not hold, stay. */
export const only = (text: string, kept: ReadonlySet<string>, quotes: (digits: string) => boolean): string =>
  text
    .replace(
      /&#?\w+;|\\u[0-9a-f]{4}|%[0-9a-f]{2}/gi,
      (escape) => /^&(?:lt|gt|amp|quot);$/.test(escape) ? escape : "…"
    )
    .replace(word, (found) => words.has(found.toLowerCase()) || kept.has(found) ? found : "…")
    .replace(/\d[\d.]*\d|\d/g, (digits) => quotes(digits) ? "…" : digits)
    .replace(/…(?:[^\p{L}\p{N}<>"'“”]*…)+/gu, "…")

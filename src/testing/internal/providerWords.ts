/**
 * Keeps of a provider's message its own words, by which an error is known, and drops all others: they may be a prompt's,
 * however they are quoted, cut or escaped.
 */
const words = new Set(
  ("a about above access account add additional after again agreement all allow allowed and any api are as at attempts " +
    "authentication available bad balance banned be because before being below between billing blocked body brief but by " +
    "cannot check client code completion concurrency concurrent conflict connection content context could count " +
    "country create credit credits currently data dedicated denied deprecated details differs disabled does doctype down " +
    "dns due dynamic edge encountered endpoint engine entity error errors event exceed exceeded exceeds expired failed " +
    "failure fast field file files find flight for forbidden format found free from full funds gated gateway general given " +
    "has have html head h1 center hr host id if in incorrect inference input inputs insufficient internal invalid invoice is " +
    "it its json key know large later least length less license limit limited limiting limits long longer max " +
    "max_new_tokens max_tokens maximum may message messages minute missing model models more most must navigate need " +
    "negative new no non not nginx null number object of on only open or organization organisation origin out output over " +
    "overloaded p page param parameter past pay payload payment per permission plan please positive priority prompt provided " +
    "provider published qps quantity queries query queue quota ran rate rates rate-limit reached read reason receive " +
    "refused region rejected request requested requests required reset response resource retired retry revoked rpm rps ray " +
    "run schema second seconds sequence server serverless service simultaneous size slow specific spending start started " +
    "state status stop stream supported suspended system temporarily that the there this throttled tier time timed timeout " +
    "title to together together.ai token tokens too top tps tpm true false try type unable unauthorized unavailable " +
    "unexpected unknown unprocessable unsupported up upgrade upstream url usage use user valid validation value values " +
    "visit wait was were while will window with within you your x-ratelimit-reset cloudflare done ping data event retry")
    .split(" ")
)

const word = /[\p{L}_][\p{L}\p{M}\p{N}_./-]*[\p{L}\p{M}\p{N}_]|\p{L}/gu

/** Replaces the words that are not the provider's; those of `kept`, and numbers that `quotes` does not hold, stay. */
export const only = (text: string, kept: ReadonlySet<string>, quotes: (digits: string) => boolean): string =>
  text
    .replace(
      /&#?\w+;|\\u[0-9a-f]{4}|%[0-9a-f]{2}/gi,
      (escape) => /^&(?:lt|gt|amp|quot);$/.test(escape) ? escape : "…"
    )
    .replace(word, (found) => words.has(found.toLowerCase()) || kept.has(found) ? found : "…")
    .replace(/\d[\d.]*\d|\d/g, (digits) => quotes(digits) ? "…" : digits)
    .replace(/…(?:[^\p{L}\p{N}<>]*…)+/gu, "…")

/** The flags of `run`, and what they mean. `plan` and `simulate` share those about the input. */
import * as Config from "effect/Config"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Money from "../domain/Money.ts"
import type * as Row from "../job/Row.ts"
import * as Format from "./Format.ts"
import * as LastFlag from "./LastFlag.ts"
import { variable } from "./Settings.ts"

/** Makes flags of one type that may be settings too. */
const setting =
  <A>(flag: (name: string) => Flag.Flag<A>, config: (name: string) => Config.Config<A>) =>
  (name: string, description: string): Flag.Flag<A> =>
    flag(name).pipe(Flag.withDescription(description), Flag.withFallbackConfig(config(variable(name))))

const string = setting(LastFlag.String, Config.String)
const finite = setting(LastFlag.Finite, Config.Finite)
const int = setting(LastFlag.Int, Config.Int)

const text = (name: string, description: string) => LastFlag.orNone(string(name, description))

/** Flag that names a file or a directory, and may be a setting. */
const path = (name: string, description: string, metavar: string) =>
  LastFlag.orNone(LastFlag.filled(name, Flag.withMetavar(string(name, description), metavar)))

const whole = (name: string, description: string) => LastFlag.orNone(LastFlag.positive(name, int(name, description)))

const rate = (name: string, description: string) => LastFlag.orNone(LastFlag.positive(name, finite(name, description)))

/** Flag of one of several words, which may be a setting. */
const choice = <const Words extends ReadonlyArray<string>>(name: string, words: Words, description: string) =>
  setting((name) => LastFlag.Literals(name, words), (name) => Config.Literals(words, name))(name, description)

const off = (name: string, description: string) =>
  LastFlag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

/** Flag whose text is read by a function, and whose value may have to be above 0. */
const read = <A>(
  name: string,
  metavar: string,
  description: string,
  parse: (text: string) => A | undefined,
  expected: string,
  isAbove: (value: A) => boolean = () => true
) => {
  const text = string(name, description).pipe(
    Flag.withMetavar(metavar),
    Flag.filter((given) => {
      const value = parse(given)
      return value === undefined || isAbove(value)
    }, (given) => `--${name} must be above 0, got ${given}`)
  )
  return LastFlag.orNone(Flag.filterMap(
    text,
    (given) => Option.fromUndefinedOr(parse(given)),
    (given) => `--${name} must be ${expected}, got ${JSON.stringify(given)}`
  ))
}

/** The argument that names the input. */
export const input = Argument.String("input").pipe(
  Argument.filter((path) => path.trim() !== "", () => "input must not be empty: give a path, or - for standard input"),
  Argument.withDescription("JSONL file of prompts (.gz is gunzipped), or - for standard input")
)

/** Flags about how lines become rows. */
export const rowFlags = {
  model: text("model", "Model of rows that name none"),
  maxTokens: whole("max-tokens", "max_tokens of rows that set none"),
  temperature: LastFlag.orNone(finite("temperature", "temperature of rows that set none")),
  system: LastFlag.orNone(Flag.filter(
    string("system", "System message of rows that have none"),
    (message) => message.trim() !== "",
    () => "--system must not be empty: give a message, or leave it out"
  )),
  range: read(
    "range",
    "FROM:TO",
    "Only these lines, both ends included: 1:100, 500:, :20",
    Format.parseRange,
    "like 1:100, 500: or :20"
  ),
  sample: whole("sample", "Only this many lines, chosen at random"),
  seed: LastFlag.Int("seed").pipe(
    Flag.withDescription("Seed of the sample, and of the emulator's random numbers (default: 1)"),
    Flag.withDefault(1)
  )
}

/** Reads the row options out of the flags. */
export const rowOptions = (flags: {
  readonly model: string | undefined
  readonly maxTokens: number | undefined
  readonly temperature: number | undefined
  readonly system: string | undefined
}): Row.Options => ({
  model: flags.model,
  system: flags.system,
  ...(flags.maxTokens === undefined && flags.temperature === undefined
    ? {}
    : {
      body: {
        ...(flags.maxTokens === undefined ? {} : { max_tokens: flags.maxTokens }),
        ...(flags.temperature === undefined ? {} : { temperature: flags.temperature })
      }
    })
})

/** Flags about limits that are known. */
export const limitFlags = {
  requestsPerMinute: rate(
    "requests-per-minute",
    "Never send more requests per minute to one model (its limit is found below that)"
  ),
  tokensPerMinute: rate("tokens-per-minute", "Never send more tokens per minute to one model"),
  maxInFlight: whole("max-in-flight", "Never have more requests to one model in flight"),
  policy: path("policy", "Policy document: retry, lanes, onCredits", "FILE")
}

/** The flag that names the directory of a run's files. */
export const outDir = path("out-dir", "Directory of results, errors and journal (default: that of the input)", "DIR")

/** Lists the flags of `run`. */
export const runFlags = {
  input,
  ...rowFlags,
  ...limitFlags,
  output: LastFlag.orNone(LastFlag.filled(
    "output",
    LastFlag.String("output").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Results file, or - for standard output (default: NAME.results.jsonl for NAME.jsonl)")
    )
  )),
  errors: LastFlag.file(
    "errors",
    "File of failed rows and bad lines (default: beside the results, NAME.errors.jsonl)"
  ),
  journal: LastFlag.file("journal", "Journal file (default: beside the results, NAME.results.jsonl.journal)"),
  outDir,
  order: choice("order", ["completion", "input"], "Order of the results (default: completion)").pipe(
    Flag.withDefault("completion" as const)
  ),
  concurrency: whole("concurrency", "Most rows under way at a time (default: 256; the limit itself is found)"),
  retryErrors: off("retry-errors", "Send rows again that failed in an earlier run"),
  changed: choice(
    "changed",
    ["stop", "keep", "resend"],
    "What to do if the input has changed since the journal was begun (default: stop)"
  ).pipe(Flag.withDefault("stop" as const)),
  dedupe: off("dedupe", "Send identical requests once; if one fails, the next is sent"),
  cache: path("cache", "Directory of answers to take from and add to, across jobs", "DIR"),
  via: choice(
    "via",
    ["calls", "batch"],
    "calls: one request for each row; batch: Together's Batch API, cheaper, within a day (default: calls)"
  ).pipe(Flag.withDefault("calls" as const)),
  poll: read(
    "poll",
    "SPAN",
    "With --via batch: time between two looks (default: 30s)",
    Format.parseSpan,
    "a span, like 30s",
    (span) => span > 0
  ),
  maxCost: read(
    "max-cost",
    "USD",
    "Stop before this much is spent, earlier runs of the journal included",
    Money.parse,
    "an amount in dollars, like 2.50",
    (amount) => amount > 0n
  ),
  maxTime: read(
    "max-time",
    "SPAN",
    "Stop after this long: 90s, 10m, 2h",
    Format.parseSpan,
    "a span, like 90s, 10m or 2h",
    (span) => span > 0
  ),
  failOnError: off("fail-on-error", "Stop at the first row that fails; a bad line does not stop it"),
  onCredits: LastFlag.orNone(
    choice(
      "on-credits",
      ["stop", "wait"],
      "When credits run out: stop, or wait until the account is topped up (default: stop)"
    )
  ),
  baseUrl: text("base-url", "Base URL (default: TOGETHER_BASE_URL, else https://api.together.ai/v1)"),
  emulator: off("emulator", "Talk to an emulator started for this run; no key, no cost"),
  emulatorConfig: LastFlag.file("emulator-config", "Options of the emulator, as JSON"),
  live: off("live", "Talk to Together, even where --emulator is given"),
  report: LastFlag.file("report", "Write a report as one HTML page"),
  json: off("json", "Write the summary to standard output, as JSON"),
  quiet: LastFlag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDescription("No progress and no summary; only say why a run stopped, and how many rows failed"),
    Flag.withDefault(false)
  )
}

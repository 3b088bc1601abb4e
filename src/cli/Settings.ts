/**
 * Where a flag's value comes from when it is not on the command line: environment, then config file.
 *
 * The flag `--max-cost` is `EFFECT_TOGETHER_MAX_COST` in the environment and `"max-cost"` in the config file, which is
 * `.effect-together.json` in the working directory, else `effect-together/config.json` below `$XDG_CONFIG_HOME` (or
 * `~/.config`). An unknown key in the file is refused, so that a typing error does not pass in silence.
 *
 * The API key comes from `TOGETHER_API_KEY` only: never from the command line, where other users see it, and never
 * from the config file, which ends up in repositories.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as CommandLine from "./CommandLine.ts"
import * as Nearest from "./Nearest.ts"

/** Names the flags that environment and config file may set; `base-url` is `TOGETHER_BASE_URL` in the environment. */
export const names = [
  "base-url",
  "model",
  "max-tokens",
  "temperature",
  "system",
  "concurrency",
  "order",
  "changed",
  "via",
  "max-cost",
  "max-time",
  "policy",
  "cache",
  "out-dir",
  "requests-per-minute",
  "tokens-per-minute",
  "max-in-flight",
  "on-credits"
] as const

/** Tells whether environment and config file may set a flag. */
export const isSetting = (flag: string): boolean => (names as ReadonlyArray<string>).includes(flag)

/** Names the environment variable of a flag. */
export const variable = (flag: string): string =>
  flag === "base-url" ? "TOGETHER_BASE_URL" : `EFFECT_TOGETHER_${flag.toUpperCase().replaceAll("-", "_")}`

/** Holds what environment and config file say. */
export interface Given {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The config file, where there is one. */
  readonly file: string | undefined
}

/** Holds what environment and config file say to the command that runs. */
export const Current: Context.Reference<Given> = Context.Reference<Given>("effect-together/cli/Settings/Current", {
  defaultValue: () => ({ env: {}, file: undefined })
})

/** Says where the value of a flag came from that is not on the command line. */
export const sourceOf = (flag: string, { env, file }: Given): string =>
  file === undefined || (env[variable(flag)] ?? "") !== ""
    ? `${variable(flag)} in the environment`
    : `${JSON.stringify(flag)} in ${file}`

/** Says where the value of a flag comes from, or nothing where it is on the command line. */
export const beside = (flag: string, args: ReadonlyArray<string>): Effect.Effect<string | undefined> =>
  Effect.map(Current, (given) => CommandLine.has(args, flag) ? undefined : sourceOf(flag, given))

const known: ReadonlyArray<string> = names.map(variable)

/** Tells whether a variable looks like a setting but is not one. */
const isUnknown = (name: string): boolean => name.startsWith("EFFECT_TOGETHER_") && !known.includes(name)

/** Warns of variables that look like settings but are not. */
export const unknownVariables = (env: Readonly<Record<string, string | undefined>>): ReadonlyArray<string> =>
  Object.keys(env).filter(isUnknown).map((name) => {
    const meant = Nearest.of(name, known)
    return `${name} in the environment is no setting and does nothing${
      meant === undefined ? "" : `: did you mean ${meant}?`
    }`
  })

/** Lists the places where a config file may be, the first that exists counts. */
export const places = (
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
  home: string
): ReadonlyArray<string> => [
  `${cwd}/.effect-together.json`,
  `${env["XDG_CONFIG_HOME"] ?? `${home}/.config`}/effect-together/config.json`
]

/** Writes a number without an exponent, as one would type it. */
const plain = (value: number): string =>
  value.toLocaleString("en-US", { useGrouping: false, maximumFractionDigits: 20 })

/** Reads a config file's text into environment variables, or says what is wrong with it. */
export const fromFile = (path: string, text: string): Result.Result<Record<string, string>, string> => {
  const parsed = Result.try((): unknown => JSON.parse(text))
  if (Result.isFailure(parsed)) return Result.fail(`${path} is not JSON. Correct it, or remove it.`)
  const value = parsed.success
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return Result.fail(`${path} must hold a JSON object of flags, such as {"concurrency": 64}.`)
  }
  const out: Record<string, string> = {}
  for (const [key, setting] of Object.entries(value)) {
    if (!isSetting(key)) {
      const hint = /key/i.test(key)
        ? " The API key is read from TOGETHER_API_KEY only."
        : ` Known: ${names.join(", ")}.`
      return Result.fail(`${path} has the unknown key ${JSON.stringify(key)}.${hint}`)
    }
    if (typeof setting !== "string" && typeof setting !== "number" && typeof setting !== "boolean") {
      return Result.fail(`${path}: ${key} must be a string, a number or a boolean.`)
    }
    out[variable(key)] = typeof setting === "number" ? plain(setting) : String(setting)
  }
  return Result.succeed(out)
}

/** Makes the provider of values for absent flags: environment over file, without variables that are not settings. */
export const provider = (
  env: Readonly<Record<string, string | undefined>>,
  file: Readonly<Record<string, string>>
): ConfigProvider.ConfigProvider => {
  const merged: Record<string, string> = { ...file }
  for (const [key, value] of Object.entries(env)) {
    if (value !== undefined && value !== "" && !isUnknown(key)) merged[key] = value
  }
  return ConfigProvider.fromEnvRecord(merged)
}

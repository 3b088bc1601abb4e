/** Numbers, money and durations as people read them. */
import * as Money from "../domain/Money.ts"

/** Writes a whole number with separators: `12,345`. */
export const count = (value: number): string => Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",")

/** Writes a rate with fitting precision: `0.42`, `9.8`, `4,120`. */
export const rate = (value: number): string =>
  value === 0
    ? "0"
    : value >= 100
    ? count(value)
    : value >= 10
    ? value.toFixed(0)
    : value >= 1
    ? value.toFixed(1)
    : value.toFixed(2)

/** Writes seconds as a clock: `0:21`, `12:04`, `1:02:03`. */
export const clock = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return "–"
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number) => String(value).padStart(2, "0")
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor(whole / 60) % 60
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

/** Writes seconds as a span: `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`. */
export const span = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return "unknown"
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 59.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`
  if (seconds < 3600) {
    const whole = Math.round(seconds)
    return `${Math.floor(whole / 60)} min${whole % 60 === 0 ? "" : ` ${whole % 60} s`}`
  }
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h${minutes % 60 === 0 ? "" : ` ${minutes % 60} min`}`
}

/** Writes nano-dollars: `$0.0123`. */
export const usd = (nano: bigint): string => Money.format(nano)

/** Writes a share as a percentage: `62%`. */
export const percent = (share: number): string => `${Math.round(share * 100)}%`

/** Writes `1 row`, `2 rows`. */
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`

/** Reads a span as people write it (`90s`, `10m`, `1.5h`, `2 days`) into milliseconds, or nothing. */
export const parseSpan = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?|d|days?)$/.exec(text.trim())
  if (match === null) return undefined
  const unit = match[2]!
  const factor = unit === "ms"
    ? 1
    : unit.startsWith("s")
    ? 1000
    : unit.startsWith("m")
    ? 60_000
    : unit.startsWith("h")
    ? 3_600_000
    : 86_400_000
  return Number(match[1]) * factor
}

/** Reads a range of lines (`10:20`, `:100`, `500:`, `7`), both ends included, or nothing. */
export const parseRange = (text: string): { readonly from: number; readonly to: number } | undefined => {
  const match = /^(\d*)(?:([:-])(\d*))?$/.exec(text.trim())
  if (match === null || text.trim() === "") return undefined
  const from = match[1] === "" ? 1 : Number(match[1])
  const to = match[2] === undefined ? from : match[3] === "" ? Infinity : Number(match[3])
  return from >= 1 && to >= from ? { from, to } : undefined
}

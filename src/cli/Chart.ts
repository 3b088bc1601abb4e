/**
 * Charts as inline SVG: no script, no font, no file. Colours come from CSS variables of the page around, so that one
 * drawing serves light and dark.
 */
import * as Style from "./Style.ts"

/** Writes text safely into HTML and SVG, with its control characters made visible: XML forbids most of them. */
export const escape = (text: string): string => {
  const shown = Style.visible(text).replaceAll("&", "&amp;")
  return shown.replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")
}

const variables = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--soft:#5c6470;--line:#e3e6ea;--blue:#2563eb;--green:#0f9d6b;--amber:#b7791f;--red:#d64545;--violet:#7c4dce}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#161b22;--ink:#e8eaed;--soft:#98a2b0;--line:#2a313b;--blue:#6ea8fe;--green:#4cc38a;--amber:#e0b04c;--red:#ff7b72;--violet:#b794f6}}
`

const svgStyle = `
svg text{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
`

const css = `${variables}${svgStyle}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1000px;margin:0 auto;padding:32px 20px 64px}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:8px 14px;margin-bottom:22px}
h1{font-size:22px;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
header p{margin:0;color:var(--soft);flex-basis:100%}
.badge{padding:2px 11px;border-radius:99px;font-size:13px;font-weight:600;background:color-mix(in srgb,var(--c) 14%,transparent);color:var(--c)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin-bottom:16px}
.card,figure,section{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:13px 16px}
.card b{display:block;font-size:23px;letter-spacing:-.02em;line-height:1.25;white-space:nowrap}
.card span{color:var(--soft);font-size:13px}
.card em{font-style:normal;color:var(--soft);font-size:12.5px;display:block;margin-top:2px}
figure{margin:0 0 16px;padding:15px 17px 10px}
figcaption,h2{font-size:15px;font-weight:600;margin:0 0 4px}
svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:3px 16px;color:var(--soft);font-size:13px;margin-bottom:7px}
.legend i{display:inline-block;width:14px;height:10px;margin-right:6px;border-radius:2px;vertical-align:-1px}
.legend .area{background:color-mix(in srgb,var(--c) 22%,transparent);border-top:2px solid var(--c)}
.legend .line{height:0;border-top:2px solid var(--c);vertical-align:4px}
.legend .step{height:0;border-top:2px dashed var(--c);vertical-align:4px}
.legend .mark{width:3px;background:var(--c)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:0 16px}
.bars{padding:5px 0 6px}
.bar{display:grid;grid-template-columns:minmax(74px,max-content) 1fr minmax(58px,max-content);gap:12px;align-items:center;font-size:13.5px;padding:3.5px 0}
.bar .track{background:color-mix(in srgb,var(--soft) 13%,transparent);border-radius:5px;overflow:hidden}
.bar b{display:block;height:11px;border-radius:5px}
.bar .value{text-align:right;color:var(--soft)}
section{padding:15px 17px;margin-bottom:16px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;color:var(--soft);font-weight:500;border-bottom:1px solid var(--line);padding:5px 10px 5px 0;white-space:nowrap}
td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.none{color:var(--soft);margin:6px 0 8px;font-size:14px}
footer{color:var(--soft);font-size:13px;margin-top:22px}
@media (max-width:520px){main{padding:20px 12px 40px}.two{grid-template-columns:1fr}}
`

/** Makes a whole page around a body: its style, light and dark, no script and no network. */
export const page = (title: string, body: string): string =>
  `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>${escape(title)}</title><style>${css}</style></head>
<body><main>${body}</main></body></html>
`

/** A line or an area of a chart. */
export interface Series {
  readonly label: string
  /** Name of a CSS variable. */
  readonly color: string
  readonly kind: "area" | "line" | "step"
  /** Points in order of `x`; a `y` that is not finite breaks the line. */
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

/** A stretch of the x axis, shaded from top to bottom. */
export interface Band {
  readonly from: number
  readonly to: number
  readonly color: string
}

/** Describes a chart over time. */
export interface Chart {
  readonly title: string
  readonly series: ReadonlyArray<Series>
  readonly bands?: ReadonlyArray<Band> | undefined
  /** Marks on the x axis: `[x, weight]`, drawn as ticks as high as their share of the heaviest. */
  readonly marks?: {
    readonly label: string
    readonly color: string
    readonly points: ReadonlyArray<readonly [number, number]>
  } | undefined
  readonly formatX: (value: number) => string
  readonly formatY: (value: number) => string
  readonly maxX: number
  readonly height?: number | undefined
}

/** Divides an axis that reaches `most`, into at most five steps of 1, 2, 2.5 or 5 times a power of ten. */
export const scale = (most: number): { readonly step: number; readonly highest: number } => {
  if (!(most > 0) || !Number.isFinite(most)) return { step: 1, highest: 1 }
  const least = most / 5
  const power = 10 ** Math.floor(Math.log10(least))
  const factor = [1, 2, 2.5, 5, 10].find((each) => each * power >= least * 0.999999) ?? 10
  const step = factor * power
  return { step, highest: step * Math.ceil(most / step - 0.000001) }
}

const round = (value: number): string => (Math.round(value * 10) / 10).toString()

const width = 920
const left = 56
const right = 12
const top = 12
const bottom = 34

interface Frame {
  readonly x: (value: number) => number
  readonly y: (value: number) => number
  readonly base: number
}

const path = (series: Series, frame: Frame): string => {
  let out = ""
  let open = false
  let before = 0
  for (const [x, y] of series.points) {
    if (!Number.isFinite(y)) {
      open = false
      continue
    }
    const at = `${round(frame.x(x))} ${round(frame.y(y))}`
    if (!open) out += `M${at}`
    else if (series.kind === "step") out += `L${round(frame.x(x))} ${round(frame.y(before))}L${at}`
    else out += `L${at}`
    before = y
    open = true
  }
  return out
}

const drawn = (series: Series, frame: Frame): string => {
  const line = path(series, frame)
  if (line === "") return ""
  const stroke = `<path d="${line}" fill="none" stroke="var(${series.color})" stroke-width="${
    series.kind === "step" ? 1.75 : 2
  }" stroke-linejoin="round"${series.kind === "step" ? " stroke-dasharray=\"5 3\"" : ""}/>`
  if (series.kind !== "area") return stroke
  const first = series.points[0]![0]
  const last = series.points[series.points.length - 1]![0]
  const fill = `${line}L${round(frame.x(last))} ${round(frame.base)}L${round(frame.x(first))} ${round(frame.base)}Z`
  return `<path d="${fill}" fill="var(${series.color})" fill-opacity="0.16"/>${stroke}`
}

const isDrawn = (series: Series): boolean => series.points.some(([, y]) => Number.isFinite(y))

const legend = (chart: Chart): string => {
  const items = [
    ...chart.series.filter(isDrawn).map(({ color, kind, label }) => ({ color, label, kind })),
    ...(chart.marks === undefined
      ? []
      : [{ color: chart.marks.color, label: chart.marks.label, kind: "mark" as const }])
  ]
  return `<div class="legend">${
    items.map(({ color, kind, label }) =>
      `<span><i class="${kind}" style="--c:var(${color})"></i>${escape(label)}</span>`
    ).join("")
  }</div>`
}

const svg = (chart: Chart, attributes: string, last = ""): string => {
  const height = chart.height ?? 240
  const values = chart.series.flatMap((series) => series.points.map(([, y]) => Number.isFinite(y) ? y : 0))
  const { highest, step } = scale(values.reduce((most, value) => Math.max(most, value), 1e-9) * 1.05)
  const maxX = Math.max(chart.maxX, 1e-9)
  const base = height - bottom
  const frame: Frame = {
    x: (value) => left + value / maxX * (width - left - right),
    y: (value) => base - value / highest * (base - top),
    base
  }
  const shares = [0, 0.25, 0.5, 0.75, 1]
  const rows = Array.from({ length: Math.round(highest / step) + 1 }, (_, at) => {
    const y = round(frame.y(step * at))
    return `<line x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" class="grid"/>` +
      `<text x="${left - 8}" y="${Number(y) + 4}" text-anchor="end">${escape(chart.formatY(step * at))}</text>`
  })
  const columns = shares.map((share) => {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle"
    const x = round(frame.x(maxX * share))
    return `<text x="${x}" y="${height - 10}" text-anchor="${anchor}">${escape(chart.formatX(maxX * share))}</text>`
  })
  const bands = (chart.bands ?? []).map(({ color, from, to }) => {
    const x = frame.x(from)
    return `<rect x="${round(x)}" y="${top}" width="${round(Math.max(1.5, frame.x(to) - x))}" height="${base - top}" ` +
      `fill="var(${color})" fill-opacity="0.13"/>`
  })
  const { color, points } = chart.marks ?? { color: "", points: [] }
  const heaviest = points.reduce((most, [, weight]) => Math.max(most, weight), 1)
  const marks = points.map(([x, weight]) =>
    `<line x1="${round(frame.x(x))}" x2="${round(frame.x(x))}" y1="${base}" y2="${
      round(base - 6 - 22 * weight / heaviest)
    }" stroke="var(${color})" stroke-width="2"/>`
  )
  return `<svg ${attributes} viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(chart.title)}">${
    [...bands, ...rows, ...columns].join("")
  }${chart.series.map((series) => drawn(series, frame)).join("")}${marks.join("")}<line x1="${left}" x2="${
    width - right
  }" y1="${base}" y2="${base}" class="axis"/>${last}</svg>`
}

/** Draws a chart over time as a figure of a page, with its title and legend. */
export const timeline = (chart: Chart): string =>
  `<figure><figcaption>${escape(chart.title)}</figcaption>${legend(chart)}${svg(chart, "")}</figure>`

/** Draws a chart over time as an SVG file that stands alone, light and dark. */
export const standalone = (chart: Chart): string => {
  let x = left + 8
  const items = chart.series.filter(isDrawn).map(({ color, label }) => {
    const item = `<rect x="${x}" y="${top + 4}" width="12" height="4" rx="2" fill="var(${color})"/>` +
      `<text x="${x + 18}" y="${top + 10}">${escape(label)}</text>`
    x += 40 + label.length * 7
    return item
  })
  const style = `<style>${variables}svg{background:var(--card);font-family:system-ui,sans-serif}${svgStyle}</style>`
  const attributes = `xmlns="http://www.w3.org/2000/svg" width="${width}" height="${chart.height ?? 240}"`
  return `${svg(chart, attributes, `${style}${items.join("")}`)}\n`
}

/** A bar with its label and the text at its end. */
export interface Bar {
  readonly label: string
  readonly value: number
  readonly text: string
  readonly color?: string | undefined
}

/** Draws horizontal bars, with their title. */
export const bars = (title: string, items: ReadonlyArray<Bar>, empty: string): string => {
  const caption = `<figcaption>${escape(title)}</figcaption>`
  if (items.length === 0) return `<figure>${caption}<p class="none">${escape(empty)}</p></figure>`
  const most = Math.max(...items.map((item) => item.value), 1e-9)
  const rows = items.map(({ color, label, text, value }) =>
    `<div class="bar"><span>${escape(label)}</span><span class="track"><b style="width:${
      round(Math.max(0.6, value / most * 100))
    }%;background:var(${color ?? "--blue"})"></b></span><span class="value">${escape(text)}</span></div>`
  )
  return `<figure>${caption}<div class="bars">${rows.join("")}</div></figure>`
}

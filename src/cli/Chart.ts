/**
 * Charts as inline SVG: no script, no font, no file. Colours come from CSS variables of the page around, so that one
 * drawing serves light and dark.
 */

/** Writes text safely into HTML and SVG. */
export const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

/** Is a line or an area of a chart. */
export interface Series {
  readonly label: string
  /** Name of a CSS variable. */
  readonly color: string
  readonly kind: "area" | "line" | "step"
  /** Points in order of `x`; a `y` that is not finite breaks the line. */
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

/** Is a stretch of the x axis, shaded from top to bottom. */
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
  readonly width?: number | undefined
  readonly height?: number | undefined
}

/** Rounds up to a number that divides well: 1, 2, 2.5 or 5 times a power of ten. */
export const nice = (value: number): number => {
  if (!(value > 0) || !Number.isFinite(value)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  const factor = [1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999999) ?? 10
  return factor * power
}

const round = (value: number): string => (Math.round(value * 10) / 10).toString()

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

const legend = (chart: Chart): string => {
  const items = [
    ...chart.series.map(({ color, kind, label }) => ({ color, label, kind })),
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

/** Draws a chart over time, with its title and legend. */
export const timeline = (chart: Chart): string => {
  const width = chart.width ?? 920
  const height = chart.height ?? 240
  const highest = nice(
    Math.max(...chart.series.flatMap((series) => series.points.map(([, y]) => Number.isFinite(y) ? y : 0)), 1e-9) * 1.05
  )
  const maxX = Math.max(chart.maxX, 1e-9)
  const base = height - bottom
  const frame: Frame = {
    x: (value) => left + value / maxX * (width - left - right),
    y: (value) => base - value / highest * (base - top),
    base
  }
  const rows = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = round(frame.y(highest * share))
    return `<line x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" class="grid"/>` +
      `<text x="${left - 8}" y="${Number(y) + 4}" text-anchor="end">${escape(chart.formatY(highest * share))}</text>`
  })
  const columns = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle"
    return `<text x="${round(frame.x(maxX * share))}" y="${height - 10}" text-anchor="${anchor}">${
      escape(chart.formatX(maxX * share))
    }</text>`
  })
  const bands = (chart.bands ?? []).map(({ color, from, to }) =>
    `<rect x="${round(frame.x(from))}" y="${top}" width="${
      round(Math.max(1.5, frame.x(to) - frame.x(from)))
    }" height="${base - top}" fill="var(${color})" fill-opacity="0.13"/>`
  )
  const heaviest = Math.max(1, ...(chart.marks?.points ?? []).map(([, weight]) => weight))
  const marks = (chart.marks?.points ?? []).map(([x, weight]) =>
    `<line x1="${round(frame.x(x))}" x2="${round(frame.x(x))}" y1="${base}" y2="${
      round(base - 6 - 22 * weight / heaviest)
    }" stroke="var(${chart.marks!.color})" stroke-width="2"/>`
  )
  return `<figure><figcaption>${escape(chart.title)}</figcaption>${
    legend(chart)
  }<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(chart.title)}">${
    [...bands, ...rows, ...columns].join("")
  }${chart.series.map((series) => drawn(series, frame)).join("")}${marks.join("")}<line x1="${left}" x2="${
    width - right
  }" y1="${base}" y2="${base}" class="axis"/></svg></figure>`
}

/** Is a bar with its label and the text at its end. */
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

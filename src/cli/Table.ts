/** Tables of text for a terminal: columns as wide as their widest cell, numbers to the right. */
import * as Style from "./Style.ts"

/** A column. */
export interface Column {
  readonly head: string
  readonly align?: "left" | "right" | undefined
}

/** Draws a table. */
export const draw = (
  columns: ReadonlyArray<Column>,
  cells: ReadonlyArray<ReadonlyArray<string>>,
  style: Style.Style = Style.colorless
): string => {
  const rows = cells.map((row) => row.map(style.visible))
  const widths = columns.map((column, at) =>
    Math.max(column.head.length, ...rows.map((row) => Style.width(row[at] ?? "")))
  )
  const cell = (text: string, at: number) => {
    const space = " ".repeat(Math.max(0, widths[at]! - Style.width(text)))
    return columns[at]!.align === "right" ? space + text : text + space
  }
  const line = (cells: ReadonlyArray<string>) => columns.map((_, at) => cell(cells[at] ?? "", at)).join("  ").trimEnd()
  return [style.dim(line(columns.map((column) => column.head))), ...rows.map(line)].map((text) => `${text}\n`).join("")
}

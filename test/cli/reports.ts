import * as Report from "../../src/job/Report.ts"

/** When the reports of these tests begin. */
export const start = 1_000_000

/** A report in which so many rows were answered within five seconds. */
export const answered = (ok: number): Report.Report => {
  const report = Report.make(start)
  for (let i = 0; i < ok; i++) {
    Report.settle(report, start + 5000, {
      kind: "ok",
      line: i,
      id: `r${i}`,
      attempts: 1,
      millis: 100,
      inputTokens: 10,
      outputTokens: 30,
      nanoUsd: 1_000_000n
    })
  }
  return report
}

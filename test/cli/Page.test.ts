import { describe, expect, it } from "@effect/vitest"
import { existsSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Browser } from "playwright-core"
import * as Chart from "../../src/cli/Chart.ts"
import * as Page from "../../src/cli/Page.ts"
import type * as RunEnd from "../../src/cli/RunEnd.ts"
import * as Report from "../../src/job/Report.ts"

const start = Date.UTC(2026, 0, 1)

const context = (): RunEnd.RunEnd => {
  const report = Report.make(start)
  for (let second = 0; second < 120; second++) {
    const now = start + second * 1000
    for (let i = 0; i < 8; i++) {
      Report.attempt(report, now, { status: second % 17 === 0 && i === 0 ? 429 : 200 })
      Report.settle(report, now, {
        kind: "ok",
        line: second * 8 + i,
        id: `r${second}-${i}`,
        model: i % 2 === 0
          ? "openai/gpt-oss-20b"
          : "a/model-with-a-very-long-name-that-has-to-wrap-somewhere-in-the-table",
        attempts: 1,
        millis: 500 + second * 3,
        requestMillis: 400 + second,
        inputTokens: 40,
        outputTokens: 90,
        nanoUsd: 20_000n
      })
    }
    Report.sample(report, now, {
      inFlight: 12 + second % 9,
      limit: 24,
      rate: 8 + second / 30,
      pausedSeconds: second % 17 === 0 ? 1 : 0
    })
  }
  Report.retry(report, "RateLimitError", 1.2)
  Report.retry(report, "ServerError", 0.4)
  Report.decision(report, { at: start + 5000, lane: "default/m", reason: "8 → 9 req/s (<looking for more>)", limit: 9 })
  Report.settle(report, start + 119_000, {
    kind: "failed",
    line: 961,
    id: "<img src=x onerror=alert(1)>\u001b\u202e",
    code: "context_length",
    message: "The prompt & max_tokens exceed <context>\u202e\u0007.",
    attempts: 1,
    millis: 10,
    inputTokens: 0,
    outputTokens: 0
  })
  report.read = 961
  report.endedAt = start + 120_000
  Report.warn(report, "3 rows of \"x\" were not sent")
  return {
    report,
    ending: { stop: undefined, abandoned: new Map() },
    results: "out.jsonl",
    errors: "errors.jsonl",
    journal: "out.jsonl.journal",
    idealSeconds: 110,
    args: ["run", "prompts.jsonl", "--report", "run.html"],
    undone: 0,
    lost: 0
  }
}

const browserPath = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome"
].find(
  (path) => path !== undefined && existsSync(path)
)

describe("Chart", () => {
  it.each([
    [106, 25, 125],
    [47, 10, 50],
    [7665, 2000, 8000],
    [0.9, 0.2, 1],
    [5, 1, 5],
    [1e-9, 2e-10, 1e-9],
    [0, 1, 1],
    [Infinity, 1, 1]
  ])("divides an axis up to %d by %d and ends it at %d", (most, step, highest) => {
    const scale = Chart.scale(most)
    expect(scale.step).toBeCloseTo(step, 12)
    expect(scale.highest).toBeCloseTo(highest, 12)
  })
})

describe("Page", () => {
  it("holds no script, asks for nothing, and escapes what rows and providers say", () => {
    const html = Page.html(context(), "<prompts>.jsonl")
    expect(html).not.toMatch(/<script|<link|@import|url\(|https?:\/\/(?!www\.w3\.org)/)
    expect(html).not.toContain("<img")
    expect(html).toContain("&lt;img src=x onerror=alert(1)&gt;\\u001b\\u202e")
    expect(html).toContain("&lt;context&gt;\\u202e\\u0007.")
    expect(html).toContain("&lt;prompts&gt;.jsonl")
    expect(html).toContain("default-src 'none'")
    expect(html).not.toContain("NaN")
    expect(html).not.toContain("undefined")
  })

  it("lists the first hundred of many models", () => {
    const end = context()
    for (let n = 0; n < 1000; n++) {
      end.report.models.set(`m${n}`, { ok: 1, failed: 0, inputTokens: 1, outputTokens: 1, nanoUsd: 1n, unpriced: 0 })
    }
    const page = Page.html(end, "in.jsonl")
    expect(page).toContain("Models, the first 100 of 1,002")
    expect(page).toContain(">m97<")
    expect(page).not.toContain(">m98<")
  })

  it("takes a model of unknown price for no free one", () => {
    const end = context()
    const rows = (model: string, ...costs: ReadonlyArray<bigint | undefined>) => {
      for (const nanoUsd of costs) {
        const counts = { attempts: 1, millis: 1, inputTokens: 3, outputTokens: 4 }
        Report.settle(end.report, start, { kind: "ok", line: 1, id: "r", model, nanoUsd, ...counts })
      }
    }
    rows("a/priceless", undefined)
    rows("a/free", 0n)
    rows("a/mixed", 2_000_000_000n, undefined)
    const text = Page.html(end, "p.jsonl").replace(/<[^>]*>/g, " ").replace(/ +/g, " ")
    expect(text).toContain("a/priceless 1 0 3 4 unknown")
    expect(text).toContain("a/free 1 0 3 4 $0.00")
    expect(text).toContain("a/mixed 2 0 6 8 $2.00 and 1 row of unknown price")
  })

  it("says why the run ended, how to go on, what was not sent, and whose limit it was", () => {
    const html = Page.html(
      {
        ...context(),
        ending: { stop: { _tag: "MaxTime" }, abandoned: new Map() },
        undone: 466,
        emulated: true,
        uncertainNanoUsd: 5_000_000n,
        args: ["run", "prompts.jsonl", "--system", "SYS-SECRET"]
      },
      "prompts.jsonl"
    )
    expect(html).toContain("<p>stopped: the time allowed by --max-time has passed</p><p>continue with: effect-together")
    for (const part of ["466 not sent", "up to $0.005 besides", ">emulator<", "limit in use, all models together"]) {
      expect(html).toContain(part)
    }
    expect(html).not.toContain("SYS-SECRET")
  })

  it("tells the rows of the whole input, and shades the times without credit", () => {
    const html = Page.html({ ...context(), undone: 39, spells: [{ from: start + 30_000, to: undefined }] }, "a")
    expect(html).toContain("of 1,000 rows")
    expect(html).toContain("shaded red: no credit")
    expect(Page.throughput(context().report, [{ from: start + 30_000, to: undefined }]).bands).toContainEqual({
      from: 30,
      to: 120,
      color: "--red"
    })
    expect(Page.html(context(), "a")).not.toContain("no credit")
  })

  it("draws a run in which nothing happened", () => {
    const report = Report.make(start)
    report.endedAt = start
    const html = Page.html(
      { ...context(), report, ending: { stop: { _tag: "Interrupted" }, abandoned: new Map() } },
      "a"
    )
    expect(html).not.toMatch(/NaN|Infinity|undefined/)
  })

  it.skipIf(browserPath === undefined)("fits a desk and a telephone, light and dark, in a browser", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "page-")), "run.html")
    writeFileSync(path, Page.html(context(), "prompts.jsonl"))
    let browser: Browser | undefined
    try {
      // takes a fifth of a second to load, and most machines have no browser for it
      const { chromium } = await import("playwright-core")
      browser = await chromium.launch({ executablePath: browserPath!, args: ["--no-sandbox"] })
      const page = await browser.newPage()
      const complaints: Array<string> = []
      page.on("console", (message) => complaints.push(message.text()))
      page.on("pageerror", (error) => complaints.push(error.message))
      page.on("requestfailed", (request) => complaints.push(request.url()))
      page.on("dialog", (dialog) => complaints.push(dialog.message()))
      const backgrounds = new Set<string>()
      for (const [colorScheme, width] of [["light", 1100], ["dark", 390]] as const) {
        await page.setViewportSize({ width, height: 900 })
        await page.emulateMedia({ colorScheme })
        await page.goto(`file://${path}`)
        expect(complaints).toEqual([])
        const seen = await page.evaluate(() => {
          const rect = (element: Element) => element.getBoundingClientRect()
          const charts = [...document.querySelectorAll("svg")]
          return {
            overflow: document.documentElement.scrollWidth - window.innerWidth,
            background: getComputedStyle(document.body).backgroundColor,
            ink: getComputedStyle(document.body).color,
            charts: charts.length,
            smallest: Math.min(...charts.map((chart) => rect(chart).width)),
            lines: charts.map((chart) => chart.querySelectorAll("path").length),
            cut: [...document.querySelectorAll(".card b")].filter((each) =>
              each.scrollWidth > each.clientWidth + 1
            ).length
          }
        })
        expect(seen.overflow).toBeLessThanOrEqual(0)
        expect(seen.charts).toBe(3)
        expect(seen.smallest).toBeGreaterThan(width / 2)
        expect(Math.min(...seen.lines)).toBeGreaterThan(0)
        expect(seen.cut).toBe(0)
        expect(seen.ink).not.toBe(seen.background)
        backgrounds.add(seen.background)
        const picture = await page.screenshot({ fullPage: true })
        // a page that is blank or broken compresses to next to nothing
        expect(picture.length).toBeGreaterThan(width * 40)
      }
      expect(backgrounds.size).toBe(2)
    } finally {
      await browser?.close()
    }
  }, 60_000)
})

import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    // no test mocks a module or leaves a global changed: one module graph serves all files of a worker
    isolate: false,
    // the slowest files wait for processes and sockets: a worker for every core
    maxWorkers: "100%",
    // Node runs the sources itself, as it runs the command: nothing stands between two modules, so tests run as fast as users do
    experimental: { viteModuleRunner: false, nodeLoader: false },
    execArgv: [
      "--import",
      new URL(".ci/sources.ts", import.meta.url).href,
      // tests make much and keep little: with room for it, far less of it is collected
      "--min-semi-space-size=64",
      "--max-semi-space-size=64"
    ],
    // the command is started as a process many times: bundled once, compiled once
    globalSetup: ["test/compiled.ts", "test/cli/bundled.ts"],
    env: { NODE_COMPILE_CACHE: path("node_modules/.cache/node") },
    // .ci/run counts what passed from this file; the gate's own run keeps out of its way
    ...(process.env["CI"] === undefined || process.argv.includes("--coverage")
      ? {}
      : { reporters: ["default", ["json", { outputFile: ".gate/tests.json" }]] }),
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/**/index.ts"],
      reportOnFailure: true,
      reporter: [["text", { skipFull: true }], "text-summary", "json-summary"],
      thresholds: {
        statements: 90,
        branches: 90,
        functions: 90,
        lines: 90,
        "src/policy/**": { statements: 100, branches: 100, functions: 100, lines: 100 }
      }
    }
  }
})

import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-together\/policy$/, replacement: source("policy/index.ts") },
      { find: /^effect-together\/testing$/, replacement: source("testing/index.ts") },
      { find: /^effect-together$/, replacement: source("index.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    // no test mocks a module or leaves a global changed: one module graph serves all files of a worker
    isolate: false,
    // the slowest files wait for processes and sockets: a worker for every core
    maxWorkers: "100%",
    // the command is started as a process many times: bundled once, compiled once
    globalSetup: ["test/cli/bundled.ts"],
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("./node_modules/.cache/node", import.meta.url)) },
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

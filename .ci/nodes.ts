/**
 * Runs tests on the other versions of Node that are supported: those of what differs between them, which is sockets,
 * processes and files.
 *
 * Each version is installed once below `.gate`, from the npm registry.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { root, run, work } from "./shell.ts"

/** The least version of the oldest, and the newest; the lock file has the one in between, on which all else runs. */
const versions = ["22.19.0", "26.10.0"]

const rooms = ["test/sockets", "test/cli", "test/job"]

/** Runs the tests on each of the versions, and returns the last exit code that is not 0. */
export const onOtherNodes = async (): Promise<number> => {
  let failed = 0
  for (const version of versions) {
    const folder = join(work, `node-${version}`)
    const node = join(folder, "node_modules", "node", "bin", "node")
    if (!existsSync(node)) {
      const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]
      await run("npm", ["install", "--prefix", folder, ...quiet, `node@${version}`])
    }
    process.stdout.write(`Node ${version}\n`)
    const { code } = await run(node, [
      join(root, "node_modules", "vitest", "vitest.mjs"),
      "run",
      "--reporter",
      "dot",
      // each a second or less, but many at once in one process
      "--testTimeout",
      "60000",
      ...rooms
    ])
    if (code !== 0) failed = code
  }
  return failed
}

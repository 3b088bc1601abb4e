/**
 * Keeps what Node has compiled from growing with each run of the tests: vitest imports each test file by a name of its own
 * run, so what was compiled of it is never found again. What was compiled of all else is lost with it, and made anew.
 */
import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { root } from "../.ci/shell.ts"

/** Holds what Node has compiled; each version of Node, with its flags, has a folder in it. */
const folder = join(root, "node_modules", ".cache", "node")

/** Files in one of the folders above which it is emptied: those of a dozen runs. */
const most = 5000

/** Is called before the first test. */
export const setup = async (): Promise<void> => {
  for (const name of await readdir(folder).catch(() => [])) {
    const files = await readdir(join(folder, name))
    if (files.length > most) await rm(join(folder, name), { recursive: true, force: true, maxRetries: 5 })
  }
}

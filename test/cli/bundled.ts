/**
 * Bundles the command once for all tests that start it: what they start is what the package ships, and it starts fast.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { bundle } from "../../.ci/bundle.ts"
import { work } from "../../.ci/shell.ts"

const folder = join(work, "command")

/** Is the command's entry, once it is bundled. */
export const command: string = join(folder, "main.js")

/** Is called before the first test. */
export const setup = async (): Promise<void> => {
  await rm(folder, { recursive: true, force: true })
  await bundle(folder)
}

/**
 * Bundles the command once for all tests that start it: what they start is what the package ships, and it starts fast.
 *
 * Tests that run at the same time have a place each, so that none takes the command away from another. The places are
 * numbered and not new each time: Node finds again what it has compiled at a path.
 */
import * as Result from "effect/Result"
import { mkdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { TestProject } from "vitest/node"
import { bundle } from "../../.ci/bundle.ts"
import { work } from "../../.ci/shell.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The folder that the command is bundled into. */
    readonly bundled: string
  }
}

const remove = (path: string): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 5 })

const isAlive = (pid: number): boolean => Result.isSuccess(Result.try(() => process.kill(pid, 0)))

/** Takes a place, unless tests that still run have it. */
const takes = async (owner: string): Promise<boolean> => {
  const pid = await readFile(owner, "utf8").catch(() => "")
  if (pid !== "" && !isAlive(Number(pid))) await remove(owner)
  return writeFile(owner, `${process.pid}`, { flag: "wx" }).then(() => true, () => false)
}

/** Is called before the first test; hands back what is called after the last. */
export const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  await mkdir(work, { recursive: true })
  let place = 1
  while (!(await takes(join(work, `command-${place}.pid`)))) place++
  const folder = join(work, `command-${place}`)
  const end = async (): Promise<void> => {
    await remove(folder)
    await remove(`${folder}.pid`)
  }
  await remove(folder)
  await bundle(folder).catch((error: unknown) => end().then(() => Promise.reject(error)))
  project.provide("bundled", folder)
  return end
}

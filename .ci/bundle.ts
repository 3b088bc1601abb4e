/**
 * Bundles the command with `effect` and its platform inside, split so that each subcommand loads its own part.
 */
import { build, type Metafile } from "esbuild"
import { join } from "node:path"
import { root } from "./shell.ts"

/** Bundles into `outdir`, which must lie two folders below one with the package's manifest. */
export const bundle = async (outdir: string): Promise<Metafile> => {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { main: join(root, "src/cli/main.ts") },
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    chunkNames: "chunks/[name]-[hash]",
    // bundled CommonJS asks for node's own modules through require
    banner: {
      js:
        "import { createRequire as __createRequire } from \"node:module\";const require = __createRequire(import.meta.url);"
    },
    metafile: true,
    logLevel: "warning"
  })
  return metafile
}

/** The major version of the Node that runs the tests: what V8 and Node's own modules do differs between them. */
export const nodeMajor = Number(process.versions.node.split(".")[0])

/** Reads the suites of vectors.json and vectors.rules.json by name: each holds inputs and expected values. */
import rules from "./vectors.rules.json" with { type: "json" }
import document from "./vectors.json" with { type: "json" }

/** Finds a suite; a suite that is not there fails the test file. */
export const suite = <Suite>(id: string): Suite => {
  const found = [...document.suites, ...rules.suites].find((candidate) => candidate.id === id)
  if (found === undefined) throw new Error(`neither vectors.json nor vectors.rules.json has a suite ${id}`)
  // The caller states the shape of the suite it names; a wrong shape makes its assertions fail.
  return found as unknown as Suite
}

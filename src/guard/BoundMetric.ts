/**
 * Binds a metric to the values of its attributes, each once: binding is the slow part of counting.
 */
import * as Metric from "effect/Metric"

/**
 * Makes a source of a metric by its attributes.
 *
 * **Gotchas**: it keeps what it bound, so the values must be few; name the attributes in the same order each time.
 */
export const make = <Input, State>(metric: Metric.Metric<Input, State>) => {
  const bound = new Map<string, Metric.Metric<Input, State>>()
  return (attributes: Readonly<Record<string, string>>): Metric.Metric<Input, State> => {
    const name = Object.values(attributes).join("\0")
    let known = bound.get(name)
    if (known === undefined) bound.set(name, known = Metric.withAttributes(metric, attributes))
    return known
  }
}

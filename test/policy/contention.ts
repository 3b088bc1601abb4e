/**
 * Clients that contend for one row: the simulation behind AWS' choice of full jitter.
 *
 * Each client reads a version, writes it back, and loses if another write came
 * in between; then it backs off and starts again. Messages take about 10 ms.
 */
import * as Backoff from "../../src/policy/Backoff.ts"
import { seeded } from "./events.ts"

interface Client {
  backoff: Backoff.State
  version: number
}

interface Message {
  readonly at: number
  readonly to: "read" | "write" | "reply"
  readonly client: Client
  readonly ok: boolean
}

/** Runs all clients to their success: calls made and seconds taken. */
export const contend = (options: Backoff.Options, clients: number, seed: number) => {
  const random = seeded(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const net = () => Math.abs(0.01 + 0.002 * normal())
  const queue: Array<Message> = []
  const send = (at: number, to: Message["to"], client: Client, ok = true) =>
    queue.push({ at: at + net(), to, client, ok })
  for (let i = 0; i < clients; i++) send(0, "read", { backoff: Backoff.make(options), version: 0 })
  let version = 0
  let calls = 0
  let seconds = 0
  while (queue.length > 0) {
    let first = 0
    for (let i = 1; i < queue.length; i++) if ((queue[i]?.at ?? 0) < (queue[first]?.at ?? 0)) first = i
    for (const { at, client, ok, to } of queue.splice(first, 1)) {
      if (to === "read") {
        client.version = version
        // The answer travels to the client, and its write back.
        send(at + net(), "write", client)
      } else if (to === "write") {
        calls++
        const won = client.version === version
        if (won) version++
        send(at, "reply", client, won)
      } else if (ok) {
        seconds = at
      } else {
        const [delay, backoff] = Backoff.next(client.backoff, random())
        client.backoff = backoff
        send(at + delay, "read", client)
      }
    }
  }
  return { calls, seconds }
}

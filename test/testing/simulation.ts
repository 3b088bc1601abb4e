/** Small words for tests of the simulation: one plain provider, one plain call. */
import * as Simulation from "../../src/testing/Simulation.ts"

export const model = "openai/gpt-oss-20b"

/** A provider that answers in exactly 1 s with 20 tokens, and limits nothing unless told to. */
export const plain: Simulation.Options = {
  limits: {},
  latency: { kind: "constant", value: 1 },
  firstToken: { kind: "constant", value: 0.2 },
  outputTokens: { kind: "constant", value: 20 }
}

export const call = (at: number, more: Partial<Simulation.Arrival> = {}): Simulation.Arrival => ({
  at,
  key: "key",
  operation: "chat",
  model,
  inputTokens: 100,
  maxTokens: 50,
  promptHash: 1,
  ...more
})

export const run = (state: Simulation.State, calls: ReadonlyArray<Simulation.Arrival>) => {
  const replies: Array<Simulation.Reply> = []
  let now = state
  for (const arrival of calls) {
    const [reply, next] = Simulation.arrive(now, arrival)
    replies.push(reply)
    now = next
  }
  return { replies, state: now }
}

export const statuses = (replies: ReadonlyArray<Simulation.Reply>) =>
  replies.map((reply) => reply._tag === "Dropped" ? reply.kind : reply.status)

export const one = (options: Simulation.Options, arrival = call(0)) =>
  Simulation.arrive(Simulation.make({ ...plain, ...options }), arrival)[0]

export const refusal = (reply: Simulation.Reply | undefined): Simulation.Refusal => {
  if (reply?._tag !== "Refusal") throw new Error(`expected a refusal, got ${reply?._tag}`)
  return reply
}

export const answer = (reply: Simulation.Reply | undefined): Simulation.Answer => {
  if (reply?._tag !== "Answer") throw new Error(`expected an answer, got ${reply?._tag}`)
  return reply
}

export const error = (reply: Simulation.Reply | undefined) => JSON.parse(refusal(reply).body).error

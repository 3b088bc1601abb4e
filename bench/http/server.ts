/** Answers every request at once, in a process of its own, so that clients are measured and not the server. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const answer = Buffer.from(JSON.stringify({
  id: "bench",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Four." } }],
  usage: { prompt_tokens: 12, completion_tokens: 2, total_tokens: 14 }
}))
const headers = { "content-type": "application/json", "content-length": answer.length }

const server = createServer((request, response) => {
  request.resume()
  request.on("end", () => response.writeHead(200, headers).end(answer))
})
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port))

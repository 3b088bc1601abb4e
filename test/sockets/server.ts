import * as Effect from "effect/Effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** Holds one request that a test server received. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

/** Serves requests on loopback with a function; closes with the scope. */
export const serve = (handle: (received: Received, response: ServerResponse, index: number) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly baseUrl: string; readonly received: Array<Received>; readonly open: () => number }>(
      (resume) => {
        const received: Array<Received> = []
        const server = createServer((request, response) => {
          const parts: Array<Buffer> = []
          request.on("data", (part: Buffer) => parts.push(part))
          request.on("end", () => {
            const entry = {
              method: request.method ?? "",
              url: request.url ?? "",
              headers: request.headers,
              body: Buffer.concat(parts).toString()
            }
            received.push(entry)
            handle(entry, response, received.length - 1)
          })
        })
        let sockets = 0
        server.on("connection", (socket) => {
          sockets++
          socket.on("close", () => sockets--)
        })
        server.listen(0, "127.0.0.1", () => {
          // a listening TCP server has an address with a port
          const { port } = server.address() as AddressInfo
          resume(Effect.succeed({ baseUrl: `http://127.0.0.1:${port}/v1`, received, open: () => sockets, server }))
        })
      }
    ),
    (self) =>
      Effect.sync(() => {
        const { server } = self as typeof self & { readonly server: ReturnType<typeof createServer> } // put there above
        server.closeAllConnections()
        server.close()
      })
  )

/** Sends a body of so many bytes as fast as it is taken, and tells how many were written each time. */
export const pour = (response: ServerResponse, total: number, onWritten: (bytes: number) => void): void => {
  const part = Buffer.alloc(64 * 1024, 97)
  let written = 0
  const write = (): void => {
    while (written < total) {
      written += part.length
      onWritten(written)
      if (!response.write(part)) return void response.once("drain", write)
    }
    response.end()
  }
  write()
}

/** Answers with JSON. */
export const json = (
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {}
): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(body))
}

/** Is a complete chat answer. */
export const chatAnswer = {
  id: "chat-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, finish_reason: "a-new-reason", message: { role: "assistant", content: "hello", novel: true } }],
  usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  brand_new_field: { kept: true }
}

/** Frames a value as a server-sent event. */
export const frame = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** Frames a piece of a chat answer. */
export const delta = (content: string, more: object = {}): string =>
  frame({ id: "s", choices: [{ index: 0, delta: { content }, ...more }] })

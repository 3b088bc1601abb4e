/**
 * Makes clients that answer by what was sent.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Reply from "../Reply.ts"
import * as Sent from "../Sent.ts"

/** Answers every request by a way to find its reply. */
export const answering = (find: (sent: Sent.Sent) => Effect.Effect<Reply.Reply>): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.flatMap(
      Sent.make(request, url),
      (sent) => Effect.flatMap(find(sent), (reply) => Reply.send(reply, request))
    )
  )

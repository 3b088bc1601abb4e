/**
 * Ends a batch of embeddings when the last caller that waits for it has left.
 *
 * Texts that are embedded side by side go out as one request, in a fiber that none of their callers owns. `effect/ai`
 * lets that fiber run on when they leave: after a timeout, a client that disconnected or the end of the program, it
 * would queue, retry and be billed for nobody.
 */
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as RequestResolver from "effect/RequestResolver"

interface Batch {
  waiting: number
  readonly left: Deferred.Deferred<void>
  readonly ended: Deferred.Deferred<void>
}

/** Makes the `embed` of a model end a request that nobody waits for any more. */
export const owned = (model: EmbeddingModel.EmbeddingModel): EmbeddingModel.EmbeddingModel => {
  const batches = new WeakMap<EmbeddingModel.EmbeddingRequest, Batch>()

  const resolver = RequestResolver.makeWith<EmbeddingModel.EmbeddingRequest>({
    ...model.resolver,
    runAll: (entries, key) =>
      Effect.suspend(() => {
        const batch = { waiting: entries.length, left: Deferred.makeUnsafe<void>(), ended: Deferred.makeUnsafe<void>() }
        for (const { request } of entries) batches.set(request, batch)
        return model.resolver.runAll(entries, key).pipe(
          Effect.raceFirst(Deferred.await(batch.left)),
          Effect.ensuring(Deferred.succeed(batch.ended, undefined))
        )
      })
  })

  // the last to leave waits until permit, reservation and socket are given back, as one does who interrupts a call
  const leave = (request: EmbeddingModel.EmbeddingRequest) =>
    Effect.suspend(() => {
      const batch = batches.get(request)
      if (batch === undefined || --batch.waiting > 0) return Effect.void
      return Effect.andThen(Deferred.interrupt(batch.left), Deferred.await(batch.ended))
    })

  return EmbeddingModel.EmbeddingModel.of({
    ...model,
    resolver,
    embed: (input) =>
      Effect.suspend(() => {
        const request = new EmbeddingModel.EmbeddingRequest({ input })
        return Effect.onInterrupt(Effect.request(request, resolver), () => leave(request))
      }).pipe(Effect.withSpan("EmbeddingModel.embed"))
  })
}

/**
 * The emulator's lists of what there is: models, the key's owner, what can be trained and judged.
 */
import * as Effect from "effect/Effect"
import * as Exchange from "./EmulatorExchange.ts"
import type { Config, Model } from "./SimulationConfig.ts"
import * as Random from "./SimulationRandom.ts"

const created = 1_735_689_600

const describe = ([id, model]: readonly [string, Model]): Readonly<Record<string, unknown>> => ({
  id,
  object: "model",
  created,
  type: model.type,
  running: false,
  display_name: id.split("/").at(-1),
  organization: id.split("/")[0],
  link: `https://huggingface.co/${id}`,
  license: "",
  context_length: model.contextLength,
  pricing: {
    base: 0,
    finetune: 0,
    hourly: 0,
    input: model.inputUsd,
    output: model.outputUsd,
    ...(model.cachedInputUsd === undefined ? {} : { cached_input: model.cachedInputUsd })
  }
})

const config = ({ world }: Exchange.Exchange): Config => world.run.state().config

/** Answers `GET /models`: a bare list; `?dedicated=true` lists those that are not serverless. */
export const models: Exchange.Handler = (exchange) =>
  Effect.sync(() => {
    const all = Object.entries(config(exchange).models)
    const wanted = exchange.query.get("dedicated") === "true"
      ? all.filter(([, model]) => model.availability === "dedicated")
      : all
    return Exchange.json(wanted.map(describe))
  })

const id = (prefix: string, of: string): string => `${prefix}_${Random.hash(`${prefix} ${of}`).toString(36)}`

/** Answers `GET /whoami`. */
export const whoami: Exchange.Handler = ({ org, key }) =>
  Effect.sync(() =>
    Exchange.json({
      api_key_id: id("key", key ?? ""),
      project_id: id("proj", org),
      project_name: "Default",
      project_slug: "default",
      organization_id: id("org", org),
      organization_name: org,
      user_id: id("user", org)
    })
  )

const chatModels = (exchange: Exchange.Exchange): ReadonlyArray<string> =>
  Object.entries(config(exchange).models).filter(([, model]) =>
    model.type === "chat" && model.availability === "serverless"
  ).map(([name]) => name)

/** Answers `GET /evaluation/model-list`. */
export const evaluationModels: Exchange.Handler = (exchange) =>
  Effect.sync(() => Exchange.json({ model_list: chatModels(exchange) }))

const limitsOf = (name: string, contextLength: number): Readonly<Record<string, unknown>> => ({
  model_name: name,
  full_training: { max_batch_size: 64, min_batch_size: 8, max_batch_size_dpo: 32 },
  lora_training: { max_batch_size: 64, min_batch_size: 8, max_batch_size_dpo: 32, max_rank: 64, target_modules: [] },
  max_num_epochs: 20,
  max_num_evals: 100,
  max_num_checkpoints: 10,
  max_learning_rate: 0.01,
  min_learning_rate: 1e-8,
  supports_full_training: true,
  supports_vision: false,
  supports_tools: true,
  supports_reasoning: false,
  merge_output_lora: true,
  min_max_seq_length: 512,
  max_seq_length_sft: Math.min(contextLength, 32_768),
  max_seq_length_dpo: Math.min(contextLength, 16_384),
  default_gradient_accumulation_steps: 1
})

/** Answers `GET /fine-tunes/models/supported`. */
export const fineTuneModels: Exchange.Handler = (exchange) =>
  Effect.sync(() => {
    const names = chatModels(exchange)
    return Exchange.json({
      models: names,
      detailed_models: names.map((name) => ({
        name,
        parent_model: name,
        supports_vision: false,
        supports_full_training: true,
        supports_tools: true,
        supports_reasoning: false,
        max_seq_length_sft: 32_768,
        max_seq_length_dpo: 16_384
      }))
    })
  })

/** Answers `GET /fine-tunes/models/limits?model_name=`. */
export const fineTuneLimits: Exchange.Handler = (exchange) =>
  Effect.sync(() => {
    const name = exchange.query.get("model_name") ?? ""
    const model = chatModels(exchange).includes(name) ? config(exchange).models[name] : undefined
    return model === undefined
      ? Exchange.json({ message: `Model ${name} does not support fine-tuning` }, 404)
      : Exchange.json(limitsOf(name, model.contextLength))
  })

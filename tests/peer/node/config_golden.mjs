// What lmstudio.js makes of configurations, in both directions; `../test_config_golden.py` is the other end.
//
// Standard input is one JSON array of cases:
//   {"kind": "llm" | "embedding" | "prediction", "config": {...}}                    -> {"fields": [{key, value}]}
//   {"kind": as above, "kv": {"fields": [...]}, "format": "gguf"}                    -> {"config": {...}}
//   {"kind": "schematics", "steps": [...], "kv": {...}, "values": [[key, value]], "extensions": [[key, value]]}
//                                                                                    -> {"wire", "parsed", "built"}
//   {"kind": "valueType", "library": "basic" | "all", "method", "args": [...]}       -> {"value": ...}
// A step is [key, type, params, default], [scope, steps] or [prefix of an extension].
// Standard output is one array with an answer for each: one of the above, or {"error": text}.
//
// The public methods of a client run as always; only its ports are replaced, so that nothing is connected.

import { text } from "node:stream/consumers";

import { LMStudioClient, basicKVValueTypesLibrary, createConfigSchematics, kvValueTypesLibrary } from "@lmstudio/sdk";

const SILENT = { info() {}, warn() {}, error() {}, debug() {} };
const client = new LMStudioClient({ baseUrl: "ws://127.0.0.1:1", logger: SILENT });

/** Thrown in place of opening a channel: all that is wanted is what would have been sent. */
class Sent {
  constructor(stack) {
    this.layers = stack.layers;
  }
}

function capture(port, member) {
  port.createChannel = (_endpoint, parameter) => {
    throw new Sent(parameter[member]);
  };
}

/** The fields of the one layer that a call sends. */
async function fieldsSentBy(call) {
  try {
    await call();
  } catch (thrown) {
    if (!(thrown instanceof Sent)) {
      throw thrown;
    }
    const { layers } = thrown;
    if (layers.length !== 1 || layers[0].layerName !== "apiOverride") {
      throw new Error(`Expected one layer, got ${layers.map(({ layerName }) => layerName).join(", ")}.`);
    }
    return layers[0].config.fields;
  }
  throw new Error("Nothing was sent.");
}

/** A handle to a model with this configuration and format. */
function handleOf(namespace, kv, format) {
  namespace.port.callRpc = async (endpoint) => {
    return endpoint === "getModelInfo" ? { format } : kv;
  };
  return namespace.createDynamicHandle("model");
}

const FORWARD = {
  llm(config) {
    capture(client.llm.port, "loadConfigStack");
    return client.llm.load("model", { config, verbose: false });
  },
  embedding(config) {
    capture(client.embedding.port, "loadConfigStack");
    return client.embedding.load("model", { config, verbose: false });
  },
  prediction(config) {
    capture(client.llm.port, "predictionConfigStack");
    return client.llm.createDynamicHandle("model").respond("Hi", config);
  },
};

const BACKWARD = {
  llm: (kv, format) => handleOf(client.llm, kv, format).getLoadConfig(),
  embedding: (kv, format) => handleOf(client.embedding, kv, format).getLoadConfig(),
  prediction: (kv, format) => handleOf(client.llm, kv, format).getBasePredictionConfig(),
};

/** A builder with every step taken. */
function taken(builder, steps) {
  for (const [key, ...rest] of steps) {
    if (rest.length === 0) {
      builder.extension(key);
    } else if (rest.length === 1) {
      builder.scope(key, (inner) => taken(inner, rest[0]));
    } else {
      builder.field(key, ...rest);
    }
  }
  return builder;
}

function schematicsAnswer({ steps, kv, values = [], extensions = [] }) {
  const schematics = taken(createConfigSchematics(), steps).build();
  const wire = schematics.serialize();
  const parsed = schematics.parse(kv ?? { fields: [] });
  const builder = schematics.configBuilder();
  values.forEach(([key, value]) => builder.with(key, value));
  extensions.forEach(([key, value]) => builder.withExtensionField(key, value));
  const keys = wire.fields.map(({ shortKey }) => shortKey);
  return { wire, parsed: Object.fromEntries(keys.map((key) => [key, parsed.get(key)])), built: builder.build() };
}

function valueTypeAnswer({ library, method, args }) {
  const types = library === "basic" ? basicKVValueTypesLibrary : kvValueTypesLibrary;
  if (method === "accepts") {
    const [key, params, value] = args;
    return { value: types.getSchema(key, params).safeParse(value).success };
  }
  if (method === "stringify") {
    const [key, params, value, desiredLength] = args;
    return { value: types.stringify(key, params, { t: (name, english) => english, desiredLength }, value) };
  }
  return { value: types[method](...args) };
}

async function answer(request) {
  const { kind, config, kv, format } = request;
  try {
    if (kind === "schematics") {
      return schematicsAnswer(request);
    }
    if (kind === "valueType") {
      return valueTypeAnswer(request);
    }
    if (kv !== undefined) {
      return { config: await BACKWARD[kind](kv, format) };
    }
    return { fields: await fieldsSentBy(async () => FORWARD[kind](config)) };
  } catch (error) {
    return { error: error.message };
  }
}

const answers = [];
for (const request of JSON.parse(await text(process.stdin))) {
  answers.push(await answer(request));
}
process.stdout.write(JSON.stringify(answers));

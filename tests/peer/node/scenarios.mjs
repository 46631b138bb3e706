// Uses lmstudio.js against a server, as told on the standard input; `../node_peer.py` is the other end.
//
// One line in:  {"id": 1, "url": "ws://127.0.0.1:1234", "scenario": "predict", "args": {...}, "clientOpts": {...}}
// Lines out:    {"id": 1, "event": "fragment", "data": ...} any number of times, then
//               {"id": 1, "value": ...} or {"id": 1, "error": {"message": ..., "title": ...}}.
// Also:         {"warning": "..."}, whenever lmstudio.js complains; whatever it logs below that is dropped.
//
// Scenarios run concurrently. All with the same address and options share one client. Nothing ends this process but
// the end of its input, followed by nothing being left to do.

import { createInterface } from "node:readline";

import { LMStudioClient } from "@lmstudio/sdk";
import { z } from "zod";

const ZOD_SCHEMAS = { person: z.object({ name: z.string(), age: z.number().int() }) };
const MODEL_MEMBERS = [
  "identifier",
  "path",
  "modelKey",
  "format",
  "displayName",
  "sizeBytes",
  "instanceReference",
  "indexedModelIdentifier",
  "vision",
  "trainedForToolUse",
];
const UNSERVED_NAMESPACES = ["diagnostics", "files", "repository", "plugins", "runtime"];

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const warn = (...parts) => print({ warning: parts.map((part) => part?.stack ?? String(part)).join(" ") });
const LOGGER = { debug() {}, info() {}, warn, error: warn };
// Some of the package's loggers have no parent but the console.
Object.assign(console, LOGGER, { log: warn });

const clients = new Map();

function clientFor({ url, clientOpts }) {
  const key = JSON.stringify([url, clientOpts]);
  if (!clients.has(key)) {
    clients.set(key, new LMStudioClient({ baseUrl: url, logger: LOGGER, ...clientOpts }));
  }
  return clients.get(key);
}

/** A model object without the client inside it; anything else as it is. */
function plain(value) {
  if (Array.isArray(value)) {
    return value.map(plain);
  }
  if (value?.specifier === undefined) {
    return value;
  }
  return Object.fromEntries(MODEL_MEMBERS.filter((name) => name in value).map((name) => [name, value[name]]));
}

/** The model that {namespace, key} or {namespace, query} means; without either, any that is loaded. */
async function modelFor(client, { namespace = "llm", key, query }) {
  return query === undefined
    ? await client[namespace].model(key, { verbose: false })
    : client[namespace].createDynamicHandle(query);
}

async function invoke(target, path, parameters = []) {
  const names = path.split(".");
  const method = names.pop();
  const owner = names.reduce((object, name) => object[name], target);
  return plain(await owner[method](...parameters));
}

/** Every fragment by iteration, every callback as an event, and the result. */
async function predict(client, { model, method = "respond", input, opts, zod, cancelAfter, abortAfter }, emit) {
  const controller = new AbortController();
  let fragments = 0;
  if (abortAfter === 0) {
    controller.abort();
  }
  const prediction = (await modelFor(client, model))[method](input, {
    ...opts,
    ...(zod && { structured: ZOD_SCHEMAS[zod] }),
    signal: controller.signal,
    onPromptProcessingProgress: (progress, details) => emit("progress", { progress, details }),
    onFirstToken: () => emit("firstToken"),
    onPredictionFragment(fragment) {
      fragments += 1;
      emit("fragment", fragment);
      if (fragments === cancelAfter) {
        prediction.cancel();
      }
      if (fragments === abortAfter) {
        controller.abort();
      }
    },
    ...(method === "respond" && {
      onMessage: (message) => emit("message", { role: message.getRole(), text: message.getText() }),
    }),
  });
  const streamed = [];
  for await (const { content } of prediction) {
    streamed.push(content);
  }
  return { streamed, ...(await prediction.result()) };
}

/** `load` or `model`; *abortAt* is the progress from which on it is aborted. */
async function load(client, { namespace = "llm", method = "load", modelKey, opts, abortAt }, emit) {
  const controller = new AbortController();
  const model = await client[namespace][method](modelKey, {
    verbose: false,
    ...opts,
    signal: controller.signal,
    onProgress(progress) {
      emit("progress", progress);
      if (progress >= abortAt) {
        controller.abort(new Error("The test does not want it any more."));
      }
    },
  });
  return plain(model);
}

const endOf = (channel) =>
  new Promise((resolve, reject) => {
    channel.onError.subscribeOnce(reject);
    channel.onClose.subscribeOnce(resolve);
  });

/** All endpoints that the server leaves to LM Studio, with the words of each refusal. */
async function callUnserved(client) {
  const outcomes = [];
  const note = (namespace, kind, { name: endpoint }, answer) => {
    const refusal = answer.then(() => null, (error) => error.message);
    outcomes.push(refusal.then((message) => ({ namespace, kind, endpoint, message })));
  };
  for (const namespace of UNSERVED_NAMESPACES) {
    const port = client[`${namespace}Port`];
    for (const endpoint of port.backendInterface.getAllRpcEndpoints()) {
      endpoint.parameter = z.any(); // whatever it is, it is refused
      note(namespace, "rpc", endpoint, port.callRpc(endpoint.name, undefined));
    }
    for (const endpoint of port.backendInterface.getAllChannelEndpoints()) {
      endpoint.creationParameter = z.any();
      note(namespace, "channel", endpoint, endOf(port.createChannel(endpoint.name, undefined)));
    }
  }
  return await Promise.all(outcomes);
}

const SCENARIOS = {
  /** Any method, e.g. "system.getLMStudioVersion". */
  call: (client, { method, parameters }) => invoke(client, method, parameters),
  callModel: async (client, { model, method, parameters }) => invoke(await modelFor(client, model), method, parameters),
  predict,
  predictMany: (client, { inputs, ...args }) =>
    Promise.all(inputs.map((input) => predict(client, { ...args, input }, () => {}))),
  load,
  callUnserved,
  async whenDisconnected(client, _args, emit) {
    const end = client.system.whenDisconnected();
    // On the same connection, so the channel is open when this is answered.
    await client.system.getLMStudioVersion();
    emit("connected");
    await end;
  },
  /** Resolves when every channel and call of the client has ended. The address gets a new client afterwards. */
  async dispose(client) {
    const key = [...clients.keys()].find((each) => clients.get(each) === client);
    clients.delete(key);
    await client[Symbol.asyncDispose]();
  },
};

function describeError(error) {
  const { name, message, title, cause, suggestion, errorData } = error;
  return { name, message, title, cause: cause?.message ?? cause, suggestion, errorData };
}

async function run(command) {
  const { id, scenario, args = {} } = command;
  const emit = (event, data) => print({ id, event, data });
  try {
    print({ id, value: await SCENARIOS[scenario](clientFor(command), args, emit) });
  } catch (error) {
    print({ id, error: describeError(error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line));
}

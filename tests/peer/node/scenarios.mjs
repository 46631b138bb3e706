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

import { LMStudioClient, rawFunctionTool, tool, unimplementedRawFunctionTool } from "@lmstudio/sdk";
import { z } from "zod";

import { PLUGIN_SCENARIOS } from "./plugin_scenarios.mjs";

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
      ...toolCallbacks(emit),
    }),
  });
  const streamed = [];
  for await (const { content } of prediction) {
    streamed.push(content);
  }
  return { streamed, ...(await prediction.result()) };
}

const TOOL_CALLBACKS = ["Start", "NameReceived", "ArgumentFragmentGenerated", "End", "Failure", "Finalized", "Dequeued"];

/** Every `onToolCallRequest...` as an event "tool...": its arguments, without the process-wide number of the call. */
function toolCallbacks(emit, { isAct = false } = {}) {
  const callback = (name) => (...args) => {
    const roundIndex = isAct ? args.shift() : undefined;
    args.shift();
    const [data] = args.map((value) => (value instanceof Error ? describeError(value) : value));
    emit(`tool${name}`, isAct ? { roundIndex, data } : data);
  };
  return Object.fromEntries(TOOL_CALLBACKS.map((name) => [`onToolCallRequest${name}`, callback(name)]));
}

/** A tool of *kind*; whatever it is called with becomes the event "called", and *result* (or *error*) what it returns. */
function makeTool({ kind, name, description = `The tool ${name}.`, result, error, parameters }, emit) {
  const properties = parameters ?? { a: { type: "integer" } };
  const parametersJsonSchema = { type: "object", properties, required: Object.keys(properties) };
  async function implementation(params, ctx) {
    emit("called", { name, params, callId: typeof ctx.callId, isAborted: ctx.signal.aborted });
    ctx.status("At work.");
    if (error !== undefined) {
      throw new Error(error);
    }
    return result;
  }
  switch (kind) {
    case "function":
      return tool({ name, description, parameters: { a: z.number().int() }, implementation });
    case "raw":
      return rawFunctionTool({ name, description, parametersJsonSchema, implementation });
    case "unimplemented":
      return unimplementedRawFunctionTool({ name, description, parametersJsonSchema });
  }
}

/** `act`: every callback as an event. *guard* and *onInvalid* say what those two handlers do. */
async function act(client, { model, input, tools, opts, guard, onInvalid, abortAfter }, emit) {
  const controller = new AbortController();
  let fragments = 0;
  const handlers = {
    guardToolCall(_round, _callId, { toolCallRequest, allow, allowAndOverrideParameters, deny }) {
      const decision = guard[toolCallRequest.name];
      if (decision?.deny !== undefined) {
        deny(decision.deny);
      } else if (decision?.override !== undefined) {
        allowAndOverrideParameters(decision.override);
      } else {
        allow();
      }
    },
    handleInvalidToolRequest: (error, request) => request && { problem: error.message, request: request.name },
  };
  const report = (name) => (roundIndex, ...rest) => emit(name, { roundIndex, data: rest.at(-1) });
  return await (await modelFor(client, model)).act(input, tools.map((each) => makeTool(each, emit)), {
    ...opts,
    signal: controller.signal,
    onRoundStart: report("roundStart"),
    onRoundEnd: report("roundEnd"),
    onFirstToken: report("firstToken"),
    onPromptProcessingProgress: report("progress"),
    onPredictionFragment({ roundIndex, content }) {
      emit("fragment", { roundIndex, data: content });
      fragments += 1;
      if (fragments === abortAfter) {
        controller.abort();
      }
    },
    onPredictionCompleted: ({ roundIndex, content, stats }) =>
      emit("prediction", { roundIndex, content, stopReason: stats.stopReason }),
    onMessage: (message) =>
      emit("message", {
        role: message.getRole(),
        text: message.getText(),
        requests: message.getToolCallRequests(),
        results: message.getToolCallResults(),
      }),
    onToolCallSuccess: report("toolSuccess"),
    onToolCallResult: report("toolResult"),
    ...toolCallbacks(emit, { isAct: true }),
    ...(guard && { guardToolCall: handlers.guardToolCall }),
    ...(onInvalid === "answer" && { handleInvalidToolRequest: handlers.handleInvalidToolRequest }),
  });
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

const OPTION_MEMBERS = [
  "quantization",
  "name",
  "sizeBytes",
  "fitEstimation",
  "indexedModelIdentifier",
  "compatibilityType",
];
const pick = (object, names) => Object.fromEntries(names.map((name) => [name, object[name]]));

async function searchModels(client, { opts = {} }) {
  const entries = await client.repository.searchModels(opts);
  return entries.map((entry) => ({
    name: entry.name,
    isExactMatch: entry.isExactMatch(),
    isStaffPick: entry.isStaffPick(),
  }));
}

async function downloadOptions(client, { term }) {
  const [entry] = await client.repository.searchModels({ searchTerm: term });
  return await entry.getDownloadOptions();
}

// lmstudio.js leaves a promise behind that nobody can catch when a download fails. Any other such promise is a mistake.
const downloadFailures = new Set();
process.on("unhandledRejection", (reason) => {
  if (!downloadFailures.has(reason)) {
    throw reason;
  }
});

/** Downloads the first option of the first model that is found; *abortAt* is the number of bytes to abort at. */
async function download(client, { term, abortAt }, emit) {
  const controller = new AbortController();
  const [option] = await downloadOptions(client, { term });
  const downloaded = option.download({
    signal: controller.signal,
    onProgress(update) {
      emit("progress", update);
      if (update.downloadedBytes >= abortAt) {
        controller.abort(new Error("The test does not want it any more."));
      }
    },
    onStartFinalizing: () => emit("finalizing"),
  });
  return await mayFail(downloaded);
}

const mayFail = (promise) =>
  promise.catch((error) => {
    downloadFailures.add(error);
    throw error;
  });

/** A plan for a download: *select* chooses an option, *discard* gives it up; else it is carried out. */
async function downloadPlan(client, { artifact, source, opts, select, discard, abortAt }, emit) {
  const given = { ...opts, onPlanUpdated: (plan) => emit("plan", plan) };
  const planner = artifact
    ? client.repository.createArtifactDownloadPlanner({ ...artifact, ...given })
    : client.repository.createModelDownloadPlanner({ source, ...given });
  try {
    await planner.untilReady();
    emit("ready", planner.getPlan());
    if (select !== undefined) {
      await planner.selectModelDownloadOption(select);
      emit("selected", planner.getPlan());
    }
    if (discard) {
      return;
    }
    const controller = new AbortController();
    await planner.download({
      signal: controller.signal,
      onProgress(update) {
        emit("progress", update);
        if (update.downloadedBytes >= abortAt) {
          controller.abort(new Error("The test does not want it any more."));
        }
      },
      onStartFinalizing: () => emit("finalizing"),
    });
  } finally {
    planner[Symbol.dispose]();
  }
}

/** Every event of the log until one of the type *until* has come. */
async function streamLogs(client, { until }, emit) {
  let isOpen = false;
  let stop;
  await new Promise((resolve) => {
    stop = client.diagnostics.unstable_streamLogs((log) => {
      isOpen = true;
      emit("log", log);
      if (log.data.type === until) {
        resolve();
      }
    });
    // Another connection: nothing else says when the stream has begun.
    (async () => {
      while (!isOpen) {
        await client.system.notify({ title: "Is it on?" });
      }
      emit("open");
    })();
  });
  stop();
}

/** Handles of files, each given as {method, parameters}. */
async function prepared(client, files) {
  const handles = [];
  for (const { method = "prepareFileBase64", parameters } of files) {
    handles.push(await client.files[method](...parameters));
  }
  return handles;
}

async function prepare(client, { files }) {
  const handles = await prepared(client, files);
  return await Promise.all(
    handles.map(async (handle) => ({
      ...pick(handle, ["name", "identifier", "type", "sizeBytes"]),
      isImage: handle.isImage(),
      path: await handle.getFilePath(),
    })),
  );
}

async function parseDocument(client, { file, opts, abortAt }, emit) {
  const [handle] = await prepared(client, [file]);
  const controller = new AbortController();
  const library = await client.files.getDocumentParsingLibrary(handle);
  emit("library", library);
  return await client.files.parseDocument(handle, {
    ...opts,
    signal: controller.signal,
    onParserLoaded: (parser) => emit("parser", parser),
    onProgress(progress) {
      emit("progress", progress);
      if (progress >= abortAt) {
        controller.abort(new Error("The test does not want it any more."));
      }
    },
  });
}

async function retrieve(client, { query, files, modelKey, opts, abortAt }, emit) {
  const handles = await prepared(client, files);
  const controller = new AbortController();
  const note = (event) => (file, index, list) => emit(event, [file.name, index, list.map(({ name }) => name)]);
  const noteStep = (event) => (file, step, progress) => emit(event, [file.name, step, progress]);
  const { entries } = await client.files.retrieve(query, handles, {
    ...opts,
    embeddingModel: await client.embedding.model(modelKey, { verbose: false }),
    signal: controller.signal,
    onFileProcessList: (list) => emit("list", list.map(({ name }) => name)),
    onFileProcessingStart: note("start"),
    onFileProcessingEnd: note("end"),
    onFileProcessingStepStart(file, step) {
      emit("stepStart", [file.name, step]);
      if (step === abortAt) {
        controller.abort(new Error("The test does not want it any more."));
      }
    },
    onFileProcessingStepProgress: noteStep("stepProgress"),
    onFileProcessingStepEnd: noteStep("stepEnd"),
    onSearchingStart: () => emit("searching"),
    onSearchingEnd: () => emit("searched"),
  });
  return entries.map(({ content, score, source }) => ({ content, score, source: source.name }));
}

async function respondToImages(client, { files, text }) {
  const images = await prepared(client, files);
  const { content } = await (await client.llm.model()).respond([{ role: "user", content: text, images }]);
  return content;
}

const SCENARIOS = {
  /** Any method, e.g. "system.getLMStudioVersion". */
  call: (client, { method, parameters }) => invoke(client, method, parameters),
  callModel: async (client, { model, method, parameters }) => invoke(await modelFor(client, model), method, parameters),
  predict,
  predictMany: (client, { inputs, ...args }) =>
    Promise.all(inputs.map((input) => predict(client, { ...args, input }, () => {}))),
  act,
  load,
  searchModels,
  downloadOptions: async (client, args) =>
    (await downloadOptions(client, args)).map((option) => ({
      ...pick(option, OPTION_MEMBERS),
      isRecommended: option.isRecommended(),
    })),
  download,
  downloadPlan,
  streamLogs,
  engineSelections: async (client) => [...(await client.runtime.engine.getSelections())],
  downloadExtension: (client, { specifier }) => mayFail(client.runtime.extensions.download(specifier, {})),
  downloadArtifact: (client, { opts }) => mayFail(client.repository.downloadArtifact(opts)),
  ensureAuthenticated: (client, _args, emit) =>
    client.repository.ensureAuthenticated({ onAuthenticationCode: (code) => emit("code", code) }),
  prepare,
  parseDocument,
  retrieve,
  respondToImages,
  ...PLUGIN_SCENARIOS,
  generatorAct: (client, { tools, ...args }, emit) =>
    PLUGIN_SCENARIOS.generatorAct(client, { ...args, tools: tools.map((each) => makeTool(each, emit)) }, emit),
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
  const { name, message, title, cause, suggestion, errorData, rawContent } = error;
  return { name, message, title, cause: cause?.message ?? cause, suggestion, errorData, rawContent };
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

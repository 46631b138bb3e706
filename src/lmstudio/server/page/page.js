import { Namespace, RefusedError } from "./protocol.js";

const LOOK_MS = 2000;
const LOG_RETRY_MS = 30_000;
const LOG_LINES = 500;
const at = (id) => document.getElementById(id);
const token = () => at("token").value.trim();
const llm = new Namespace("llm", token);
const embedding = new Namespace("embedding", token);
const system = new Namespace("system", token);
const diagnostics = new Namespace("diagnostics", token);
const namespaces = { llm, embedding };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Models --------------------------------------------------------------------------------------------------------------

const loads = new Map(); // by model key: { progress, cancel } of loads that this page has begun
const failures = new Map(); // by model key: why the last load failed

async function look() {
  const [models, ...loaded] = await Promise.all([
    system.call("listDownloadedModels"), llm.call("listLoaded"), embedding.call("listLoaded"),
  ]);
  const instances = loaded.flat();
  const states = await Promise.all(instances.map((instance) => namespaces[instance.type].call(
    "getInstanceProcessingState",
    { specifier: { type: "instanceReference", instanceReference: instance.instanceReference }, throwIfNotFound: false },
  )));
  showModels(models, instances.map((instance, index) => ({ ...instance, state: states[index] })));
  showChoice(models, instances);
}

let shownModels = "";

function showModels(models, instances) {
  // Only what has changed is drawn again: else the focus would leave a button every two seconds.
  const now = JSON.stringify([models, instances, [...loads], [...failures]]);
  if (now === shownModels) return;
  shownModels = now;
  const keys = new Set(models.map((model) => model.modelKey));
  const strays = instances.filter((instance) => !keys.has(instance.modelKey));
  at("models-empty").hidden = models.length + strays.length > 0;
  const items = models.flatMap((model) => {
    const own = instances.filter((instance) => instance.modelKey === model.modelKey);
    return own.length ? own.map(instanceItem) : [modelItem(model)];
  });
  at("model-list").replaceChildren(...items, ...strays.map(instanceItem));
}

function facts(model) {
  const size = model.sizeBytes >= 1e9 ? `${(model.sizeBytes / 1e9).toFixed(1)} GB` : `${(model.sizeBytes / 1e6).toFixed(1)} MB`;
  const kind = model.type === "llm" ? (model.vision ? "vision" : "text") : "embedding";
  return [kind, model.paramsString, model.quantization?.name, size].filter(Boolean).join(" · ");
}

function instanceItem(instance) {
  const busy = { processingPrompt: "reading", generating: "writing", computingEmbedding: "embedding" };
  const queued = instance.state.queued > 1 ? ` (${instance.state.queued} requests)` : "";
  const state = `${busy[instance.state.status] ?? "idle"}${queued} · context ${instance.contextLength}`;
  const unload = element("button", { type: "button", textContent: "Unload", ariaLabel: `Unload ${instance.identifier}` });
  unload.onclick = () => act(unload, () => namespaces[instance.type].call("unloadModel", { identifier: instance.identifier }));
  const row = element("div", { className: "model-row" }, element("strong", { textContent: instance.identifier }), unload);
  return element("li", { className: "loaded" }, row,
    element("div", { className: "soft", textContent: facts(instance) }), element("div", { textContent: state }));
}

function modelItem(model) {
  const load = loads.get(model.modelKey);
  const button = element("button", { type: "button", textContent: load ? "Cancel" : "Load" });
  button.ariaLabel = `${button.textContent} ${model.modelKey}`;
  button.onclick = load ? load.cancel : () => act(button, () => loadModel(model));
  const row = element("div", { className: "model-row" }, element("span", { textContent: model.modelKey }), button);
  const item = element("li", {}, row, element("div", { className: "soft", textContent: facts(model) }));
  if (load) item.append(element("progress", { max: 1, value: load.progress }));
  if (failures.has(model.modelKey)) item.append(element("div", { className: "level-error", textContent: failures.get(model.modelKey) }));
  return item;
}

async function loadModel(model) {
  const load = { progress: 0, cancel: () => {} };
  loads.set(model.modelKey, load);
  failures.delete(model.modelKey);
  try {
    const parameter = { modelKey: model.modelKey, loadConfigStack: { layers: [] } };
    const { done, send } = await namespaces[model.type].channel("loadModel", parameter, (packet) => {
      if (packet.type === "progress") load.progress = packet.progress;
      refresh();
    });
    load.cancel = () => send({ type: "cancel" });
    await done;
  } catch (error) {
    failures.set(model.modelKey, error.message);
  } finally {
    loads.delete(model.modelKey);
  }
}

async function act(button, work) {
  button.disabled = true;
  try { await work(); } catch (error) { addLog("error", error.message); }
  refresh();
}

function showChoice(models, instances) {
  const choice = at("model");
  const loaded = instances.filter((instance) => instance.type === "llm").map((instance) => instance.identifier);
  const keys = instances.map((instance) => instance.modelKey);
  const others = models.filter((model) => model.type === "llm" && !keys.includes(model.modelKey)).map((model) => model.modelKey);
  const names = [...loaded, ...others];
  if (names.join("\n") === [...choice.options].map((option) => option.value).join("\n")) return;
  const chosen = choice.value;
  choice.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
  if (names.includes(chosen)) choice.value = chosen;
}

// Chat ----------------------------------------------------------------------------------------------------------------

let messages = [];
let running = null; // the channel of the prediction in progress

const textPart = (text) => [{ type: "text", text }];

function predictionFields() {
  const fields = [];
  if (at("temperature").value !== "") fields.push({ key: "llm.prediction.temperature", value: Number(at("temperature").value) });
  if (at("max-tokens").value !== "") {
    fields.push({ key: "llm.prediction.maxPredictedTokens", value: { checked: true, value: Number(at("max-tokens").value) } });
  }
  return fields;
}

async function ask(text) {
  const chat = messages; // "New chat" begins another one
  chat.push({ role: "user", content: textPart(text) });
  addMessage("user").append(text);
  const bubble = addMessage("assistant");
  const note = element("span", { className: "stats", textContent: "loading the model…" });
  const reasoning = element("span");
  const thoughts = element("details", { hidden: true }, element("summary", { textContent: "Reasoning" }), reasoning);
  const answer = element("span");
  bubble.append(thoughts, answer, note);
  setBusy(true);
  let written = "";
  try {
    const model = await usedModel(at("model").value, (progress) => { note.textContent = `loading the model, ${Math.round(progress * 100)} %`; });
    const stats = await predict(model, chat, (packet) => {
      if (packet.type === "promptProcessingProgress") {
        note.textContent = `reading the prompt, ${Math.round(packet.progress * 100)} %`;
      } else if (packet.type === "fragment") {
        note.textContent = "writing…";
        const { content, reasoningType } = packet.fragment;
        if (reasoningType === "none") { written += content; answer.append(content); }
        if (reasoningType === "reasoning") { thoughts.hidden = false; reasoning.append(content); }
        follow(at("messages"));
      }
    });
    note.textContent = describe(stats);
  } catch (error) {
    note.className = "error";
    note.textContent = error.message;
  } finally {
    if (written) chat.push({ role: "assistant", content: textPart(written) });
    else chat.pop(); // a question without an answer would stand before the next one
    setBusy(false);
    refresh();
  }
}

async function usedModel(identifier, onProgress) {
  if (!identifier) throw new Error("There is no language model to chat with.");
  let info = null;
  const { done, send } = await llm.channel("getOrLoad", { identifier, loadConfigStack: { layers: [] } }, (packet) => {
    if (packet.type === "loadProgress") onProgress(packet.progress);
    info = packet.type === "alreadyLoaded" || packet.type === "loadSuccess" ? packet.info : info;
  });
  running = { cancel: () => send({ type: "cancel" }) };
  await done;
  if (!info) throw new Error("Stopped.");
  return info;
}

async function predict(model, chat, onPacket) {
  let stats = null;
  const parameter = {
    modelSpecifier: { type: "instanceReference", instanceReference: model.instanceReference },
    history: { messages: chat },
    predictionConfigStack: { layers: [{ layerName: "apiOverride", config: { fields: predictionFields() } }] },
  };
  const { done, send } = await llm.channel("predict", parameter, (packet) => {
    if (packet.type === "success") stats = packet.stats; else onPacket(packet);
  });
  running = { cancel: () => send({ type: "cancel" }) };
  await done;
  return stats;
}

const REASONS = {
  eosFound: "finished", stopStringFound: "stop string found", userStopped: "stopped by you", toolCalls: "calls a tool",
  maxPredictedTokensReached: "limit of tokens reached", contextLengthReached: "context is full",
  modelUnloaded: "the model was unloaded", failed: "failed",
};

function describe(stats) {
  const parts = [REASONS[stats.stopReason] ?? stats.stopReason, `${stats.predictedTokensCount ?? 0} tokens`];
  if (stats.tokensPerSecond) parts.push(`${stats.tokensPerSecond.toFixed(1)} tokens/s`);
  if (stats.timeToFirstTokenSec !== undefined) parts.push(`first after ${stats.timeToFirstTokenSec.toFixed(2)} s`);
  if (stats.promptTokensCount !== undefined) parts.push(`prompt ${stats.promptTokensCount} tokens`);
  return parts.join(" · ");
}

function addMessage(role) {
  const bubble = element("div", { className: `message ${role}` });
  at("messages").append(bubble);
  follow(at("messages"), true);
  return bubble;
}

function setBusy(isBusy) {
  if (!isBusy) running = null;
  at("send").hidden = isBusy;
  at("stop").hidden = !isBusy;
}

function follow(box, isForced = false) {
  if (isForced || box.scrollHeight - box.scrollTop - box.clientHeight < 80) box.scrollTop = box.scrollHeight;
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("input").value.trim();
  if (!text || running !== null || at("send").hidden) return;
  at("input").value = "";
  ask(text);
});
at("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("composer").requestSubmit();
  }
});
at("stop").addEventListener("click", () => running?.cancel());
at("clear").addEventListener("click", () => {
  running?.cancel();
  messages = [];
  at("messages").replaceChildren();
});

// Log -----------------------------------------------------------------------------------------------------------------

function addLog(level, text, timestamp = Date.now()) {
  const lines = at("log-lines");
  const time = new Date(timestamp).toLocaleTimeString([], { hour12: false });
  lines.append(element("li", { className: `level-${level}` }, element("time", { textContent: time }), ` ${text}`));
  while (lines.childElementCount > LOG_LINES) lines.firstChild.remove();
  if (at("log-follow").checked) lines.scrollTop = lines.scrollHeight;
}

function shown({ timestamp, data }) {
  switch (data.type) {
    case "server.log": addLog(data.level, data.content, timestamp); break;
    case "runtime.log": addLog(data.level, `${data.engineName}: ${data.message}`, timestamp); break;
    case "llm.prediction.input": addLog("debug", `${data.modelIdentifier} reads: ${data.input}`, timestamp); break;
    case "llm.prediction.output": addLog("debug", `${data.modelIdentifier} wrote: ${data.output}`, timestamp); break;
  }
}

at("log-clear").addEventListener("click", () => at("log-lines").replaceChildren());

async function followLog() {
  const { done } = await diagnostics.channel("streamLogs", undefined, (packet) => { if (packet.type === "log") shown(packet.log); });
  await done;
}

// Connection ----------------------------------------------------------------------------------------------------------

let nextLogAttempt = 0;
let wasRefused = false;

async function refresh() {
  if (wasRefused) return;
  try {
    await look();
    showConnection("up", "connected");
    if (Date.now() >= nextLogAttempt) {
      nextLogAttempt = Infinity;
      followLog().catch((error) => addLog("error", error.message)).finally(() => { nextLogAttempt = Date.now() + LOG_RETRY_MS; });
    }
  } catch (error) {
    nextLogAttempt = Math.min(nextLogAttempt, Date.now()); // the log was lost as well
    wasRefused = error instanceof RefusedError;
    at("token-form").hidden = !wasRefused;
    showConnection("down", error.message);
  }
}

function showConnection(kind, text) {
  at("connection").className = kind;
  if (at("connection").textContent !== text) at("connection").textContent = text;
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", token());
  wasRefused = false;
  refresh();
});

at("token").value = sessionStorage.getItem("token") ?? "";
at("address").textContent = location.host;
setInterval(() => { if (!document.hidden) refresh(); }, LOOK_MS);
refresh();

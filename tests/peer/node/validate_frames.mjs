// Checks recorded frames against lmstudio.js's own schemas; `../frame_check.py` is the other end.
//
// One line in:  {"connection": 0, "namespace": "llm", "direction": "toServer", "frame": "{\"type\":...}"}
// Lines out:    {"violation": {"line": 1, "connection", "namespace", "direction", "endpoint", "path", "problem"}}, then
//               {"summary": {"frames": 12, "endpoints": {"llm/predict": {"kind", "toServer": 1, "toClient": 9}, ...}}}.
//
// lmstudio.js drops members that it does not know. Here that is a violation, too: what its schemas make of a value must
// be equal to the value. So is everything else that it merely tolerates: warnings, messages for ids that are not open,
// configuration keys or values that it would ignore.

import { createInterface } from "node:readline";

import { z } from "zod";

import { loadInternals } from "./load-internals.mjs";

const { schemas, globalConfigSchematics, interfaces } = await loadInternals();
const CONFIG_FIELDS = globalConfigSchematics.getFieldsMap();

// The one frame for which the package has code but no schema; the limits are those of lmstudio.js's server.
const authPacketSchema = z.object({
  authVersion: z.literal(1),
  clientIdentifier: z.string().max(256),
  clientPasskey: z.string().max(256),
});

const show = (value) => JSON.stringify(value)?.slice(0, 80);
const isObject = (value) => typeof value === "object" && value !== null;

/** What Zod says, down to the members of unions. */
function* explain(issues) {
  for (const { code, path, message, unionErrors } of issues) {
    if (code === "invalid_union") {
      const options = unionErrors.map(({ issues: inner }) =>
        Array.from(explain(inner), ([at, text]) => `${at.join(".")}: ${text}`).join(", "),
      );
      yield [path, `fits none of: ${options.join(" | ")}`];
    } else {
      yield [path, message];
    }
  }
}

/** Where *parsed* lacks or changes something of *value*. */
function* differences(value, parsed, path = []) {
  if (isObject(value) && isObject(parsed)) {
    for (const [name, member] of Object.entries(value)) {
      if (parsed[name] === undefined) {
        yield [[...path, name], `lmstudio.js ignores this: ${show(member)}`];
      } else {
        yield* differences(member, parsed[name], [...path, name]);
      }
    }
  } else if (!Object.is(value, parsed)) {
    yield [path, `lmstudio.js makes ${show(parsed)} of ${show(value)}`];
  }
}

/** What is wrong with *value* as an instance of *schema*: [path, text] pairs. */
function* problems(schema, value, path) {
  const result = schema.safeParse(value);
  const found = result.success ? differences(value, result.data) : explain(result.error.issues);
  for (const [at, text] of found) {
    yield [[...path, ...at], text];
  }
}

/** What is wrong with the key-value configurations anywhere inside *value*. */
function* configProblems(value, path) {
  if (!isObject(value)) {
    return;
  }
  if (Array.isArray(value.fields) && value.fields.every((field) => typeof field?.key === "string")) {
    const seen = new Set();
    for (const { key, value: fieldValue } of value.fields) {
      const at = [...path, `{${key}}`];
      if (seen.has(key)) {
        yield [at, "is there twice"];
      }
      seen.add(key);
      if (CONFIG_FIELDS.has(key)) {
        yield* problems(CONFIG_FIELDS.get(key).schema, fieldValue, at);
      } else if (!globalConfigSchematics.hasExtensionPrefix(key)) {
        yield [at, "lmstudio.js does not know this configuration key"];
      }
    }
    return;
  }
  for (const [name, member] of Object.entries(value)) {
    yield* configProblems(member, [...path, name]);
  }
}

function* payloadProblems(endpoint, role, value) {
  if (endpoint.serialization !== "raw") {
    yield [[role], `cannot be checked: it is serialized as ${endpoint.serialization}`];
    return;
  }
  yield* problems(endpoint[role], value, [role]);
  yield* configProblems(value, [role]);
}

function* errorProblems(error) {
  if (error?.title === undefined) {
    yield [["error", "title"], "is missing"];
  }
  if (error?.displayData !== undefined) {
    yield* problems(schemas.errorDisplayDataSchema, error.displayData, ["error", "displayData"]);
  }
}

/** One connection: what is open on it, and what each frame means for that. */
class Conversation {
  constructor(namespace, seen) {
    this.namespace = namespace;
    this.interface = interfaces[namespace];
    this.seen = seen;
    this.calls = new Map();
    this.channels = new Map();
    this.awaitsFirst = { toServer: true, toClient: true };
  }

  /** [endpoint name, [path, text] pairs]. */
  check(direction, frame) {
    let message;
    try {
      message = JSON.parse(frame);
    } catch (error) {
      return ["", [[[], `is not JSON: ${error.message}`]]];
    }
    if (this.awaitsFirst[direction]) {
      this.awaitsFirst[direction] = false;
      return ["authentication", this.checkAuthentication(direction, message)];
    }
    const isRequest = direction === "toServer";
    const envelope = isRequest ? schemas.clientToServerMessageSchema : schemas.serverToClientMessageSchema;
    const found = [...problems(envelope, message, [])];
    if (found.length > 0 && !isObject(message)) {
      return ["", found];
    }
    const [endpoint, inside] = isRequest ? this.checkRequest(message) : this.checkReply(message);
    if (endpoint !== undefined) {
      this.seen(this.namespace, endpoint.name, direction);
    }
    return [endpoint?.name ?? "", [...found, ...inside]];
  }

  checkAuthentication(direction, message) {
    if (direction === "toServer") {
      return [...problems(authPacketSchema, message, [])];
    }
    const early = this.awaitsFirst.toServer ? [[[], "was sent before the client said who it is"]] : [];
    return [...early, ...problems(schemas.wsAuthenticationResultSchema, message, [])];
  }

  checkRequest(message) {
    switch (message.type) {
      case "rpcCall":
        return this.open(this.calls, this.interface.rpcEndpoints, message.callId, message, "parameter");
      case "channelCreate":
        return this.open(
          this.channels,
          this.interface.channelEndpoints,
          message.channelId,
          message,
          "creationParameter",
        );
      case "channelSend": {
        // The channel may have ended while this was on its way.
        const channel = this.channels.get(message.channelId);
        return channel === undefined
          ? [undefined, [[["channelId"], "was never opened"]]]
          : [channel.endpoint, [...payloadProblems(channel.endpoint, "toServerPacket", message.message)]];
      }
      default:
        return [undefined, this.checkOther(message)];
    }
  }

  open(table, endpoints, id, message, role) {
    const endpoint = endpoints.get(message.endpoint);
    if (endpoint === undefined) {
      return [undefined, [[["endpoint"], `${this.namespace} has no such endpoint: ${message.endpoint}`]]];
    }
    const isTaken = table.get(id)?.isOpen ? [[[], `the id ${id} is in use`]] : [];
    table.set(id, { endpoint, isOpen: true });
    return [endpoint, [...isTaken, ...payloadProblems(endpoint, role, message[role])]];
  }

  checkReply(message) {
    switch (message.type) {
      case "rpcResult":
        return this.answer(this.calls, message.callId, true, (endpoint) =>
          payloadProblems(endpoint, "returns", message.result),
        );
      case "rpcError":
        return this.answer(this.calls, message.callId, true, () => errorProblems(message.error));
      case "channelSend":
        return this.answer(this.channels, message.channelId, false, (endpoint) =>
          payloadProblems(endpoint, "toClientPacket", message.message),
        );
      case "channelClose":
        return this.answer(this.channels, message.channelId, true, () => []);
      case "channelError":
        return this.answer(this.channels, message.channelId, true, () => errorProblems(message.error));
      default:
        return [undefined, this.checkOther(message)];
    }
  }

  answer(table, id, isLast, check) {
    const entry = table.get(id);
    if (!entry?.isOpen) {
      return [entry?.endpoint, [[[], `answers ${id}, which is not open`]]];
    }
    entry.isOpen = !isLast;
    return [entry.endpoint, [...check(entry.endpoint)]];
  }

  checkOther({ type, warning, kind }) {
    switch (type) {
      case "keepAlive":
      case "keepAliveAck":
        return [];
      case "communicationWarning":
        return [[[], `the other side was not understood (${kind}): ${warning}`]];
      default:
        return [[["type"], `has no place in this conversation: ${type}`]];
    }
  }
}

function emptySummary() {
  const endpoints = {};
  for (const [namespace, { rpcEndpoints, channelEndpoints }] of Object.entries(interfaces)) {
    for (const [kind, map] of [
      ["rpc", rpcEndpoints],
      ["channel", channelEndpoints],
    ]) {
      for (const name of map.keys()) {
        endpoints[`${namespace}/${name}`] = { kind, toServer: 0, toClient: 0 };
      }
    }
  }
  return { frames: 0, endpoints };
}

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const summary = emptySummary();
const conversations = new Map();
const count = (namespace, endpoint, direction) => (summary.endpoints[`${namespace}/${endpoint}`][direction] += 1);

for await (const line of createInterface({ input: process.stdin })) {
  const { connection, namespace, direction, frame } = JSON.parse(line);
  summary.frames += 1;
  if (!conversations.has(connection)) {
    conversations.set(connection, new Conversation(namespace, count));
  }
  const [endpoint, found] = conversations.get(connection).check(direction, frame);
  for (const [path, problem] of found) {
    const where = { line: summary.frames, connection, namespace, direction, endpoint };
    print({ violation: { ...where, path: path.join("."), problem } });
  }
}
print({ summary });
